/**
 * What Kubernetes adds to CEL: regular expressions, quantities, addresses, formats, keys of patches; and the
 * libraries of texts, lists, URLs and semantic versions.
 */
import {
  type Cidr,
  cidrContains,
  formatCidr,
  formatIp,
  type Ip,
  masked,
  parseCidr,
  parseIp,
} from "../ip.ts";
import { formatCheck } from "../crd/formats.ts";
import { goQuote } from "../go_format.ts";
import {
  isConfigMapKey,
  isDns1035Label,
  isDns1123Label,
  isDns1123Subdomain,
  isLabelValue,
  isQualifiedName,
  nameIsDns1035Label,
  nameIsDnsLabel,
  nameIsDnsSubdomain,
} from "../names.ts";
import { parseQuantity, Quantity, QuantityError, tryParseQuantity } from "../quantity.ts";
import { noOverload } from "./code.ts";
import { compiledPattern, longSearch } from "./core_library.ts";
import { defineLists } from "./list_library.ts";
import { define, method } from "./registry.ts";
import { defineTexts } from "./text_library.ts";
import { defineUrls, urlProblem } from "./url_library.ts";
import { work } from "./lane.ts";
import { CelError, NONE, Opaque, Optional, textOf } from "./values.ts";
import { defineSemver } from "./semver.ts";

/** JSON may have spaces around quantities, expressions may not: they make it no quantity. */
function unspaced(text: string): string {
  return /^\s|\s$/.test(text) ? "?" : text;
}

function regex(): void {
  const found = (text: string, pattern: string, limit: number): string[] => {
    const compiled = compiledPattern(pattern);
    const long = longSearch(compiled, text, { limit })?.spans;
    if (long) {
      work(100 * long.length);
      return long.map(([start, end]) => text.slice(start, end));
    }
    const all: string[] = [];
    const matcher = compiled.matcher(text);
    while (all.length < limit && matcher.find()) {
      work(100);
      all.push(matcher.group() ?? "");
    }
    return all;
  };
  const all = (text: string, pattern: string, limit = -1n) =>
    found(text, pattern, limit < 0n ? Infinity : Number(limit));
  method("string", "find", ["string"], "string", (text: string, pattern: string) => {
    return found(text, pattern, 1)[0] ?? "";
  });
  method("string", "findAll", ["string"], "list<string>", all);
  method("string", "findAll", ["string", "int"], "list<string>", all);
}

function quantities(): void {
  const wrap = (q: Quantity) => new Opaque("kubernetes.Quantity", q, q.toString());
  const of = (v: Opaque) => v.value as Quantity;
  define(
    "isQuantity",
    ["string"],
    "bool",
    (v: string) => {
      work(200);
      return tryParseQuantity(unspaced(v)) !== undefined;
    },
  );
  define("quantity", ["string"], "quantity", (v: string) => {
    work(200);
    try {
      return wrap(parseQuantity(unspaced(v)));
    } catch (error) {
      if (error instanceof QuantityError) throw new CelError(error.message);
      throw error;
    }
  });
  define("sign", ["quantity"], "int", (q: Opaque) => BigInt(of(q).sign));
  method("quantity", "isInteger", [], "bool", (q: Opaque) => of(q).asInt64() !== undefined);
  method("quantity", "asInteger", [], "int", (q: Opaque) => {
    const value = of(q).asInt64();
    if (value === undefined) throw new CelError("cannot convert value to integer");
    return value;
  });
  method("quantity", "asApproximateFloat", [], "double", (q: Opaque) => of(q).approximate());
  const operate = (name: "add" | "sub") => {
    method("quantity", name, ["quantity"], "quantity", (a: Opaque, b: Opaque) => {
      return wrap(of(a)[name](of(b)));
    });
    method("quantity", name, ["int"], "quantity", (a: Opaque, b: bigint) => {
      return wrap(of(a)[name](parseQuantity(String(b))));
    });
  };
  operate("add");
  operate("sub");
  method("quantity", "compareTo", ["quantity"], "int", (a: Opaque, b: Opaque) => {
    return BigInt(Math.sign(of(a).compare(of(b))));
  });
  method("quantity", "isGreaterThan", ["quantity"], "bool", (a: Opaque, b: Opaque) => {
    return of(a).compare(of(b)) > 0;
  });
  method("quantity", "isLessThan", ["quantity"], "bool", (a: Opaque, b: Opaque) => {
    return of(a).compare(of(b)) < 0;
  });
}

/** Why a text is no address, as Go's netip says it: what, and from where on. */
function addressProblem(text: string): string {
  const mark = /[.:%]/.exec(text)?.[0];
  if (mark === undefined) return "unable to parse IP";
  if (mark === "%") return "missing IPv6 address";
  return mark === ":" ? sixProblem(text) : fourProblem(text);
}

function at(what: string, rest: string): string {
  return `${what} (at ${goQuote(rest)})`;
}

