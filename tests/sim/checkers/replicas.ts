/**
 * Never more than was asked for: no set creates a pod beyond its replicas (as they were asked for within
 * the last seconds), no Deployment pods beyond its replicas and its surge, and no ordinal of a StatefulSet
 * lives twice.
 */
import { type Change, controllerOf, isLive, type Obj } from "../truth.ts";
import type { Checker, Sight } from "./checker.ts";

/** A controller may act on what was true so long ago: its cache, and a commit under way. */
const STALE_MS = 5_000;

interface Wanted {
  at: number;
  pods: number;
}

/** See the module's text. */
export function replicasChecker(sight: Sight): Checker {
  const { fail, now, twice } = sight;
  const name = "replicas";
  const wanted = new Map<string, Wanted[]>();
  const pods = new Map<string, Obj>();
  const byOwner = new Map<string, Set<string>>();
  const note = ({ object, before }: Change) => {
    const { uid } = object.metadata;
    const list = wanted.get(uid) ?? [];
    const count = wantedOf(object);
    if (list.at(-1)?.pods !== count || !before) list.push({ at: now(), pods: count });
    wanted.set(uid, list);
  };
  // Sets that people scale: that may land when a Deployment has adopted them.
  const byPeople = new Set<string>();
  // What a Deployment's sets ask for together, at each of them that asks for more.
  const sets = new Map<string, Map<string, number>>();
  const set = ({ key, object, before, type }: Change) => {
    const owner = controllerOf(object ?? before?.object);
    if (owner?.kind !== "Deployment") return;
    const siblings = sets.get(owner.uid) ?? new Map<string, number>();
    sets.set(owner.uid, siblings);
    if (type === "delete" || !object) return void siblings.delete(key);
    const was = siblings.get(key) ?? 0;
    siblings.set(key, wantedOf(object));
    const sum = [...siblings.values()].reduce((sum, one) => sum + one, 0);
    // One that was adopted may ask for anything.
    const grows = wantedOf(object) > was && (!before || controllerOf(before.object)) &&
      !byPeople.has(key);
    if (grows && !twice && sum > most(owner.uid)) {
      fail(name, `${owner.name}'s sets ask for ${sum} with ${key}, wanted ${most(owner.uid)}`);
    }
  };
  // Whose process was cut off in the middle of a write knows what was true before that.
  let staleAt = 0;
  const staleOf = (writer: string) => {
    const cutOff = sight.processes().find((one) => one.name === writer)?.cutOff;
    const isBack = cutOff && now() - cutOff.to <= STALE_MS;
    return (isBack ? cutOff.from : now()) - STALE_MS;
  };
  const most = (uid: string): number => {
    const list = wanted.get(uid) ?? [];
    let max = list.at(-1)?.pods ?? 0;
    // What stood until less than STALE_MS ago counts as well.
    for (let i = list.length - 1; i > 0 && list[i].at >= staleAt; i--) {
      max = Math.max(max, list[i - 1].pods);
    }
    return max;
  };
  const pod = (change: Change) => {
    const { object, before, key } = change;
    const old = pods.get(key);
    const was = old && controllerOf(old)?.uid;
    if (was) byOwner.get(was)?.delete(key);
    pods.delete(key);
    if (change.type === "delete" || !object) return;
    pods.set(key, object);
    const owner = controllerOf(object);
    if (!owner) return;
    const siblings = byOwner.get(owner.uid) ?? new Set();
    byOwner.set(owner.uid, siblings.add(key));
    if (before) return;
    const live = [...siblings].map((sibling) => pods.get(sibling)!).filter(isLive);
    // Two who act under one term know nothing of each other's pods: there is a surplus for a while (upstream too).
    if (owner.kind === "ReplicaSet" && !twice && live.length > most(owner.uid)) {
      fail(name, `${owner.name} has ${live.length} pods with ${key}, wanted ${most(owner.uid)}`);
    }
    if (owner.kind === "StatefulSet") {
      const ordinals = live.map((one) => one.metadata.labels?.["apps.kubernetes.io/pod-index"]);
      if (new Set(ordinals).size !== ordinals.length) {
        fail(name, `an ordinal of ${owner.name} lives twice: ${ordinals}`);
      }
    }
  };
  return {
    name,
    asked({ what }) {
      const scaled = /^replicasets\/scale (\S+) /.exec(what)?.[1];
      if (scaled) byPeople.add(`/registry/replicasets/${scaled}`);
    },
    commit({ steps, process }) {
      staleAt = staleOf(process);
      for (const step of steps) {
        if ("term" in step) continue;
        if (step.key.startsWith("/registry/pods/")) pod(step);
        else if (step.type === "put" && step.object && isWorkload(step.key)) note(step);
        if (step.key.startsWith("/registry/replicasets/")) set(step);
      }
    },
    rest: () => surplus(sight),
  };
}

function isWorkload(key: string): boolean {
  return /^\/registry\/(deployments|replicasets|statefulsets)\//.test(key);
}

/** What may be there at once: the replicas, and a Deployment's surge. */
function wantedOf({ kind, spec }: Obj): number {
  const replicas = spec.replicas ?? 1;
  if (kind !== "Deployment" || spec.strategy?.type === "Recreate") return replicas;
  const surge = spec.strategy?.rollingUpdate?.maxSurge ?? "25%";
  const isShare = typeof surge === "string";
  return replicas + (isShare ? Math.ceil(parseInt(surge) * replicas / 100) : surge);
}

/** Deployments whose pods are more than replicas and surge. */
function surplus({ truth }: Sight): string[] {
  const wrong: string[] = [];
  const sets = [...truth.list("/registry/replicasets/")];
  const pods = [...truth.list("/registry/pods/")].filter(isLive);
  for (const deployment of truth.list("/registry/deployments/")) {
    const own = new Set(
      sets.filter((set) => controllerOf(set)?.uid === deployment.metadata.uid)
        .map((set) => set.metadata.uid),
    );
    const live = pods.filter((pod) => own.has(controllerOf(pod)?.uid)).length;
    const { name, namespace } = deployment.metadata;
    if (live > deployment.spec.replicas) {
      wrong.push(`Deployment ${namespace}/${name} has ${live} pods of ${deployment.spec.replicas}`);
    }
  }
  return wrong;
}
