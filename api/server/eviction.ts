/**
 * A pod's `eviction`: a delete that asks the disruption budgets first. Budget and pod change in one write, so
 * that the count is exact (upstream: pkg/registry/core/pod/storage/eviction.go).
 */
import type { Draft } from "../../kv/contract.ts";
import { badRequest, forbidden, notFound, tooManyRequests } from "../machinery/errors.ts";
import { edit } from "../machinery/edit.ts";
import { labelSelector } from "../machinery/selectors.ts";
import { ApiError, type DeepReadonly, type Kind, type KubeObject } from "../machinery/types.ts";
import { admissionOf, admitCommit, committers, mutate, review } from "./admit.ts";
import { podsKind, success } from "./binding.ts";
import { decodeAs, formOf } from "./decoding.ts";
import { checkPreconditions, fateOf } from "./deletes.ts";
import { type Deps, keyFor, timeText } from "./deps.ts";
import type { Answer, ApiRequest, DeleteOptions } from "./request.ts";
import { write } from "./request_write.ts";

/** Evictions a budget remembers until its controller has seen them. */
const DISRUPTED_PODS_MAX = 2_000;
const REFUSAL = "Cannot evict pod as it would violate the pod's disruption budget.";
const RETRY_SECONDS = 10;
const EVICTION = formOf("policy", "v1", "Eviction");

type Pod = DeepReadonly<KubeObject>;

/** Answers a post to `pods/NAME/eviction`. */
export async function evictPod(deps: Deps, request: ApiRequest): Promise<Answer> {
  const { object: eviction } = decodeAs(request, EVICTION);
  if (eviction.metadata.name && eviction.metadata.name !== request.name) {
    throw badRequest("name in URL does not match name in Eviction object");
  }
  const admission = admissionOf(deps, request, {
    operation: "CREATE",
    object: eviction,
    form: EVICTION,
  });
  await mutate(deps, admission);
  await review(deps, admission);
  const options = (eviction.deleteOptions ?? {}) as DeleteOptions & { dryRun?: unknown };
  const dryRun = request.params.dryRun ||
    Array.isArray(options.dryRun) && options.dryRun.length > 0;
  const kind = podsKind(deps);
  const budgets = deps.kinds.byResource("policy", "v1", "poddisruptionbudgets");
  const parts = { kind, budgets, request, options, now: deps.clock.now() };
  // What keeps books of pods (quotas) sees the delete that an eviction comes to.
  const removal = admissionOf(deps, { ...request, subresource: "" }, { operation: "DELETE" });
  const bookkeepers = committers(deps, removal);
  await write(deps, request, { store: deps.database.objects, dryRun }, (draft) => {
    const old = evict(draft, parts);
    admitCommit(deps, bookkeepers, { admission: { ...removal, old }, draft });
  });
  return { code: 201, kind, status: success() };
}

interface Parts {
  kind: Kind;
  budgets?: Kind;
  request: ApiRequest;
  options: DeleteOptions;
  now: number;
}

/** Takes the pod away, or begins to; returns it as it was. */
function evict(draft: Draft<KubeObject>, { kind, budgets, request, options, now }: Parts): Pod {
  const { namespace, name } = request;
  const key = keyFor(kind, namespace, name);
  const current = draft.get(key);
  if (!current) throw notFound({ group: "", resource: "pods" }, name);
  const pod = current.value;
  checkPreconditions(kind, pod, options);
  if (!needsNoBudget(pod) && budgets) {
    const budget = budgetOf(draft, budgets, pod);
    if (budget && !excused(pod, budget)) {
      draft.put(keyFor(budgets, namespace, budget.metadata.name), charged(budget, pod, now));
    }
  }
  const fate = fateOf(kind, marked(pod, now), options, now);
  if (fate.type === "keep") draft.put(key, fate.object);
  else if (fate.type === "remove") draft.delete(key, fate.last);
  return pod;
}

