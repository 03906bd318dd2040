/**
 * The garbage collector: deletes what no owner holds any more, lets owners that are deleted in the
 * foreground go after their dependents, and frees the dependents of those that are deleted as orphans.
 *
 * It watches every kind that can be listed, watched and deleted, custom resources and what other servers serve
 * behind this one included. Its graph
 * (`garbage_graph.ts`) says whom to look at; before anything is deleted the owners are asked for once
 * more, at the server, because a cache may be behind.
 *
 * Keys: `delete/<uid>`, `orphan/<uid>`, and `kinds` when the set of kinds may have changed.
 *
 * Behaviour matched: pkg/controller/garbagecollector, v1.36.
 */
import type { Informer } from "../../api/client/contract.ts";
import type {
  DeepReadonly,
  Kind,
  KubeObject,
  OwnerReference,
  ResourceId,
} from "../../api/machinery/types.ts";
import {
  type ActorContext,
  API_SERVICES,
  codeOf,
  CUSTOM_RESOURCE_DEFINITIONS,
  isGone,
  type Outcome,
} from "../runtime/mod.ts";
import { FOREGROUND, GarbageGraph, type Node, ORPHAN, type Task } from "./garbage_graph.ts";
import { conditionOf, type Obj } from "./objects.ts";
import {
  type CollectedKind,
  type ControllerPorts,
  type FreeController,
  type ServedKinds,
  storedKinds,
} from "./ports.ts";

type Owner = DeepReadonly<OwnerReference>;

interface State {
  graph: GarbageGraph;
  kinds: ServedKinds;
  remoteKinds: () => Remotes;
  /** What of both was seen last. */
  version: string;
  /** Paths of the resources that are watched, with their caches: a custom resource may come to have another version. */
  watched: Map<string, Informer>;
  /** Caches that are listened to. */
  heard: Set<Informer>;
  /** Owners the server said are not there; the oldest are forgotten. */
  absent: Set<string>;
}

/** A kind, as much of it as it takes to follow and to delete its objects. */
interface Followed extends CollectedKind {
  /** What its objects lie under, or would. */
  path: string;
  /** It may go away before it was listed. */
  passing: boolean;
}

type Remotes = { kinds: readonly CollectedKind[]; stale: readonly string[] };
const NO_REMOTES: Remotes = { kinds: [], stale: [] };

/** How many absent owners are remembered, as upstream. */
const ABSENT_MAX = 500;
/** After a CRD changed, its kinds are looked for until they are there. */
const KINDS_AGAIN_MS = 1000;
/** What other servers serve is looked at so often, as upstream. */
const REMOTES_AGAIN_MS = 30_000;
/** Kinds whose caches begin in one turn of the event loop. */
const KINDS_AT_ONCE = 4;

/** The row. */
export function garbageCollector(
  { kinds, remoteKinds = () => NO_REMOTES }: Pick<ControllerPorts, "kinds" | "remoteKinds">,
): FreeController {
  return {
    name: "garbagecollector",
    account: "generic-garbage-collector",
    component: "garbage-collector-controller",
    workers: 20,
    behaviour: {
      start(context): State {
        const state: State = {
          graph: new GarbageGraph(),
          kinds,
          remoteKinds,
          version: "",
          watched: new Map(),
          heard: new Set(),
          absent: new Set(),
        };
        context.send(context.address, "kinds");
        context.informers.for(CUSTOM_RESOURCE_DEFINITIONS).subscribe(({ old, object }) => {
          if (old?.metadata.generation === object?.metadata.generation && old?.status) return;
          context.send(context.address, "kinds");
        });
        // That one has come, went or can be reached again is known of it before what it serves is
        context.informers.for(API_SERVICES).subscribe(({ object }) => {
          if (!object || object.spec?.service) context.send(context.address, "kinds");
        });
        return state;
      },
      handle,
    },
  };
}

async function handle(key: string, state: State, context: ActorContext): Promise<Outcome> {
  if (key === "kinds") {
    // The server learns of a CRD at about the time we do, and may take longer: look until it is there.
    const seen = state.version;
    await watchKinds(context, state);
    // (It may also have learnt of it since we asked.)
    const again = seen !== state.version || state.version !== versionOf(state) ||
      isDefined(context, state) || isExpected(context, state);
    if (again) return { afterMs: KINDS_AGAIN_MS };
    const { kinds, stale } = state.remoteKinds();
    return kinds.length + stale.length > 0 ? { afterMs: REMOTES_AGAIN_MS } : undefined;
  }
  const slash = key.indexOf("/");
  const node = state.graph.nodes.get(key.slice(slash + 1));
  if (!node) return;
  return key.startsWith("orphan/")
    ? await orphan(context, state, node)
    : await collect(context, state, node);
}

