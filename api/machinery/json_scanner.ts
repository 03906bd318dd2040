/**
 * A slow, careful reader of JSON text, for two questions the engine's parser leaves open: where does the
 * syntax break, in Go's words, and which keys occur twice in one object. Iterative: depth costs no stack.
 */

/** Where a container stands. */
interface Frame {
  array: boolean;
  /** Keys seen so far; of arrays none. */
  seen: Set<string>;
  /** The path of the container itself. */
  path: string;
  index: number;
}

class Problem extends Error {}

const ESCAPES = '"\\/bfnrtu';

/** Reads one text. */
export class JsonScanner {
  readonly #text: string;
  #at = 0;
  readonly #duplicates: string[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  /** What is wrong, in the words of Go's encoding/json; undefined when nothing is. */
  problem(): string | undefined {
    try {
      this.#document();
      return undefined;
    } catch (error) {
      if (error instanceof Problem) return error.message;
      throw error;
    }
  }

  /** The paths of the keys that occur again, in order; each once. Only of valid text. */
  duplicates(): string[] {
    this.#document();
    return [...new Set(this.#duplicates)];
  }

  #document(): void {
    const frames: Frame[] = [];
    let path = "";
    for (;;) {
      const opened = this.#value(path);
      if (opened) {
        frames.push(opened);
        const next = this.#first(opened);
        if (next !== undefined) {
          path = next;
          continue;
        }
        frames.pop();
      }
      // A value has ended: close what ends with it, or go to the next one.
      for (;;) {
        const frame = frames.at(-1);
        if (!frame) {
          this.#space();
          if (this.#at < this.#text.length) this.#fail("after top-level value");
          return;
        }
        const next = this.#next(frame);
        if (next !== undefined) {
          path = next;
          break;
        }
        frames.pop();
      }
    }
  }

  /** Reads a scalar, or opens a container. */
  #value(path: string): Frame | undefined {
    this.#space();
    const char = this.#text[this.#at];
    if (char === "{" || char === "[") {
      this.#at++;
      return { array: char === "[", seen: new Set(), path, index: 0 };
    }
    if (char === '"') this.#string();
    else if (char === "t") this.#literal("true");
    else if (char === "f") this.#literal("false");
    else if (char === "n") this.#literal("null");
    else if (char === "-" || (char >= "0" && char <= "9")) this.#number();
    else this.#fail("looking for beginning of value");
    return undefined;
  }

  /** The path of a container's first value; undefined when it is empty (and closed). */
  #first(frame: Frame): string | undefined {
    this.#space();
    if (this.#text[this.#at] === (frame.array ? "]" : "}")) {
      this.#at++;
      return undefined;
    }
    return frame.array ? `${frame.path}[0]` : this.#key(frame);
  }

  #next(frame: Frame): string | undefined {
    this.#space();
    const char = this.#text[this.#at];
    if (char === (frame.array ? "]" : "}")) {
      this.#at++;
      return undefined;
    }
    if (char !== ",") {
      this.#fail(frame.array ? "after array element" : "after object key:value pair");
    }
    this.#at++;
    if (frame.array) return `${frame.path}[${++frame.index}]`;
    this.#space();
    return this.#key(frame);
  }

  #key(frame: Frame): string {
    if (this.#text[this.#at] !== '"') this.#fail("looking for beginning of object key string");
    const start = this.#at;
    this.#string();
    const key = JSON.parse(this.#text.slice(start, this.#at)) as string;
    this.#space();
    if (this.#text[this.#at] !== ":") this.#fail("after object key");
    this.#at++;
    const path = frame.path ? `${frame.path}.${key}` : key;
    if (frame.seen.has(key)) this.#duplicates.push(path);
    frame.seen.add(key);
    return path;
  }

  #space(): void {
    for (;;) {
      const char = this.#text.charCodeAt(this.#at);
      if (char !== 32 && char !== 10 && char !== 13 && char !== 9) return;
      this.#at++;
    }
  }

  #string(): void {
    this.#at++;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined) this.#fail("");
      if (char === '"') {
        this.#at++;
        return;
      }
      if (char < " ") this.#fail("in string literal");
      this.#at++;
      if (char !== "\\") continue;
      const escape = this.#text[this.#at];
      if (escape === undefined || !ESCAPES.includes(escape)) this.#fail("in string escape code");
      this.#at++;
      if (escape !== "u") continue;
      for (let i = 0; i < 4; i++) {
        if (!/[0-9a-fA-F]/.test(this.#text[this.#at] ?? "")) {
          this.#fail("in \\u hexadecimal character escape");
        }
        this.#at++;
      }
    }
  }

  #literal(word: string): void {
    for (let i = 0; i < word.length; i++) {
      if (this.#text[this.#at] !== word[i]) {
        this.#fail(`in literal ${word} (expecting ${quoted(word[i])})`);
      }
      this.#at++;
    }
  }

  #digits(context: string): void {
    const start = this.#at;
    for (;;) {
      const char = this.#text.charCodeAt(this.#at);
      if (!(char >= 48 && char <= 57)) break;
      this.#at++;
    }
    if (this.#at === start) this.#fail(context);
  }

  #number(): void {
    if (this.#text[this.#at] === "-") this.#at++;
    if (this.#text[this.#at] === "0") this.#at++;
    else this.#digits("in numeric literal");
    if (this.#text[this.#at] === ".") {
      this.#at++;
      this.#digits("after decimal point in numeric literal");
    }
    if (this.#text[this.#at] === "e" || this.#text[this.#at] === "E") {
      this.#at++;
      if (this.#text[this.#at] === "+" || this.#text[this.#at] === "-") this.#at++;
      this.#digits("in exponent of numeric literal");
    }
  }

  #fail(context: string): never {
    if (this.#at >= this.#text.length) throw new Problem("unexpected end of JSON input");
    const char = byteOf(this.#text, this.#at);
    throw new Problem(`invalid character ${quoted(char)} ${context}`);
  }
}

/** Go reads bytes: of a character outside ASCII it names the first byte. */
function byteOf(text: string, at: number): string {
  const char = String.fromCodePoint(text.codePointAt(at)!);
  return char < "\x80" ? char : String.fromCharCode(new TextEncoder().encode(char)[0]);
}

/** A character in single quotes, as Go's errors show it. */
function quoted(char: string): string {
  if (char === "'") return `'\\''`;
  if (char === '"') return `'"'`;
  const text = JSON.stringify(char).slice(1, -1);
  return `'${text.replace(/^\\u00([0-7][0-9a-f])$/, "\\x$1")}'`;
}
