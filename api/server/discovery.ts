/**
 * Discovery: what is served, in the old form (one document a group-version) and aggregated (one for all).
 * Documents are made at first use and kept until the kinds change.
 */
import { createHash } from "node:crypto";
import type { Kind, Kinds, Subresource } from "../machinery/types.ts";
import { clausesOf } from "./negotiate.ts";

/** Upstream's order of groups: what comes first wins when names collide. */
const GROUP_ORDER = [
  "",
  "apiregistration.k8s.io",
  "apps",
  "events.k8s.io",
  "authentication.k8s.io",
  "authorization.k8s.io",
  "autoscaling",
  "batch",
  "certificates.k8s.io",
  "networking.k8s.io",
  "policy",
  "rbac.authorization.k8s.io",
  "storage.k8s.io",
  "admissionregistration.k8s.io",
  "apiextensions.k8s.io",
  "scheduling.k8s.io",
  "coordination.k8s.io",
  "node.k8s.io",
  "discovery.k8s.io",
  "resource.k8s.io",
  "flowcontrol.apiserver.k8s.io",
  "internal.apiserver.k8s.io",
  "storagemigration.k8s.io",
];

/** A document and its ETag. */
export interface Document {
  body: unknown;
  contentType: string;
  etag?: string;
}

interface Group {
  name: string;
  versions: string[];
}

/** What kinds say of themselves. */
export class Discovery {
  readonly #kinds: Kinds;
  #version = -1;
  #documents = new Map<string, Document>();

  constructor(kinds: Kinds) {
    this.#kinds = kinds;
  }

  /** The document of a path (`/api`, `/apis/apps/v1`), in the form that is accepted; undefined: no such path. */
  document(path: string, accept: string | undefined): Document | undefined {
    if (this.#version !== this.#kinds.version) {
      this.#version = this.#kinds.version;
      this.#documents.clear();
    }
    const form = path === "/api" || path === "/apis" ? aggregatedForm(accept) : "";
    const key = `${form}${path}`;
    let document = this.#documents.get(key);
    if (document) return document;
    const body = form ? this.#aggregated(path === "/api", form) : this.#legacy(path);
    if (!body) return undefined;
    document = { body, contentType: "application/json" };
    if (form) {
      const hash = createHash("sha256").update(JSON.stringify(body)).digest("hex");
      document.etag = `"${hash.toUpperCase()}"`;
      document.contentType =
        `application/json;g=apidiscovery.k8s.io;v=${form};as=APIGroupDiscoveryList`;
    }
    this.#documents.set(key, document);
    return document;
  }

  #groups(): Group[] {
    const groups = new Map<string, Group>();
    for (const { group, version } of this.#kinds.all()) {
      let found = groups.get(group);
      if (!found) groups.set(group, found = { name: group, versions: [] });
      if (!found.versions.includes(version)) found.versions.push(version);
    }
    const rank = (name: string) => {
      const at = GROUP_ORDER.indexOf(name);
      return at < 0 ? GROUP_ORDER.length : at;
    };
    const all = [...groups.values()];
    for (const group of all) group.versions.sort(compareVersions);
    return all.sort((a, b) => rank(a.name) - rank(b.name) || (a.name < b.name ? -1 : 1));
  }

  #of(group: string, version: string): Kind[] {
    return this.#kinds.all()
      .filter((kind) => kind.group === group && kind.version === version)
      .sort((a, b) => (a.plural < b.plural ? -1 : 1));
  }

  #legacy(path: string): unknown {
    const [, root, group, version, ...more] = path.split("/");
    if (more.length) return undefined;
    if (root === "api") {
      if (group === undefined) return { kind: "APIVersions", versions: ["v1"], ...LOCAL };
      if (group !== "v1" || version !== undefined) return undefined;
      return resourceList("v1", this.#of("", "v1"));
    }
    if (group === undefined) {
      const groups = this.#groups().filter((g) => g.name !== "").map(groupDocument);
      return { kind: "APIGroupList", apiVersion: "v1", groups };
    }
    if (group === "") return undefined;
    if (version === undefined) {
      const found = this.#groups().find((g) => g.name === group);
      return found && { kind: "APIGroup", apiVersion: "v1", ...groupDocument(found) };
    }
    const kinds = this.#of(group, version);
    return kinds.length ? resourceList(`${group}/${version}`, kinds) : undefined;
  }

  #aggregated(core: boolean, form: string): unknown {
    const items = this.#groups().filter((g) => (g.name === "") === core).map((group) => ({
      metadata: group.name
        ? { name: group.name, creationTimestamp: null }
        : { creationTimestamp: null },
      versions: group.versions.map((version) => ({
        version,
        resources: this.#of(group.name, version).map(aggregatedResource),
        freshness: "Current",
      })),
    }));
    return {
      kind: "APIGroupDiscoveryList",
      apiVersion: `apidiscovery.k8s.io/${form}`,
      metadata: {},
      items,
    };
  }
}