/** Whether there is a CRD whose kind is about to be served. */
function isDefined(context: ActorContext, { kinds }: State): boolean {
  for (
    const { metadata, spec, status } of context.informers.for(CUSTOM_RESOURCE_DEFINITIONS).list()
  ) {
    if (metadata.deletionTimestamp || conditionOf(status, "NamesAccepted")?.status === "False") {
      continue;
    }
    const served = spec.versions.find(({ served }: { served: boolean }) => served);
    if (served && !kinds.byKind(spec.group, served.name, spec.names.kind)) return true;
  }
  return false;
}

/** Whether another server can be reached, and what it serves is about to be known. */
function isExpected(context: ActorContext, { remoteKinds }: State): boolean {
  const services = [...context.informers.for(API_SERVICES).list()].filter(({ spec, status }) =>
    spec?.service && conditionOf(status, "Available")?.status === "True"
  );
  if (services.length === 0) return false;
  const known = new Set(remoteKinds().kinds.map(({ group, version }) => `${group}/${version}`));
  return services.some(({ spec }) => !known.has(`${spec.group}/${spec.version}`));
}

// --- watching ---------------------------------------------------------------------------------------

function isIgnored(kind: Kind): boolean {
  return kind.store === "events";
}

/**
 * Subscribes to kinds that are not watched yet, a few at a time: there are many, and a cluster that starts
 * has more urgent things to do. Nothing is looked at before the built-in kinds' caches are there, or every
 * object would seem to have lost owners that are only listed later.
 */
async function watchKinds(context: ActorContext, state: State): Promise<void> {
  const version = versionOf(state);
  if (version === state.version) return;
  state.version = version;
  const remote = remotesOf(state);
  const { signal } = context;
  const own = storedKinds(state.kinds).filter((kind) => !isIgnored(kind))
    .map((kind): Followed => ({ ...kind, passing: kind.custom === true }));
  const fresh = [...own, ...remote].filter((kind) => !isWatched(state, kind));
  const stopped = new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  for (const [i, kind] of fresh.entries()) {
    if (i % KINDS_AT_ONCE === KINDS_AT_ONCE - 1) await context.clock.turn();
    if (signal.aborted) return;
    const informer = context.informers.for(resourceOf(kind));
    if (!kind.passing) await Promise.race([informer.whenSynced(), stopped]);
  }
  for (const kind of fresh) if (!signal.aborted) watchKind(context, state, kind);
}

/** Whether a kind's objects are seen already, in whichever version that is served. */
function isWatched({ watched, kinds }: State, { path }: Followed): boolean {
  const resource = watched.get(path)?.resource;
  if (!resource) return false;
  const { group, version, plural } = resource;
  return path === remotePath(resource) || kinds.byResource(group, version, plural) !== undefined;
}

/** Names what is known of kinds: another when there is another. */
function versionOf(state: State): string {
  return [state.kinds.version, ...remotesOf(state).map(({ path }) => path)].join(" ");
}

/** What other servers serve and can be collected; of several versions of a resource the first. */
function remotesOf({ remoteKinds }: State): Followed[] {
  const found = new Map<string, Followed>();
  for (const kind of remoteKinds().kinds) {
    const path = remotePath(kind);
    const { verbs } = kind;
    if (!(["list", "watch", "delete"] as const).every((verb) => verbs.includes(verb))) continue;
    if (!found.has(path)) found.set(path, { ...kind, path, passing: true });
  }
  return [...found.values()];
}

function remotePath({ group, plural }: ResourceId): string {
  return `remote/${group}/${plural}`;
}

function resourceOf({ group, version, plural }: CollectedKind): ResourceId {
  return { group, version, plural };
}

/** Under what an owner is remembered to be gone. */
function absentKey({ namespace, uid }: { namespace?: string; uid?: string }): string {
  return `${namespace ?? ""}/${uid}`;
}

function watchKind(context: ActorContext, state: State, kind: Followed): void {
  const resource = resourceOf(kind);
  const apiVersion = kind.group ? `${kind.group}/${kind.version}` : kind.version;
  const informer = context.informers.for(resource);
  state.watched.set(kind.path, informer);
  if (state.heard.has(informer)) return;
  state.heard.add(informer);
  informer.subscribe(({ old, object }) => {
    let tasks: Task[];
    // An object that was replaced by one of the same name is gone, too.
    const replaced = old && object && old.metadata.uid !== object.metadata.uid;
    if (!object) tasks = state.graph.remove(old!.metadata.uid);
    else {
      // One that was known to be gone may come back, where a test has put back what was
      if (!old && state.absent.size > 0) state.absent.delete(absentKey(object.metadata));
      tasks = replaced ? state.graph.remove(old.metadata.uid) : [];
      const more = state.graph.put(
        resource,
        // Other servers' lists need not say of what kind their items are
        object.kind ? object : { ...object, apiVersion, kind: kind.kind },
        (owner, of) => isCached(state, { owner, object: of }),
      );
      if (more.length > 0) tasks = tasks.concat(more);
    }
    for (const { verb, uid } of tasks) context.send(context.address, `${verb}/${uid}`);
  });
}