function fourProblem(text: string): string {
  let value = "";
  let fields = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (/[0-9]/.test(char)) {
      if (value === "0") return "IPv4 field has octet with leading zero";
      value += char;
      if (Number(value) > 255) return "IPv4 field has value >255";
    } else if (char !== ".") return at("unexpected character", text.slice(i));
    else if (i === 0 || i === text.length - 1 || text[i - 1] === ".") {
      return at("IPv4 field must have at least one digit", text.slice(i));
    } else if (fields++ === 3) return "IPv4 address too long";
    else value = "";
  }
  return "IPv4 address too short";
}

function sixProblem(text: string): string {
  const [address, zone] = text.split(/%(.*)/s);
  if (zone === "") return "zone must be a non-empty string";
  let ellipsis = address.startsWith("::");
  let rest = ellipsis ? address.slice(2) : address;
  let bytes = 0;
  while (bytes < 16) {
    const [digits] = /^[0-9a-fA-F]*/.exec(rest)!;
    if (digits.length > 4) return at("each group must have 4 or less digits", rest);
    if (digits === "") return at("each colon-separated field must have at least one digit", rest);
    if (rest[digits.length] === ".") {
      if (!ellipsis && bytes !== 12) {
        return at("embedded IPv4 address must replace the final 2 fields of the address", rest);
      }
      return bytes + 4 > 16
        ? at("too many hex fields to fit an embedded IPv4 at the end of the address", rest)
        : fourProblem(rest);
    }
    bytes += 2;
    rest = rest.slice(digits.length);
    if (rest === "") break;
    if (rest[0] !== ":") return at("unexpected character, want colon", rest);
    if (rest.length === 1) return at("colon must be followed by more characters", rest);
    rest = rest.slice(1);
    if (rest[0] !== ":") continue;
    if (ellipsis) return at("multiple :: in address", rest);
    ellipsis = true;
    rest = rest.slice(1);
    if (rest === "") break;
  }
  if (rest !== "") return at("trailing garbage after address", rest);
  return ellipsis
    ? "the :: must expand to at least one field of zeros"
    : "address string too short";
}

function parseAddress(text: string): string {
  return `ParseAddr(${goQuote(text)}): ${addressProblem(text)}`;
}

/** As upstream: no zones, no leading zeros, no IPv4 in IPv6. */
function strictIp(text: string): Ip {
  const percent = text.indexOf("%");
  if (percent > 0 && parseIp(text.slice(0, percent))?.family === 6 && percent < text.length - 1) {
    throw new CelError(`IP address ${goQuote(text)} with zone value is not allowed`);
  }
  const ip = parseIp(text);
  if (!ip) {
    const what = `IP Address ${goQuote(text)} parse error during conversion from string`;
    throw new CelError(`${what}: ${parseAddress(text)}`);
  }
  if (ip.mapped) {
    throw new CelError(`IPv4-mapped IPv6 address ${goQuote(text)} is not allowed`);
  }
  return ip;
}

function prefixProblem(text: string): string {
  const slash = text.lastIndexOf("/");
  if (slash < 0) return "no '/'";
  const address = text.slice(0, slash);
  const bits = text.slice(slash + 1);
  if (!parseIp(address)) return parseAddress(address);
  if (address.includes("%")) return "IPv6 zones cannot be present in a prefix";
  if (!/^(0|[1-9][0-9]*)$/.test(bits)) return `bad bits after slash: ${goQuote(bits)}`;
  return "prefix length out of range";
}

function strictCidr(text: string): Cidr {
  const what = "network address parse error during conversion from string";
  const cidr = parseCidr(text);
  if (!cidr) {
    const why = `netip.ParsePrefix(${goQuote(text)}): ${prefixProblem(text)}`;
    throw new CelError(`${what}: ${what}: ${why}`);
  }
  if (cidr.ip.mapped) {
    throw new CelError(`${what}: IPv4-mapped IPv6 address ${goQuote(text)} is not allowed`);
  }
  return cidr;
}

function succeeds(run: (text: string) => unknown): (text: string) => boolean {
  return (text) => {
    try {
      run(text);
      return true;
    } catch (error) {
      if (error instanceof CelError) return false;
      throw error;
    }
  };
}

const isStrictIp = succeeds(strictIp);

const wrapIp = (ip: Ip) => new Opaque("net.IP", ip, formatIp(ip), ip.bytes.length);
const ipOf = (v: Opaque) => v.value as Ip;

function addresses(): void {
  define("isIP", ["string"], "bool", isStrictIp);
  define("ip", ["string"], "net.IP", (v: string) => wrapIp(strictIp(v)));
  define(
    "ip.isCanonical",
    ["string"],
    "bool",
    (v: string) => formatIp(strictIp(v)) === v,
  );
  define("string", ["net.IP"], "string", textOf);
  method("net.IP", "family", [], "int", (v: Opaque) => BigInt(ipOf(v).family));
  const test = (name: string, run: (bytes: readonly number[], six: boolean) => boolean) =>
    method("net.IP", name, [], "bool", (v: Opaque) => run(ipOf(v).bytes, ipOf(v).family === 6));
  const unspecified = (b: readonly number[]) => b.every((x) => x === 0);
  const loopback = (b: readonly number[], six: boolean) =>
    six ? b.slice(0, 15).every((x) => x === 0) && b[15] === 1 : b[0] === 127;
  const multicast = (b: readonly number[], six: boolean) => six ? b[0] === 0xff : b[0] >> 4 === 14;
  const linkLocal = (b: readonly number[], six: boolean) =>
    six ? b[0] === 0xfe && (b[1] & 0xc0) === 0x80 : b[0] === 169 && b[1] === 254;
  test("isUnspecified", unspecified);
  test("isLoopback", loopback);
  test(
    "isLinkLocalMulticast",
    (b, six) =>
      six ? b[0] === 0xff && (b[1] & 0x0f) === 2 : b[0] === 224 && b[1] === 0 && b[2] === 0,
  );
  test("isLinkLocalUnicast", linkLocal);
  test("isGlobalUnicast", (b, six) => {
    const broadcast = !six && b.every((x) => x === 255);
    return !broadcast && !unspecified(b) && !loopback(b, six) && !multicast(b, six) &&
      !linkLocal(b, six);
  });
}

