/**
 * A pod's `binding`: the scheduler's one write. Exact inside the store's write, so that no pod is ever
 * given to two nodes (upstream: pkg/registry/core/pod/storage, assignPod).
 */
import type { Draft } from "../../kv/contract.ts";
import { conflict, invalid, notFound } from "../machinery/errors.ts";
import type { Cause, DeepReadonly, Kind, KubeObject, Status } from "../machinery/types.ts";
import { admissionOf, mutate, review } from "./admit.ts";
import { decodeAs, formOf } from "./decoding.ts";
import { type Deps, keyFor, timeText } from "./deps.ts";
import type { Answer, ApiRequest } from "./request.ts";
import { write } from "./request_write.ts";

const BINDING = formOf("", "v1", "Binding");
const SUBJECT = { group: "", resource: "pods/binding" };

/** Answers a post to `pods/NAME/binding` or to `bindings`. */
export async function bindPod(deps: Deps, request: ApiRequest): Promise<Answer> {
  const { object: binding } = decodeAs(request, BINDING);
  const pods = deps.kinds.byResource("", "v1", "pods")!;
  const name = request.name || binding.metadata.name || "";
  checkBinding(binding, name);
  const admission = admissionOf(deps, request, {
    operation: "CREATE",
    object: binding,
    name,
    form: BINDING,
  });
  await mutate(deps, admission);
  await review(deps, admission);
  const key = keyFor(pods, request.namespace, name);
  const now = timeText(deps.clock.now());
  if (!request.params.dryRun) {
    const { objects: store } = deps.database;
    await write(deps, request, { store }, (draft) => assign(draft, key, binding, now));
  }
  return { code: 201, kind: pods, status: success() };
}

/** A bare success, as upstream answers it to a post. */
export function success(code = 201): Status {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code };
}

function checkBinding(binding: KubeObject, name: string): void {
  const causes: Cause[] = [];
  const target = binding.target ?? {};
  if (target.kind && target.kind !== "Node") {
    causes.push({
      reason: "FieldValueNotSupported",
      message: `Unsupported value: ${
        JSON.stringify(target.kind)
      }: supported values: "Node", "<empty>"`,
      field: "target.kind",
    });
  }
  if (!target.name) {
    causes.push({ reason: "FieldValueRequired", message: "Required value", field: "target.name" });
  }
  if (causes.length) throw invalid("", "Binding", name, causes);
}

function assign(
  draft: Draft<KubeObject>,
  key: string,
  binding: DeepReadonly<KubeObject>,
  now: string,
): void {
  const current = draft.get(key);
  const name = key.slice(key.lastIndexOf("/") + 1);
  if (!current) throw notFound({ group: "", resource: "pods" }, name);
  const old = current.value;
  const { uid, resourceVersion } = binding.metadata;
  const refuse = (why: string) => conflict(SUBJECT, name, why);
  if (uid && uid !== old.metadata.uid) {
    throw refuse(
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`,
    );
  }
  if (resourceVersion && resourceVersion !== old.metadata.resourceVersion) {
    throw refuse(
      `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ` +
        `ResourceVersion in object meta: ${old.metadata.resourceVersion}`,
    );
  }
  if (old.metadata.deletionTimestamp) {
    throw refuse(`pod ${name} is being deleted, cannot be assigned to a host`);
  }
  if (old.spec.nodeName) {
    throw refuse(`pod ${name} is already assigned to node ${JSON.stringify(old.spec.nodeName)}`);
  }
  if (old.spec.schedulingGates?.length) {
    throw refuse(`pod ${name} has non-empty .spec.schedulingGates`);
  }
  draft.put(key, bound(old, binding, now));
}

function bound(
  old: DeepReadonly<KubeObject>,
  binding: DeepReadonly<KubeObject>,
  now: string,
): KubeObject {
  const { annotations, labels } = binding.metadata;
  const metadata = { ...old.metadata } as KubeObject["metadata"];
  if (annotations) metadata.annotations = { ...metadata.annotations, ...annotations };
  if (labels) metadata.labels = { ...metadata.labels, ...labels };
  const conditions = (old.status?.conditions ?? []) as readonly { type: string }[];
  const others = conditions.filter((c) => c.type !== "PodScheduled");
  const scheduled = {
    type: "PodScheduled",
    status: "True",
    lastProbeTime: null,
    lastTransitionTime: now,
  };
  // All else is shared with the version before
  return {
    ...old,
    metadata,
    spec: { ...old.spec, nodeName: binding.target.name },
    status: { ...old.status, conditions: [...others, scheduled] },
  } as KubeObject;
}

/** The kind row of pods, for those who only have the namespace and the name. */
export function podsKind(deps: Deps): Kind {
  return deps.kinds.byResource("", "v1", "pods")!;
}
