/** Semantic versions in expressions: `semver("1.2.3").isLessThan(semver("2.0.0"))`. */
import { goQuote } from "../go_format.ts";
import { define, method } from "./registry.ts";
import { work } from "./lane.ts";
import { CelError, Opaque } from "./values.ts";

interface Semver {
  numbers: bigint[];
  pre: string[];
}

const STRICT =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?$/;

function parse(text: string): Semver | undefined {
  work(50);
  const match = STRICT.exec(text);
  if (!match) return undefined;
  const pre = match[4]?.split(".") ?? [];
  if (pre.some((part) => /^0\d+$/.test(part))) return undefined;
  return { numbers: match.slice(1, 4).map(BigInt), pre };
}

/** Why a text is no version, in the words of upstream's parser. */
function versionProblem(text: string): string {
  if (text === "") return "Version string empty";
  const parts = text.split(".");
  if (parts.length < 3) return "No Major.Minor.Patch elements found";
  const numbers = [parts[0], parts[1], parts.slice(2).join(".").split(/[-+]/)[0]];
  for (const [i, name] of ["major", "minor", "patch"].entries()) {
    const number = numbers[i];
    const title = name[0].toUpperCase() + name.slice(1);
    if (/[^0-9]/.test(number)) {
      return `Invalid character(s) found in ${name} number ${goQuote(number)}`;
    }
    if (/^0./.test(number)) {
      return `${title} number must not contain leading zeroes ${goQuote(number)}`;
    }
  }
  return "Invalid characters in version";
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

/** A version as a value. Throws CelError for what is none. */
export function semverValue(text: string): Opaque {
  const version = parse(text);
  if (!version) throw new CelError(versionProblem(text));
  return new Opaque("kubernetes.Semver", version, text);
}

/** Defines everything here. */
export function defineSemver(): void {
  const of = (v: Opaque) => v.value as Semver;
  const make = semverValue;
  const name = "kubernetes.Semver";
  define("isSemver", ["string"], "bool", (v: string) => parse(v) !== undefined);
  define("isSemver", ["string", "bool"], "bool", (v: string, loose: boolean) => {
    return parse(loose ? normalized(v) : v) !== undefined;
  });
  define("semver", ["string"], name, make);
  define("semver", ["string", "bool"], name, (v: string, loose: boolean) => {
    return make(loose ? normalized(v) : v);
  });
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
