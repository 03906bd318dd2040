/**
 * Files of environment variables as containers write them for others of their pod: `NAME='value'` a line, the value
 * in single quotes and taken as it is, over as many lines as it has; `#` begins a comment. Pure.
 *
 * Behaviour matched: pkg/kubelet/util/env, v1.36.
 */

/** The value of a variable; undefined when the file does not have it. Throws for what is no such file. */
export function variableIn(text: string, name: string): string | undefined {
  let at = 0;
  while (at < text.length) {
    const end = endOfLine(text, at);
    const line = text.slice(at, end).trimStart();
    if (line === "" || line.startsWith("#")) {
      at = end + 1;
      continue;
    }
    const match = /^([^=]*[^=\s])=([ \t]?)(.?)/.exec(line);
    if (!match) throw new Error(`Cannot read the line "${line}": it is not NAME='value'`);
    const [whole, key, gap, quote] = match;
    if (gap) {
      // As a shell has it: the value ends where it would begin.
      if (key === name) return "";
      at = end + 1;
      continue;
    }
    if (quote !== "'") {
      throw new Error(`Cannot read the value of "${key}": it has no single quotes`);
    }
    const begin = end - line.length + whole.length;
    const close = text.indexOf("'", begin);
    if (close < 0) throw new Error(`Cannot read the value of "${key}": its quote is not closed`);
    const after = endOfLine(text, close);
    if (!/^'[ \t]*(#.*)?\r?$/.test(text.slice(close, after))) {
      throw new Error(`Cannot read the line of "${key}": something follows its value`);
    }
    if (key === name) return text.slice(begin, close);
    at = after + 1;
  }
  return undefined;
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}
