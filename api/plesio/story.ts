/**
 * `/plesio/v1/story/<kube path>`: how an object became what it is, from the request that began it through every actor.
 *
 * Every revision keeps what it reacted to (`api/server/causes.ts`), so that what happened is a tree: each write hangs on
 * the one that its writer reacted to. An object's story is all that was written of it, what led to that back to the
 * requests it began with, and all that followed from it: of a Deployment, its ReplicaSets, their Pods, bindings and
 * statuses, EndpointSlices. Of a Pod it is the way to that Pod, and not its siblings.
 *
 * The answer is JSON, or text for people: `kubectl get --raw '/plesio/v1/story/…?format=text'`. A story reaches as far
 * back as history does; what is missing it says.
 */
import {
  type Cause,
  CompactedError,
  type Database,
  type Item,
  type Store,
} from "../../kv/contract.ts";
import type { Target } from "../client/contract.ts";
import type { Hop, Named, Story } from "../client/plesio.ts";
import { notFound } from "../machinery/errors.ts";
import type { Kind, Kinds, KubeObject } from "../machinery/types.ts";
import { apiVersionOf } from "../server/codec.ts";
import { keyFor, subjectOf } from "../server/deps.ts";
import { jsonReply, type Reply, textReply } from "../server/http.ts";
import { routeOf } from "../server/route.ts";
import { changeText, hopChanges } from "./change_text.ts";
import { allowMethods, type Asked, notThere, wantsText } from "./endpoint.ts";
import { storyText } from "./story_text.ts";

/** Hops that a story tells at most: the first ones. */
export const STORY_HOPS_MAX = 1_000;
/** The newest revisions that are looked through for what followed. */
export const STORY_REVISIONS_MAX = 50_000;
/** Times that history is read again because its beginning went while it was read. */
const READS_MAX = 3;

/** Where stories come from. */
export interface StorySource {
  readonly database: Database<KubeObject>;
  readonly kinds: Kinds;
}

/** Whose story: the path of its API, what a client's call names, or the object itself. */
export type StoryOf =
  | string
  | (Target & { name: string })
  | {
    apiVersion?: string;
    kind?: string;
    metadata: { name: string; namespace?: string };
  };

/** Answers it. */
export async function story(asked: Asked): Promise<Reply> {
  allowMethods(asked, "GET");
  const told = await storyOf(asked.ports, asked.rest);
  return wantsText(asked) ? textReply(200, storyText(told)) : jsonReply(200, told);
}

/** An object's story; of one that is gone while history knows it. Rejects with 404 when there was none. */
export async function storyOf(
  source: StorySource,
  of: StoryOf,
  { revisionsMax = STORY_REVISIONS_MAX }: { revisionsMax?: number } = {},
): Promise<Story> {
  const { kind, namespace, name } = placeOf(source.kinds, of);
  const key = keyFor(kind, namespace, name);
  const store = source.database.objects;
  const history = await readHistory(store, revisionsMax);
  const own = await ownSteps(store, history, key);
  if (own.length === 0) throw notFound(subjectOf(kind), name);
  const since = own[0].previous === 0 ? 0 : store.oldest();
  const all = new Map<number, Step>();
  for (const step of await leadingTo(store, history, own)) all.set(step.revision, step);
  for (const step of following(history, own)) all.set(step.revision, step);
  const kinds = new StoredKinds(source.kinds);
  const steps = [...all.values()].filter(({ key }) => kinds.named(key));
  steps.sort((a, b) => a.revision - b.revision);
  const untold = Math.max(0, steps.length - STORY_HOPS_MAX);
  const told = steps.slice(0, STORY_HOPS_MAX);
  const times = new Map(told.map(({ revision, time }) => [revision, time]));
  const hops = told.map((step) => hopOf(step, { kinds, times, began: told[0].time }));
  return {
    object: kinds.named(key)!,
    began: hops[0].time,
    hops,
    ...(since > 0 && { since }),
    ...(untold > 0 && { untold }),
    ...((since > 0 || untold > 0) && { missing: missing(since, untold) }),
  };
}

