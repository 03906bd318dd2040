/**
 * IP addresses and CIDR blocks: parsing as Go's `net` and `netip` do it, canonical text (RFC 5952),
 * containment. Pure and without regular expressions, because addresses of every Endpoint pass here.
 */

/** An address: 4 or 16 bytes. An IPv4-mapped IPv6 address stays 16 bytes here; see `mapped`. */
export interface Ip {
  readonly family: 4 | 6;
  readonly bytes: readonly number[];
  /** Written as `::ffff:a.b.c.d`. */
  readonly mapped: boolean;
  /** Some IPv4 octet was written with leading zeros (only found when parsed sloppily). */
  readonly leadingZeros: boolean;
}

/** A block: an address and how many of its bits count. */
export interface Cidr {
  readonly ip: Ip;
  readonly bits: number;
  /** The prefix length was written with leading zeros. */
  readonly leadingZeros: boolean;
}

const IPV4_OCTETS = 4;
const IPV6_GROUPS = 8;

function parseOctets(
  text: string,
  sloppy: boolean,
): { bytes: number[]; zeros: boolean } | undefined {
  const bytes: number[] = [];
  let zeros = false;
  let value = 0;
  let digits = 0;
  let leading = false;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 0x2e;
    if (code === 0x2e) {
      if (digits === 0 || bytes.length === IPV4_OCTETS) return undefined;
      bytes.push(value);
      value = digits = 0;
      leading = false;
    } else if (code >= 0x30 && code <= 0x39) {
      if (leading) {
        if (!sloppy) return undefined;
        zeros = true;
      }
      if (digits === 0 && code === 0x30) leading = true;
      value = value * 10 + code - 0x30;
      digits++;
      if (value > 255) return undefined;
    } else return undefined;
  }
  return bytes.length === IPV4_OCTETS ? { bytes, zeros } : undefined;
}

function parseGroup(text: string): number {
  if (text.length === 0 || text.length > 4) return -1;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = hexDigit(text.charCodeAt(i));
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  if (code >= 0x61 && code <= 0x66) return code - 0x57;
  if (code >= 0x41 && code <= 0x46) return code - 0x37;
  return -1;
}

/** The groups between colons; the last may be a dotted quad, which becomes two groups. */
function parseGroups(
  text: string,
  last: boolean,
  sloppy: boolean,
): { groups: number[]; zeros: boolean } | undefined {
  if (text === "") return { groups: [], zeros: false };
  const parts = text.split(":");
  const groups: number[] = [];
  let zeros = false;
  for (let i = 0; i < parts.length; i++) {
    if (last && i === parts.length - 1 && parts[i].includes(".")) {
      const quad = parseOctets(parts[i], sloppy);
      if (!quad) return undefined;
      zeros = quad.zeros;
      const [a, b, c, d] = quad.bytes;
      groups.push(a * 256 + b, c * 256 + d);
    } else {
      const group = parseGroup(parts[i]);
      if (group < 0) return undefined;
      groups.push(group);
    }
  }
  return { groups, zeros };
}

function parseIpv6(text: string, sloppy: boolean): Ip | undefined {
  const gap = text.indexOf("::");
  let groups: number[];
  let zeros: boolean;
  if (gap < 0) {
    const all = parseGroups(text, true, sloppy);
    if (!all || all.groups.length !== IPV6_GROUPS) return undefined;
    ({ groups, zeros } = all);
  } else {
    const head = parseGroups(text.slice(0, gap), false, sloppy);
    const tail = parseGroups(text.slice(gap + 2), true, sloppy);
    if (!head || !tail) return undefined;
    const missing = IPV6_GROUPS - head.groups.length - tail.groups.length;
    if (missing < 1) return undefined;
    groups = [...head.groups, ...new Array<number>(missing).fill(0), ...tail.groups];
    zeros = tail.zeros;
  }
  const bytes: number[] = [];
  for (const group of groups) bytes.push(group >> 8, group & 255);
  const mapped = groups.slice(0, 5).every((g) => g === 0) && groups[5] === 0xffff;
  return { family: 6, bytes, mapped, leadingZeros: zeros };
}

