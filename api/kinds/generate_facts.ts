/**
 * Turns parsed Go packages into facts: for each struct its JSON fields with type, protobuf number and
 * markers, written as compactly as quick loading asks for. `schemas.ts` reads what this writes; the
 * format is described there.
 */
import type { Json } from "../machinery/types.ts";
import { type GoField, type GoPackage, type GoType, parseGoFile } from "./generate_go.ts";

/** `[json name, type code, protobuf number, flags, rest]`; trailing zeros are left out. */
export type FieldFacts = [string, string, number?, number?, Record<string, Json>?];

/** A struct: its fields, and whether server-side apply treats it as one value. */
export interface TypeFacts {
  f: FieldFacts[];
  m?: "atomic" | "granular";
}

/** The facts of one package by type name. */
export type PackageFacts = Record<string, TypeFacts>;

/** Bits of a field's flags. */
export const POINTER = 1;
export const ALWAYS = 2; // no omitempty
export const REQUIRED = 4; // OpenAPI's required
export const OMIT_ZERO = 8;
export const DEPRECATED = 16;

const MODULES: Record<string, string> = {
  "k8s.io/api": "io.k8s.api",
  "k8s.io/apimachinery": "io.k8s.apimachinery",
  "k8s.io/apiextensions-apiserver": "io.k8s.apiextensions-apiserver",
  "k8s.io/kube-aggregator": "io.k8s.kube-aggregator",
  "k8s.io/metrics": "io.k8s.metrics",
};

const BUILTIN: Record<string, string> = {
  string: "s",
  bool: "b",
  int32: "i",
  int64: "l",
  int: "l",
  uint32: "u",
  uint64: "U",
  float64: "n",
  byte: "y",
  "interface{}": "a",
  any: "a",
};

const META = "k8s.io/apimachinery/pkg/apis/meta/v1.";
const CRD = "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.";
const SPECIAL: Record<string, string> = {
  [`${META}Time`]: "t",
  [`${META}MicroTime`]: "m",
  [`${META}Duration`]: "d",
  [`${META}FieldsV1`]: "f",
  "k8s.io/apimachinery/pkg/runtime.RawExtension": "r",
  "k8s.io/apimachinery/pkg/runtime.Object": "r",
  "k8s.io/apimachinery/pkg/api/resource.Quantity": "q",
  "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "I",
  [`${CRD}JSON`]: "j",
  [`${CRD}JSONSchemaPropsOrBool`]: "0",
  [`${CRD}JSONSchemaPropsOrArray`]: "1",
  [`${CRD}JSONSchemaPropsOrStringArray`]: "2",
};

/** The packages at hand, parsed when first asked for. */
export class Packages {
  readonly #roots: Record<string, string>;
  readonly #loaded = new Map<string, GoPackage>();
  /** Structs that were referred to: `import path` to names. Grows while facts are made. */
  readonly reached = new Map<string, Set<string>>();

  /** @param roots module path to the directory of its sources */
  constructor(roots: Record<string, string>) {
    this.#roots = roots;
  }