function networks(): void {
  const wrapCidr = (cidr: Cidr) =>
    new Opaque("net.CIDR", cidr, `${formatIp(cidr.ip)}/${cidr.bits}`, Math.ceil(cidr.bits / 8));
  const cidrOf = (v: Opaque) => v.value as Cidr;
  define("isCIDR", ["string"], "bool", succeeds(strictCidr));
  define("cidr", ["string"], "net.CIDR", (v: string) => wrapCidr(strictCidr(v)));
  define("string", ["net.CIDR"], "string", textOf);
  const hasIp = (c: Opaque, ip: Ip) => cidrContains(cidrOf(c), ip);
  method("net.CIDR", "containsIP", ["net.IP"], "bool", (c: Opaque, v: Opaque) => hasIp(c, ipOf(v)));
  method(
    "net.CIDR",
    "containsIP",
    ["string"],
    "bool",
    (c: Opaque, v: string) => isStrictIp(v) ? hasIp(c, strictIp(v)) : noOverload(),
  );
  const hasCidr = (c: Opaque, other: Cidr) =>
    cidrContains(cidrOf(c), other.ip) && cidrOf(c).bits <= other.bits;
  method(
    "net.CIDR",
    "containsCIDR",
    ["net.CIDR"],
    "bool",
    (c: Opaque, v: Opaque) => hasCidr(c, cidrOf(v)),
  );
  method(
    "net.CIDR",
    "containsCIDR",
    ["string"],
    "bool",
    (c: Opaque, v: string) => hasCidr(c, strictCidr(v)),
  );
  method("net.CIDR", "ip", [], "net.IP", (c: Opaque) => wrapIp(cidrOf(c).ip));
  method("net.CIDR", "prefixLength", [], "int", (c: Opaque) => BigInt(cidrOf(c).bits));
  method("net.CIDR", "masked", [], "net.CIDR", (c: Opaque) => {
    return new Opaque("net.CIDR", { ...cidrOf(c), ip: masked(cidrOf(c)) }, formatCidr(cidrOf(c)));
  });
}

function byFormat(name: string, what: string): (text: string) => string[] {
  return (text) => formatCheck(name)!(text) ? [] : [`invalid ${what}`];
}

const FORMATS: Record<string, (text: string) => string[]> = {
  dns1123Label: isDns1123Label,
  dns1123Subdomain: isDns1123Subdomain,
  dns1035Label: isDns1035Label,
  qualifiedName: isQualifiedName,
  dns1123LabelPrefix: (text) => nameIsDnsLabel(text, true),
  dns1123SubdomainPrefix: (text) => nameIsDnsSubdomain(text, true),
  dns1035LabelPrefix: (text) => nameIsDns1035Label(text, true),
  labelValue: isLabelValue,
  configMapKey: isConfigMapKey,
  uri: (text) => [urlProblem(text) ?? []].flat(),
  uuid: (text) => formatCheck("uuid")!(text) ? [] : ["does not match the UUID format"],
  byte: byFormat("byte", "base64"),
  date: byFormat("date", "date"),
  datetime: byFormat("datetime", "datetime"),
};

function formats(): void {
  const wrap = (name: string) => new Opaque("kubernetes.NamedFormat", FORMATS[name], name);
  for (const name of Object.keys(FORMATS)) {
    define(`format.${name}`, [], "format", () => wrap(name));
  }
  define("format.named", ["string"], "optional<format>", (name: string) => {
    return Object.hasOwn(FORMATS, name) ? new Optional(true, wrap(name)) : NONE;
  });
  method("format", "validate", ["string"], "optional<list<string>>", (f: Opaque, text: string) => {
    const messages = (f.value as (text: string) => string[])(text);
    return messages.length ? new Optional(true, messages) : NONE;
  });
}

/** A key as JSON pointers write it; for expressions that make patches. */
function patches(): void {
  define("jsonpatch.escapeKey", ["string"], "string", (key: string) => {
    return key.replaceAll("~", "~0").replaceAll("/", "~1");
  });
}

/** Defines everything here. */
export function defineExtensions(): void {
  defineTexts();
  defineLists();
  regex();
  defineUrls();
  patches();
  quantities();
  addresses();
  networks();
  formats();
  defineSemver();
}
