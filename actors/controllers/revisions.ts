/**
 * ControllerRevisions: the history of templates that StatefulSets and DaemonSets keep, and by whose names
 * their pods are told apart.
 *
 * Behaviour matched: pkg/controller/history/controller_history.go, v1.36.
 */
import type { Client, Informer } from "../../api/client/contract.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import type { KubeObject, ResourceId } from "../../api/machinery/types.ts";
import {
  allAtOnce,
  claim,
  codeOf,
  CONTROLLER_REVISIONS,
  controllerReference,
  isGone,
  targetOf,
} from "../runtime/mod.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import { byAge, type Obj } from "./objects.ts";
import { templateHash } from "./template_hash.ts";

/** The label that pods carry, and with it the history of DaemonSets. */
export const POD_REVISION_LABEL = "controller-revision-hash";
/** The label of a StatefulSet's history. */
export const HASH_LABEL = "controller.kubernetes.io/hash";

/** A history as it is now. */
export interface History {
  /** The revision of the present template. */
  update: Obj;
  /** All of them, the oldest first, `update` included. */
  all: Obj[];
  collisionCount: number;
}

/** What `historyOf` needs. */
export interface HistoryOptions {
  client: Client;
  revisions: Informer;
  owner: Obj;
  resource: ResourceId;
  /** The label that holds the hash. */
  label: string;
}

/** The revisions of an owner, with one for its present template: found, moved to the end, or made. */
export async function historyOf(options: HistoryOptions): Promise<History> {
  const { client, revisions, owner, resource } = options;
  const all = await claim({
    client,
    children: revisions,
    owner,
    resource,
    selector: labelSelector(owner.spec.selector),
  });
  all.sort((a, b) => a.revision - b.revision || byAge(a, b));
  const collisionCount = owner.status?.collisionCount ?? 0;
  const data = dataOf(owner);
  const next = all.reduce((max, revision) => Math.max(max, revision.revision), 0) + 1;
  const equal = all.filter((revision) => sameJson(revision.data, data));
  const last = equal[equal.length - 1];
  if (last && last === all[all.length - 1]) return { update: last, all, collisionCount };
  if (last) {
    // The template went back to an old one: that revision is the newest again.
    const update = await client.update<KubeObject>(targetOf(CONTROLLER_REVISIONS, last), {
      ...last,
      revision: next,
    });
    return { update, all: [...all.filter((other) => other !== last), update], collisionCount };
  }
  const made = await make(options, { data, next, collisionCount });
  return {
    update: made.revision,
    all: [...all.filter((r) => r.metadata.uid !== made.revision.metadata.uid), made.revision],
    collisionCount: made.collisionCount,
  };
}

async function make(
  { client, owner, label }: HistoryOptions,
  { data, next, collisionCount }: { data: unknown; next: number; collisionCount: number },
): Promise<{ revision: Obj; collisionCount: number }> {
  const { namespace, name } = owner.metadata;
  const resource = CONTROLLER_REVISIONS;
  for (let tries = 0; tries < 16; tries++) {
    const hash = templateHash(owner.spec.template, collisionCount || undefined);
    const revisionName = `${name.slice(0, 223)}-${hash}`;
    try {
      const revision = await client.create<KubeObject>({ resource, namespace }, {
        apiVersion: "apps/v1",
        kind: "ControllerRevision",
        metadata: {
          name: revisionName,
          namespace,
          labels: { ...owner.spec.template.metadata?.labels, [label]: hash },
          annotations: owner.metadata.annotations,
          ownerReferences: [controllerReference(owner)],
        },
        data,
        revision: next,
      });
      return { revision, collisionCount };
    } catch (error) {
      if (codeOf(error) !== 409) throw error;
      const other = await client.get<KubeObject>({ resource, namespace, name: revisionName });
      if (sameJson(other.data, data)) return { revision: other, collisionCount };
      collisionCount++;
    }
  }
  throw new Error(`cannot name a revision of "${name}": 16 hashes collided`);
}

/**
 * What a revision keeps: the template, as a patch that replaces it. Its names are in order, as programs in
 * Go write them: they find the present revision by comparing the bytes.
 */
export function dataOf(owner: Obj): Record<string, unknown> {
  return { spec: { template: inOrder({ ...owner.spec.template, $patch: "replace" }) } };
}

function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (value === null || typeof value !== "object") return value;
  const from = value as Record<string, unknown>;
  const to: Record<string, unknown> = {};
  for (const name of Object.keys(from).sort()) to[name] = inOrder(from[name]);
  return to;
}

/** The owner as it was at a revision. */
export function atRevision(owner: Obj, revision: Obj): Obj {
  const kept = revision.data?.spec?.template;
  if (!kept) return owner;
  const { $patch: _, ...template } = kept;
  return { ...owner, spec: { ...owner.spec, template } } as Obj;
}

/** Deletes the oldest revisions that nothing uses, beyond the limit. */
export async function truncateHistory(
  client: Client,
  history: readonly Obj[],
  { used, limit }: { used: ReadonlySet<string>; limit: number },
): Promise<void> {
  const idle = history.filter((revision) => !used.has(revision.metadata.name));
  await allAtOnce(idle.slice(0, Math.max(0, idle.length - limit)), async (revision) => {
    await client.delete(targetOf(CONTROLLER_REVISIONS, revision)).catch((error) => {
      if (!isGone(error)) throw error;
    });
  });
}