  /** The package at an import path. */
  load(path: string): GoPackage {
    let pkg = this.#loaded.get(path);
    if (pkg) return pkg;
    const module = Object.keys(this.#roots).find((m) => path.startsWith(`${m}/`));
    if (!module) throw new Error(`no sources of ${path}`);
    const folder = this.#roots[module] + path.slice(module.length);
    pkg = {
      path,
      types: new Map(),
      enums: new Map(),
      constants: new Map(),
      borrowed: new Map(),
      imports: new Map(),
    };
    const names = [...Deno.readDirSync(folder)].map((e) => e.name).sort();
    for (const name of names) {
      if (!name.endsWith(".go") || /_test\.go$|^zz_|\.pb\.go$/.test(name)) continue;
      parseGoFile(Deno.readTextFileSync(`${folder}/${name}`), pkg);
    }
    this.#loaded.set(path, pkg);
    return pkg;
  }
}

/** The prefix of OpenAPI definition names: `k8s.io/api/core/v1` is `io.k8s.api.core.v1`. */
export function modelPrefix(path: string): string {
  const module = Object.keys(MODULES).find((m) => path.startsWith(`${m}/`));
  if (!module) throw new Error(`no model prefix for ${path}`);
  return MODULES[module] + path.slice(module.length).replaceAll("/", ".");
}

/** The short name of a package, which names its generated files: `core_v1`. */
export function packageId(path: string): string {
  return path.split("/").slice(-2).join("_").replace(/^apis_/, "").replaceAll("-", "_");
}

interface Resolved {
  code: string;
  pointer: boolean;
  enum?: string[];
  /** How Go's errors name the type, where the code does not tell: `v1.PullPolicy`. */
  go?: string;
  /** The struct, when it is one. */
  struct?: { path: string; type: GoType };
}

/** Resolves a Go type expression seen in `pkg`. */
function resolve(text: string, pkg: GoPackage, all: Packages): Resolved {
  if (text.startsWith("*")) return { ...resolve(text.slice(1), pkg, all), pointer: true };
  if (text === "[]byte") return { code: "B", pointer: false };
  if (text.startsWith("[]")) {
    const of = resolve(text.slice(2), pkg, all);
    return { code: `[${of.code}`, pointer: false, enum: of.enum, go: of.go && `[]${of.go}` };
  }
  const map = text.match(/^map\[([\w.]+)\](.+)$/);
  if (map) {
    const key = resolve(map[1], pkg, all);
    const of = resolve(map[2], pkg, all);
    const value = of.go ??
      (of.struct && `${of.struct.path.split("/").at(-1)}.${of.struct.type.name}`);
    const go = value && (key.go || of.go) ? `map[${key.go ?? "string"}]${value}` : undefined;
    return { code: `{${of.code}`, pointer: false, enum: of.enum, go };
  }
  if (BUILTIN[text]) return { code: BUILTIN[text], pointer: false };
  const [alias, name] = text.includes(".") ? text.split(".") : ["", text];
  const path = alias ? pkg.imports.get(alias) : pkg.path;
  if (!path) throw new Error(`unknown import ${alias} in ${pkg.path}`);
  const special = SPECIAL[`${path}.${name}`];
  if (special) return { code: special, pointer: false };
  return resolveNamed(all.load(path), name, all);
}

function resolveNamed(target: GoPackage, name: string, all: Packages): Resolved {
  const type = target.types.get(name);
  if (!type) throw new Error(`no type ${target.path}.${name}`);
  if (type.fields) {
    const reached = all.reached.get(target.path) ?? new Set();
    reached.add(name);
    all.reached.set(target.path, reached);
    return {
      code: `@${packageId(target.path)}.${name}`,
      pointer: false,
      struct: { path: target.path, type },
    };
  }
  const of = resolve(type.underlying!, target, all);
  if (of.code.startsWith("[") && type.markers.has("protobuf.nullable")) {
    return { code: `w${of.code}`, pointer: false, go: `${target.path.split("/").at(-1)}.${name}` };
  }
  const listed = type.markers.has("enum") ? enumOf(target, name, all) : undefined;
  const go = `${target.path.split("/").at(-1)}.${name}`;
  return listed ? { ...of, go, enum: [...listed].sort() } : { ...of, go };
}

/** The values of an enumeration, some of which may be another package's constants. */
function enumOf(target: GoPackage, name: string, all: Packages): string[] | undefined {
  const own = target.enums.get(name);
  const borrowed = (target.borrowed.get(name) ?? []).map(([alias, constant]) => {
    const path = target.imports.get(alias);
    return path === undefined ? undefined : all.load(path).constants.get(constant);
  }).filter((value) => value !== undefined);
  return own || borrowed.length > 0 ? [...own ?? [], ...borrowed] : undefined;
}

function defaultOf(field: GoField, pkg: GoPackage): Json | undefined {
  const text = (field.markers.get("default") ?? field.markers.get("kubebuilder:default"))?.[0];
  if (text === undefined) return undefined;
  const ref = text.match(/^ref\((\w+)\)$/);
  if (ref) return pkg.constants.get(ref[1]) ?? "";
  return JSON.parse(text);
}

/** What a field says beside name, type, number and flags. */
function restOf(field: GoField, pkg: GoPackage, resolved: Resolved): Record<string, Json> {
  const rest: Record<string, Json> = {};
  const one = (key: string) => field.markers.get(key)?.[0];
  if (one("listType")) rest.lt = one("listType")!;
  if (field.markers.has("listMapKey")) rest.lk = field.markers.get("listMapKey")!;
  const mapType = one("mapType") ?? one("structType");
  if (mapType) rest.mt = mapType;
  if (field.patchStrategy) rest.ps = field.patchStrategy.split(",");
  if (field.patchMergeKey) rest.pk = field.patchMergeKey;
  const value = defaultOf(field, pkg);
  if (value !== undefined) rest.d = value;
  if (resolved.enum) rest.e = resolved.enum;
  if (resolved.go) rest.g = resolved.go;
  return rest;
}

function flagsOf(field: GoField, resolved: Resolved): number {
  const [, ...options] = field.json.split(",");
  const omitEmpty = options.includes("omitempty");
  const omitZero = options.includes("omitzero");
  const required = field.markers.has("required")
    ? true
    : field.markers.has("optional") || field.markers.has("k8s:optional")
    ? false
    : !omitEmpty && !omitZero;
  return (resolved.pointer ? POINTER : 0) | (omitEmpty ? 0 : ALWAYS) | (required ? REQUIRED : 0) |
    (omitZero ? OMIT_ZERO : 0) | (field.deprecated ? DEPRECATED : 0);
}

function withoutNumber(
  name: string,
  code: string,
  flags?: number,
  rest?: Record<string, Json>,
): FieldFacts {
  return rest ? [name, code, 0, flags, rest] : flags ? [name, code, 0, flags] : [name, code];
}

function fieldsOf(
  type: GoType,
  pkg: GoPackage,
  all: Packages,
  within: readonly [number, string][],
): FieldFacts[] {
  const out: FieldFacts[] = [];
  for (const field of type.fields!) {
    const [name] = field.json.split(",");
    if (name === "-" || (!field.json && !field.proto)) continue;
    const number = Number(field.proto.split(",")[1] ?? 0);
    const resolved = resolve(field.type, pkg, all);
    if (!name) {
      if (!resolved.struct) {
        throw new Error(`${pkg.path}.${type.name}: cannot inline ${field.type}`);
      }
      const struct = field.type.split(".").at(-1)!;
      const path: [number, string][] = number ? [...within, [number, struct]] : [...within];
      const inner = fieldsOf(resolved.struct.type, all.load(resolved.struct.path), all, path);
      // Without a number of its own (TypeMeta), what is inlined is not in protobuf.
      out.push(
        ...(number
          ? inner
          : inner.map(([n, code, , flags, rest]) => withoutNumber(n, code, flags, rest))),
      );
      continue;
    }
    const rest = restOf(field, pkg, resolved);
    if (within.length > 0) {
      rest.w = within.map(([n]) => n);
      rest.n = within.map(([, name]) => name).join(".");
    }
    const facts: FieldFacts = [name, resolved.code];
    const flags = flagsOf(field, resolved);
    const hasRest = Object.keys(rest).length > 0;
    if (number || flags || hasRest) facts[2] = number;
    if (flags || hasRest) facts[3] = flags;
    if (hasRest) facts[4] = rest;
    out.push(facts);
  }
  return out;
}

/** The facts of one struct. References into its own package lose the package's name. */
export function factsOf(type: GoType, pkg: GoPackage, all: Packages): TypeFacts {
  const own = `@${packageId(pkg.path)}.`;
  const fields = fieldsOf(type, pkg, all, []).map((f) => {
    f[1] = f[1].replace(own, "@");
    return f;
  });
  const facts: TypeFacts = { f: fields };
  const structType = (type.markers.get("structType") ?? type.markers.get("mapType"))?.[0];
  if (structType) facts.m = structType as "atomic";
  return facts;
}
