/**
 * The truth: what lies in the database, read record by record as commits land, by nothing of the store but
 * the record format. Every checker compares the cluster with this.
 */
import { createHash } from "node:crypto";
import { decodeHead, decodeRecord, DELETE, INTERNAL_PUT, PUT } from "../../kv/codec.ts";
import type { Written } from "./sim_kv.ts";

// deno-lint-ignore no-explicit-any -- objects of every kind
export type Obj = any;

/** One change of one object. */
export interface Change {
  readonly revision: number;
  /** When it landed. */
  readonly at: number;
  readonly type: "put" | "delete";
  readonly key: string;
  /** After a put; absent when it is sealed. */
  readonly object?: Obj;
  readonly bytes?: Uint8Array;
  /** What stood there before. */
  readonly before?: Standing;
  /** What the record says of the revision before. */
  readonly previous: number;
}

/** A term as it was taken or changed. */
export interface TermChange {
  readonly name: string;
  readonly holder: string;
  readonly fence: number;
}

/** An object as it stands. */
export interface Standing {
  readonly key: string;
  readonly revision: number;
  readonly object?: Obj;
}

/** What one commit did, in order. */
export interface Commit {
  /** The process whose commit it was. */
  readonly process: string;
  readonly at: number;
  /** The revisions of its records, hidden ones included. */
  readonly revisions: readonly number[];
  readonly headBefore: number;
  readonly head: number;
  readonly steps: readonly (Change | { readonly term: TermChange; readonly revision: number })[];
}

const decoder = new TextDecoder();

/** A change whose object is read when somebody looks at it: most of them nobody does. */
class Read implements Change {
  readonly revision: number;
  readonly at: number;
  readonly type: Change["type"];
  readonly key: string;
  readonly bytes: Uint8Array | undefined;
  readonly before: Standing | undefined;
  readonly previous: number;
  #unread: Uint8Array | undefined;
  #object: Obj;

  constructor(unread: Uint8Array | undefined, change: Omit<Change, "object">) {
    this.#unread = unread;
    this.revision = change.revision;
    this.at = change.at;
    this.type = change.type;
    this.key = change.key;
    this.bytes = change.bytes;
    this.before = change.before;
    this.previous = change.previous;
  }

  get object(): Obj {
    if (this.#unread) {
      this.#object = JSON.parse(decoder.decode(this.#unread));
      this.#unread = undefined;
    }
    return this.#object;
  }
}

/** See the module's text. */
export class Truth {
  revision = 0;
  commits = 0;
  readonly state = new Map<string, Standing>();
  readonly terms = new Map<string, TermChange>();
  /** Every visible change there ever was, by revision. */
  readonly changes = new Map<number, Change>();
  /** Which commit each revision belongs to. */
  readonly commitOf = new Map<number, number>();
  readonly #landed: { line: string; value: Uint8Array }[] = [];

  /** Takes a commit in; undefined when it did not touch the objects. */
  land(process: string, at: number, written: readonly Written[]): Commit | undefined {
    const head = written.find(({ key }) => key[0] === "o" && key[1] === "head");
    if (!head) return undefined;
    const headBefore = this.revision;
    const steps: Commit["steps"][number][] = [];
    const revisions: number[] = [];
    this.commits++;
    for (const { key, value } of written) {
      if (key[0] !== "o" || key[1] !== "change") continue;
      const revision = key[2] as number;
      revisions.push(revision);
      this.commitOf.set(revision, this.commits);
      this.#landed.push({ line: `${revision} ${at} ${process} `, value: value as Uint8Array });
      const step = this.#step(revision, at, value as Uint8Array);
      if (step) steps.push(step);
    }
    this.revision = decodeHead(head.value).revision;
    return { process, at, revisions, headBefore, head: this.revision, steps };
  }

  /** The objects of a resource, by its path's segment (`pods`, `apps/deployments`, …). */
  *list(prefix: string): Generator<Obj> {
    for (const standing of this.state.values()) {
      if (!standing.key.startsWith(prefix)) continue;
      const { object } = standing;
      if (object) yield object;
    }
  }

  /** A digest of everything that ever landed. */
  digest(): string {
    const hash = createHash("sha256");
    for (const { line, value } of this.#landed) hash.update(line).update(value);
    return hash.digest("hex").slice(0, 16);
  }

  #step(revision: number, at: number, whole: Uint8Array): Commit["steps"][number] | undefined {
    const { kind, key, body, form, chunks, previous } = decodeRecord(whole, revision);
    if (kind === INTERNAL_PUT && key.startsWith("!term/")) {
      const { holder, fence } = JSON.parse(decoder.decode(body));
      const term = { name: key.slice("!term/".length), holder, fence };
      this.terms.set(term.name, term);
      return { term, revision };
    }
    if (kind !== PUT && kind !== DELETE) return undefined;
    const before = this.state.get(key);
    const isReadable = body !== undefined && form === 0 && chunks === undefined;
    const change = new Read(isReadable ? body : undefined, {
      revision,
      at,
      type: kind === PUT ? "put" : "delete",
      key,
      bytes: body,
      before,
      previous,
    });
    this.changes.set(revision, change);
    if (kind === PUT) this.state.set(key, change);
    else this.state.delete(key);
    return change;
  }
}

/** The reference to the one controller of an object. */
export function controllerOf(object: Obj): Obj | undefined {
  return object?.metadata?.ownerReferences?.find((reference: Obj) => reference.controller);
}

/** Whether a pod counts as one that runs or will. */
export function isLive(pod: Obj): boolean {
  const phase = pod.status?.phase;
  return !pod.metadata.deletionTimestamp && phase !== "Succeeded" && phase !== "Failed";
}
