/**
 * What Kubernetes adds to CEL: strings, lists, sets, regular expressions, URLs, quantities, addresses,
 * formats, semantic versions.
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
import { compiledPattern } from "./core_library.ts";
import {
  bothTextsCost,
  define,
  itemsCost,
  matchCost,
  method,
  productCost,
  searchCost,
  textCost,
} from "./registry.ts";
import {
  CelError,
  compare,
  Duration,
  equal,
  NONE,
  Opaque,
  Optional,
  textOf,
  type Value,
} from "./values.ts";
import { defineSemver } from "./semver.ts";

/** JSON may have spaces around quantities, expressions may not: they make it no quantity. */
function unspaced(text: string): string {
  return /^\s|\s$/.test(text) ? "?" : text;
}

/** Longest list that `lists.range` makes. */
const RANGE_MAX = 10_000n;

function index(value: bigint, length: number): number {
  if (value < 0n || value > BigInt(length)) throw new CelError(`index out of range: ${value}`);
  return Number(value);
}

function strings(): void {
  method("string", "charAt", ["int"], "string", (s: string, i: bigint) => {
    const chars = [...s];
    return chars[index(i, chars.length)] ?? "";
  });
  method("string", "indexOf", ["string"], "int", (s: string, t: string) => {
    return BigInt(s.indexOf(t));
  }, searchCost);
  method("string", "indexOf", ["string", "int"], "int", (s: string, t: string, from: bigint) => {
    if (from < 0n) throw new CelError(`index out of range: ${from}`);
    return from > BigInt(s.length) ? -1n : BigInt(s.indexOf(t, Number(from)));
  }, searchCost);
  method("string", "lastIndexOf", ["string"], "int", (s: string, t: string) => {
    return BigInt(s.lastIndexOf(t));
  }, searchCost);
  method("string", "lastIndexOf", ["string", "int"], "int", (s: string, t: string, to: bigint) => {
    return BigInt(s.lastIndexOf(t, index(to, s.length)));
  }, searchCost);
  method("string", "lowerAscii", [], "string", (s: string) => {
    return s.replace(/[A-Z]+/g, (c) => c.toLowerCase());
  }, textCost);
  method("string", "upperAscii", [], "string", (s: string) => {
    return s.replace(/[a-z]+/g, (c) => c.toUpperCase());
  }, textCost);
  method("string", "trim", [], "string", (s: string) => {
    return s.replace(/^[\t-\r\x85\p{Z}]+|[\t-\r\x85\p{Z}]+$/gu, "");
  }, textCost);
  method("string", "replace", ["string", "string"], "string", (s: string, a: string, b: string) => {
    return replaceSome(s, a, b, -1n);
  }, textCost);
  method("string", "replace", ["string", "string", "int"], "string", replaceSome, textCost);
  method(
    "string",
    "split",
    ["string"],
    "list<string>",
    (s: string, t: string) => s.split(t),
    textCost,
  );
  method("string", "split", ["string", "int"], "list<string>", splitSome, textCost);
  method("string", "substring", ["int"], "string", (s: string, from: bigint) => {
    return s.slice(index(from, s.length));
  }, textCost);
  method("string", "substring", ["int", "int"], "string", (s: string, from: bigint, to: bigint) => {
    if (to < from) throw new CelError(`invalid substring range. start: ${from}, end: ${to}`);
    return s.slice(index(from, s.length), index(to, s.length));
  }, textCost);
  const join = (list: Value[], by = "") => list.map(textOf).join(by);
  method("list<string>", "join", [], "string", (list: Value[]) => join(list), itemsCost);
  method("list<string>", "join", ["string"], "string", join, itemsCost);
  method("string", "format", ["list<dyn>"], "string", format, textCost);
  define("strings.quote", ["string"], "string", (s: string) => JSON.stringify(s), textCost);
}

/** Replaces up to `count` texts, all when that is negative. An empty one is before every character. */
function replaceSome(s: string, a: string, b: string, count: bigint): string {
  const limit = count < 0n ? Infinity : Number(count);
  if (a === "") {
    const characters = ["", ...s];
    return characters.map((one, i) => i < limit ? one + b : one).join("");
  }
  const parts = s.split(a);
  if (parts.length - 1 <= limit) return parts.join(b);
  return [parts.slice(0, limit + 1).join(b), ...parts.slice(limit + 1)].join(a);
}

