/**
 * What an extension server says it serves: its aggregated discovery where it has one, else the document of the
 * group-version. What is no resource in it is left out: other servers' words are not trusted to be whole.
 */
import type { Outbound } from "../../client/outbound.ts";
import type { DiscoveredResource } from "../discovery.ts";
import { AGGREGATOR, DISCOVERY_TIMEOUT_MS } from "./availability.ts";
import { type Remote, remoteHeaders } from "./remote.ts";

/** Largest discovery document that is read. */
export const DISCOVERY_BYTES_MAX = 4 * 1024 * 1024;

const AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=";
const ACCEPT =
  `${AGGREGATED}v2;as=APIGroupDiscoveryList,${AGGREGATED}v2beta1;as=APIGroupDiscoveryList`;

type Parsed = Record<string, unknown>;

/** Asks a remote what it serves. Resolves to whether it said so; what it said before stays if not. */
export async function learnDiscovery(
  { outbound }: { outbound: Outbound },
  remote: Remote,
): Promise<boolean> {
  try {
    if (!remote.available) throw new Error("not available");
    const found = await aggregated(outbound, remote) ?? await legacy(outbound, remote);
    if (found !== "same") {
      remote.resources = found.resources;
      remote.etag = found.etag;
    }
    remote.freshness = "Current";
    return true;
  } catch {
    remote.freshness = "Stale";
    return false;
  }
}

interface Found {
  resources: readonly DiscoveredResource[];
  etag?: string;
}

async function ask(outbound: Outbound, remote: Remote, path: string, accept: string) {
  const headers: Record<string, string | string[]> = { ...remoteHeaders(AGGREGATOR), accept };
  if (remote.etag) headers["if-none-match"] = remote.etag;
  return await outbound.send(await remote.endpoint(), {
    method: "GET",
    path,
    headers,
    timeoutMs: DISCOVERY_TIMEOUT_MS,
    bytesMax: DISCOVERY_BYTES_MAX,
  });
}

/** Undefined: it has no aggregated discovery. */
async function aggregated(outbound: Outbound, remote: Remote): Promise<Found | "same" | undefined> {
  const { status, headers, body } = await ask(outbound, remote, "/apis", ACCEPT);
  if (status === 304 && remote.etag) return "same";
  if (status === 503) throw new Error(`answered ${status}`);
  const type = String(headers["content-type"] ?? "");
  if (status !== 200 || !/as=APIGroupDiscoveryList/.test(type)) return undefined;
  const document = JSON.parse(new TextDecoder().decode(body)) as Parsed;
  const etag = headers.etag === undefined ? undefined : String(headers.etag);
  for (const group of recordsOf(document.items)) {
    if ((group.metadata as Parsed | undefined)?.name !== remote.group) continue;
    for (const version of recordsOf(group.versions)) {
      if (version.version !== remote.version) continue;
      const resources = recordsOf(version.resources).map(resourceOf).filter((r) => r !== undefined);
      return { resources, etag };
    }
  }
  return { resources: [], etag };
}

async function legacy(outbound: Outbound, remote: Remote): Promise<Found> {
  const path = `/apis/${remote.group}/${remote.version}`;
  const { status, body } = await ask(outbound, remote, path, "application/json");
  if (status !== 200) throw new Error(`answered ${status}`);
  const { resources } = JSON.parse(new TextDecoder().decode(body)) as Parsed;
  return { resources: fromLegacy(recordsOf(resources)) };
}

/** Resources of a group-version's document, subresources under theirs. */
export function fromLegacy(entries: readonly Parsed[]): DiscoveredResource[] {
  const found = new Map<string, DiscoveredResource>();
  const kindOf = (entry: Parsed) => ({
    group: textOf(entry.group),
    version: textOf(entry.version),
    kind: textOf(entry.kind),
  });
  for (const entry of entries) {
    const name = textOf(entry.name);
    if (!name || name.includes("/")) continue;
    found.set(name, {
      resource: name,
      responseKind: kindOf(entry),
      scope: entry.namespaced === true ? "Namespaced" : "Cluster",
      singularResource: textOf(entry.singularName),
      verbs: textsOf(entry.verbs),
      ...optional("shortNames", entry.shortNames),
      ...optional("categories", entry.categories),
    });
  }
  for (const entry of entries) {
    const [parent, subresource] = textOf(entry.name).split("/", 2);
    const owner = found.get(parent);
    if (!owner || !subresource) continue;
    const one = { subresource, responseKind: kindOf(entry), verbs: textsOf(entry.verbs) };
    owner.subresources = [...owner.subresources ?? [], one];
  }
  return [...found.values()];
}

function resourceOf(entry: Parsed): DiscoveredResource | undefined {
  const resource = textOf(entry.resource);
  if (!resource) return undefined;
  const subresources = recordsOf(entry.subresources).map((sub) => ({
    subresource: textOf(sub.subresource),
    responseKind: responseKindOf(sub),
    verbs: textsOf(sub.verbs),
  }));
  return {
    resource,
    responseKind: responseKindOf(entry),
    scope: entry.scope === "Namespaced" ? "Namespaced" : "Cluster",
    singularResource: textOf(entry.singularResource),
    verbs: textsOf(entry.verbs),
    ...optional("shortNames", entry.shortNames),
    ...optional("categories", entry.categories),
    ...(subresources.length > 0 && { subresources }),
  };
}

/** Clients of some releases fall over one that is absent. */
function responseKindOf(entry: Parsed) {
  const { group, version, kind } = (entry.responseKind ?? {}) as Parsed;
  return { group: textOf(group), version: textOf(version), kind: textOf(kind) };
}

function recordsOf(value: unknown): Parsed[] {
  return Array.isArray(value) ? value.filter((one) => one !== null && typeof one === "object") : [];
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}

function optional(name: "shortNames" | "categories", value: unknown) {
  const texts = textsOf(value);
  return texts.length > 0 ? { [name]: texts } : {};
}
