/**
 * Who owns whom, over all kinds: what the garbage collector knows. Only objects that name owners, or that
 * wait for their dependents before they go, are in it; whether an owner exists is asked of the caches.
 * Pure bookkeeping: events in, keys of objects to look at out.
 */
import type { DeepReadonly, OwnerReference, ResourceId } from "../../api/machinery/types.ts";
import type { Obj } from "./objects.ts";

export const FOREGROUND = "foregroundDeletion";
export const ORPHAN = "orphan";

/** An object as the graph remembers it. */
export interface Node {
  readonly uid: string;
  resource: ResourceId;
  apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  owners: readonly DeepReadonly<OwnerReference>[];
  deleting: boolean;
  /** Waits until its blocking dependents are gone. */
  foreground: boolean;
  /** Lets its dependents go before it goes. */
  orphaning: boolean;
}

/** What has to be looked at after an event: `delete` maybe collects an object, `orphan` frees its dependents. */
export type Task = { verb: "delete" | "orphan"; uid: string };

const NO_OWNERS: readonly DeepReadonly<OwnerReference>[] = [];

/** See the module's text. */
export class GarbageGraph {
  readonly nodes = new Map<string, Node>();
  /** Of an owner's uid: the uids of those that name it. */
  readonly #dependents = new Map<string, Set<string>>();

  /** The objects that name `uid` as an owner. */
  dependentsOf(uid: string): Node[] {
    const found: Node[] = [];
    for (const dependent of this.#dependents.get(uid) ?? []) {
      const node = this.nodes.get(dependent);
      if (node) found.push(node);
    }
    return found;
  }

  /** Dependents that keep `uid` from going in the foreground. */
  blockingOf(uid: string): Node[] {
    return this.dependentsOf(uid).filter((node) =>
      node.owners.some((owner) => owner.uid === uid && owner.blockOwnerDeletion)
    );
  }

  /** An object was made or changed. `ownerExists` asks the caches; it is called for new owners only. */
  put(
    resource: ResourceId,
    object: Obj,
    ownerExists: (owner: DeepReadonly<OwnerReference>, object: Obj) => boolean,
  ): Task[] {
    const { metadata } = object;
    const owners = metadata.ownerReferences ?? NO_OWNERS;
    const deleting = metadata.deletionTimestamp !== undefined;
    const foreground = deleting && (metadata.finalizers?.includes(FOREGROUND) ?? false);
    const orphaning = deleting && (metadata.finalizers?.includes(ORPHAN) ?? false);
    const before = this.nodes.get(metadata.uid);
    if (!before && owners.length === 0 && !foreground && !orphaning) return [];
    const node: Node = before ?? {
      uid: metadata.uid,
      resource,
      apiVersion: object.apiVersion,
      kind: object.kind,
      namespace: metadata.namespace,
      name: metadata.name,
      owners: NO_OWNERS,
      deleting: false,
      foreground: false,
      orphaning: false,
    };
    if (!before) this.nodes.set(node.uid, node);
    // A custom resource may be served in another version than before
    node.resource = resource;
    node.apiVersion = object.apiVersion;
    const tasks: Task[] = [];
    if (orphaning && !node.orphaning) tasks.push({ verb: "orphan", uid: node.uid });
    if (foreground && !node.foreground) {
      tasks.push({ verb: "delete", uid: node.uid });
      for (const dependent of this.dependentsOf(node.uid)) {
        tasks.push({ verb: "delete", uid: dependent.uid });
      }
    }
    node.deleting = deleting;
    node.foreground = foreground;
    node.orphaning = orphaning;
    tasks.push(...this.#setOwners(node, owners, object, ownerExists));
    return tasks;
  }

  /** An object is gone: its dependents are looked at, and owners that waited for it. */
  remove(uid: string): Task[] {
    const tasks: Task[] = [];
    for (const dependent of this.#dependents.get(uid) ?? []) {
      tasks.push({ verb: "delete", uid: dependent });
    }
    const node = this.nodes.get(uid);
    if (!node) return tasks;
    this.nodes.delete(uid);
    for (const owner of node.owners) {
      this.#unlink(owner.uid, uid);
      if (this.nodes.get(owner.uid)?.foreground) tasks.push({ verb: "delete", uid: owner.uid });
    }
    return tasks;
  }

  #setOwners(
    node: Node,
    owners: readonly DeepReadonly<OwnerReference>[],
    object: Obj,
    ownerExists: (owner: DeepReadonly<OwnerReference>, object: Obj) => boolean,
  ): Task[] {
    const before = node.owners;
    if (before === owners) return [];
    const tasks: Task[] = [];
    node.owners = owners;
    let check = false;
    for (const owner of before) {
      const now = owners.find((other) => other.uid === owner.uid);
      if (!now) this.#unlink(owner.uid, node.uid);
      const unblocked = owner.blockOwnerDeletion && !now?.blockOwnerDeletion;
      if (unblocked && this.nodes.get(owner.uid)?.foreground) {
        tasks.push({ verb: "delete", uid: owner.uid });
      }
    }
    for (const owner of owners) {
      if (before.some((other) => other.uid === owner.uid)) continue;
      this.#link(owner.uid, node.uid);
      if (this.nodes.get(owner.uid)?.foreground || !ownerExists(owner, object)) check = true;
    }
    if (check) tasks.push({ verb: "delete", uid: node.uid });
    return tasks;
  }

  #link(owner: string, dependent: string): void {
    const set = this.#dependents.get(owner);
    if (set) set.add(dependent);
    else this.#dependents.set(owner, new Set([dependent]));
  }

  #unlink(owner: string, dependent: string): void {
    const set = this.#dependents.get(owner);
    set?.delete(dependent);
    if (set?.size === 0) this.#dependents.delete(owner);
  }
}
