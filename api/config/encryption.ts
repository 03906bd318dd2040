/**
 * `--encryption-provider-config`: an EncryptionConfiguration, checked as kube-apiserver checks it, and what it
 * means here: which values are sealed by which key. Nothing here prints a key.
 *
 * Where it differs from upstream: Secrets that no entry names stay sealed by the database's own key, instead of
 * being kept in the clear; `secretbox` is ChaCha20-Poly1305; keys of 24 bytes and version 1 of KMS are refused.
 * Keys that a KMS plugin keeps are found by `api/encryption_keys.ts`.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { SealAlgorithm, Sealing, SealKey } from "../../kv/contract.ts";
import { child, index, invalid, required } from "../machinery/field_errors.ts";
import { formatDuration } from "../machinery/time.ts";
import type { Cause, Kinds } from "../machinery/types.ts";
import { type Flags, UsageError } from "./flags.ts";
import type { ReadConfig } from "./server.ts";
import { causesText, type Document, type DocumentKind, readDocument } from "./document.ts";

const KEYS = { keys: [{ name: "string", secret: "string" }] } as const;
const CONFIGURATION: DocumentKind = {
  kind: "EncryptionConfiguration",
  group: "apiserver.config.k8s.io",
  versions: ["v1"],
  shape: {
    resources: [{
      resources: "strings",
      providers: [{
        aesgcm: KEYS,
        aescbc: KEYS,
        secretbox: KEYS,
        identity: {},
        kms: {
          apiVersion: "string",
          name: "string",
          cachesize: "number",
          endpoint: "string",
          timeout: "duration",
        },
      }],
    }],
  },
};

/** How a configuration's own keys seal. */
type KeyAlgorithm = Exclude<SealAlgorithm, "seed">;

/** Lengths of keys, as upstream prints them; those of 24 bytes are refused afterwards. */
const KEY_LENGTHS: Readonly<Record<KeyAlgorithm, readonly number[]>> = {
  aesgcm: [16, 24, 32],
  aescbc: [16, 24, 32],
  secretbox: [32],
};
const ALGORITHMS = Object.keys(KEY_LENGTHS) as KeyAlgorithm[];
const PROVIDERS = ["kms", ...ALGORITHMS, "identity"];

/** What resources are sealed by: a key, the newest that a KMS provider keeps, or nothing (`identity`). */
export interface EncryptionRule {
  /** `secrets`, `deployments.apps`, `*.apps`, `*.`, `*.*`. */
  resources: readonly string[];
  writer: SealKey | { kms: string } | undefined;
}

/** A KMS plugin that keeps keys. */
export interface KmsProvider {
  name: string;
  /** `unix:///path`. */
  endpoint: string;
  /** Of one call. */
  timeoutMs: number;
}

/** An EncryptionConfiguration, read. */
export interface EncryptionOptions {
  /** The first that fits counts. */
  rules: readonly EncryptionRule[];
  /** Every key that is named. */
  keys: readonly SealKey[];
  kms: readonly KmsProvider[];
}

/** Keys of KMS providers. */
export interface KmsKeys {
  /** By provider: what seals now. */
  newest: ReadonlyMap<string, SealKey>;
  /** All that open something. */
  keys: readonly SealKey[];
}

const NO_KEYS: KmsKeys = { newest: new Map(), keys: [] };
const KMS_TIMEOUT_MS = 3_000;

/** Reads a configuration. Throws Error. */
export function encryptionOptions(text: string): EncryptionOptions {
  const document = readDocument(text, CONFIGURATION);
  const causes = problemsOf(document);
  if (causes.length) throw new Error(causesText(causes));
  const keys: SealKey[] = [];
  const kms: KmsProvider[] = [];
  const rules = (document.resources as Document[]).map(({ resources, providers }) => {
    const list = (providers as Document[]).map((provider) => {
      const { kms: plugin } = provider;
      if (!plugin) return keysOf(provider);
      const { name, endpoint, timeout: timeoutMs = KMS_TIMEOUT_MS } = plugin;
      kms.push({ name, endpoint, timeoutMs });
      return [{ kms: name as string }];
    });
    for (const one of list.flat()) if (!("kms" in one)) keys.push(one);
    return { resources, writer: list[0][0] };
  });
  return { rules, keys, kms };
}

/** The options that flags ask for. Throws UsageError. */
export async function encryptionOfFlags(flags: Flags, read: ReadConfig) {
  const flag = "encryption-provider-config";
  const path = flags[flag];
  if (path === undefined) return {};
  const encryptionAnew = async () => {
    const text = await read(flag, path) ?? "";
    try {
      return encryptionOptions(text);
    } catch (error) {
      throw new UsageError(`--${flag}: ${(error as Error).message}`);
    }
  };
  const encryption = await encryptionAnew();
  const looks = flags["encryption-provider-config-automatic-reload"];
  return { encryption, ...(looks && { encryptionAnew }) };
}