function missing(since: number, untold: number): string[] {
  return [
    ...(since > 0 ? [`history begins at revision ${since}: what was before is gone`] : []),
    ...(untold > 0 ? [`${untold} later hops: ${STORY_HOPS_MAX} are told`] : []),
  ];
}

function placeOf(kinds: Kinds, of: StoryOf): { kind: Kind; namespace: string; name: string } {
  let kind: Kind | undefined;
  let namespace: string | undefined;
  let name = "";
  if (typeof of === "string") {
    const route = routeOf(of);
    kind = route && kinds.byResource(route.group, route.version, route.resource);
    ({ namespace, name } = route ?? { namespace, name });
  } else if ("resource" in of) {
    const { group, version, plural } = of.resource;
    kind = kinds.byResource(group, version, plural);
    ({ namespace, name } = of);
  } else {
    const { apiVersion = "", kind: word = "", metadata } = of;
    const slash = apiVersion.indexOf("/");
    kind = kinds.byKind(apiVersion.slice(0, Math.max(0, slash)), apiVersion.slice(slash + 1), word);
    ({ namespace, name } = metadata);
  }
  const isStored = kind && !kind.virtual && kind.store !== "events";
  if (kind && isStored && name) {
    return { kind, namespace: kind.namespaced ? namespace ?? "" : "", name };
  }
  throw notThere(
    "a story is of one object: /plesio/v1/story/ and the path of the object in the " +
      "API, such as apis/apps/v1/namespaces/default/deployments/web",
  );
}

/** What the store says of a revision. */
interface Step {
  readonly revision: number;
  readonly time: number;
  readonly key: string;
  readonly type: "put" | "delete";
  /** The revision of the object before; 0: there was none. */
  readonly previous: number;
  readonly cause?: Cause;
  readonly item?: Item<KubeObject>;
  readonly before?: Item<KubeObject>;
}

/** The newest history, in order. */
async function readHistory(
  store: Store<KubeObject>,
  revisionsMax: number,
): Promise<Map<number, Step>> {
  for (let read = 1;; read++) {
    try {
      const steps = new Map<number, Step>();
      const head = store.view().revision;
      const after = Math.max(store.oldest(), head - revisionsMax);
      for await (const { revision, time, event, cause } of store.changes(after, head)) {
        if (!event) continue;
        const { key, type, item, previous: before } = event;
        const previous = before?.revision ?? 0;
        steps.set(revision, { revision, time, key, type, previous, cause, item, before });
      }
      return steps;
    } catch (error) {
      if (!(error instanceof CompactedError) || read === READS_MAX) throw error;
    }
  }
}

/** What was written of an object since it was created the last time, as far as history knows. */
async function ownSteps(
  store: Store<KubeObject>,
  history: ReadonlyMap<number, Step>,
  key: string,
): Promise<Step[]> {
  let own: Step[] = [];
  for (const step of history.values()) {
    if (step.key !== key) continue;
    if (step.type === "put" && step.previous === 0) own = [];
    own.push(step);
  }
  if (own.length > 0) return own;
  const item = store.view().get(key);
  const written = item && await store.written(item.revision);
  return written ? [{ ...written, item }] : [];
}

/** What led to these steps, back to where it began. */
async function leadingTo(
  store: Store<KubeObject>,
  history: ReadonlyMap<number, Step>,
  own: readonly Step[],
): Promise<Step[]> {
  const known = new Set(own.map(({ revision }) => revision));
  const found: Step[] = [];
  for (const one of own) {
    for (let { revision, cause } = one; found.length < STORY_HOPS_MAX;) {
      const because = cause?.because ?? 0;
      // Who claims to react to what comes later is not believed
      if (because === 0 || because >= revision || known.has(because)) break;
      known.add(because);
      const step: Step | undefined = history.get(because) ?? await store.written(because);
      if (!step) break;
      found.push(step);
      ({ revision, cause } = step);
    }
  }
  return found;
}

/** These steps and all that followed from them: causes come before what they cause, so one look at each is enough. */
function following(history: ReadonlyMap<number, Step>, own: readonly Step[]): Step[] {
  const found = new Map(own.map((step) => [step.revision, step]));
  for (const step of history.values()) {
    const because = step.cause?.because ?? 0;
    if (because < step.revision && found.has(because)) found.set(step.revision, step);
  }
  return [...found.values()];
}

