/**
 * resource.Quantity: exact decimal amounts with SI, binary or exponent suffixes. Parsing, canonical text,
 * order and arithmetic match upstream's, quirks included: `1024Mi` is written `1Gi`, `0.5` is `500m`,
 * but `1.500` stays as it is. Nothing smaller than one nano is kept (rounded away from zero).
 *
 * Amounts are `value × 10^scale`, `value` a plain number while it is a safe integer and a bigint beyond,
 * so that the common case never allocates one. Quantities are immutable.
 */

/** How a quantity likes to be written. */
export type QuantityFormat = "DecimalSI" | "BinarySI" | "DecimalExponent";

/** A text that is no quantity. The message is upstream's. */
export class QuantityError extends Error {
  override name = "QuantityError";
}

const FORMAT_TEXT =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const NUMERIC_TEXT = "unable to parse numeric part of quantity";
const SUFFIX_TEXT = "unable to parse quantity's suffix";

/** Exponents beyond this are refused, so that no arithmetic takes for ever. */
export const QUANTITY_EXPONENT_MAX = 1000;

const INT64_MAX = 2n ** 63n - 1n;
const NANO = -9;
/** Digits that upstream is sure to fit into an int64. */
const INT64_DIGITS = 18;

const DECIMAL: Record<string, number> = {
  "": 0,
  n: -9,
  u: -6,
  m: -3,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const BINARY: Record<string, number> = { Ki: 10, Mi: 20, Gi: 30, Ti: 40, Pi: 50, Ei: 60 };
const DECIMAL_SUFFIX: Record<number, string> = {};
for (const suffix in DECIMAL) DECIMAL_SUFFIX[DECIMAL[suffix]] = suffix;
const BINARY_SUFFIX = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

type Integer = number | bigint;

function small(value: bigint): Integer {
  return value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value;
}

function multiply(a: Integer, b: Integer): Integer {
  if (typeof a === "number" && typeof b === "number") {
    const product = a * b;
    if (Number.isSafeInteger(product)) return product;
  }
  return small(BigInt(a) * BigInt(b));
}

function plus(a: Integer, b: Integer): Integer {
  if (typeof a === "number" && typeof b === "number") {
    const sum = a + b;
    if (Number.isSafeInteger(sum)) return sum;
  }
  return small(BigInt(a) + BigInt(b));
}

function power(exponent: number): Integer {
  return exponent <= 15 ? 10 ** exponent : 10n ** BigInt(exponent);
}

/** `value / 10^places`, rounded away from zero. */
function shrink(value: Integer, places: number): Integer {
  if (value === 0) return 0;
  if (typeof value === "number" && places <= 15) {
    const divisor = 10 ** places;
    const rest = value % divisor;
    const whole = (value - rest) / divisor;
    return rest === 0 ? whole : whole + Math.sign(value);
  }
  const divisor = 10n ** BigInt(Math.min(places, 2 * QUANTITY_EXPONENT_MAX));
  const big = BigInt(value);
  const whole = big / divisor;
  return small(big % divisor === 0n ? whole : whole + (big < 0n ? -1n : 1n));
}

function isZero(value: Integer): boolean {
  return value === 0;
}

/** An exact amount. Make one with `parseQuantity` or `quantity`. */
export class Quantity {
  readonly format: QuantityFormat;
  readonly #value: Integer;
  readonly #scale: number;
  #text: string | undefined;

  /** `value × 10^scale`. `text`: how it was written, where that counts as canonical. */
  constructor(value: Integer, scale: number, format: QuantityFormat, text?: string) {
    this.#value = value;
    this.#scale = scale;
    this.format = format;
    this.#text = text;
  }

  /** -1, 0 or 1. */
  get sign(): number {
    return this.#value < 0 ? -1 : this.#value > 0 ? 1 : 0;
  }

  get isZero(): boolean {
    return isZero(this.#value);
  }

  /** The amount in units of `10^scale`, rounded away from zero. Inexact beyond 2^53. */
  scaled(scale: number): number {
    const places = this.#scale - scale;
    if (places === 0) return Number(this.#value);
    if (places > 0) return Number(multiply(this.#value, power(places)));
    return Number(shrink(this.#value, -places));
  }

  /** The amount as a whole number, rounded away from zero. */
  value(): number {
    return this.scaled(0);
  }

  /** The amount in thousandths, rounded away from zero. */
  milliValue(): number {
    return this.scaled(-3);
  }

  /** The amount as a float, for ratios. */
  approximate(): number {
    return this.#scale === 0 ? Number(this.#value) : Number(`${this.#value}e${this.#scale}`);
  }

  /** Whether it is a whole number of 64 bits, as CEL's `isInteger` asks. */
  asInt64(): bigint | undefined {
    const places = this.#scale;
    let whole: bigint;
    if (places >= 0) whole = BigInt(multiply(this.#value, power(places)));
    else {
      const divisor = 10n ** BigInt(-places);
      if (BigInt(this.#value) % divisor !== 0n) return undefined;
      whole = BigInt(this.#value) / divisor;
    }
    return whole > INT64_MAX || whole < -INT64_MAX - 1n ? undefined : whole;
  }

  /** Negative, 0 or positive as this is less than, equal to or more than `other`. */
  compare(other: Quantity): number {
    const sign = this.sign;
    if (sign !== other.sign) return sign - other.sign;
    if (sign === 0) return 0;
    let a = this.#value;
    let b = other.#value;
    const places = this.#scale - other.#scale;
    if (places > 0) a = multiply(a, power(places));
    else if (places < 0) b = multiply(b, power(-places));
    return a < b ? -1 : a > b ? 1 : 0;
  }

  /** Whether both are the same amount, however written. */
  equals(other: Quantity): boolean {
    return this.compare(other) === 0;
  }

  add(other: Quantity): Quantity {
    return this.#sum(other, other.#value);
  }

  sub(other: Quantity): Quantity {
    return this.#sum(other, multiply(other.#value, -1));
  }

  #sum(other: Quantity, addend: Integer): Quantity {
    const format = this.isZero ? other.format : this.format;
    if (isZero(addend)) return new Quantity(this.#value, this.#scale, format);
    if (this.isZero) return new Quantity(addend, other.#scale, format);
    const places = this.#scale - other.#scale;
    if (places === 0) return new Quantity(plus(this.#value, addend), this.#scale, format);
    return places > 0
      ? new Quantity(plus(multiply(this.#value, power(places)), addend), other.#scale, format)
      : new Quantity(plus(this.#value, multiply(addend, power(-places))), this.#scale, format);
  }

  neg(): Quantity {
    return new Quantity(multiply(this.#value, -1), this.#scale, this.format);
  }

  /** The amount times a whole number. */
  mul(factor: number): Quantity {
    return new Quantity(multiply(this.#value, factor), this.#scale, this.format);
  }

  /** Rounded away from zero to a multiple of `10^scale`. */
  roundUp(scale: number): Quantity {
    if (this.#scale >= scale) return this;
    return new Quantity(shrink(this.#value, scale - this.#scale), scale, this.format);
  }

  /** The canonical text. */
  toString(): string {
    return this.#text ??= this.#canonical();
  }

  toJSON(): string {
    return this.toString();
  }

  #canonical(): string {
    if (this.isZero) return "0";
    if (this.format === "BinarySI") {
      const text = this.#binary();
      if (text !== undefined) return text;
    }
    let value = this.#value;
    let scale = this.#scale;
    while (true) {
      if (typeof value === "number") {
        if (value % 10 !== 0) break;
        value /= 10;
      } else {
        if (value % 10n !== 0n) break;
        value = small(value / 10n);
      }
      scale++;
    }
    const over = ((scale % 3) + 3) % 3;
    value = multiply(value, power(over));
    scale -= over;
    if (this.format === "DecimalExponent") return scale === 0 ? `${value}` : `${value}e${scale}`;
    // Beyond the suffixes upstream drops the exponent and prints a wrong number: we print a long one.
    if (scale > 18) {
      value = multiply(value, power(scale - 18));
      scale = 18;
    }
    return `${value}${DECIMAL_SUFFIX[scale]}`;
  }

  /** The text with a binary suffix; undefined when it is under 1024 or not whole. */
  #binary(): string | undefined {
    let value = this.#value;
    if (this.#scale > 0) value = multiply(value, power(this.#scale));
    else if (this.#scale < 0) {
      const whole = shrink(value, -this.#scale);
      if (BigInt(value) !== BigInt(whole) * 10n ** BigInt(-this.#scale)) return undefined;
      value = whole;
    }
    if (value > -1024 && value < 1024) return undefined;
    let suffix = 0;
    while (suffix < BINARY_SUFFIX.length - 1) {
      if (typeof value === "number") {
        if (value % 1024 !== 0) break;
        value /= 1024;
      } else {
        if (value % 1024n !== 0n) break;
        value = small(value / 1024n);
      }
      suffix++;
    }
    return `${value}${BINARY_SUFFIX[suffix]}`;
  }
}

/** A whole number of `10^scale` units. */
export function quantity(value: number, format: QuantityFormat = "DecimalSI", scale = 0): Quantity {
  return new Quantity(value, scale, format);
}

// --- parsing ------------------------------------------------------------------------------------------

const CACHE_MAX = 4096;
const cache = new Map<string, Quantity>();

/** Parses a quantity as objects hold it (a string, or a number). Throws QuantityError. */
export function parseQuantity(input: string | number): Quantity {
  const text = typeof input === "number" ? String(input) : input;
  const known = cache.get(text);
  if (known) return known;
  const parsed = parse(text.trim());
  // The few texts a cluster uses are parsed once; hostile variety only empties the cache.
  if (cache.size >= CACHE_MAX) cache.clear();
  if (text.length < 64) cache.set(text, parsed);
  return parsed;
}

/** Parses a quantity, or returns undefined. */
export function tryParseQuantity(input: unknown): Quantity | undefined {
  if (typeof input !== "string" && typeof input !== "number") return undefined;
  try {
    return parseQuantity(input);
  } catch (error) {
    if (error instanceof QuantityError) return undefined;
    throw error;
  }
}

/** Upstream's message of a text that is no quantity; undefined when it is one. */
export function quantityProblem(input: string | number): string | undefined {
  try {
    parseQuantity(input);
    return undefined;
  } catch (error) {
    if (error instanceof QuantityError) return error.message;
    throw error;
  }
}

/** The canonical text of a quantity as the API writes it back. */
export function canonicalQuantity(input: string | number): string {
  return parseQuantity(input).toString();
}

/** The last part may begin with what the first could have taken: a text must be short to be tried. */
const TEXT_LENGTH_MAX = QUANTITY_EXPONENT_MAX + 100;
const SHAPE = /^([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)$/;

interface Suffix {
  base: 2 | 10;
  exponent: number;
  format: QuantityFormat;
}

function readSuffix(suffix: string): Suffix {
  const decimal = DECIMAL[suffix];
  if (decimal !== undefined) return { base: 10, exponent: decimal, format: "DecimalSI" };
  const binary = BINARY[suffix];
  if (binary !== undefined) return { base: 2, exponent: binary, format: "BinarySI" };
  const exponent = /^[eE]([+-]?[0-9]+)$/.exec(suffix);
  if (!exponent) throw new QuantityError(SUFFIX_TEXT);
  const value = Number(exponent[1]);
  if (Math.abs(value) > QUANTITY_EXPONENT_MAX) throw new QuantityError(SUFFIX_TEXT);
  return { base: 10, exponent: value, format: "DecimalExponent" };
}

function parse(text: string): Quantity {
  if (text === "" || text.length > TEXT_LENGTH_MAX) throw new QuantityError(FORMAT_TEXT);
  const match = SHAPE.exec(text);
  if (!match) throw new QuantityError(FORMAT_TEXT);
  const negative = match[1] === "-";
  const whole = match[2].replace(/^0+/, "") || "0";
  const fraction = match[3] ?? "";
  const { base, exponent, format } = readSuffix(match[4]);
  const digits = whole + fraction;
  if (digits.length > QUANTITY_EXPONENT_MAX) throw new QuantityError(FORMAT_TEXT);
  if (base === 2 && !/^[+-]?\.?[0-9]/.test(text) && binaryRoom("0", exponent) < 0) {
    throw new QuantityError(NUMERIC_TEXT);
  }
  let value: Integer = digits.length <= 15 ? Number(digits) : small(BigInt(digits));
  const mantissa = value;
  if (base === 2) value = multiply(value, exponent <= 50 ? 2 ** exponent : 2n ** 60n);
  const scale = (base === 10 ? exponent : 0) - fraction.length;
  if (negative) value = multiply(value, -1);
  if (isWrittenCanonically(digits, fraction, mantissa, base, exponent, scale)) {
    return new Quantity(value, scale, format, text);
  }
  return settle(value, scale, format);
}

/** Digits to spare before upstream's fast path gives up on a binary amount. */
function binaryRoom(digits: string, exponent: number): number {
  return 15 - digits.length - Math.trunc(exponent * 3 / 10) - 1;
}

/** Where upstream's fast path keeps the text as it was written. */
function isWrittenCanonically(
  digits: string,
  fraction: string,
  mantissa: Integer,
  base: 2 | 10,
  exponent: number,
  scale: number,
): boolean {
  if (base === 2) {
    return fraction === "" && binaryRoom(digits, exponent) >= 0 && Number(mantissa) % 8 !== 0;
  }
  return digits.length <= INT64_DIGITS && scale >= NANO && scale % 3 === 0 &&
    !digits.endsWith("000") && digits[0] !== "0";
}

/** Rounds to nanos and caps binary amounts at 2^63 - 1, as upstream's slow path does. */
function settle(value: Integer, scale: number, format: QuantityFormat): Quantity {
  if (isZero(value)) return new Quantity(0, 0, format);
  if (scale < NANO) {
    value = shrink(value, NANO - scale);
    scale = NANO;
  }
  if (format === "BinarySI") {
    const result = new Quantity(value, scale, format);
    const limit = new Quantity(INT64_MAX, 0, format);
    const sign = result.sign;
    const amount = sign < 0 ? result.neg() : result;
    if (amount.compare(limit) > 0) return sign < 0 ? limit.neg() : limit;
    if (amount.compare(ONE) < 0) return new Quantity(value, scale, "DecimalSI");
    return result;
  }
  return new Quantity(value, scale, format);
}

const ONE = new Quantity(1, 0, "DecimalSI");
