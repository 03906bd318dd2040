/**
 * Discovery: what is served, in the old form (one document a group-version) and aggregated (one for all), by
 * this server and by those behind APIServices. Documents are made at first use and kept until the kinds or the
 * other servers change. Order is that of the APIServices' priorities: what comes first wins when names collide.
 */
import { createHash } from "node:crypto";
import { schemas } from "../kinds/schemas.ts";
import { toEnvelope } from "../machinery/protobuf.ts";
import type { Kind, Kinds, Subresource } from "../machinery/types.ts";
import { type Priorities, prioritiesOf } from "./api_services.ts";
import { apiVersionOf, jsonBytes } from "./codec.ts";
import {
  bodyMedia,
  clausesOf,
  JSON_TYPE,
  type Media,
  negotiate,
  type Offer,
  PROTOBUF_TYPE,
  YAML_TYPE,
} from "./negotiate.ts";
import { yamlBytes } from "./parse.ts";

/** A document and its ETag. */
export interface Document {
  body: unknown;
  bytes: Uint8Array;
  contentType: string;
  etag?: string;
}

/** What a client wants: a media type, and of which version of aggregated discovery, if it wants that. */
interface Wanted {
  media: Media;
  form: "" | "v2" | "v2beta1";
}

/** A resource in aggregated discovery. */
export interface DiscoveredResource {
  resource: string;
  responseKind: { group: string; version: string; kind: string };
  scope: "Namespaced" | "Cluster";
  singularResource: string;
  verbs: readonly string[];
  shortNames?: readonly string[];
  categories?: readonly string[];
  subresources?: readonly {
    subresource: string;
    responseKind: { group: string; version: string; kind: string };
    verbs: readonly string[];
  }[];
}

/** A group-version that another server serves. */
export interface RemoteVersion {
  group: string;
  version: string;
  priorities: Priorities;
  /** What that server last said it serves; none if it never did. */
  resources: readonly DiscoveredResource[];
  /** Whether it said so when it was asked last. */
  freshness: "Current" | "Stale";
}

/** What other servers serve; `version` grows with every change. */
export interface RemoteVersions {
  readonly version: number;
  all(): Iterable<RemoteVersion>;
}

const NO_REMOTES: RemoteVersions = { version: 0, all: () => [] };

interface Version {
  version: string;
  priorities: Priorities;
  remote?: RemoteVersion;
}

interface Group {
  name: string;
  priority: number;
  versions: Version[];
}

/** What kinds say of themselves. */
export class Discovery {
  readonly #kinds: Kinds;
  readonly #remotes: RemoteVersions;
  #version = "";
  #documents = new Map<string, Document>();

  constructor(kinds: Kinds, remotes: RemoteVersions = NO_REMOTES) {
    this.#kinds = kinds;
    this.#remotes = remotes;
  }

  /**
   * The document of a path (`/api`, `/apis/apps/v1`), in the form that is accepted; undefined: no such path.
   * Throws 406 for what no document can be written in. `host`: where the client has found this server.
   */
  document(path: string, accept: string | undefined, host = HOST): Document | undefined {
    const version = `${this.#kinds.version}/${this.#remotes.version}`;
    if (this.#version !== version) {
      this.#version = version;
      this.#documents.clear();
    }
    const { form, media } = wanted(accept, path === "/api" || path === "/apis");
    if (!form && path === "/api") {
      const body = apiVersions(host);
      return { body, bytes: bytesOf(body, media), contentType: MEDIA_TYPES[media] };
    }
    const key = `${media} ${form} ${path}`;
    let document = this.#documents.get(key);
    if (document) return document;
    const body = form ? this.#aggregated(path === "/api", form) : this.#legacy(path);
    if (!body) return undefined;
    document = { body, bytes: bytesOf(body, media), contentType: MEDIA_TYPES[media] };
    if (form) {
      const hash = createHash("sha512").update(JSON.stringify(body)).digest("hex");
      document.etag = `"${hash.toUpperCase()}"`;
      document.contentType += `;g=apidiscovery.k8s.io;v=${form};as=APIGroupDiscoveryList`;
    }
    this.#documents.set(key, document);
    return document;
  }

