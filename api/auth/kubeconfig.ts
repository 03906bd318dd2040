/**
 * Kubeconfig files as text: a new one for this cluster, and its entries merged into a file the user already
 * has. Merging touches nothing but the entries of our name: every other entry and field stays, whatever
 * they are, and so do comments wherever the file is in block style; a file that cannot be understood is an error and never overwritten.
 */
import { Buffer } from "node:buffer";
import { createPrivateKey } from "node:crypto";
import { parse, stringify } from "@std/yaml";
import { parseYaml } from "../machinery/yaml.ts";
import { editText, type ListChange } from "./kubeconfig_text.ts";

/** What a kubeconfig says about a cluster and who uses it. */
export interface Access {
  /** Name of the cluster, the context and the user (default `plesio`). */
  name?: string;
  /** `https://127.0.0.1:6443`. */
  server: string;
  /** The authority's certificate; absent for plain HTTP. */
  authorityPem?: string;
  /** A client certificate with its key, or a token. */
  certificatePem?: string;
  keyPem?: string;
  token?: string;
  namespace?: string;
}

interface Entry {
  name: string;
  [field: string]: unknown;
}

interface Config {
  [field: string]: unknown;
  clusters: Entry[];
  contexts: Entry[];
  users: Entry[];
}

const PARTS = ["clusters", "contexts", "users"] as const;

/** An EC key under its own heading (SEC 1): fabric8 takes a key under PKCS #8's for RSA. */
function namedKey(pem: string): string {
  if (!pem.startsWith("-----BEGIN PRIVATE KEY-----")) return pem;
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType !== "ec") return pem;
  return key.export({ type: "sec1", format: "pem" }) as string;
}

const base64 = (text: string) => Buffer.from(text, "utf8").toString("base64");

function entries(access: Access): { cluster: Entry; context: Entry; user: Entry } {
  const name = access.name ?? "plesio";
  const cluster: Record<string, unknown> = {};
  if (access.authorityPem) cluster["certificate-authority-data"] = base64(access.authorityPem);
  cluster.server = access.server;
  const user: Record<string, unknown> = {};
  if (access.certificatePem) user["client-certificate-data"] = base64(access.certificatePem);
  if (access.keyPem) user["client-key-data"] = base64(namedKey(access.keyPem));
  if (access.token) user.token = access.token;
  const context: Record<string, unknown> = { cluster: name, user: name };
  if (access.namespace) context.namespace = access.namespace;
  return {
    cluster: { cluster, name },
    context: { context, name },
    user: { name, user },
  };
}

/** A kubeconfig with this cluster alone, as YAML. */
export function createKubeconfig(access: Access): string {
  const { cluster, context, user } = entries(access);
  return stringify({
    apiVersion: "v1",
    clusters: [cluster],
    contexts: [context],
    "current-context": context.name,
    kind: "Config",
    users: [user],
  }, { lineWidth: -1 });
}

/**
 * `text` with this cluster's entries added or replaced and its context made current; comments and notation of
 * the rest stay. An empty text gives a new file. Throws `TypeError` when the text is not a kubeconfig.
 */
export function mergeKubeconfig(text: string, access: Access): string {
  const config = read(text);
  if (!config) return createKubeconfig(access);
  const { cluster, context, user } = entries(access);
  replace(config.clusters, cluster);
  replace(config.contexts, context);
  replace(config.users, user);
  config["current-context"] = context.name;
  const { name } = context;
  return written(text, config, {
    changes: [
      { section: "clusters", name, entry: cluster },
      { section: "contexts", name, entry: context },
      { section: "users", name, entry: user },
    ],
    currentContext: name,
  });
}

/** `text` without the entries of `name`; the current context is cleared if it was that one. */
export function removeFromKubeconfig(text: string, name = "plesio"): string {
  const config = read(text);
  if (!config) return text;
  for (const part of PARTS) config[part] = config[part].filter((entry) => entry.name !== name);
  const current = config["current-context"] === name;
  if (current) config["current-context"] = "";
  return written(text, config, {
    changes: PARTS.map((section) => ({ section, name })),
    ...(current ? { currentContext: "" } : {}),
  });
}

/** The text edited in place if that says exactly what is wanted, else written anew. */
function written(
  text: string,
  wanted: Config,
  edit: { changes: ListChange[]; currentContext?: string },
): string {
  const edited = editText(text, edit.changes, edit.currentContext);
  if (edited !== undefined) {
    try {
      if (sameValue(read(edited), wanted)) return edited;
    } catch {
      // What came out cannot be read: the other way remains.
    }
  }
  return stringify(wanted, { lineWidth: -1 });
}

function sameValue(a: unknown, b: unknown): boolean {
  if (a === b || (a instanceof Date && b instanceof Date && +a === +b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  const keys = Object.keys(left);
  return Array.isArray(a) === Array.isArray(b) && keys.length === Object.keys(right).length &&
    keys.every((key) => sameValue(left[key], right[key]));
}

function replace(list: Entry[], entry: Entry): void {
  const at = list.findIndex((known) => known.name === entry.name);
  if (at < 0) list.push(entry);
  else list[at] = entry;
}

function read(text: string): Config | undefined {
  if (text.trim() === "") return undefined;
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TypeError(`cannot read the kubeconfig as YAML: ${why}`, { cause });
  }
  if (value === null) return undefined;
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new TypeError(`cannot read the kubeconfig: wanted a mapping, found ${kindOf(value)}`);
  }
  const config = { ...value } as Config;
  if (config.kind !== undefined && config.kind !== "Config") {
    throw new TypeError(`cannot read the kubeconfig: its kind is ${JSON.stringify(config.kind)}`);
  }
  for (const part of PARTS) {
    const list = config[part] ?? [];
    if (!Array.isArray(list) || list.some((e) => typeof e !== "object" || e === null)) {
      throw new TypeError(`cannot read the kubeconfig: ${part} is not a list of entries`);
    }
    config[part] = [...list];
  }
  config.apiVersion ??= "v1";
  config.kind ??= "Config";
  return config;
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? "a list" : `a ${typeof value}`;
}

/**
 * What a kubeconfig's current context says; `readFile` reads what it names by path. Throws TypeError when it has none.
 */
export function currentAccess(text: string, readFile: (path: string) => string): Access {
  // deno-lint-ignore no-explicit-any -- a kubeconfig of anybody's
  const config = parseYaml(text).value as any;
  // deno-lint-ignore no-explicit-any -- see above
  const named = (list: any[] | undefined, name: string) => list?.find((one) => one.name === name);
  const context = named(config?.contexts, config?.["current-context"])?.context;
  const cluster = named(config?.clusters, context?.cluster)?.cluster;
  const user = named(config?.users, context?.user)?.user ?? {};
  if (!cluster?.server) throw new TypeError("the kubeconfig has no current context with a server");
  const pem = (from: Record<string, string>, name: string): string | undefined => {
    const encoded = from[`${name}-data`];
    if (encoded) return Buffer.from(encoded, "base64").toString("utf8");
    return from[name] && readFile(from[name]);
  };
  return {
    server: cluster.server,
    authorityPem: pem(cluster, "certificate-authority"),
    certificatePem: pem(user, "client-certificate"),
    keyPem: pem(user, "client-key"),
    token: user.token,
  };
}