function splitSome(s: string, by: string, count: bigint): string[] {
  if (count === 0n) return [];
  const parts = s.split(by);
  const limit = Number(count);
  if (count < 0n || parts.length <= limit) return parts;
  return [...parts.slice(0, limit - 1), parts.slice(limit - 1).join(by)];
}

/** printf in CEL's manner. */
function format(text: string, args: Value[]): string {
  let next = 0;
  return text.replace(/%(?:%|(?:\.(\d+))?([sdfexXob]))|%./g, (all, precision, verb) => {
    if (all === "%%") return "%";
    if (!verb) {
      throw new CelError(
        `could not parse formatting clause: unrecognized formatting clause "${all[1]}"`,
      );
    }
    if (next >= args.length) throw new CelError(`index ${next} out of range`);
    return clause(verb, args[next++], precision === undefined ? 6 : Number(precision));
  });
}

function clause(verb: string, value: Value, precision: number): string {
  switch (verb) {
    case "s":
      return textOf(value);
    case "f":
      return Number(textOf(value)).toFixed(precision);
    case "e":
      return Number(textOf(value)).toExponential(precision).replace(/e([+-])(\d)$/, "e$10$2");
    case "d":
      return textOf(value);
    case "b":
      return BigInt(value === true ? 1 : value === false ? 0 : textOf(value)).toString(2);
    case "o":
      return BigInt(textOf(value)).toString(8);
    default: {
      const hex = typeof value === "string"
        ? [...new TextEncoder().encode(value)].map((b) => b.toString(16).padStart(2, "0")).join("")
        : BigInt(textOf(value)).toString(16);
      return verb === "X" ? hex.toUpperCase() : hex;
    }
  }
}

function lists(): void {
  for (
    const type of ["int", "uint", "double", "string", "bool", "bytes", "timestamp", "duration"]
  ) {
    const list = `list<${type}>`;
    method(list, "isSorted", [], "bool", (items: Value[]) => {
      return items.every((item, i) => i === 0 || (compare(items[i - 1], item) ?? 1) <= 0);
    }, itemsCost);
    for (const [name, sign] of [["min", -1], ["max", 1]] as const) {
      method(list, name, [], type, (items: Value[]) => {
        if (items.length === 0) throw new CelError(`${name} called on empty list`);
        return items.reduce((a, b) => (compare(b, a) ?? 0) * sign > 0 ? b : a);
      }, itemsCost);
    }
  }
  method("list<int>", "sum", [], "int", (v: bigint[]) => v.reduce((a, b) => a + b, 0n), itemsCost);
  method(
    "list<double>",
    "sum",
    [],
    "double",
    (v: number[]) => v.reduce((a, b) => a + b, 0),
    itemsCost,
  );
  method("list<duration>", "sum", [], "duration", (v: Duration[]) => {
    return new Duration(v.reduce((sum, one) => sum + one.ms, 0));
  }, itemsCost);
  const end = (item: Value | undefined) => item === undefined ? NONE : new Optional(true, item);
  method("list<A>", "first", [], "optional<A>", (v: Value[]) => end(v[0]));
  method("list<A>", "last", [], "optional<A>", (v: Value[]) => end(v.at(-1)));
  method("list<list<A>>", "flatten", [], "list<A>", (v: Value[][]) => v.flat(), itemsCost);
  define("lists.range", ["int"], "list<int>", (count: bigint) => {
    if (count > RANGE_MAX) throw new CelError(`lists.range: more than ${RANGE_MAX} items`);
    return Array.from({ length: Math.max(0, Number(count)) }, (_, i) => BigInt(i));
  }, () => 10);
  method("list<A>", "indexOf", ["A"], "int", (list: Value[], item: Value) => {
    return BigInt(list.findIndex((other) => equal(other, item)));
  }, itemsCost);
  method("list<A>", "lastIndexOf", ["A"], "int", (list: Value[], item: Value) => {
    return BigInt(list.findLastIndex((other) => equal(other, item)));
  }, itemsCost);
  method("list<A>", "distinct", [], "list<A>", (list: Value[]) => {
    return list.filter((item, i) => list.findIndex((other) => equal(other, item)) === i);
  }, (args) => productCost([args[0], args[0]]));
  method("list<A>", "reverse", [], "list<A>", (list: Value[]) => [...list].reverse(), itemsCost);
  method(
    "list<A>",
    "slice",
    ["int", "int"],
    "list<A>",
    (list: Value[], from: bigint, to: bigint) => {
      return list.slice(index(from, list.length), index(to, list.length));
    },
    itemsCost,
  );
  method("list<A>", "sort", [], "list<A>", (list: Value[]) => {
    return [...list].sort((a, b) => compare(a, b) ?? 0);
  }, itemsCost);
}

