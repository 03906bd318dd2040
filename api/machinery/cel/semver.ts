/** Semantic versions in expressions: `semver("1.2.3").isLessThan(semver("2.0.0"))`. */
import { define, method, textCost } from "./registry.ts";
import { CelError, Opaque } from "./values.ts";

interface Semver {
  numbers: bigint[];
  pre: string[];
}

const STRICT =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?$/;

function parse(text: string): Semver | undefined {
  const match = STRICT.exec(text);
  if (!match) return undefined;
  const pre = match[4]?.split(".") ?? [];
  if (pre.some((part) => /^0\d+$/.test(part))) return undefined;
  return { numbers: match.slice(1, 4).map(BigInt), pre };
}

/** Drops a leading `v`, leading zeros, and adds missing parts. */
function normalized(text: string): string {
  const match = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(.*)$/.exec(text);
  if (!match) return text;
  const numbers = match.slice(1, 4).map((part) => BigInt(part ?? 0));
  return numbers.join(".") + match[4];
}

function comparePre(a: string[], b: string[]): number {
  if (!a.length || !b.length) return b.length - a.length;
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] === b[i]) continue;
    const x = /^\d+$/.test(a[i]);
    const y = /^\d+$/.test(b[i]);
    if (x && y) return BigInt(a[i]) < BigInt(b[i]) ? -1 : 1;
    if (x !== y) return x ? -1 : 1;
    return a[i] < b[i] ? -1 : 1;
  }
  return a.length - b.length;
}

function compare(a: Semver, b: Semver): number {
  for (let i = 0; i < 3; i++) {
    if (a.numbers[i] !== b.numbers[i]) return a.numbers[i] < b.numbers[i] ? -1 : 1;
  }
  return comparePre(a.pre, b.pre);
}

/** Defines everything here. */
export function defineSemver(): void {
  const of = (v: Opaque) => v.value as Semver;
  const make = (text: string) => {
    const version = parse(text);
    if (!version) {
      throw new CelError(`Semver parse error during conversion from string: ${text}`);
    }
    return new Opaque("kubernetes.Semver", version, text);
  };
  const name = "kubernetes.Semver";
  define("isSemver", ["string"], "bool", (v: string) => parse(v) !== undefined, textCost);
  define("isSemver", ["string", "bool"], "bool", (v: string, loose: boolean) => {
    return parse(loose ? normalized(v) : v) !== undefined;
  }, textCost);
  define("semver", ["string"], name, make, textCost);
  define("semver", ["string", "bool"], name, (v: string, loose: boolean) => {
    return make(loose ? normalized(v) : v);
  }, textCost);
  ["major", "minor", "patch"].forEach((part, i) => {
    method(name, part, [], "int", (v: Opaque) => of(v).numbers[i]);
  });
  method(name, "compareTo", [name], "int", (a: Opaque, b: Opaque) => {
    return BigInt(Math.sign(compare(of(a), of(b))));
  });
  method(
    name,
    "isGreaterThan",
    [name],
    "bool",
    (a: Opaque, b: Opaque) => compare(of(a), of(b)) > 0,
  );
  method(name, "isLessThan", [name], "bool", (a: Opaque, b: Opaque) => compare(of(a), of(b)) < 0);
}
