/** What keys send to a program in a terminal. */

/** A key as browsers tell of it. */
export interface Key {
  key: string;
  ctrlKey: boolean;
  altKey: boolean;
  metaKey: boolean;
  shiftKey: boolean;
}

const CURSOR: Readonly<Record<string, string>> = {
  ArrowUp: "A",
  ArrowDown: "B",
  ArrowRight: "C",
  ArrowLeft: "D",
  Home: "H",
  End: "F",
};

const OTHERS: Readonly<Record<string, string>> = {
  Enter: "\r",
  Backspace: "\x7f",
  Escape: "\x1b",
  Delete: "\x1b[3~",
  Insert: "\x1b[2~",
  PageUp: "\x1b[5~",
  PageDown: "\x1b[6~",
  F1: "\x1bOP",
  F2: "\x1bOQ",
  F3: "\x1bOR",
  F4: "\x1bOS",
  F5: "\x1b[15~",
  F6: "\x1b[17~",
  F7: "\x1b[18~",
  F8: "\x1b[19~",
  F9: "\x1b[20~",
  F10: "\x1b[21~",
};

/** What a key sends; undefined: it is the browser's, or text that comes as input. */
export function sentBy(
  { key, ctrlKey, altKey, metaKey, shiftKey }: Key,
  applicationKeys: boolean,
): string | undefined {
  if (metaKey) return undefined;
  if (key in CURSOR) {
    if (ctrlKey) return `\x1b[1;5${CURSOR[key]}`;
    return `\x1b${applicationKeys ? "O" : "["}${CURSOR[key]}`;
  }
  // With Shift, Tab leaves the terminal: nobody is caught in it
  if (key === "Tab") return shiftKey ? undefined : "\t";
  if (key in OTHERS) return OTHERS[key];
  if (key.length !== 1) return undefined;
  if (ctrlKey && !altKey) {
    // Copying and pasting stay the browser's
    if (shiftKey || key === "v") return undefined;
    const code = key.toUpperCase().charCodeAt(0);
    return code >= 0x40 && code <= 0x5f
      ? String.fromCharCode(code & 0x1f)
      : key === " "
      ? "\0"
      : undefined;
  }
  return altKey && !ctrlKey ? `\x1b${key}` : undefined;
}