/**
 * Parses an address; undefined when it is none. Zones (`fe80::1%eth0`) are refused. With `sloppy`, IPv4
 * octets may have leading zeros, as upstream's old fields allow.
 */
export function parseIp(text: string, options: { sloppy?: boolean } = {}): Ip | undefined {
  const sloppy = options.sloppy ?? false;
  if (text.includes(":")) return parseIpv6(text, sloppy);
  const quad = parseOctets(text, sloppy);
  return quad && { family: 4, bytes: quad.bytes, mapped: false, leadingZeros: quad.zeros };
}

/** The address as Go's `net.IP` sees it: an IPv4-mapped IPv6 address is an IPv4 address. */
export function unmapped(ip: Ip): Ip {
  if (!ip.mapped) return ip;
  return { family: 4, bytes: ip.bytes.slice(12), mapped: false, leadingZeros: ip.leadingZeros };
}

/** Canonical text: dotted quad, or RFC 5952 (mapped addresses as `::ffff:1.2.3.4`). */
export function formatIp(ip: Ip): string {
  if (ip.family === 4) return ip.bytes.join(".");
  if (ip.mapped) return `::ffff:${ip.bytes.slice(12).join(".")}`;
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(ip.bytes[i] * 256 + ip.bytes[i + 1]);
  const gap = longestZeros(groups);
  if (!gap) return groups.map((g) => g.toString(16)).join(":");
  const head = groups.slice(0, gap.start).map((g) => g.toString(16)).join(":");
  const tail = groups.slice(gap.start + gap.length).map((g) => g.toString(16)).join(":");
  return `${head}::${tail}`;
}

function longestZeros(groups: number[]): { start: number; length: number } | undefined {
  let best: { start: number; length: number } | undefined;
  for (let i = 0; i < groups.length; i++) {
    if (groups[i] !== 0) continue;
    let end = i;
    while (end < groups.length && groups[end] === 0) end++;
    if (end - i >= 2 && end - i > (best?.length ?? 0)) best = { start: i, length: end - i };
    i = end;
  }
  return best;
}

/** Parses `address/bits`; undefined when it is none. Bits beyond the prefix are kept. */
export function parseCidr(text: string, options: { sloppy?: boolean } = {}): Cidr | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash), options);
  const bitsText = text.slice(slash + 1);
  if (!ip || !/^[0-9]{1,3}$/.test(bitsText)) return undefined;
  const leadingZeros = bitsText.length > 1 && bitsText[0] === "0";
  if (leadingZeros && !options.sloppy) return undefined;
  const bits = Number(bitsText);
  return bits <= ip.bytes.length * 8 ? { ip, bits, leadingZeros } : undefined;
}

/** The block's first address: the bits beyond the prefix cleared. */
export function masked(cidr: Cidr): Ip {
  const bytes = cidr.ip.bytes.map((byte, i) => {
    const keep = Math.min(8, Math.max(0, cidr.bits - i * 8));
    return byte & (0xff00 >> keep) & 0xff;
  });
  const mapped = cidr.ip.mapped && cidr.bits >= 96;
  return { family: cidr.ip.family, bytes, mapped, leadingZeros: false };
}

/** Canonical text of the block: `first/bits`. */
export function formatCidr(cidr: Cidr): string {
  return `${formatIp(masked(cidr))}/${cidr.bits}`;
}

/** Whether the block holds the address; never across families. */
export function cidrContains(cidr: Cidr, ip: Ip): boolean {
  if (cidr.ip.family !== ip.family) return false;
  const inner = masked({ ip, bits: cidr.bits, leadingZeros: false });
  return masked(cidr).bytes.every((byte, i) => byte === inner.bytes[i]);
}

/** Whether two addresses are the same, mapped IPv6 counting as IPv4. */
export function sameIp(a: Ip, b: Ip): boolean {
  const x = unmapped(a);
  const y = unmapped(b);
  return x.family === y.family && x.bytes.every((byte, i) => byte === y.bytes[i]);
}