/** The pod with the condition that says why it goes. */
function marked(pod: Pod, now: number): Pod {
  if (pod.metadata.deletionTimestamp) return pod;
  const copy = edit(pod) as KubeObject;
  const conditions = (copy.status?.conditions ?? []) as { type: string }[];
  const condition = {
    type: "DisruptionTarget",
    status: "True",
    reason: "EvictionByEvictionAPI",
    message: "Eviction API: evicting",
    lastTransitionTime: timeText(now),
  };
  const others = conditions.filter((c) => c.type !== "DisruptionTarget");
  copy.status = { ...copy.status, conditions: [...others, condition] };
  return copy;
}

function needsNoBudget(pod: Pod): boolean {
  const phase = pod.status?.phase;
  return phase === "Succeeded" || phase === "Failed" || phase === "Pending" ||
    pod.metadata.deletionTimestamp !== undefined;
}

function isReady(pod: Pod): boolean {
  const conditions = (pod.status?.conditions ?? []) as { type: string; status: string }[];
  return conditions.some((c) => c.type === "Ready" && c.status === "True");
}

function budgetOf(draft: Draft<KubeObject>, kind: Kind, pod: Pod): Pod | undefined {
  const found: Pod[] = [];
  for (const item of draft.scan(`${kind.path}/${pod.metadata.namespace}/`)) {
    const selector = labelSelector(item.value.spec?.selector);
    if (selector.matches(pod.metadata.labels)) found.push(item.value);
  }
  if (found.length > 1) {
    // As upstream: a status of its own that gives no reason.
    throw new ApiError({
      code: 500,
      message: "This pod has more than one PodDisruptionBudget, " +
        "which the eviction subresource does not support.",
    });
  }
  return found[0];
}

/** Whether a pod that is not ready may go without being counted. */
function excused(pod: Pod, budget: Pod): boolean {
  if (isReady(pod)) return false;
  if (budget.spec?.unhealthyPodEvictionPolicy === "AlwaysAllow") return true;
  const { currentHealthy = 0, desiredHealthy = 0 } = budget.status ?? {};
  return desiredHealthy > 0 && currentHealthy >= desiredHealthy;
}

/** The budget after this eviction; throws 429 when it allows none. */
function charged(budget: Pod, pod: Pod, now: number): KubeObject {
  const { name, generation = 0 } = budget.metadata;
  const status = budget.status ?? {};
  const refuse = (message: string, seconds: number) =>
    tooManyRequests(REFUSAL, seconds, [{ reason: "DisruptionBudget", message }]);
  if ((status.observedGeneration ?? 0) < generation) {
    const text = `The disruption budget ${name} is still being processed by the server.`;
    throw refuse(text, RETRY_SECONDS);
  }
  const subject = { group: "policy", resource: "poddisruptionbudget" };
  const allowed = status.disruptionsAllowed ?? 0;
  if (allowed < 0) throw forbidden(subject, name, "pdb disruptions allowed is negative");
  if (Object.keys(status.disruptedPods ?? {}).length > DISRUPTED_PODS_MAX) {
    throw forbidden(
      subject,
      name,
      "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
    );
  }
  if (allowed === 0) {
    // Nobody knows when: without a time, clients decide for themselves instead of waiting in the request
    throw refuse(whyNone(budget), 0);
  }
  const copy = edit(budget) as KubeObject;
  copy.status.disruptionsAllowed = allowed - 1;
  copy.status.disruptedPods = {
    ...copy.status.disruptedPods,
    [pod.metadata.name]: timeText(now),
  };
  return copy;
}

/** Why a budget allows nothing now. */
function whyNone(budget: Pod): string {
  const { name } = budget.metadata;
  const { conditions = [], desiredHealthy = 0, currentHealthy = 0 } = budget.status ?? {};
  const condition =
    (conditions as { type: string; status: string; reason: string; message: string }[])
      .find((one) => one.type === "DisruptionAllowed" && one.status === "False" && one.message);
  const none = `The disruption budget ${name} does not allow evicting pods currently`;
  if (condition?.reason === "SyncFailed") {
    return `${none} because it failed sync: ${condition.message}`;
  }
  if (currentHealthy <= desiredHealthy) {
    return `The disruption budget ${name} needs ${desiredHealthy} healthy pods and has ` +
      `${currentHealthy} currently`;
  }
  return condition ? `${none} (${condition.reason}): ${condition.message}` : none;
}
