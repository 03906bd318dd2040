/**
 * A terminal's screen: what a program writes becomes lines of cells. As much of a VT220 and xterm as shells, editors and
 * pagers use: cursor, erasing, scrolling regions, the other screen, colours, wide characters. Pure.
 */
import { PLAIN, type Style, styled } from "./style.ts";

/** One place of the screen. The second half of a wide character is empty. */
export interface Cell {
  text: string;
  style: Style;
}

export type Line = Cell[];

/** Lines kept that have left the screen at its top. */
export const SCROLLBACK_MAX = 2_000;
/** Longest sequence that is waited for. */
const SEQUENCE_LENGTH_MAX = 256;
const TAB = 8;

interface Saved {
  x: number;
  y: number;
  style: Style;
}

/** The screen. `reply` sends what a program asks the terminal. */
export class Screen {
  readonly scrollback: Line[] = [];
  lines: Line[];
  x = 0;
  y = 0;
  cursorShown = true;
  /** Arrow keys are told as applications want them. */
  applicationKeys = false;
  /** Pasted text is marked as such. */
  bracketedPaste = false;
  columns: number;
  rows: number;
  readonly #reply: (text: string) => void;
  #style: Style = PLAIN;
  #top = 0;
  #bottom: number;
  #wrap = true;
  #saved: Saved = { x: 0, y: 0, style: PLAIN };
  /** The main screen, while the other one is shown. */
  #main: { lines: Line[]; saved: Saved } | undefined;
  /** A sequence whose end has not come yet. */
  #rest = "";

  constructor(columns: number, rows: number, reply: (text: string) => void = () => {}) {
    this.columns = columns;
    this.rows = rows;
    this.lines = blank(rows, columns);
    this.#bottom = rows - 1;
    this.#reply = reply;
  }

  /** Takes another size; what does not fit leaves at the top. */
  resize(columns: number, rows: number): void {
    const fit = (lines: Line[]) => {
      const kept = lines.map((line) => fitted(line, columns));
      while (kept.length < rows) kept.push(blankLine(columns));
      return kept;
    };
    while (this.lines.length > rows && this.y >= rows) {
      this.#keep(this.lines.shift()!);
      this.y--;
    }
    this.lines = fit(this.lines).slice(0, rows);
    if (this.#main) this.#main.lines = fit(this.#main.lines).slice(0, rows);
    this.columns = columns;
    this.rows = rows;
    this.#top = 0;
    this.#bottom = rows - 1;
    this.x = Math.min(this.x, columns - 1);
    this.y = Math.min(this.y, rows - 1);
  }

  /** Writes what a program sent. */
  write(text: string): void {
    const all = this.#rest + text;
    this.#rest = "";
    for (let i = 0; i < all.length;) {
      const code = all.charCodeAt(i);
      if (code === 0x1b) {
        const length = this.#escape(all, i);
        if (length === 0) {
          const rest = all.slice(i);
          if (rest.length <= SEQUENCE_LENGTH_MAX) this.#rest = rest;
          return;
        }
        i += length;
      } else if (code < 0x20 || code === 0x7f) {
        this.#control(code);
        i++;
      } else {
        const point = all.codePointAt(i)!;
        const character = String.fromCodePoint(point);
        this.#print(character, widthOf(point));
        i += character.length;
      }
    }
  }

  #control(code: number): void {
    if (code === 0x08) this.x = Math.max(0, Math.min(this.x, this.columns) - 1);
    else if (code === 0x09) {
      this.x = Math.min(this.columns - 1, (Math.floor(this.x / TAB) + 1) * TAB);
    } else if (code >= 0x0a && code <= 0x0c) this.#down();
    else if (code === 0x0d) this.x = 0;
  }

