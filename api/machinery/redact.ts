/**
 * Objects without what is secret in them, to be shown to people who may see everything but that. The rule:
 *
 * 1. every value of a Secret's `data` and `stringData` (but a ServiceAccount token's namespace and CA) is replaced;
 * 2. so is each string beside a name that says secret (`SECRET_NAME`): an `env` entry's value, a ConfigMap's;
 * 3. so is whatever looks like a private key, a bearer token, a JWT or a bootstrap token, wherever it stands;
 * 4. and so is each value found by the first rule, plain or in base64, wherever it stands in whatever object is
 *    redacted with the same `Redaction`, if it is long enough and not the name of an object;
 * 5. what kubectl keeps of the last apply is an object itself, and is treated as one.
 *
 * What is replaced stays a valid value of its field.
 */
import { Buffer } from "node:buffer";
import { isMap } from "./json_value.ts";
import type { DeepReadonly, Json, KubeObject } from "./types.ts";

/** What stands for a secret. */
export const REDACTED = "redacted";
const REDACTED_BASE64 = Buffer.from(REDACTED).toString("base64");

const SECRET_NAME =
  /pass(word|wd|phrase)?\b|passw|secret|token|api[-_.]?key|private[-_.]?key|credential|auth(?!or)/i;
const SECRET_TEXT = new RegExp(
  [
    "-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(-----END [A-Z ]*PRIVATE KEY-----|$)",
    "\\beyJ[\\w-]{10,}\\.[\\w-]{10,}\\.[\\w-]+",
    "\\b[a-z0-9]{6}\\.[a-z0-9]{16}\\b",
    "(?<=\\b[Bb]earer )[\\w.~+/=-]{8,}",
  ].join("|"),
  "g",
);
/** Shorter values are replaced in their Secret alone: they stand for other things elsewhere. */
const VALUE_LENGTH_MIN = 8;
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";
const TOKEN_TYPE = "kubernetes.io/service-account-token";
const PUBLIC_OF_TOKENS: ReadonlySet<string> = new Set(["namespace", "ca.crt"]);

type Plain = { [key: string]: Json };

/** See the module's text. Whatever is to be redacted together is `know`n first. */
export class Redaction {
  readonly #values = new Set<string>();
  readonly #names = new Set<string>();

  /** Takes note of an object's secrets, and of its name. */
  know(object: DeepReadonly<KubeObject>): void {
    const { name, namespace } = object.metadata;
    this.#names.add(name);
    if (namespace) this.#names.add(namespace);
    if (!isSecret(object)) return;
    for (const [key, value] of secretsOf(object)) {
      const bytes = Buffer.from(value, key);
      const text = bytes.toString("utf8");
      for (const one of [text, text.trim(), bytes.toString("base64")]) {
        if (one.length >= VALUE_LENGTH_MIN) this.#values.add(one);
      }
    }
  }

  /** The object without its secrets. */
  of(object: DeepReadonly<KubeObject>): KubeObject {
    const copy = this.#walk(object as unknown as Json, "") as Plain;
    if (isSecret(object)) hideSecrets(copy, object.type as string | undefined);
    if (object.kind === "ConfigMap") hideNamed(copy.data);
    return copy as unknown as KubeObject;
  }

  #walk(value: Json, name: string): Json {
    if (typeof value === "string") return this.#text(value, name);
    if (Array.isArray(value)) {
      if (name === "env") return value.map((entry) => this.#walk(hiddenEntry(entry), ""));
      return value.map((element) => this.#walk(element, ""));
    }
    if (!isMap(value)) return value;
    const copy: Plain = {};
    for (const key in value) copy[key] = this.#walk(value[key], key);
    return copy;
  }

  #text(text: string, name: string): string {
    if (name === LAST_APPLIED) return this.#applied(text);
    let out = text.length < VALUE_LENGTH_MIN ? text : text.replace(SECRET_TEXT, REDACTED);
    for (const value of this.#values) {
      if (out.includes(value) && !this.#names.has(value)) out = out.replaceAll(value, REDACTED);
    }
    return out;
  }

  #applied(text: string): string {
    try {
      return JSON.stringify(this.of(JSON.parse(text)));
    } catch {
      // No object: nothing is known of what it holds
      return REDACTED;
    }
  }
}

function isSecret({ kind, apiVersion }: DeepReadonly<KubeObject>): boolean {
  return kind === "Secret" && apiVersion === "v1";
}

/** The secret values of a Secret, each with how it is written. */
function* secretsOf(object: DeepReadonly<KubeObject>): Generator<["base64" | "utf8", string]> {
  for (const [field, form] of [["data", "base64"], ["stringData", "utf8"]] as const) {
    for (const [key, value] of Object.entries((object[field] ?? {}) as Record<string, string>)) {
      if (!isPublic(object.type as string | undefined, key)) yield [form, value];
    }
  }
}

function isPublic(type: string | undefined, key: string): boolean {
  return type === TOKEN_TYPE && PUBLIC_OF_TOKENS.has(key);
}

function hideSecrets(secret: Plain, type: string | undefined): void {
  for (const [field, hidden] of [["data", REDACTED_BASE64], ["stringData", REDACTED]] as const) {
    const values = secret[field] as Record<string, string> | undefined;
    for (const key in values) if (!isPublic(type, key)) values[key] = hidden;
  }
}

function hideNamed(values: Json | undefined): void {
  if (!isMap(values)) return;
  for (const key in values) if (SECRET_NAME.test(key)) values[key] = REDACTED;
}

/** An `env` entry whose name says secret. */
function hiddenEntry(entry: Json): Json {
  if (!isMap(entry)) return entry;
  const { name, value } = entry;
  const hides = typeof name === "string" && typeof value === "string" && SECRET_NAME.test(name);
  return hides ? { ...entry, value: REDACTED } : entry;
}