function sets(): void {
  const within = (a: Value[], b: Value[]) => b.every((x) => a.some((y) => equal(x, y)));
  define("sets.contains", ["list<A>", "list<A>"], "bool", within, productCost);
  define("sets.equivalent", ["list<A>", "list<A>"], "bool", (a: Value[], b: Value[]) => {
    return within(a, b) && within(b, a);
  }, productCost);
  define("sets.intersects", ["list<A>", "list<A>"], "bool", (a: Value[], b: Value[]) => {
    return a.some((x) => b.some((y) => equal(x, y)));
  }, productCost);
}

function regex(): void {
  method("string", "find", ["string"], "string", (text: string, pattern: string) => {
    const matcher = compiledPattern(pattern).matcher(text);
    return matcher.find() ? matcher.group() ?? "" : "";
  }, matchCost);
  const all = (text: string, pattern: string, limit = -1n) => {
    const found: string[] = [];
    const matcher = compiledPattern(pattern).matcher(text);
    while ((limit < 0n || BigInt(found.length) < limit) && matcher.find()) {
      found.push(matcher.group() ?? "");
    }
    return found;
  };
  method("string", "findAll", ["string"], "list<string>", all, matchCost);
  method("string", "findAll", ["string", "int"], "list<string>", all, matchCost);
}

/** As Go's url.ParseRequestURI: absolute, or a path from the root. */
function parseUrl(text: string): URL | undefined {
  const rooted = text.startsWith("/");
  if (!rooted && !/^[A-Za-z][A-Za-z0-9+.-]*:/.test(text)) return undefined;
  try {
    return new URL(text, rooted ? "http://localhost" : undefined);
  } catch {
    return undefined;
  }
}