/** The kinds by where their objects lie. */
class StoredKinds {
  readonly #byPath = new Map<string, Kind>();
  readonly #parts = new Map<string, string>();

  constructor(kinds: Kinds) {
    for (const kind of kinds.all()) {
      if (kind.virtual) continue;
      // Of several versions the one that is stored
      if (!this.#byPath.has(kind.path) || !kind.storage) this.#byPath.set(kind.path, kind);
      this.#parts.set(kind.singular, words(kind.kind));
    }
  }

  /** The object of a key; undefined for what is no object of the API. */
  named(key: string): Named | undefined {
    const end = key.lastIndexOf("/");
    const name = key.slice(end + 1);
    let kind = this.#byPath.get(key.slice(0, end));
    let namespace: string | undefined;
    if (!kind) {
      const middle = key.lastIndexOf("/", end - 1);
      kind = this.#byPath.get(key.slice(0, middle));
      namespace = key.slice(middle + 1, end);
    }
    if (!kind || kind.namespaced !== (namespace !== undefined)) return undefined;
    return { apiVersion: apiVersionOf(kind), kind: kind.kind, namespace, name };
  }

  /** What a controller is called: as the kind that it is for, where it is for one. */
  controller(name: string): string {
    const parts = name.split("-").map((part) => this.#parts.get(part) ?? COMPOUNDS[part] ?? part);
    const text = parts.join(" ");
    return text.endsWith("collector") ? text : `${text} controller`;
  }
}

/** Parts of controllers' names that are several words and no kind. */
const COMPOUNDS: Readonly<Record<string, string>> = {
  endpointslicemirroring: "endpoint slice mirroring",
  garbagecollector: "garbage collector",
  horizontalpodautoscaling: "horizontal pod autoscaling",
  nodeipam: "node IPAM",
  nodelifecycle: "node lifecycle",
  podgc: "pod garbage collector",
};

/** `ReplicaSet` as words. */
function words(kind: string): string {
  return kind.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, " ").toLowerCase();
}

/** A controller's account, and a node's, as users are called. */
const CONTROLLER_USER = /^system:serviceaccount:kube-system:([a-z-]+)-controller /;
const NODE_USER = /^system:node:(\S+) /;

function partOf(by: string, kinds: StoredKinds): string {
  const [first, ...rest] = by.split("/");
  if (first === "controller" && rest.length > 0) return kinds.controller(rest[0]);
  if (first === "scheduler" || by.startsWith("system:kube-scheduler ")) return "scheduler";
  if (first === "node" && rest.length > 0) return "node";
  if (NODE_USER.test(by)) return "node";
  const account = CONTROLLER_USER.exec(by)?.[1];
  if (account) return kinds.controller(account.replaceAll("-", ""));
  return by.includes(" ") || by === "" ? "API server" : first;
}

/** The node that an actor or a user is of. */
function nodeOf(by: string): string {
  return NODE_USER.exec(by)?.[1] ?? by.split("/")[1];
}

const DERIVED = { put: "update", delete: "delete" } as const;

function hopOf(
  step: Step,
  { kinds, times, began }: { kinds: StoredKinds; times: Map<number, number>; began: number },
): Hop {
  const { revision, time, cause, previous } = step;
  const because = cause?.because || undefined;
  const since = because === undefined ? undefined : times.get(because);
  const by = cause?.by ?? "";
  const part = partOf(by, kinds);
  const value = step.item?.value;
  const changes = hopChanges(value, step.before?.value);
  return {
    revision,
    time: new Date(time).toISOString(),
    by,
    part,
    // Simulated nodes have one actor for all of them
    ...(part === "node" && { node: value?.spec?.nodeName ?? nodeOf(by) }),
    verb: cause?.verb ?? (step.type === "put" && previous === 0 ? "create" : DERIVED[step.type]),
    object: kinds.named(step.key)!,
    ...(changes.length > 0 && { changes, what: changeText(changes) }),
    because,
    ...(since !== undefined && { afterMs: time - since }),
    sinceMs: time - began,
    ...(cause && { trace: cause.trace }),
  };
}
