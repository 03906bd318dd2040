/** What a flag's row is made of: how each type of value is read, and the error for one that is none. */
import { parseDuration } from "../machinery/time.ts";

/** A mistake of the person at the keyboard: shown without a stack. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** One row: how the text after the flag is read, and what is told of it. */
export interface Flag<T> {
  /** Stands for the value in the help text; a switch has none. */
  placeholder?: string;
  help: string;
  /** The value when the flag is not given. */
  default: T;
  /** Reads a value. Throws UsageError naming the flag. */
  read(text: string, flag: string): T;
  /** May be given several times; the texts are joined by commas. */
  many?: boolean;
}

/** Any text. */
export function text(help: string, placeholder = "TEXT"): Flag<string | undefined> {
  return { help, placeholder, default: undefined, read: (value) => value };
}

/** Any text, with a default. */
export function textOr(fallback: string, help: string): Flag<string> {
  return { help, placeholder: fallback, default: fallback, read: (value) => value };
}

/** A path of a file that is read. */
export function file(help: string): Flag<string | undefined> {
  return text(help, "FILE");
}

/** On or off: `--name`, `--no-name`, `--name=true`. */
export function flag(help: string, fallback = false): Flag<boolean> {
  return {
    help,
    default: fallback,
    read(value, name) {
      if (value === "true" || value === "") return true;
      if (value === "false") return false;
      throw new UsageError(`--${name} must be true or false, not "${value}"`);
    },
  };
}

/** A whole number within bounds. */
export function integer(
  fallback: number,
  help: string,
  { min = 0, max = 2 ** 31 - 1 }: { min?: number; max?: number } = {},
): Flag<number> {
  return {
    help,
    placeholder: String(fallback),
    default: fallback,
    read(value, name) {
      const number = Number(value);
      if (!/^-?\d+$/.test(value) || number < min || number > max) {
        throw new UsageError(`--${name} must be a number from ${min} to ${max}, not "${value}"`);
      }
      return number;
    },
  };
}

/** A number that need not be whole, not negative. */
export function fraction(fallback: number, help: string): Flag<number> {
  return {
    help,
    placeholder: String(fallback),
    default: fallback,
    read(value, name) {
      if (/^(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(value)) return Number(value);
      throw new UsageError(`--${name} must be a number such as ${fallback}, not "${value}"`);
    },
  };
}

/** A Go duration such as `1m30s`, in ms. */
export function duration(fallback: string, help: string): Flag<number> {
  return {
    help,
    placeholder: fallback,
    default: parseDuration(fallback),
    read(value, name) {
      try {
        return parseDuration(value);
      } catch {
        throw new UsageError(`--${name} must be a duration such as 1m30s, not "${value}"`);
      }
    },
  };
}

/** One of several words. */
export function choice<const T extends string>(
  known: readonly T[],
  fallback: T,
  help: string,
): Flag<T> {
  return {
    help,
    placeholder: known.join("|"),
    default: fallback,
    read: (value, name) => oneOf(name, value, known),
  };
}

/** Words separated by commas: any, or of `known`. May be given several times. */
export function list<const T extends string = string>(
  help: string,
  { known, fallback = [] }: { known?: readonly T[]; fallback?: readonly T[] } = {},
): Flag<readonly T[]> {
  return {
    help,
    placeholder: "LIST",
    default: fallback,
    many: true,
    read(value, name) {
      const words = value.split(",").map((word) => word.trim()).filter(Boolean);
      return known ? words.map((word) => oneOf(name, word, known)) : words as T[];
    },
  };
}

/** Reads one of several words. */
export function oneOf<T extends string>(flag: string, text: string, known: readonly T[]): T {
  const found = known.find((word) => word === text);
  if (!found) throw new UsageError(`--${flag} must be one of ${known.join(", ")}, not "${text}"`);
  return found;
}