  /** Groups in the order of their priorities; `byName`: equal ones by name, else by their APIService's. */
  #groups(byName: boolean): Group[] {
    const groups = new Map<string, Group>();
    const add = (name: string, entry: Version) => {
      const group = groups.get(name) ?? { name, priority: 0, versions: [] };
      groups.set(name, group);
      const at = group.versions.findIndex((v) => v.version === entry.version);
      if (at < 0) group.versions.push(entry);
      else if (entry.remote) group.versions[at] = entry;
      group.priority = Math.max(group.priority, entry.priorities.group);
    };
    for (const { group, version, custom } of this.#kinds.all()) {
      add(group, { version, priorities: prioritiesOf(group, version, custom === true) });
    }
    for (const remote of this.#remotes.all()) {
      const { group, version, priorities } = remote;
      add(group, { version, priorities, remote });
    }
    const all = [...groups.values()];
    for (const { versions } of all) versions.sort(compareVersions);
    const nameOf = byName ? (g: Group) => g.name : serviceNameOf;
    return all.sort((a, b) => b.priority - a.priority || (nameOf(a) < nameOf(b) ? -1 : 1));
  }

  #of(group: string, version: string): Kind[] {
    return this.#kinds.all()
      .filter((kind) => kind.group === group && kind.version === version)
      .sort((a, b) => (a.plural < b.plural ? -1 : 1));
  }

  #legacy(path: string): object | undefined {
    const [, root, group, version, ...more] = path.split("/");
    if (more.length) return undefined;
    if (root === "api") {
      if (group !== "v1" || version !== undefined) return undefined;
      return { kind: "APIResourceList", ...resourceList("v1", this.#of("", "v1")) };
    }
    if (group === undefined) {
      const groups = this.#groups(false).filter((g) => g.name !== "").map(groupDocument);
      return { kind: "APIGroupList", apiVersion: "v1", groups };
    }
    if (group === "") return undefined;
    if (version === undefined) {
      const found = this.#groups(false).find((g) => g.name === group);
      return found && { kind: "APIGroup", apiVersion: "v1", ...groupDocument(found) };
    }
    const kinds = this.#of(group, version);
    if (kinds.length === 0) return undefined;
    const list = resourceList(`${group}/${version}`, kinds);
    return { kind: "APIResourceList", apiVersion: "v1", ...list };
  }

  #aggregated(core: boolean, form: string): object {
    const items = this.#groups(true).filter((g) => (g.name === "") === core).map((group) => ({
      metadata: group.name ? { name: group.name } : {},
      versions: group.versions.map(({ version, remote }) => {
        const resources = remote?.resources ?? this.#of(group.name, version).map(discovered);
        const freshness = remote?.freshness ?? "Current";
        return { version, ...(resources.length > 0 && { resources }), freshness };
      }),
    }));
    return {
      kind: "APIGroupDiscoveryList",
      apiVersion: `apidiscovery.k8s.io/${form}`,
      metadata: {},
      items,
    };
  }
}

/** Where this server is by default. */
const HOST = "127.0.0.1:6443";

function apiVersions(serverAddress: string): object {
  return {
    kind: "APIVersions",
    versions: ["v1"],
    serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress }],
  };
}

/** The first by name of a group's APIServices among those of its priority. */
function serviceNameOf({ name, priority, versions }: Group): string {
  const names = versions.filter((v) => v.priorities.group === priority)
    .map((v) => `${v.version}.${name}`);
  return names.sort()[0];
}

const MEDIA_TYPES: Readonly<Record<Media, string>> = {
  json: JSON_TYPE,
  yaml: YAML_TYPE,
  protobuf: PROTOBUF_TYPE,
};
const PLAIN: Offer = { protobuf: true, table: false, partial: false, list: false };

/** What is wanted; `aggregated`: the path has an aggregated document too. */
function wanted(accept: string | undefined, aggregated: boolean): Wanted {
  if (accept && aggregated) {
    for (const { type, params } of clausesOf(accept)) {
      if (!params.has("as")) {
        if (/^application\/(json|yaml|vnd\.kubernetes\.protobuf)$|\*$/.test(type)) break;
        continue;
      }
      const form = params.get("v");
      const media = type === "application/*" || type === "*/*" ? "json" : bodyMedia(type);
      const known = params.get("as") === "APIGroupDiscoveryList" &&
        params.get("g") === "apidiscovery.k8s.io";
      if (media && known && (form === "v2" || form === "v2beta1")) return { media, form };
    }
  }
  return { media: negotiate(accept, PLAIN).media, form: "" };
}

