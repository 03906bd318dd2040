/**
 * OpenAPI: the v3 index with hashes, a v3 document a group-version, v2; documents as JSON and protobuf. Documents are made
 * when they are first asked for, and kept until the kinds change. A hash says what a document is made
 * of, so that the index needs none of them.
 */
import { createHash } from "node:crypto";
import { noSuchResource } from "../machinery/errors.ts";
import type { OpenApi as Document, Steps } from "../machinery/openapi_schema.ts";
import { rootPaths } from "../machinery/openapi_roots.ts";
import { OPENAPI_EDITION } from "../machinery/openapi_edition.ts";
import type { Kind, Kinds } from "../machinery/types.ts";
import type { Aggregation } from "./aggregation/registry.ts";
import type { Remote } from "./aggregation/remote.ts";
import { apiVersionOf } from "./codec.ts";
import { VERSION } from "./health.ts";
import { type Call, jsonReply, type Reply, statusReply } from "./http.ts";
import { clausesOf } from "./negotiate.ts";

/** What clients ask for, and what they are answered: the older name is no media type that Go could parse. */
const V2_PROTOBUF_ASKED = [
  "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
  "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];
const V2_PROTOBUF = V2_PROTOBUF_ASKED[1];
const V3_PROTOBUF_ASKED = [
  "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
  "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
];
const V3_PROTOBUF = V3_PROTOBUF_ASKED[1];
/** Documents kept; those of definitions that have gone are among them. */
const DOCUMENTS_MAX = 200;
const YEAR_SECONDS = 365 * 24 * 3600;

/** Parts of the API that other servers serve. */
interface Remotes extends Pick<Aggregation, "version" | "all" | "find"> {}
const NO_REMOTES: Remotes = { version: 0, all: () => [], find: () => undefined };

type Swagger = Document & {
  paths: Document;
  definitions: Document;
};

/** How others get their turn while a document is made. */
interface Pace {
  /** A time in ms that never goes back. */
  now: () => number;
  turn: () => Promise<void>;
}
const AT_ONCE: Pace = { now: () => 0, turn: () => Promise.resolve() };
/** How long a document is worked on at a stretch. */
const TURN_MS = 4;
const encoder = new TextEncoder();

interface Made {
  bytes: Uint8Array;
  contentType: string;
}

/** Makes the documents. */
export class OpenApi {
  readonly #kinds: Kinds;
  readonly #remotes: Remotes;
  readonly #pace: Pace;
  #version = "";
  #documents = new Map<string, Promise<Made>>();
  #hashes = new Map<string, string>();
  /** Of documents that are long: reading one takes longer than sending it. */
  readonly #etags = new WeakMap<Uint8Array, string>();

  constructor(kinds: Kinds, remotes: Remotes = NO_REMOTES, pace: Pace = AT_ONCE) {
    this.#kinds = kinds;
    this.#remotes = remotes;
    this.#pace = pace;
  }

  #fresh(): void {
    const version = `${this.#kinds.version}/${this.#remotes.version}`;
    if (this.#version === version) return;
    this.#version = version;
    // A document of v3 is kept by its hash: a definition that comes changes those of its group alone
    if (this.#documents.size > DOCUMENTS_MAX) this.#documents.clear();
    this.#documents.delete("v2");
    this.#documents.delete("v2/protobuf");
    this.#hashes.clear();
  }

  /** `/openapi/v3`: where each group-version's document is. */
  index(_call: Call): Reply {
    this.#fresh();
    const paths: Record<string, { serverRelativeURL: string }> = {};
    for (const kind of this.#kinds.all()) {
      const path = pathOf(kind);
      if (paths[path]) continue;
      paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${this.#hash(path)}` };
    }
    for (const { key } of rootPaths(this.#kinds.all())) {
      paths[key] = { serverRelativeURL: `/openapi/v3/${key}?hash=${this.#hash(key)}` };
    }
    for (const { group, version, document } of this.#remotes.all()) {
      const path = `apis/${group}/${version}`;
      delete paths[path];
      if (!document?.url && !document?.v3) continue;
      const serverRelativeURL = document.url ?? `/openapi/v3/${path}?hash=${document.hash}`;
      paths[path] = { serverRelativeURL };
    }
    return jsonReply(200, { paths });
  }

  /** The server that serves the document of a path itself, if not this one. */
  servedElsewhere(path: string): Remote | undefined {
    const remote = this.#remote(path.replace(/^\/openapi\/v3\//, ""));
    return remote?.document?.url ? remote : undefined;
  }

  #remote(path: string): Remote | undefined {
    const [root, group, version, ...more] = path.split("/");
    if (root !== "apis" || more.length > 0) return undefined;
    return this.#remotes.find(group, version);
  }

  #of(path: string): Kind[] {
    return this.#kinds.all().filter((kind) => pathOf(kind) === path);
  }

  #hash(path: string): string {
    let hash = this.#hashes.get(path);
    if (hash) return hash;
    const digest = createHash("sha512");
    digest.update(`${VERSION.gitVersion}\n${OPENAPI_EDITION}\n${path}\n`);
    for (const kind of this.#of(path)) {
      digest.update(`${kind.kind}\n`);
      if (kind.custom) digest.update(JSON.stringify(kind.schemas[kind.schema] ?? null));
    }
    this.#hashes.set(path, hash = digest.digest("hex").toUpperCase());
    return hash;
  }

  /** `/openapi/v3/apis/apps/v1`. */
  async v3(call: Call): Promise<Reply> {
    this.#fresh();
    const path = call.path.replace(/^\/openapi\/v3\//, "").replace(/\/+$/, "");
    const remote = this.#remote(path);
    if (remote) return remoteReply(remote);
    const kinds = this.#of(path);
    const root = kinds.length === 0 &&
      rootPaths(this.#kinds.all()).some(({ key }) => key === path);
    if (kinds.length === 0 && !root) return statusReply(noSuchResource().status);
    const hash = this.#hash(path);
    const asked = new URLSearchParams(call.query).get("hash");
    if (asked !== null && asked !== hash) {
      return { status: 301, headers: { location: `/openapi/v3/${path}?hash=${hash}` } };
    }
    if (call.header("if-none-match") === `"${hash}"`) {
      return { status: 304, headers: { etag: `"${hash}"` } };
    }
    const protobuf = wantsProtobuf(call, V3_PROTOBUF_ASKED);
    const key = `${path}?${hash}${protobuf ? "/protobuf" : ""}`;
    const { bytes, contentType } = await this.#make(key, async () => {
      const { openApiV3Root, openApiV3Steps } = await import("../machinery/openapi_v3.ts");
      const release = `${VERSION.major}.${VERSION.minor}`;
      const document = root
        ? openApiV3Root(path, this.#kinds.all(), release)
        : await this.#inTurns(openApiV3Steps(kinds[0], this.#kinds.all(), release));
      return await this.#encoded(document!, protobuf);
    });
    const headers: Record<string, string> = {
      "content-type": contentType,
      etag: `"${hash}"`,
      vary: "Accept",
    };
    headers["cache-control"] = asked === null
      ? "no-cache, private"
      : `public, immutable, max-age=${YEAR_SECONDS}`;
    return { status: 200, headers, body: bytes };
  }

  async #encoded(document: Document, protobuf: boolean): Promise<Made> {
    if (protobuf) {
      const { openApiV3ProtobufSteps } = await import("../machinery/openapi_v3_protobuf.ts");
      const bytes = await this.#inTurns(openApiV3ProtobufSteps(document));
      return { bytes, contentType: V3_PROTOBUF };
    }
    const { jsonSteps } = await import("../machinery/openapi_schema.ts");
    const text = await this.#inTurns(jsonSteps(document));
    return { bytes: encoder.encode(text), contentType: "application/json" };
  }

  /** `/openapi/v2`, as JSON or as protobuf. */
  async v2(call: Call): Promise<Reply> {
    this.#fresh();
    const protobuf = wantsProtobuf(call, V2_PROTOBUF_ASKED);
    const { bytes, contentType } = await this.#make(protobuf ? "v2/protobuf" : "v2", async () => {
      const { openApiV2Steps } = await import("../machinery/openapi_v2.ts");
      const { jsonSteps } = await import("../machinery/openapi_schema.ts");
      const release = `${VERSION.major}.${VERSION.minor}`;
      const own = await this.#inTurns(openApiV2Steps(this.#kinds.all(), release));
      const document = await this.#merged(own as Swagger);
      if (!protobuf) {
        const text = await this.#inTurns(jsonSteps(document));
        return { bytes: encoder.encode(text), contentType: "application/json" };
      }
      const { openApiV2ProtobufSteps } = await import("../machinery/openapi_v2_protobuf.ts");
      const bytes = await this.#inTurns(openApiV2ProtobufSteps(document));
      return { bytes, contentType: V2_PROTOBUF };
    });
    const etag = this.#etags.get(bytes) ?? etagOf(bytes);
    this.#etags.set(bytes, etag);
    const headers = { "content-type": contentType, etag, vary: "Accept" };
    if (call.header("if-none-match") === etag) return { status: 304, headers };
    return { status: 200, headers, body: bytes };
  }

  /** With the parts of other servers, those of greater priority first. */
  async #merged(document: Swagger): Promise<Swagger> {
    const remotes = [...this.#remotes.all()].filter((remote) => remote.document?.v2);
    if (remotes.length === 0) return document;
    const { mergeSwagger } = await import("../machinery/openapi_merge.ts");
    remotes.sort((a, b) =>
      b.priorities.group - a.priorities.group || b.priorities.version - a.priorities.version ||
      (a.name < b.name ? -1 : 1)
    );
    return remotes.reduce((all, remote) => mergeSwagger(all, remote.document!.v2!), document);
  }

  /** Does long work so that others run in between. */
  async #inTurns<T>(steps: Steps<T>): Promise<T> {
    const { now, turn } = this.#pace;
    let since = now();
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
      if (now() - since < TURN_MS) continue;
      await turn();
      since = now();
    }
  }

  #make(key: string, make: () => Promise<Made>): Promise<Made> {
    let made = this.#documents.get(key);
    if (!made) {
      made = make();
      this.#documents.set(key, made);
      made.catch(() => this.#documents.delete(key));
    }
    return made;
  }
}

/** A document of the third version that was made of the second. */
function remoteReply({ document }: Remote): Reply {
  if (!document?.v3) return statusReply(noSuchResource().status);
  const headers = {
    "content-type": "application/json",
    etag: `"${document.hash}"`,
    vary: "Accept",
  };
  return { status: 200, headers, body: document.v3 };
}

function pathOf(kind: Kind): string {
  return `${kind.group ? "apis" : "api"}/${apiVersionOf(kind)}`;
}

function etagOf(bytes: Uint8Array): string {
  return `"${createHash("sha256").update(bytes).digest("hex").toUpperCase()}"`;
}

/** Whether the first type that can be had is the protobuf one. */
function wantsProtobuf(call: Call, asked: readonly string[]): boolean {
  for (const { type } of clausesOf(call.header("accept") ?? "")) {
    if (asked.includes(type)) return true;
    if (type === "application/json" || type.endsWith("/*")) return false;
  }
  return false;
}
