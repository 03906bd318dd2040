/** When the trouble stops, every workload becomes what it asks for, and its status says so. */
import { controllerOf, isLive, type Obj } from "../truth.ts";
import type { Checker, Sight } from "./checker.ts";

/** See the module's text. */
export function convergenceChecker({ truth }: Sight): Checker {
  return {
    name: "convergence",
    rest() {
      const pods = [...truth.list("/registry/pods/")];
      const wrong: string[] = [];
      const look = (prefix: string, judge: (object: Obj) => (string | undefined)[]) => {
        for (const object of truth.list(prefix)) {
          const { namespace, name } = object.metadata;
          const said = judge(object).filter((text) => text !== undefined);
          if (said.length) {
            wrong.push(`${object.kind} ${namespace ?? ""}/${name}: ${said.join(", ")}`);
          }
        }
      };
      look("/registry/deployments/", deployment);
      look("/registry/replicasets/", (set) => replicaSet(set, pods));
      look("/registry/statefulsets/", (set) => statefulSet(set, pods));
      look("/registry/daemonsets/", daemonSet);
      look("/registry/jobs/", job);
      look("/registry/pods/", pod);
      look("/registry/minions/", node);
      look("/registry/services/specs/", (service) => slices(service, pods, truth.list.bind(truth)));
      return wrong;
    },
  };
}

function differs(what: string, is: unknown, wanted: unknown): string | undefined {
  return (is ?? 0) === (wanted ?? 0) ? undefined : `${what} is ${is}, wanted ${wanted}`;
}

function observed({ metadata, status }: Obj): string | undefined {
  return differs("observedGeneration", status?.observedGeneration, metadata.generation);
}

function deployment(object: Obj) {
  const { spec, status = {} } = object;
  return [
    observed(object),
    differs("replicas", status.replicas, spec.replicas),
    differs("updatedReplicas", status.updatedReplicas, spec.replicas),
    differs("availableReplicas", status.availableReplicas, spec.replicas),
  ];
}

function replicaSet(object: Obj, pods: readonly Obj[]) {
  const { spec, status = {}, metadata } = object;
  const live = pods.filter((one) => controllerOf(one)?.uid === metadata.uid && isLive(one)).length;
  return [
    observed(object),
    differs("pods", live, spec.replicas),
    differs("status.replicas", status.replicas, spec.replicas),
    differs("availableReplicas", status.availableReplicas, spec.replicas),
  ];
}

function statefulSet(object: Obj, pods: readonly Obj[]) {
  const { spec, status = {}, metadata } = object;
  const live = pods.filter((one) => controllerOf(one)?.uid === metadata.uid && isLive(one)).length;
  return [
    observed(object),
    differs("pods", live, spec.replicas),
    differs("readyReplicas", status.readyReplicas, spec.replicas),
    differs("updatedReplicas", status.updatedReplicas, spec.replicas),
    differs("currentRevision", status.currentRevision, status.updateRevision),
  ];
}

function daemonSet(object: Obj) {
  const { status = {} } = object;
  return [
    observed(object),
    differs("ready", status.numberReady, status.desiredNumberScheduled),
    differs("updated", status.updatedNumberScheduled, status.desiredNumberScheduled),
  ];
}

function job({ status = {} }: Obj) {
  const ends = (status.conditions ?? []).filter((one: Obj) =>
    (one.type === "Complete" || one.type === "Failed") && one.status === "True"
  );
  return [ends.length === 1 ? undefined : `it has ${ends.length} ends`];
}

function pod({ status = {}, spec }: Obj) {
  if (status.phase === "Succeeded" || status.phase === "Failed") return [];
  const ready = status.conditions?.find((one: Obj) => one.type === "Ready");
  return [ready?.status === "True" ? undefined : `is ${status.phase} on ${spec.nodeName}`];
}

function node({ status, spec }: Obj) {
  const ready = status?.conditions?.find((one: Obj) => one.type === "Ready");
  return [
    ready?.status === "True" ? undefined : "is not Ready",
    spec.taints?.length ? `has taints ${spec.taints.map((one: Obj) => one.key)}` : undefined,
  ];
}

/** A Service's slices name the ready pods that it selects, each once. */
function slices(service: Obj, pods: readonly Obj[], list: (prefix: string) => Iterable<Obj>) {
  const { selector } = service.spec;
  const { namespace, name } = service.metadata;
  if (!selector) return [];
  const wanted = pods.filter((one) =>
    one.metadata.namespace === namespace && one.status?.podIP && isLive(one) &&
    Object.entries(selector).every(([key, value]) => one.metadata.labels?.[key] === value)
  ).map((one) => one.status.podIP);
  const found: string[] = [];
  for (const slice of list(`/registry/endpointslices/${namespace}/`)) {
    if (slice.metadata.labels?.["kubernetes.io/service-name"] !== name) continue;
    for (const { addresses } of slice.endpoints ?? []) found.push(...addresses);
  }
  return [differs("its endpoints", found.sort().join(), wanted.sort().join())];
}
