/**
 * Addresses of one range, handed out one at a time. The next address is the one after the last given,
 * so that an address rests as long as possible before it names another pod.
 */

/** An IPv4 address as a number. */
export function parseIPv4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    const byte = Number(part);
    if (!/^\d{1,3}$/.test(part) || byte > 255) return undefined;
    value = value * 256 + byte;
  }
  return value;
}

/** The dotted form. */
export function formatIPv4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** A range such as `10.244.3.0/24`. */
export function parseRange(text: string): { first: number; size: number } | undefined {
  const slash = text.indexOf("/");
  const base = parseIPv4(text.slice(0, slash));
  const bits = Number(text.slice(slash + 1));
  if (slash < 0 || base === undefined || !(bits >= 0 && bits <= 32)) return undefined;
  const size = 2 ** (32 - bits);
  return { first: Math.floor(base / size) * size, size };
}

/** See the module's text. The first two and the last address of the range are never given. */
export class AddressPool {
  readonly #first: number;
  readonly #size: number;
  readonly #taken = new Set<number>();
  #next: number;

  constructor(range: string) {
    const parsed = parseRange(range);
    if (!parsed || parsed.size < 8) {
      throw new TypeError(
        `Cannot hand out addresses of "${range}": not an IPv4 range of 8 or more`,
      );
    }
    this.#first = parsed.first;
    this.#size = parsed.size;
    this.#next = 2;
  }

  get free(): number {
    return this.#size - 3 - this.#taken.size;
  }

  /** An address nobody has: `preferred` if that is free and of this range. */
  take(preferred?: string): string {
    const wish = preferred === undefined ? undefined : this.#offset(preferred);
    if (wish !== undefined && !this.#taken.has(wish)) {
      this.#taken.add(wish);
      return formatIPv4(this.#first + wish);
    }
    if (this.free <= 0) {
      throw new Error(`no addresses left in ${formatIPv4(this.#first)}/${this.#bits()}`);
    }
    for (;;) {
      const offset = this.#next;
      this.#next = this.#next + 1 >= this.#size - 1 ? 2 : this.#next + 1;
      if (this.#taken.has(offset)) continue;
      this.#taken.add(offset);
      return formatIPv4(this.#first + offset);
    }
  }

  give(address: string): void {
    const offset = this.#offset(address);
    if (offset !== undefined) this.#taken.delete(offset);
  }

  #bits(): number {
    return 32 - Math.log2(this.#size);
  }

  #offset(address: string): number | undefined {
    const value = parseIPv4(address);
    if (value === undefined) return undefined;
    const offset = value - this.#first;
    return offset >= 2 && offset < this.#size - 1 ? offset : undefined;
  }
}
