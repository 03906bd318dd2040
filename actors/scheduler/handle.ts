/**
 * What plugins are handed: caches, the client, the clock, the cluster's picture, and a way to wait for a cache to change.
 */
import type { ActorContext } from "../runtime/contract.ts";
import type { Cluster } from "./cluster.ts";
import type { PluginHandle } from "./profile.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });

/** What plugins read and write by. */
export function handleOf(
  { client, informers, clock, recorder, signal }: ActorContext,
  cluster: Cluster,
  waiters: Set<() => void>,
): Omit<PluginHandle, "filter" | "changed"> {
  const of = (plural: string) => informers.for(core(plural));
  const apps = (plural: string) => informers.for({ group: "apps", version: "v1", plural });
  const storage = (plural: string) =>
    informers.for({ group: "storage.k8s.io", version: "v1", plural });
  return {
    client,
    informers,
    clock,
    recorder,
    cluster,
    shared: new Map(),
    claims: of("persistentvolumeclaims"),
    volumes: of("persistentvolumes"),
    classes: storage("storageclasses"),
    drivers: storage("csidrivers"),
    capacities: storage("csistoragecapacities"),
    services: of("services"),
    replicationControllers: of("replicationcontrollers"),
    replicaSets: apps("replicasets"),
    statefulSets: apps("statefulsets"),
    namespaces: of("namespaces"),
    wait: (done, timeoutMs) => waitFor(done, timeoutMs, { clock, signal, waiters }),
  };
}

/** Resolves when `done` does; it is asked again whenever the waiters are woken. */
function waitFor(
  done: () => boolean,
  timeoutMs: number,
  { clock, signal, waiters }: Pick<ActorContext, "clock" | "signal"> & {
    waiters: Set<() => void>;
  },
): Promise<void> {
  if (done()) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const end = (error?: Error) => {
      waiters.delete(look);
      timer.cancel();
      if (error) reject(error);
      else resolve();
    };
    const look = () => {
      if (signal.aborted) end(new Error("the scheduler is stopping"));
      else if (done()) end();
    };
    const timer = clock.timer(
      "background",
      timeoutMs,
      () => end(new Error("timed out waiting for the condition")),
    );
    waiters.add(look);
  });
}