/** The keys of a provider; none of `identity`. */
function keysOf(provider: Document): SealKey[] {
  return ALGORITHMS.flatMap((algorithm) =>
    ((provider[algorithm]?.keys ?? []) as Document[]).map(({ secret }) => ({
      algorithm,
      secret: new Uint8Array(Buffer.from(secret, "base64")),
    }))
  );
}

/** What a configuration means for the paths of objects, with the keys that its KMS providers keep. */
export function sealingOf(
  options: EncryptionOptions,
  kinds: Kinds,
  kms: KmsKeys = NO_KEYS,
): Sealing {
  const rules = options.rules.map(({ resources, writer }) => ({
    resources,
    writer: writer && "kms" in writer ? kms.newest.get(writer.kms) : writer,
  }));
  const nameOfPath = new Map<string, string>();
  for (const { path, plural, group } of kinds.all()) {
    // Two groups may share a path (events): the first, the core one, is its name.
    if (!nameOfPath.has(path)) nameOfPath.set(path, `${plural}.${group}`);
  }
  const writers = new Map<string, SealKey | "own" | undefined>();
  return {
    keys: [...options.keys, ...kms.keys],
    fingerprint: fingerprintOf(rules),
    of(path) {
      const home = homeOf(path);
      if (!home) return undefined;
      if (!writers.has(home)) {
        const name = nameOfPath.get(home) ?? nameOfCustom(home);
        const rule = rules.find(({ resources }) => resources.some((one) => fits(one, name)));
        writers.set(home, rule ? rule.writer : home === SECRETS ? "own" : undefined);
      }
      return writers.get(home);
    },
  };
}

const SECRETS = "/registry/secrets";

/** What is sealed where nothing else is said: Secrets, by the database's own key. */
export const SEALED_BY_DEFAULT = (path: string): boolean => path.startsWith(`${SECRETS}/`);

/** A path's part that says which resource it is of: one segment or, where that has dots or parts, two. */
function homeOf(path: string): string | undefined {
  const [, registry, first, second] = path.split("/", 4);
  if (registry !== "registry" || !first) return undefined;
  const isDeep = first === "services" || first.includes(".");
  return isDeep ? `/registry/${first}/${second}` : `/registry/${first}`;
}

/** Custom resources lie under their group and their plural. */
function nameOfCustom(home: string): string {
  const [, , group, plural = ""] = home.split("/");
  return `${plural}.${group}`;
}

function fits(resource: string, name: string): boolean {
  const at = name.indexOf(".");
  const [plural, group] = [name.slice(0, at), name.slice(at + 1)];
  const dot = resource.indexOf(".");
  if (dot < 0) return resource === plural && group === "";
  const [wantedPlural, wantedGroup] = [resource.slice(0, dot), resource.slice(dot + 1)];
  return (wantedPlural === "*" || wantedPlural === plural) &&
    (wantedGroup === "*" || wantedGroup === group);
}

/** Tells configurations apart that seal differently, and gives nothing of the keys away. */
function fingerprintOf(
  rules: readonly { resources: readonly string[]; writer: SealKey | undefined }[],
): string {
  const hash = createHash("sha256");
  for (const { resources, writer } of rules) {
    hash.update(JSON.stringify([resources, writer?.algorithm ?? "identity"]));
    if (writer) hash.update(writer.secret);
  }
  return hash.digest("hex").slice(0, 16);
}

// --- checks ---------------------------------------------------------------------------------------------------

function problemsOf({ resources: entries = [] }: Document): Cause[] {
  const root = "resources";
  if (entries.length === 0) return [required(root, `at least one ${root} is required`)];
  const kmsNames = new Set<string>();
  return (entries as Document[]).flatMap(({ resources = [], providers = [] }, i) => {
    const r = child(index(root, i), "resources");
    const p = child(index(root, i), "providers");
    return [
      ...(resources.length ? [] : [required(r, `at least one ${r} is required`)]),
      ...overlaps(resources, r),
      ...(resources as string[]).flatMap((name, j) => nameProblem(name, index(r, j)) ?? []),
      ...(providers.length ? [] : [required(p, `at least one ${p} is required`)]),
      ...(providers as Document[]).flatMap((provider, j) =>
        providerProblems(provider, index(p, j), kmsNames)
      ),
    ];
  });
}

function groupResource(name: string): [resource: string, group: string] {
  const at = name.indexOf(".");
  return at < 0 ? [name, ""] : [name.slice(0, at), name.slice(at + 1)];
}

