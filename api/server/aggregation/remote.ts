/**
 * One part of the API that another server serves: an APIService with a Service. What it is, where it lies, what it
 * last said of itself; and how we tell it whose request we bring.
 */
import { Buffer } from "node:buffer";
import type { User } from "../../client/contract.ts";
import type { Endpoint } from "../../client/outbound.ts";
import { badRequest } from "../../machinery/errors.ts";
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import type { DiscoveredResource, RemoteVersion } from "../discovery.ts";
import type { RemoteDocument } from "./documents.ts";

/** Who we are towards extension servers: a client certificate of the front-proxy authority. */
export interface FrontProxyIdentity {
  cert: string;
  key: string;
}

/** Where the Service is that serves a part of the API. */
export interface RemoteService {
  namespace: string;
  name: string;
  port: number;
}

/** See the module's text. */
export class Remote implements RemoteVersion {
  readonly name: string;
  readonly group: string;
  readonly version: string;
  readonly priorities: { group: number; version: number };
  readonly service: RemoteService;
  readonly spec: DeepReadonly<KubeObject>["spec"];
  /** Requests are passed on. */
  available: boolean;
  resources: readonly DiscoveredResource[] = [];
  freshness: "Current" | "Stale" = "Stale";
  /** ETag of the discovery document that `resources` are of. */
  etag?: string;
  document?: RemoteDocument;
  readonly #identity: () => Promise<FrontProxyIdentity | undefined>;

  constructor(
    stored: DeepReadonly<KubeObject>,
    identity: () => Promise<FrontProxyIdentity | undefined>,
  ) {
    const { spec } = stored;
    this.name = stored.metadata.name;
    this.group = spec.group ?? "";
    this.version = spec.version;
    this.priorities = { group: spec.groupPriorityMinimum, version: spec.versionPriority };
    const { namespace, name, port = 443 } = spec.service;
    this.service = { namespace, name, port };
    this.spec = spec;
    this.available = isAvailable(stored);
    this.#identity = identity;
  }

  /** Where it is reached, as whom, and whose certificate it must show. */
  async endpoint(): Promise<Endpoint> {
    const { caBundle, insecureSkipTLSVerify } = this.spec;
    const { namespace, name } = this.service;
    return {
      service: this.service,
      caBundle: caBundle && new TextDecoder().decode(Uint8Array.fromBase64(caBundle)),
      insecureSkipTlsVerify: insecureSkipTLSVerify === true,
      serverName: `${name}.${namespace}.svc`,
      certificate: await this.#identity(),
    };
  }

  /** Takes over what an older record of the same server knew. */
  inherit(old: Remote): void {
    this.resources = old.resources;
    this.freshness = old.freshness;
    this.etag = old.etag;
    this.document = old.document;
  }
}

/** Whether the stored object says that it can be had. */
export function isAvailable(stored: DeepReadonly<KubeObject>): boolean {
  const conditions = (stored.status?.conditions ?? []) as readonly {
    type: string;
    status: string;
  }[];
  return conditions.some(({ type, status }) => type === "Available" && status === "True");
}

// deno-lint-ignore no-control-regex -- what may stand in the name of a header is told by what may not
const NO_TOKEN = /[\u0000-\u0020"%(),/:;<=>?@[\\\]{}\u007f-\uffff]/g;

function escaped(key: string): string {
  return key.replace(NO_TOKEN, (c) => {
    let text = "";
    for (const byte of new TextEncoder().encode(c)) {
      text += `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    }
    return text;
  });
}

/** Headers that say whose request this is, to a server that trusts our certificate. */
export function remoteHeaders(user: User): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = { "x-remote-user": bytesOf(user.name) };
  if (user.uid) headers["x-remote-uid"] = bytesOf(user.uid);
  if (user.groups.length) headers["x-remote-group"] = user.groups.map(bytesOf);
  for (const [key, values] of Object.entries(user.extra ?? {})) {
    headers[`x-remote-extra-${escaped(key).toLowerCase()}`] = values.map(bytesOf);
  }
  return headers;
}

/** A header's value as the bytes of its UTF-8: Go sends names so, and sockets take no character above 255. */
function bytesOf(value: string): string {
  if (/[\r\n\0]/.test(value)) throw badRequest("the user's name cannot be said in a header");
  return Buffer.from(value, "utf8").toString("latin1");
}

/** Whether a header speaks of somebody's identity: no client's own may be passed on. */
export function saysWho(name: string): boolean {
  return name === "authorization" || name.startsWith("x-remote-") ||
    name.startsWith("impersonate-");
}