  #print(character: string, width: number): void {
    if (width === 0) {
      // Joined to the one before
      const before = this.lines[this.y][Math.max(0, this.x - 1)];
      if (before) before.text += character;
      return;
    }
    if (this.x + width > this.columns) {
      if (!this.#wrap) this.x = this.columns - width;
      else {
        this.x = 0;
        this.#down();
      }
    }
    const line = this.lines[this.y];
    line[this.x] = { text: character, style: this.#style };
    if (width === 2) line[this.x + 1] = { text: "", style: this.#style };
    this.x += width;
  }

  #down(): void {
    if (this.y === this.#bottom) this.#scrollUp(1);
    else if (this.y < this.rows - 1) this.y++;
  }

  #scrollUp(count: number): void {
    for (let i = 0; i < Math.min(count, this.rows); i++) {
      const [gone] = this.lines.splice(this.#top, 1);
      if (this.#top === 0 && !this.#main) this.#keep(gone);
      this.lines.splice(this.#bottom, 0, this.#blank());
    }
  }

  #scrollDown(count: number): void {
    for (let i = 0; i < Math.min(count, this.rows); i++) {
      this.lines.splice(this.#bottom, 1);
      this.lines.splice(this.#top, 0, this.#blank());
    }
  }

  #keep(line: Line): void {
    this.scrollback.push(line);
    if (this.scrollback.length > SCROLLBACK_MAX) this.scrollback.shift();
  }

  #blank(): Line {
    return blankLine(this.columns);
  }

  /** How many characters the sequence at `i` takes; 0: its end has not come. */
  #escape(all: string, i: number): number {
    const next = all[i + 1];
    if (next === undefined) return 0;
    if (next === "[") return this.#csi(all, i);
    if (next === "]" || next === "P" || next === "_" || next === "^") return stringLength(all, i);
    if ("()*+#% ".includes(next)) return all.length > i + 2 ? 3 : 0;
    if (Object.hasOwn(ESCAPES, next)) this.#acts[ESCAPES[next as keyof typeof ESCAPES]]();
    return 2;
  }

  readonly #acts = {
    save: () => this.#saved = { x: this.x, y: this.y, style: this.#style },
    restore: () => {
      ({ x: this.x, y: this.y, style: this.#style } = this.#saved);
    },
    index: () => this.#down(),
    reverseIndex: () => {
      if (this.y === this.#top) this.#scrollDown(1);
      else this.y = Math.max(0, this.y - 1);
    },
    nextLine: () => {
      this.x = 0;
      this.#down();
    },
    reset: () => {
      this.lines = blank(this.rows, this.columns);
      this.x = this.y = this.#top = 0;
      this.#bottom = this.rows - 1;
      this.#style = PLAIN;
    },
  };

  #csi(all: string, i: number): number {
    let end = i + 2;
    while (end < all.length && all.charCodeAt(end) < 0x40) end++;
    if (end >= all.length) return all.length - i > SEQUENCE_LENGTH_MAX ? 2 : 0;
    const parameters = all.slice(i + 2, end);
    const final = all[end];
    if (parameters.startsWith("?")) this.#mode(parameters.slice(1), final);
    else if (!/[<=>!"' ]/.test(parameters)) this.#sequence(final, parameters);
    return end + 1 - i;
  }

  #sequence(final: string, text: string): void {
    const numbers = text.split(/[;:]/).map((part) => part === "" ? undefined : Number(part));
    const n = Math.max(1, numbers[0] ?? 1);
    const mode = numbers[0] ?? 0;
    if (final === "m") this.#style = styled(this.#style, numbers.map((one) => one ?? 0));
    else if (!this.#move(final, n, numbers) && !this.#erase(final, n, mode)) {
      if (final === "r") {
        this.#top = Math.min(n, this.rows) - 1;
        this.#bottom = Math.max(this.#top, Math.min(numbers[1] ?? this.rows, this.rows) - 1);
        this.x = this.y = 0;
      } else if (final === "s") this.#acts.save();
      else if (final === "u") this.#acts.restore();
      else if (final === "n" && mode === 6) this.#reply(`\x1b[${this.y + 1};${this.x + 1}R`);
      else if (final === "n" && mode === 5) this.#reply("\x1b[0n");
      else if (final === "c") this.#reply("\x1b[?62;22c");
    }
  }

  #move(final: string, n: number, numbers: readonly (number | undefined)[]): boolean {
    const to = (x: number, y: number) => {
      this.x = Math.max(0, Math.min(this.columns - 1, x));
      this.y = Math.max(0, Math.min(this.rows - 1, y));
      return true;
    };
    const { x, y } = this;
    switch (final) {
      case "A":
        return to(x, y - n);
      case "B":
      case "e":
        return to(x, y + n);
      case "C":
      case "a":
        return to(x + n, y);
      case "D":
        return to(x - n, y);
      case "E":
        return to(0, y + n);
      case "F":
        return to(0, y - n);
      case "G":
      case "`":
        return to(n - 1, y);
      case "d":
        return to(x, n - 1);
      case "H":
      case "f":
        return to(Math.max(1, numbers[1] ?? 1) - 1, n - 1);
    }
    return false;
  }

  #erase(final: string, n: number, mode: number): boolean {
    const line = this.lines[this.y];
    const space = () => ({ text: " ", style: this.#style });
    const clear = (from: number, to: number) => {
      for (let i = from; i < Math.min(to, this.columns); i++) line[i] = space();
    };
    switch (final) {
      case "K":
        clear(mode === 0 ? this.x : 0, mode === 1 ? this.x + 1 : this.columns);
        return true;
      case "J":
        if (mode === 0) clear(this.x, this.columns);
        if (mode === 1) clear(0, this.x + 1);
        for (let i = 0; i < this.rows; i++) {
          if (mode >= 2 || (mode === 0 ? i > this.y : i < this.y)) this.lines[i] = this.#blank();
        }
        if (mode === 3) this.scrollback.length = 0;
        return true;
      case "X":
        clear(this.x, this.x + n);
        return true;
      case "P":
        line.splice(this.x, Math.min(n, this.columns - this.x));
        while (line.length < this.columns) line.push(space());
        return true;
      case "@":
        line.splice(this.x, 0, ...Array.from({ length: Math.min(n, this.columns) }, space));
        line.length = this.columns;
        return true;
      case "L":
      case "M":
        this.#shiftLines(final === "L", n);
        return true;
      case "S":
        this.#scrollUp(n);
        return true;
      case "T":
        this.#scrollDown(n);
        return true;
    }
    return false;
  }

  /** Inserts or deletes lines at the cursor, within the region. */
  #shiftLines(insert: boolean, n: number): void {
    if (this.y < this.#top || this.y > this.#bottom) return;
    for (let i = 0; i < Math.min(n, this.rows); i++) {
      const [from, to] = insert ? [this.#bottom, this.y] : [this.y, this.#bottom];
      this.lines.splice(from, 1);
      this.lines.splice(to, 0, this.#blank());
    }
  }

  #mode(parameters: string, final: string): void {
    if (final !== "h" && final !== "l") return;
    const on = final === "h";
    for (const mode of parameters.split(";")) {
      if (mode === "1") this.applicationKeys = on;
      else if (mode === "7") this.#wrap = on;
      else if (mode === "25") this.cursorShown = on;
      else if (mode === "2004") this.bracketedPaste = on;
      else if (mode === "47" || mode === "1047" || mode === "1049") this.#other(on);
    }
  }

  /** Shows the other screen, on which programs draw that take all of it, or the main one again. */
  #other(on: boolean): void {
    if (on === (this.#main !== undefined)) return;
    if (on) {
      this.#main = { lines: this.lines, saved: { x: this.x, y: this.y, style: this.#style } };
      this.lines = blank(this.rows, this.columns);
    } else {
      const { lines, saved } = this.#main!;
      this.#main = undefined;
      this.lines = lines;
      ({ x: this.x, y: this.y, style: this.#style } = saved);
    }
    this.#top = 0;
    this.#bottom = this.rows - 1;
  }
}

/** What one character after ESC does. */
const ESCAPES = {
  "7": "save",
  "8": "restore",
  D: "index",
  M: "reverseIndex",
  E: "nextLine",
  c: "reset",
} as const;

/** Strings to the terminal (titles and the like) end with BEL or ESC \; they are not shown. */
function stringLength(all: string, i: number): number {
  // deno-lint-ignore no-control-regex -- that is how they end
  const end = /\x07|\x1b\\/.exec(all.slice(i + 2));
  if (end) return 2 + end.index + end[0].length;
  return all.length - i > SEQUENCE_LENGTH_MAX ? 2 : 0;
}

function blankLine(columns: number): Line {
  return Array.from({ length: columns }, () => ({ text: " ", style: PLAIN }));
}

function blank(rows: number, columns: number): Line[] {
  return Array.from({ length: rows }, () => blankLine(columns));
}

function fitted(line: Line, columns: number): Line {
  const kept = line.slice(0, columns);
  while (kept.length < columns) kept.push({ text: " ", style: PLAIN });
  return kept;
}

/** Ranges of characters that take two places: Hangul, Han, kana, full-width forms, pictures. */
const WIDE: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x2e80, 0x303e],
  [0x3041, 0xa4cf],
  [0xa960, 0xa97c],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x1f300, 0x1faff],
  [0x20000, 0x3fffd],
];

function widthOf(point: number): number {
  if (point < 0x300) return 1;
  if (point <= 0x36f || point === 0x200d || (point >= 0xfe00 && point <= 0xfe0f)) return 0;
  return WIDE.some(([from, to]) => point >= from && point <= to) ? 2 : 1;
}