function overlaps(names: readonly string[], path: string): Cause[] {
  const causes: Cause[] = [];
  if (new Set(names).size < names.length) {
    causes.push(invalid(path, names, "the same resource cannot be specified multiple times"));
  }
  const parsed = [...new Set(names)].map(groupResource);
  const masked = parsed.length > 1 &&
    parsed.some(([resource, group], i) =>
      resource === "*" &&
      (group === "*" || parsed.some(([, other], j) => i !== j && other === group))
    );
  if (masked) {
    causes.push(invalid(
      path,
      names,
      "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as " +
        "they will be masked",
    ));
  }
  return causes;
}

const NO_API = ["apiserveripinfo", "serviceipallocations", "servicenodeportallocations"];

function nameProblem(name: string, path: string): Cause | undefined {
  const [resource, group] = groupResource(name);
  const why = name !== name.toLowerCase()
    ? "resource name should not contain capital letters"
    : name === "*"
    ? "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
    : NO_API.includes(name)
    ? "resources which do not have REST API/s cannot be encrypted"
    : group === "events.k8s.io"
    ? "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in " +
      "the config file"
    : group === "extensions"
    ? "'extensions' group has been removed and cannot be used for encryption"
    : group === "*" && resource !== "*"
    ? "encrypting the same resource across groups is not supported"
    : undefined;
  return why ? invalid(path, name, why) : undefined;
}

/** `kmsNames`: those of the providers before it. */
function providerProblems(provider: Document, path: string, kmsNames: Set<string>): Cause[] {
  const named = PROVIDERS.filter((name) => provider[name] !== undefined);
  if (named.length === 0) {
    return [invalid(
      path,
      {},
      "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity",
    )];
  }
  if (named.length > 1) {
    return [invalid(
      path,
      named,
      "more than one provider specified in a single element, should split into different list elements",
    )];
  }
  const [name] = named;
  if (name === "identity") return [];
  const at = child(path, name);
  if (name === "kms") return kmsProblems(provider.kms, at, kmsNames);
  const { keys = [] } = provider[name];
  const list = child(at, "keys");
  if (keys.length === 0) return [required(list, "at least one keys is required")];
  return (keys as Document[]).flatMap((key, i) =>
    keyProblems(key, index(list, i), name as KeyAlgorithm)
  );
}

function kmsProblems(
  { apiVersion = "v1", name = "", endpoint = "", timeout, cachesize }: Document,
  path: string,
  names: Set<string>,
): Cause[] {
  const causes: Cause[] = [];
  const wrong = (field: string, value: unknown, why: string) =>
    causes.push(invalid(child(path, field), value, why));
  if (!name) {
    causes.push(required(child(path, "name"), "name is a mandatory field for a provider"));
  }
  if (name.includes(":")) {
    wrong("name", name, `invalid KMS provider name ${name}, must not contain ':'`);
  }
  if (names.has(name)) {
    wrong("name", name, `duplicate KMS provider name ${name}, names must be unique`);
  }
  names.add(name);
  if (timeout !== undefined && timeout <= 0) {
    wrong("timeout", formatDuration(timeout), "timeout should be a positive value");
  }
  const scheme = /^(?:([a-z][a-z0-9+.-]*):)?/i.exec(endpoint)?.[1]?.toLowerCase() ?? "";
  if (!endpoint) wrong("endpoint", "", "endpoint is a mandatory field for a kms");
  else if (scheme !== "unix") {
    const why = `unsupported scheme ${
      JSON.stringify(scheme)
    } for KMS provider, only unix is supported`;
    wrong("endpoint", endpoint, why);
  }
  if (apiVersion === "v1") {
    const why =
      "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.";
    wrong("apiVersion", apiVersion, why);
  } else if (apiVersion !== "v2") {
    const why = "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported";
    wrong("apiVersion", apiVersion, why);
  } else if (cachesize !== undefined) {
    wrong("cachesize", cachesize, "cachesize is not supported in v2");
  }
  return causes;
}

/** A secret is never shown, however wrong it is. */
function keyProblems({ name, secret }: Document, path: string, algorithm: KeyAlgorithm): Cause[] {
  const causes: Cause[] = [];
  if (!name) {
    causes.push(required(child(path, "name"), "name is a mandatory field for a key"));
  }
  const at = child(path, "secret");
  if (!secret) return [...causes, required(at, "secret is a mandatory field for a key")];
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(secret)) {
    return [...causes, invalid(at, "REDACTED", "secrets must be base64 encoded")];
  }
  const { length } = Buffer.from(secret, "base64");
  const lengths = KEY_LENGTHS[algorithm];
  if (!lengths.includes(length)) {
    causes.push(invalid(
      at,
      "REDACTED",
      `secret is not of the expected length, got ${length}, expected one of [${lengths.join(" ")}]`,
    ));
  } else if (length === 24) {
    causes.push(invalid(at, "REDACTED", "keys of 24 bytes are not supported: 16 or 32 are"));
  }
  return causes;
}