const LOCAL = {
  serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress: "127.0.0.1:6443" }],
};

/** The version of aggregated discovery that is wanted, if any. */
function aggregatedForm(accept: string | undefined): string {
  if (!accept) return "";
  for (const { type, params } of clausesOf(accept)) {
    if (params.get("as") === "APIGroupDiscoveryList" && type === "application/json") {
      const version = params.get("v");
      if (params.get("g") !== "apidiscovery.k8s.io") continue;
      if (version === "v2" || version === "v2beta1") return version;
      continue;
    }
    if (!params.has("as") && (type === "application/json" || type.endsWith("/*"))) return "";
  }
  return "";
}

/** Upstream's order of versions: GA before beta before alpha, higher first. */
function compareVersions(a: string, b: string): number {
  const left = parsed(a);
  const right = parsed(b);
  if (!left || !right) return left ? -1 : right ? 1 : a < b ? -1 : 1;
  return right.stage - left.stage || right.major - left.major || right.minor - left.minor;
}

function parsed(version: string) {
  const match = /^v([0-9]+)(?:(alpha|beta)([0-9]+))?$/.exec(version);
  if (!match) return undefined;
  const stage = match[2] === undefined ? 2 : match[2] === "beta" ? 1 : 0;
  return { stage, major: Number(match[1]), minor: Number(match[3] ?? 0) };
}

function groupDocument({ name, versions }: Group) {
  const all = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: all, preferredVersion: all[0] };
}

function storageHash({ group, version, kind }: Kind): string {
  const text = `${group}/${version}/${kind}`;
  return createHash("sha256").update(text).digest().subarray(0, 8).toString("base64");
}

function resourceList(groupVersion: string, kinds: readonly Kind[]) {
  const resources: { name: string }[] = [];
  for (const kind of kinds) {
    resources.push(resourceEntry(kind));
    for (const subresource of kind.subresources) {
      resources.push(subresourceEntry(kind, subresource));
    }
  }
  resources.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources };
}

function resourceEntry(kind: Kind) {
  const entry: Record<string, unknown> & { name: string } = {
    name: kind.plural,
    singularName: kind.singular,
    namespaced: kind.namespaced,
    kind: kind.kind,
    verbs: [...kind.verbs].sort(),
  };
  if (kind.shortNames?.length) entry.shortNames = kind.shortNames;
  if (kind.categories?.length) entry.categories = kind.categories;
  if (!kind.virtual) entry.storageVersionHash = storageHash(kind);
  return entry;
}

function subresourceEntry(kind: Kind, { name, verbs, kind: own }: Subresource) {
  const entry: Record<string, unknown> & { name: string } = {
    name: `${kind.plural}/${name}`,
    singularName: "",
    namespaced: kind.namespaced,
    kind: own?.kind ?? kind.kind,
    verbs: [...verbs].sort(),
  };
  if (own && (own.group !== kind.group || own.version !== kind.version)) {
    entry.group = own.group;
    entry.version = own.version;
  }
  return entry;
}

function aggregatedResource(kind: Kind) {
  const { group, version } = kind;
  const entry: Record<string, unknown> = {
    resource: kind.plural,
    responseKind: { group, version, kind: kind.kind },
    scope: kind.namespaced ? "Namespaced" : "Cluster",
    singularResource: kind.singular,
    verbs: [...kind.verbs].sort(),
  };
  if (kind.shortNames?.length) entry.shortNames = kind.shortNames;
  if (kind.categories?.length) entry.categories = kind.categories;
  if (kind.subresources.length) {
    entry.subresources = kind.subresources.map(({ name, verbs, kind: own }) => ({
      subresource: name,
      responseKind: own ?? { group, version, kind: kind.kind },
      verbs: [...verbs].sort(),
    }));
  }
  return entry;
}
