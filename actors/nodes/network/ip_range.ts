/** Ranges of addresses of both families, as numbers. Pure. */

/** From the first address to the last, both of it. */
export interface IpRange {
  family: 4 | 6;
  first: bigint;
  last: bigint;
}

/** An address as a number; undefined: not an address. */
export function parseAddress(text: string): { family: 4 | 6; value: bigint } | undefined {
  if (!text.includes(":")) {
    const bytes = text.split(".");
    if (bytes.length !== 4 || !bytes.every((b) => /^\d{1,3}$/.test(b) && Number(b) < 256)) {
      return undefined;
    }
    return { family: 4, value: bytes.reduce((value, b) => value * 256n + BigInt(b), 0n) };
  }
  const [head, tail, more] = text.split("::");
  if (more !== undefined) return undefined;
  const left = wordsOf(head);
  const right = tail === undefined ? [] : wordsOf(tail);
  if (!left || !right) return undefined;
  const gap = 8 - left.length - right.length;
  if (tail === undefined ? gap !== 0 : gap < 1) return undefined;
  const words = [...left, ...Array(gap).fill(0n), ...right];
  return { family: 6, value: words.reduce((value, word) => (value << 16n) | word, 0n) };
}

/** Words of a part of an IPv6 address, its last one perhaps in IPv4's form. */
function wordsOf(part: string): bigint[] | undefined {
  if (part === "") return [];
  const words: bigint[] = [];
  for (const piece of part.split(":")) {
    const dotted = piece.includes(".") ? parseAddress(piece) : undefined;
    if (dotted) words.push(dotted.value >> 16n, dotted.value & 0xffffn);
    else if (/^[0-9a-f]{1,4}$/i.test(piece)) words.push(BigInt(`0x${piece}`));
    else return undefined;
  }
  return words;
}

/** A range such as `10.0.0.0/8`, or one address; bits beyond the prefix are ignored. */
export function parseIpRange(text: string): IpRange | undefined {
  const [address, prefix] = text.split("/");
  const parsed = parseAddress(address);
  if (!parsed) return undefined;
  const width = parsed.family === 4 ? 32 : 128;
  const bits = prefix === undefined ? width : Number(prefix);
  if (!Number.isInteger(bits) || bits < 0 || bits > width) return undefined;
  const host = (1n << BigInt(width - bits)) - 1n;
  const first = parsed.value & ~host;
  return { family: parsed.family, first, last: first | host };
}

/** The usual form of an address; IPv6 without any shortening but leading zeros, which every program reads. */
export function formatAddress(value: bigint, family: 4 | 6): string {
  const [count, bits, radix, mark] = family === 4
    ? [4, 8n, 10, "."] as const
    : [8, 16n, 16, ":"] as const;
  return Array.from({ length: count }, (_, i) => {
    const part = (value >> (bits * BigInt(count - 1 - i))) & ((1n << bits) - 1n);
    return part.toString(radix);
  }).join(mark);
}

/** `first-last`, or one address: what nftables takes for any range. */
export function formatRange({ family, first, last }: IpRange): string {
  const from = formatAddress(first, family);
  return first === last ? from : `${from}-${formatAddress(last, family)}`;
}

export function includes(range: IpRange, other: IpRange): boolean {
  return range.family === other.family && range.first <= other.first && range.last >= other.last;
}

/** Whether an address, or a range, is of a range. */
export function isWithin(range: IpRange, other: string): boolean {
  const parsed = parseIpRange(other);
  return parsed !== undefined && includes(range, parsed);
}

/** Ranges of one family as few that touch nowhere, in order. */
export function merged(ranges: readonly IpRange[]): IpRange[] {
  const sorted = [...ranges].sort((a, b) => a.first < b.first ? -1 : a.first > b.first ? 1 : 0);
  const result: IpRange[] = [];
  for (const range of sorted) {
    const end = result.at(-1);
    if (end && range.first <= end.last + 1n) {
      if (range.last > end.last) end.last = range.last;
    } else result.push({ ...range });
  }
  return result;
}

/** What is left of a range without some others. */
export function without(range: IpRange, except: readonly IpRange[]): IpRange[] {
  const left: IpRange[] = [];
  let { first } = range;
  for (const hole of merged(except.filter(({ family }) => family === range.family))) {
    if (hole.last < first || hole.first > range.last) continue;
    if (hole.first > first) left.push({ family: range.family, first, last: hole.first - 1n });
    first = hole.last + 1n;
  }
  if (first <= range.last) left.push({ family: range.family, first, last: range.last });
  return left;
}
