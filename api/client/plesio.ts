/**
 * What Plesio's own endpoints answer (`/plesio/v1/`), as whoever asks them reads it: how actors are and the messages
 * that they handle, stories of objects, differences between two moments.
 */
import type { FieldChange } from "../machinery/field_changes.ts";

/** A message that an actor has handled. */
export interface Handled {
  to: string;
  key: string;
  /** The revision that woke the key; absent: none did. */
  because?: number;
  waitedMs: number;
  workedMs: number;
  /** `later`: it comes back after a while; `failed`: it is tried again; `gaveUp`: it is not. */
  outcome: "done" | "later" | "failed" | "gaveUp";
  /** When it comes back. */
  afterMs?: number;
}

/** How an actor is. */
export interface ActorReport {
  address: string;
  state: "starting" | "running" | "backing-off" | "stopping" | "stopped";
  /** It is held back; absent: it is not. */
  paused?: true;
  /** Keys that wait, keys whose handler runs, keys that wait for a time. */
  waiting: number;
  running: number;
  delayed: number;
  /** How long the oldest waiting key has waited. */
  lagMs: number;
  handled: number;
  failed: number;
  restarts: number;
  lastKey?: string;
  lastError?: string;
  lastAt?: string;
}

/** What can be done with an actor. */
export type ActorAct = "pause" | "resume" | "step";

/** An object by its names. */
export interface Named {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
}

/** Fields whose values stories tell. */
export type HopField =
  | "node"
  | "phase"
  | "replicas"
  | "made"
  | "ready"
  | "available"
  | "succeeded"
  | "failed"
  | "endpoints";

/** What a write changed: a field, a condition that holds now or no longer, or that the object is to go. */
export type HopChange =
  | { readonly what: "deleting" }
  | { readonly what: "condition"; readonly type: string; readonly holds: boolean }
  | {
    readonly what: "field";
    readonly field: HopField;
    readonly from?: string;
    readonly to: string;
  };

/** What would make a node do for a pod, as a fact: explanations of the scheduler list them. */
export type RemedyFact =
  | { readonly what: "uncordon" | "affinity" | "podFewer" | "antiAffinity" }
  | { readonly what: "toleration"; readonly taint: string }
  /** `key=value`, or a key whose value does not matter. */
  | { readonly what: "label"; readonly label: string }
  | { readonly what: "hostPort"; readonly port: string }
  | { readonly what: "amount"; readonly resource: string; readonly amount: string }
  | { readonly what: "spread" | "pods"; readonly place: string }
  | { readonly what: "eviction"; readonly pods: string }
  /** That this did not hold, in the words of whoever says it. */
  | { readonly what: "not"; readonly reason: string };

/** One write. */
export interface Hop {
  readonly revision: number;
  /** RFC 3339. */
  readonly time: string;
  /** Who wrote it: an actor's address, or a user and the program it uses. */
  readonly by: string;
  /** The part of the cluster that this is, such as `deployment controller`; `API server` for requests from outside. */
  readonly part: string;
  /** The node, where a node wrote it. */
  readonly node?: string;
  /** What was asked for, such as `create` or `update/status`. */
  readonly verb: string;
  readonly object: Named;
  /** What changed, as facts and in a few words; absent: nothing that stories tell. */
  readonly changes?: readonly HopChange[];
  readonly what?: string;
  /** The revision that it reacted to; absent: it began by itself. */
  readonly because?: number;
  /** Time since that revision. */
  readonly afterMs?: number;
  /** Time since the story began. */
  readonly sinceMs: number;
  readonly trace?: string;
}

/** How an object became what it is. Hops are in order of their revisions. */
export interface Story {
  readonly object: Named;
  readonly began: string;
  readonly hops: readonly Hop[];
  /** What it does not tell, and why; absent: it is whole. */
  readonly missing?: readonly string[];
  /** The revision that history begins at, where it does not reach back to the object's beginning. */
  readonly since?: number;
  /** How many later hops are not told. */
  readonly untold?: number;
}

/** How a story's hops hang together: those that began it, and below each revision those that reacted to it. */
export function treeOf(hops: readonly Hop[]): { roots: Hop[]; below: Map<number, Hop[]> } {
  const known = new Set(hops.map(({ revision }) => revision));
  const roots: Hop[] = [];
  const below = new Map<number, Hop[]>();
  for (const hop of hops) {
    const { because } = hop;
    if (because === undefined || !known.has(because)) roots.push(hop);
    else if (below.has(because)) below.get(because)!.push(hop);
    else below.set(because, [hop]);
  }
  return { roots, below };
}

/** A revision, and when it was committed. */
export interface Dated {
  readonly revision: number;
  /** RFC 3339. */
  readonly time: string;
}

/** How far back the cluster can be seen, and the moment that was asked about. */
export interface TimeSpan {
  readonly oldest: Dated;
  readonly newest: Dated;
  readonly at?: Dated;
  /** Before that, what became of Events is no longer known. */
  readonly eventsSince?: string;
}

/** An object that came, went or changed; at a change, which fields. */
export interface ObjectChange extends Named {
  /** The revision that made it so, of what is there after. */
  readonly resourceVersion?: string;
  readonly changes?: readonly FieldChange[];
}

/** What changed between two moments. */
export interface Diff {
  readonly from: Dated;
  readonly to: Dated;
  readonly added: ObjectChange[];
  readonly changed: ObjectChange[];
  readonly removed: ObjectChange[];
  /** There is more than that. */
  readonly truncated?: true;
}