/** The kind an owner reference names. */
function kindOf(state: State, owner: Owner): CollectedKind & { path: string } | undefined {
  const slash = owner.apiVersion.indexOf("/");
  const group = slash < 0 ? "" : owner.apiVersion.slice(0, slash);
  const version = owner.apiVersion.slice(slash + 1);
  const own = state.kinds.byKind(group, version, owner.kind);
  if (own) return own;
  const remote = state.remoteKinds().kinds.find((kind) =>
    kind.group === group && kind.version === version && kind.kind === owner.kind
  );
  return remote && { ...remote, path: remotePath(remote) };
}

/** Whether the cache of the owner's kind has it. */
function isCached(
  state: State,
  { owner, object }: { owner: Owner; object: Obj },
): boolean {
  const kind = kindOf(state, owner);
  const informer = kind && state.watched.get(kind.path);
  if (!informer) return false;
  const { namespace } = object.metadata;
  const key = kind.namespaced && namespace ? `${namespace}/${owner.name}` : owner.name;
  return informer.get(key)?.metadata.uid === owner.uid;
}

// --- collecting -------------------------------------------------------------------------------------

async function live(context: ActorContext, node: Node): Promise<Obj | undefined> {
  const { resource, namespace, name, uid } = node;
  try {
    const object = await context.client.get<KubeObject>({ resource, namespace, name });
    return object.metadata.uid === uid ? object : undefined;
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Looks at one object: does anything still hold it? */
async function collect(context: ActorContext, state: State, node: Node): Promise<void> {
  if (node.deleting && !node.foreground) return;
  if (node.foreground) return await collectForeground(context, state, node);
  const object = await live(context, node);
  if (!object) {
    for (const { verb, uid } of state.graph.remove(node.uid)) {
      context.send(context.address, `${verb}/${uid}`);
    }
    return;
  }
  const owners = object.metadata.ownerReferences ?? [];
  if (owners.length === 0 || object.metadata.deletionTimestamp) return;
  const sorted = await sortOwners(context, state, { node, owners });
  const { solid, dangling, waiting } = sorted;
  if (solid.length > 0) {
    if (dangling.length + waiting.length === 0) return;
    const gone = new Set([...dangling, ...waiting].map(({ uid }) => uid));
    await writeOwners(context, node, object, owners.filter(({ uid }) => !gone.has(uid)));
    return;
  }
  if (dangling.length + waiting.length === 0) return;
  let policy: "Foreground" | "Background" | "Orphan" = "Background";
  if (waiting.length > 0 && state.graph.dependentsOf(node.uid).length > 0) {
    policy = "Foreground";
    // A circle of owners that wait for each other is broken here.
    if (state.graph.dependentsOf(node.uid).some((dependent) => dependent.foreground)) {
      const unblocked = owners.map((owner) => ({ ...owner, blockOwnerDeletion: false }));
      await writeOwners(context, node, object, unblocked);
      return;
    }
  } else if (object.metadata.finalizers?.includes(ORPHAN)) policy = "Orphan";
  else if (object.metadata.finalizers?.includes(FOREGROUND)) policy = "Foreground";
  await remove(context, object, node.resource, policy);
}

async function remove(
  context: ActorContext,
  object: Obj,
  resource: ResourceId,
  propagationPolicy: "Foreground" | "Background" | "Orphan",
): Promise<void> {
  const { namespace, name, uid, resourceVersion } = object.metadata;
  try {
    await context.client.delete({ resource, namespace, name }, {
      propagationPolicy,
      preconditions: { uid, resourceVersion },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** An owner that is deleted in the foreground goes when nothing blocks it any more. */
async function collectForeground(
  context: ActorContext,
  state: State,
  node: Node,
): Promise<void> {
  const blocking = state.graph.blockingOf(node.uid);
  if (blocking.length === 0) return await dropFinalizer(context, node, FOREGROUND);
  for (const dependent of blocking) {
    if (!dependent.foreground) context.send(context.address, `delete/${dependent.uid}`);
  }
}

/** Takes this owner's name out of all its dependents, then lets it go. */
async function orphan(context: ActorContext, state: State, node: Node): Promise<void> {
  if (!node.orphaning) return;
  for (const dependent of state.graph.dependentsOf(node.uid)) {
    const object = await live(context, dependent);
    const owners = object?.metadata.ownerReferences ?? [];
    const kept = owners.filter(({ uid }) => uid !== node.uid);
    if (object && kept.length < owners.length) {
      await writeOwners(context, dependent, object, kept);
    }
  }
  await dropFinalizer(context, node, ORPHAN);
}

async function dropFinalizer(
  context: ActorContext,
  node: Node,
  finalizer: string,
): Promise<void> {
  const object = await live(context, node);
  const finalizers = object?.metadata.finalizers;
  if (!object || !finalizers?.includes(finalizer)) return;
  await patchMetadata(context, node, object, {
    finalizers: finalizers.filter((name) => name !== finalizer),
  });
}

async function writeOwners(
  context: ActorContext,
  node: Node,
  object: Obj,
  owners: readonly Owner[],
): Promise<void> {
  await patchMetadata(context, node, object, {
    ownerReferences: owners.length > 0 ? owners as never : null,
  });
}

async function patchMetadata(
  context: ActorContext,
  { resource, namespace, name }: Node,
  object: Obj,
  change: Record<string, string[] | null>,
): Promise<void> {
  const { resourceVersion, uid } = object.metadata;
  try {
    await context.client.patch<KubeObject>({ resource, namespace, name }, {
      type: "merge",
      body: { metadata: { resourceVersion, uid, ...change } },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

// --- owners -----------------------------------------------------------------------------------------

/** An object's owners: those that are there, those that are not, those that wait for it to go. */
async function sortOwners(
  context: ActorContext,
  state: State,
  { node, owners }: { node: Node; owners: readonly Owner[] },
): Promise<{ solid: Owner[]; dangling: Owner[]; waiting: Owner[] }> {
  const solid: Owner[] = [];
  const dangling: Owner[] = [];
  const waiting: Owner[] = [];
  for (const owner of owners) {
    const found = await findOwner(context, state, { node, owner });
    if (found === undefined) dangling.push(owner);
    else if (found !== "unknown" && waits(found)) waiting.push(owner);
    else solid.push(owner);
  }
  return { solid, dangling, waiting };
}

function waits(owner: Obj): boolean {
  return owner.metadata.deletionTimestamp !== undefined &&
    (owner.metadata.finalizers?.includes(FOREGROUND) ?? false);
}

/** The owner, or undefined when it is gone, or `unknown` when the reference cannot be followed. */
async function findOwner(
  context: ActorContext,
  state: State,
  { node, owner }: { node: Node; owner: Owner },
): Promise<Obj | "unknown" | undefined> {
  const kind = kindOf(state, owner);
  if (!kind) {
    throw new Error(
      `cannot find kind "${owner.kind}" in "${owner.apiVersion}", an owner of ` +
        `${node.kind} "${node.name}"`,
    );
  }
  // A namespaced owner of a cluster-scoped object is not valid, and nothing that can be looked up.
  if (kind.namespaced && !node.namespace) {
    sayInvalid(context, node, owner);
    return "unknown";
  }
  const namespace = kind.namespaced ? node.namespace : undefined;
  const absent = absentKey({ namespace, uid: owner.uid });
  if (state.absent.has(absent)) return undefined;
  const resource = resourceOf(kind);
  try {
    const found = await context.client.get<KubeObject>({ resource, namespace, name: owner.name });
    if (found.metadata.uid === owner.uid) return found;
  } catch (error) {
    if (codeOf(error) !== 404) throw error;
  }
  if (isOfOtherNamespace(state, { kind, owner, node })) sayInvalid(context, node, owner);
  state.absent.add(absent);
  if (state.absent.size > ABSENT_MAX) state.absent.delete(state.absent.values().next().value!);
  return undefined;
}

/** Whether an object of this uid is elsewhere: then the reference was made across namespaces. */
function isOfOtherNamespace(
  state: State,
  { kind, owner, node }: { kind: { path: string; namespaced: boolean }; owner: Owner; node: Node },
): boolean {
  const informer = state.watched.get(kind.path);
  if (!kind.namespaced || !informer) return false;
  for (const other of informer.list()) {
    if (other.metadata.uid === owner.uid) return other.metadata.namespace !== node.namespace;
  }
  return false;
}

function sayInvalid(context: ActorContext, node: Node, owner: Owner): void {
  const { namespace = "", name, uid, kind, apiVersion } = node;
  const owned = `[${owner.apiVersion}/${owner.kind}, namespace: ${namespace}, ` +
    `name: ${owner.name}, uid: ${owner.uid}]`;
  context.recorder.event(
    { apiVersion, kind, name, uid, ...(namespace ? { namespace } : {}) },
    "Warning",
    "OwnerRefInvalidNamespace",
    `ownerRef ${owned} does not exist in namespace ${JSON.stringify(namespace)}`,
  );
}