/** Definitions of the documents, for protobuf: by kind. */
const DEFINITION = "io.k8s.apimachinery.pkg.apis.meta.v1.";

function bytesOf(body: object, media: Media): Uint8Array {
  if (media === "yaml") return yamlBytes(body);
  if (media === "json") return jsonBytes(body);
  // What says no apiVersion in JSON says none in its envelope
  const { kind, apiVersion = "" } = body as { kind: string; apiVersion?: string };
  const [version, group] = apiVersion.split("/").reverse();
  const prefix = group ? `io.k8s.api.apidiscovery.${version}.` : DEFINITION;
  return toEnvelope(schemas, prefix + kind, { apiVersion, ...body });
}

/** By priority, then upstream's order of versions: GA before beta before alpha, higher first. */
function compareVersions(a: Version, b: Version): number {
  return b.priorities.version - a.priorities.version || compareNames(a.version, b.version);
}

function compareNames(a: string, b: string): number {
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
  const all = versions.map(({ version }) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: all, preferredVersion: all[0] };
}

/** What upstream 1.36 keeps in another version than it is served in, and we do not. */
const STORED_AS: Readonly<Record<string, string>> = {
  "admissionregistration.k8s.io/mutatingadmissionpolicies": "admissionregistration.k8s.io/v1beta1",
  "admissionregistration.k8s.io/mutatingadmissionpolicybindings":
    "admissionregistration.k8s.io/v1beta1",
  "apiextensions.k8s.io/customresourcedefinitions": "apiextensions.k8s.io/v1beta1",
  "resource.k8s.io/devicetaintrules": "resource.k8s.io/v1alpha3",
};

/** The order in which upstream lists what custom kinds can do. */
const CUSTOM_VERBS = [
  "delete",
  "deletecollection",
  "get",
  "list",
  "patch",
  "create",
  "update",
  "watch",
];

function verbsOf({ custom, verbs }: Kind): string[] {
  const own: readonly string[] = verbs;
  return custom ? CUSTOM_VERBS.filter((verb) => own.includes(verb)) : [...own].sort();
}

/** Tells whether objects that are read in two versions are kept as one: the hash of what is stored. */
function storageHash(kind: Kind): string {
  const stored = STORED_AS[`${kind.group}/${kind.plural}`] ?? kind.storage?.version ??
    apiVersionOf(kind);
  const text = `${stored.includes("/") ? "" : "/"}${stored}/${kind.kind}`;
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
  return { groupVersion, resources };
}

function resourceEntry(kind: Kind) {
  const entry: Record<string, unknown> & { name: string } = {
    name: kind.plural,
    singularName: kind.singular,
    namespaced: kind.namespaced,
    kind: kind.kind,
    verbs: verbsOf(kind),
  };
  if (kind.shortNames?.length) entry.shortNames = kind.shortNames;
  if (kind.categories?.length) entry.categories = kind.categories;
  if (!kind.virtual) entry.storageVersionHash = storageHash(kind);
  return entry;
}

function subresourceEntry(kind: Kind, { name, verbs, kind: own }: Subresource) {
  const other = own && (own.group !== kind.group || own.version !== kind.version);
  return {
    name: `${kind.plural}/${name}`,
    singularName: "",
    namespaced: kind.namespaced,
    ...(other && { group: own.group, version: own.version }),
    kind: own?.kind ?? kind.kind,
    verbs: [...verbs].sort(),
  };
}

/** A kind in aggregated discovery. Built-in ones leave out the group-version that they stand under, as upstream's. */
function discovered(kind: Kind): DiscoveredResource {
  const gv = ({ group, version, kind: name }: { group: string; version: string; kind: string }) => {
    const same = !kind.custom && group === kind.group && version === kind.version;
    return { group: same ? "" : group, version: same ? "" : version, kind: name };
  };
  const entry: DiscoveredResource = {
    resource: kind.plural,
    responseKind: gv(kind),
    scope: kind.namespaced ? "Namespaced" : "Cluster",
    singularResource: kind.singular,
    verbs: verbsOf(kind),
  };
  if (kind.shortNames?.length) entry.shortNames = kind.shortNames;
  if (kind.categories?.length) entry.categories = kind.categories;
  if (kind.subresources.length) {
    entry.subresources = kind.subresources.map(({ name, verbs, kind: own }) => ({
      subresource: name,
      responseKind: gv(own ?? kind),
      verbs: [...verbs].sort(),
    }));
  }
  return entry;
}
