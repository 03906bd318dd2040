/** How characters of a terminal look: SGR sequences as plain data. */

/** Colours: 0 to 15 are the theme's, anything else is written out. */
export type Colour = number | string;

/** See the file's text. Shared and frozen: equal looks are often the same object. */
export interface Style {
  readonly front?: Colour;
  readonly back?: Colour;
  readonly bold?: boolean;
  readonly dim?: boolean;
  readonly italic?: boolean;
  readonly underline?: boolean;
  readonly inverse?: boolean;
}

/** Nothing special. */
export const PLAIN: Style = Object.freeze({});

const SETS: Readonly<Record<number, Style>> = {
  1: { bold: true },
  2: { dim: true },
  3: { italic: true },
  4: { underline: true },
  7: { inverse: true },
  22: { bold: undefined, dim: undefined },
  23: { italic: undefined },
  24: { underline: undefined },
  27: { inverse: undefined },
  39: { front: undefined },
  49: { back: undefined },
};

/** A style changed by the numbers of a sequence. */
export function styled(style: Style, numbers: readonly number[]): Style {
  let next = style;
  for (let i = 0; i < numbers.length; i++) {
    const n = numbers[i];
    if (n === 0) next = PLAIN;
    else if (n === 38 || n === 48) {
      const [colour, taken] = extended(numbers, i + 1);
      if (colour !== undefined) next = { ...next, [n === 38 ? "front" : "back"]: colour };
      i += taken;
    } else next = { ...next, ...(SETS[n] ?? basic(n)) };
  }
  return next;
}

function basic(n: number): Style {
  if (n >= 30 && n <= 37) return { front: n - 30 };
  if (n >= 40 && n <= 47) return { back: n - 40 };
  if (n >= 90 && n <= 97) return { front: n - 82 };
  if (n >= 100 && n <= 107) return { back: n - 92 };
  return {};
}

/** A colour of the 256, or by its parts, and how many numbers it took. */
function extended(numbers: readonly number[], at: number): [Colour | undefined, number] {
  if (numbers[at] === 2) {
    const [r, g, b] = numbers.slice(at + 1, at + 4).map((part) => Math.min(255, part || 0));
    return [`rgb(${r ?? 0} ${g ?? 0} ${b ?? 0})`, 4];
  }
  if (numbers[at] !== 5) return [undefined, 1];
  const n = numbers[at + 1] ?? 0;
  if (n < 16) return [n, 2];
  if (n >= 232) {
    const grey = 8 + (Math.min(n, 255) - 232) * 10;
    return [`rgb(${grey} ${grey} ${grey})`, 2];
  }
  const part = (level: number) => level === 0 ? 0 : 55 + level * 40;
  const cube = n - 16;
  const parts = [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(part);
  return [`rgb(${parts.join(" ")})`, 2];
}