function urls(): void {
  define("isURL", ["string"], "bool", (v: string) => parseUrl(v) !== undefined, textCost);
  define("url", ["string"], "url", (v: string) => {
    const url = parseUrl(v);
    if (!url) {
      throw new CelError(
        `URL parse error during conversion from string: parse ${
          JSON.stringify(v)
        }: invalid URI for request`,
      );
    }
    return new Opaque("url", url, v);
  }, textCost);
  const part = (name: string, run: (url: URL, text: string) => Value, type = "string") =>
    method("url", name, [], type, (v: Opaque) => run(v.value as URL, v.text));
  const authority = (text: string) =>
    /^[A-Za-z][A-Za-z0-9+.-]*:\/\/(?:[^@/?#]*@)?([^/?#]*)/.exec(text)?.[1] ?? "";
  part("getScheme", (url, text) => text.startsWith("/") ? "" : url.protocol.slice(0, -1));
  part("getHost", (_, text) => authority(text));
  part("getHostname", (_, text) => authority(text).replace(/:\d*$/, "").replace(/^\[|\]$/g, ""));
  part("getPort", (_, text) => /:(\d*)$/.exec(authority(text))?.[1] ?? "");
  part("getEscapedPath", (url, text) => {
    return url.pathname === "/" && !/^[^?#]*[^/]\/(?:[?#]|$)/.test(text) && !text.startsWith("/")
      ? ""
      : url.pathname;
  });
  part("getQuery", (url) => {
    const query = new Map<Value, Value>();
    for (const key of new Set(url.searchParams.keys())) {
      query.set(key, url.searchParams.getAll(key));
    }
    return query;
  }, "map<string,list<string>>");
}

function quantities(): void {
  const wrap = (q: Quantity) => new Opaque("quantity", q, q.toString());
  const of = (v: Opaque) => v.value as Quantity;
  define(
    "isQuantity",
    ["string"],
    "bool",
    (v: string) => tryParseQuantity(unspaced(v)) !== undefined,
    textCost,
  );
  define("quantity", ["string"], "quantity", (v: string) => {
    try {
      return wrap(parseQuantity(unspaced(v)));
    } catch (error) {
      if (error instanceof QuantityError) throw new CelError(error.message);
      throw error;
    }
  }, textCost);
  define("sign", ["quantity"], "int", (q: Opaque) => BigInt(of(q).sign));
  method("quantity", "sign", [], "int", (q: Opaque) => BigInt(of(q).sign));
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

/** As upstream: no zones, no leading zeros, no IPv4 in IPv6. */
function strictIp(text: string): Ip {
  const ip = parseIp(text);
  if (!ip) {
    throw new CelError(
      `IP Address ${
        JSON.stringify(text)
      } parse error during conversion from string: unable to parse IP`,
    );
  }
  if (ip.mapped) {
    throw new CelError(`IPv4-mapped IPv6 address ${JSON.stringify(text)} is not allowed`);
  }
  return ip;
}

function strictCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (!cidr || cidr.ip.mapped) {
    throw new CelError(
      `network address parse error during conversion from string: invalid CIDR address ${
        JSON.stringify(text)
      }`,
    );
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

const wrapIp = (ip: Ip) => new Opaque("net.IP", ip, formatIp(ip));
const ipOf = (v: Opaque) => v.value as Ip;

function addresses(): void {
  define("isIP", ["string"], "bool", succeeds(strictIp), textCost);
  define("ip", ["string"], "net.IP", (v: string) => wrapIp(strictIp(v)), textCost);
  define(
    "ip.isCanonical",
    ["string"],
    "bool",
    (v: string) => formatIp(strictIp(v)) === v,
    textCost,
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
    new Opaque("net.CIDR", cidr, `${formatIp(cidr.ip)}/${cidr.bits}`);
  const cidrOf = (v: Opaque) => v.value as Cidr;
  define("isCIDR", ["string"], "bool", succeeds(strictCidr), textCost);
  define("cidr", ["string"], "net.CIDR", (v: string) => wrapCidr(strictCidr(v)), textCost);
  define("string", ["net.CIDR"], "string", textOf);
  const hasIp = (c: Opaque, ip: Ip) => cidrContains(cidrOf(c), ip);
  method("net.CIDR", "containsIP", ["net.IP"], "bool", (c: Opaque, v: Opaque) => hasIp(c, ipOf(v)));
  method(
    "net.CIDR",
    "containsIP",
    ["string"],
    "bool",
    (c: Opaque, v: string) => hasIp(c, strictIp(v)),
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
  uri: byFormat("uri", "URI"),
  uuid: byFormat("uuid", "UUID"),
  byte: byFormat("byte", "base64"),
  date: byFormat("date", "date"),
  datetime: byFormat("datetime", "datetime"),
};

function formats(): void {
  const wrap = (name: string) => new Opaque("format", FORMATS[name], name);
  for (const name of Object.keys(FORMATS)) {
    define(`format.${name}`, [], "format", () => wrap(name));
  }
  define("format.named", ["string"], "optional<format>", (name: string) => {
    return Object.hasOwn(FORMATS, name) ? new Optional(true, wrap(name)) : NONE;
  });
  method("format", "validate", ["string"], "optional<list<string>>", (f: Opaque, text: string) => {
    const messages = (f.value as (text: string) => string[])(text);
    return messages.length ? new Optional(true, messages) : NONE;
  }, bothTextsCost);
}

/** Defines everything here. */
export function defineExtensions(): void {
  strings();
  lists();
  sets();
  regex();
  urls();
  quantities();
  addresses();
  networks();
  formats();
  defineSemver();
}
