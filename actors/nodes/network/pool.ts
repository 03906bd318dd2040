/**
 * Addresses of one range, handed out one at a time. The next address is the one after the last given,
 * so that an address rests as long as possible before it names another pod.
 */

import { formatIp, parseIp } from "../../../api/machinery/ip.ts";
import { formatAddress, type IpRange, parseAddress, parseIpRange } from "./ip_range.ts";

/** The n-th address of a range. */
export function addressAt(range: string, index: number): string {
  const { family, first } = parseIpRange(range)!;
  return textOf(first + BigInt(index), family);
}

/** The usual form of an address: that of IPv6 is as short as it can be. */
function textOf(value: bigint, family: IpRange["family"]): string {
  const text = formatAddress(value, family);
  return family === 4 ? text : formatIp(parseIp(text)!);
}

/** Of a range of IPv6 so many addresses are used. */
const SIZE_MAX = 2 ** 32;

/** See the module's text. The first two and the last address of the range are never given. */
export class AddressPool {
  readonly #range: string;
  readonly #family: IpRange["family"];
  readonly #first: bigint;
  readonly #size: number;
  readonly #taken = new Set<number>();
  #next: number;

  constructor(range: string) {
    const parsed = parseIpRange(range);
    const size = parsed ? Number(parsed.last - parsed.first) + 1 : 0;
    if (!parsed || size < 8) {
      throw new TypeError(`Cannot hand out addresses of "${range}": not a range of 8 or more`);
    }
    this.#range = range;
    this.#family = parsed.family;
    this.#first = parsed.first;
    this.#size = Math.min(size, SIZE_MAX);
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
      return this.#text(wish);
    }
    if (this.free <= 0) {
      throw new Error(`no addresses left in ${this.#range}`);
    }
    for (;;) {
      const offset = this.#next;
      this.#next = this.#next + 1 >= this.#size - 1 ? 2 : this.#next + 1;
      if (this.#taken.has(offset)) continue;
      this.#taken.add(offset);
      return this.#text(offset);
    }
  }

  give(address: string): void {
    const offset = this.#offset(address);
    if (offset !== undefined) this.#taken.delete(offset);
  }

  #text(offset: number): string {
    return textOf(this.#first + BigInt(offset), this.#family);
  }

  #offset(address: string): number | undefined {
    const parsed = parseAddress(address);
    if (parsed?.family !== this.#family) return undefined;
    const offset = Number(parsed.value - this.#first);
    return offset >= 2 && offset < this.#size - 1 ? offset : undefined;
  }
}
