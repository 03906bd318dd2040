/**
 * Is this text a good name, label, port, address? Each `is...` function returns upstream's messages
 * (apimachinery `util/validation`), none when the text is good. Functions named `check...` return whole
 * causes for a field.
 */
import type { Cause } from "./types.ts";
import { invalid, required } from "./field_errors.ts";
import { formatCidr, formatIp, masked, parseCidr, parseIp, unmapped } from "./ip.ts";
import { goQuote } from "./go_format.ts";

/** Longest DNS label, label value, label name. */
export const LABEL_LENGTH_MAX = 63;
/** Longest DNS subdomain. */
export const SUBDOMAIN_LENGTH_MAX = 253;

const LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_UNDERSCORE = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`;
const SUBDOMAIN_UNDERSCORE = `${LABEL_UNDERSCORE}(\\.${LABEL_UNDERSCORE})*`;
const LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?";
const WILDCARD = `\\*\\.${SUBDOMAIN}`;
const LABEL_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE = `(${LABEL_KEY})?`;
const C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*";
const PERCENT = "[0-9]+%";
const HEADER_NAME = "[-A-Za-z0-9]+";
const CONFIG_KEY = "[-._a-zA-Z0-9]+";
const HTTP_PATH = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";

function whole(pattern: string): RegExp {
  return new RegExp(`^(?:${pattern})$`);
}

const LABEL_RE = whole(LABEL);
const SUBDOMAIN_RE = whole(SUBDOMAIN);
const SUBDOMAIN_UNDERSCORE_RE = whole(SUBDOMAIN_UNDERSCORE);
const LABEL_1035_RE = whole(LABEL_1035);
const WILDCARD_RE = whole(WILDCARD);
const LABEL_KEY_RE = whole(LABEL_KEY);
const LABEL_VALUE_RE = whole(LABEL_VALUE);
const C_IDENTIFIER_RE = whole(C_IDENTIFIER);
const PERCENT_RE = whole(PERCENT);
const HEADER_NAME_RE = whole(HEADER_NAME);
const CONFIG_KEY_RE = whole(CONFIG_KEY);
const HTTP_PATH_RE = whole(HTTP_PATH);

const ALPHANUMERIC_ENDS = "and must start and end with an alphanumeric character";
const LABEL_TEXT =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters " +
  `or '-', ${ALPHANUMERIC_ENDS}`;
const SUBDOMAIN_TEXT = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric " +
  `characters, '-' or '.', ${ALPHANUMERIC_ENDS}`;
const SUBDOMAIN_UNDERSCORE_TEXT = "a lowercase RFC 1123 subdomain must consist of lower case " +
  `alphanumeric characters, '_', '-' or '.', ${ALPHANUMERIC_ENDS}`;
const LABEL_1035_TEXT =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', " +
  "start with an alphabetic character, and end with an alphanumeric character";
const WILDCARD_TEXT =
  "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS " +
  "subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an " +
  "alphanumeric character";
const LABEL_KEY_TEXT =
  `must consist of alphanumeric characters, '-', '_' or '.', ${ALPHANUMERIC_ENDS}`;
const LABEL_VALUE_TEXT = "a valid label must be an empty string or consist of alphanumeric " +
  `characters, '-', '_' or '.', ${ALPHANUMERIC_ENDS}`;
const C_IDENTIFIER_TEXT =
  "a valid C identifier must start with alphabetic character or '_', followed " +
  "by a string of alphanumeric characters or '_'";
const PERCENT_TEXT = "a valid percent string must be a numeric string followed by an ending '%'";
const HEADER_NAME_TEXT = "a valid HTTP header must consist of alphanumeric characters or '-'";
const RELAXED_ENV_NAME_TEXT = "a valid environment variable name must consist only of printable " +
  "ASCII characters other than '='";
const CONFIG_KEY_TEXT =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";

/** The text of a value that is too long. */
export function maxLengthText(length: number): string {
  return `must be no more than ${length} characters`;
}

/** The text of a label that is too long: upstream counts those in bytes and says so. */
export function maxBytesText(length: number): string {
  return `must be no more than ${length} bytes`;
}

/** The text of a value that matches no expression, with examples of ones that do. */
export function regexText(message: string, pattern: string, ...examples: string[]): string {
  if (!examples.length) return `${message} (regex used for validation is '${pattern}')`;
  const list = examples.map((e) => `'${e}', `).join(" or ");
  return `${message} (e.g. ${list}regex used for validation is '${pattern}')`;
}

/** The text of a number out of range. */
export function rangeText(min: number, max: number): string {
  return `must be between ${min} and ${max}, inclusive`;
}

/** The text of an empty value. */
export const EMPTY_TEXT = "must be non-empty";

/** UTF-8 length, which is what Go's `len` counts. */
export function byteLength(text: string): number {
  if (text.length > PIECE_UNITS) return longByteLength(text);
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    if (code < 0x800) bytes += 1;
    // A pair is two units and four bytes; each unit adds one.
    else if (code >= 0xd800 && code < 0xe000) bytes += 1;
    else bytes += 2;
  }
  return bytes;
}

/** A text longer than this is put into bytes, piece by piece: the engine does that ten times as fast as we count. */
const PIECE_UNITS = 4_096;
const encoder = new TextEncoder();
const scratch = new Uint8Array(3 * PIECE_UNITS);

function longByteLength(text: string): number {
  let bytes = 0;
  for (let at = 0; at < text.length;) {
    // A pair of units is four bytes, and its halves alone would be six
    const last = text.charCodeAt(at + PIECE_UNITS - 1);
    const units = last >= 0xd800 && last < 0xdc00 ? PIECE_UNITS - 1 : PIECE_UNITS;
    bytes += encoder.encodeInto(text.slice(at, at + units), scratch).written;
    at += units;
  }
  return bytes;
}

/** A DNS label (RFC 1123): at most 63 of `[a-z0-9-]`. */
export function isDns1123Label(value: string): string[] {
  if (value.length <= LABEL_LENGTH_MAX && LABEL_RE.test(value)) return [];
  const messages: string[] = [];
  if (byteLength(value) > LABEL_LENGTH_MAX) messages.push(maxLengthText(LABEL_LENGTH_MAX));
  if (!LABEL_RE.test(value)) {
    messages.push(
      SUBDOMAIN_RE.test(value)
        ? "must not contain dots"
        : regexText(LABEL_TEXT, LABEL, "my-name", "123-abc"),
    );
  }
  return messages;
}

function matches(
  value: string,
  max: number,
  re: RegExp,
  text: string,
  pattern: string,
  ...examples: string[]
): string[] {
  const good = re.test(value);
  const long = value.length > max || byteLength(value) > max;
  if (good && !long) return [];
  const messages: string[] = [];
  if (long) messages.push(maxLengthText(max));
  if (!good) messages.push(regexText(text, pattern, ...examples));
  return messages;
}

/** A DNS subdomain (RFC 1123): labels joined by dots, at most 253 characters. */
export function isDns1123Subdomain(value: string): string[] {
  return matches(
    value,
    SUBDOMAIN_LENGTH_MAX,
    SUBDOMAIN_RE,
    SUBDOMAIN_TEXT,
    SUBDOMAIN,
    "example.com",
  );
}

/** A DNS subdomain whose labels may hold and begin with underscores. */
export function isDns1123SubdomainWithUnderscore(value: string): string[] {
  return matches(
    value,
    SUBDOMAIN_LENGTH_MAX,
    SUBDOMAIN_UNDERSCORE_RE,
    SUBDOMAIN_UNDERSCORE_TEXT,
    SUBDOMAIN_UNDERSCORE,
    "example.com",
  );
}

/** A DNS label (RFC 1035): as 1123's, but it begins with a letter. */
export function isDns1035Label(value: string): string[] {
  return matches(
    value,
    LABEL_LENGTH_MAX,
    LABEL_1035_RE,
    LABEL_1035_TEXT,
    LABEL_1035,
    "my-name",
    "abc-123",
  );
}

/** `*.` and a DNS subdomain. */
export function isWildcardDns1123Subdomain(value: string): string[] {
  return matches(
    value,
    SUBDOMAIN_LENGTH_MAX,
    WILDCARD_RE,
    WILDCARD_TEXT,
    WILDCARD,
    "*.example.com",
  );
}

/** A label's or annotation's key: an optional DNS subdomain and `/`, and a name. */
export function isQualifiedName(value: string): string[] {
  const parts = value.split("/");
  const shape = (head: string) =>
    head + regexText(LABEL_KEY_TEXT, LABEL_KEY, "MyName", "my.name", "123-abc");
  if (parts.length > 2) {
    return [
      `${shape("a valid label key ")} with an optional DNS subdomain prefix and '/' ` +
      "(e.g. 'example.com/MyName')",
    ];
  }
  const messages: string[] = [];
  const name = parts[parts.length - 1];
  if (parts.length === 2) {
    if (parts[0] === "") messages.push(`prefix part ${EMPTY_TEXT}`);
    else {
      for (const m of isDns1123Subdomain(parts[0])) {
        messages.push(`prefix part ${m.replace(/ characters$/, " bytes")}`);
      }
    }
  }
  if (name === "") messages.push(`name part ${EMPTY_TEXT}`);
  else if (byteLength(name) > LABEL_LENGTH_MAX) {
    messages.push(`name part ${maxBytesText(LABEL_LENGTH_MAX)}`);
  }
  if (!LABEL_KEY_RE.test(name)) messages.push(shape("name part "));
  return messages;
}

/** A label's value: empty, or at most 63 characters. */
export function isLabelValue(value: string): string[] {
  const messages = matches(
    value,
    LABEL_LENGTH_MAX,
    LABEL_VALUE_RE,
    LABEL_VALUE_TEXT,
    LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
  );
  if (value.length > LABEL_LENGTH_MAX) messages[0] = maxBytesText(LABEL_LENGTH_MAX);
  return messages;
}

/** A C identifier, of any length. */
export function isCIdentifier(value: string): string[] {
  return matches(
    value,
    Infinity,
    C_IDENTIFIER_RE,
    C_IDENTIFIER_TEXT,
    C_IDENTIFIER,
    "my_name",
    "MY_NAME",
    "MyName",
  );
}

/** 1 to 65535. */
export function isPortNumber(port: number): string[] {
  return isInRange(port, 1, 65535);
}

/** A number between two others, both included. */
export function isInRange(value: number, min: number, max: number): string[] {
  return value >= min && value <= max ? [] : [rangeText(min, max)];
}

/** Largest user or group id: 2^31 - 1. */
export const ID_MAX = 2147483647;

/** A Unix user id. */
export function isUserId(value: number): string[] {
  return isInRange(value, 0, ID_MAX);
}

/** A Unix group id. */
export function isGroupId(value: number): string[] {
  return isInRange(value, 0, ID_MAX);
}

/** A port's name (IANA service name): at most 15 of `[a-z0-9-]`, one letter at least. */
export function isPortName(port: string): string[] {
  const messages: string[] = [];
  if (byteLength(port) > 15) messages.push(maxLengthText(15));
  if (!/^[-a-z0-9]+$/.test(port)) {
    messages.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  }
  if (!/[a-z]/.test(port)) messages.push("must contain at least one letter (a-z)");
  if (port.includes("--")) messages.push("must not contain consecutive hyphens");
  if (port.startsWith("-") || port.endsWith("-")) {
    messages.push("must not begin or end with a hyphen");
  }
  return messages;
}

/** Digits and a percent sign. */
export function isPercent(value: string): string[] {
  return matches(value, Infinity, PERCENT_RE, PERCENT_TEXT, PERCENT, "1%", "93%");
}

/** A name of an HTTP header. */
export function isHttpHeaderName(value: string): string[] {
  return matches(
    value,
    Infinity,
    HEADER_NAME_RE,
    HEADER_NAME_TEXT,
    HEADER_NAME,
    "X-Header-Name",
  );
}

function dotNames(value: string): string[] {
  if (value === ".") return ["must not be '.'"];
  if (value === "..") return ["must not be '..'"];
  return value.startsWith("..") ? ["must not start with '..'"] : [];
}

/** An environment variable's name, the relaxed form (the default since 1.34): printable ASCII but `=`. */
export function isRelaxedEnvVarName(value: string): string[] {
  const messages: string[] = [];
  if (value === "") messages.push(`environment variable name ${EMPTY_TEXT}`);
  if (!/^[\x20-\x3c\x3e-\x7e]*$/.test(value)) messages.push(RELAXED_ENV_NAME_TEXT);
  return messages;
}

/** A key of a ConfigMap or Secret. */
export function isConfigMapKey(value: string): string[] {
  const messages = matches(
    value,
    SUBDOMAIN_LENGTH_MAX,
    CONFIG_KEY_RE,
    CONFIG_KEY_TEXT,
    CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
  );
  const dots = dotNames(value);
  return dots.length ? [...messages, ...dots] : messages;
}

/** A name that can be one segment of a URL's path. With `prefix`, something will be appended to it. */
export function isPathSegmentName(name: string, prefix = false): string[] {
  if (!prefix && (name === "." || name === "..")) return [`may not be '${name}'`];
  const messages: string[] = [];
  for (const bad of ["/", "%"]) if (name.includes(bad)) messages.push(`may not contain '${bad}'`);
  return messages;
}

// --- names of objects ---------------------------------------------------------------------------------

/** A generateName ends in a dash that a suffix will follow; upstream checks it with `a` in that place. */
function unprefixed(name: string, prefix: boolean): string {
  return prefix && name.length > 1 && name.endsWith("-") ? `${name.slice(0, -2)}a` : name;
}

/** Names of most kinds: a DNS subdomain. */
export function nameIsDnsSubdomain(name: string, prefix: boolean): string[] {
  return isDns1123Subdomain(unprefixed(name, prefix));
}

/** Names of namespaces and the like: a DNS label. */
export function nameIsDnsLabel(name: string, prefix: boolean): string[] {
  return isDns1123Label(unprefixed(name, prefix));
}

/** Names of services: a DNS label (RFC 1035). */
export function nameIsDns1035Label(name: string, prefix: boolean): string[] {
  return isDns1035Label(unprefixed(name, prefix));
}

/** Names of RBAC objects: a segment of a path. */
export function nameIsPathSegment(name: string, prefix: boolean): string[] {
  return isPathSegmentName(name, prefix);
}

// --- whole fields -------------------------------------------------------------------------------------

/** A domain of at least three segments. */
export function checkFullyQualifiedName(path: string, name: string): Cause[] {
  if (name === "") return [required(path, "")];
  const messages = isDns1123Subdomain(name);
  if (messages.length) return [invalid(path, name, messages.join(","))];
  if (name.split(".").length >= 3) return [];
  return [
    invalid(path, name, "should be a domain with at least three segments separated by dots"),
  ];
}

/** A domain of at least two segments; a dot at the end is fine. */
export function checkFullyQualifiedDomainName(path: string, text: string): Cause[] {
  if (text === "") return [required(path, "")];
  const name = text.endsWith(".") ? text.slice(0, -1) : text;
  const messages = isDns1123Subdomain(name);
  if (messages.length) return [invalid(path, name, messages.join(","))];
  const labels = name.split(".");
  if (labels.length < 2) {
    return [
      invalid(path, name, "should be a domain with at least two segments separated by dots"),
    ];
  }
  for (const label of labels) {
    const bad = isDns1123Label(label);
    if (bad.length) return [invalid(path, label, bad.join(","))];
  }
  return [];
}

/** A subdomain, a slash and a path, such as a finalizer or a signer. */
export function checkDomainPrefixedPath(path: string, text: string): Cause[] {
  if (text === "") return [required(path, "")];
  const slash = text.indexOf("/");
  if (slash <= 0 || slash === text.length - 1) {
    return [invalid(path, text, 'must be a domain-prefixed path (such as "acme.io/foo")')];
  }
  const host = text.slice(0, slash);
  const rest = text.slice(slash + 1);
  const causes = isDns1123Subdomain(host).map((m) => invalid(path, host, m));
  if (!HTTP_PATH_RE.test(rest)) {
    causes.push(invalid(path, rest, regexText("Invalid path", HTTP_PATH)));
  }
  return causes;
}

const IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/** An address of an old field: strict, but not necessarily canonical. */
export function checkIpLegacy(path: string, value: string): Cause[] {
  const ip = parseIp(value, { sloppy: true });
  if (!ip) return [invalid(path, value, IP_TEXT)];
  const causes: Cause[] = [];
  if (ip.leadingZeros) causes.push(invalid(path, value, "must not have leading 0s"));
  else if (ip.mapped) {
    causes.push(invalid(path, value, "must not be an IPv4-mapped IPv6 address"));
  }
  return causes;
}

/** An address in canonical form. */
export function checkIp(path: string, value: string): Cause[] {
  const causes = checkIpLegacy(path, value);
  if (causes.length) return causes;
  const canonical = formatIp(unmapped(parseIp(value)!));
  if (canonical === value) return [];
  return [invalid(path, value, `must be in canonical form (${goQuote(canonical)})`)];
}

/** A block of an old field: strict, but not necessarily canonical. */
export function checkCidrLegacy(path: string, value: string): Cause[] {
  const cidr = parseCidr(value, { sloppy: true });
  if (!cidr) {
    const text = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    return [invalid(path, value, text)];
  }
  if (cidr.ip.leadingZeros || cidr.leadingZeros) {
    return [invalid(path, value, "must not have leading 0s in IP or prefix length")];
  }
  if (cidr.ip.mapped) {
    return [invalid(path, value, "must not have an IPv4-mapped IPv6 address")];
  }
  const first = masked(cidr);
  if (first.bytes.some((byte, i) => byte !== cidr.ip.bytes[i])) {
    return [invalid(path, value, "must not have bits set beyond the prefix length")];
  }
  return [];
}

/** A block in canonical form. */
export function checkCidr(path: string, value: string): Cause[] {
  const causes = checkCidrLegacy(path, value);
  if (causes.length) return causes;
  const canonical = formatCidr(parseCidr(value)!);
  if (canonical === value) return [];
  return [invalid(path, value, `must be in canonical form (${goQuote(canonical)})`)];
}

/** An address with the length of its network's prefix, in canonical form. */
export function checkInterfaceAddress(path: string, value: string): Cause[] {
  const cidr = parseCidr(value, { sloppy: true });
  if (!cidr) {
    const text = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
    return [invalid(path, value, text)];
  }
  const bits = cidr.ip.mapped && cidr.bits > 32 ? cidr.bits - 96 : cidr.bits;
  const canonical = `${formatIp(unmapped(cidr.ip))}/${bits}`;
  if (canonical === value) return [];
  return [invalid(path, value, `must be in canonical form (${goQuote(canonical)})`)];
}

/** Labels: every key a qualified name, every value a label value. */
export function checkLabels(
  path: string,
  labels: Readonly<Record<string, string>> | undefined,
): Cause[] {
  const causes: Cause[] = [];
  for (const key in labels) {
    for (const m of isQualifiedName(key)) causes.push(invalid(path, key, m));
    for (const m of isLabelValue(labels[key])) causes.push(invalid(path, labels[key], m));
  }
  return causes;
}
