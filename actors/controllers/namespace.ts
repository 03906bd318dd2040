/**
 * Namespaces that are being deleted: takes everything in them away, pods first, says in conditions what is
 * still there and why, and lets the namespace go when nothing is.
 *
 * Behaviour matched: pkg/controller/namespace/deletion, v1.36 (ordered deletion included).
 */
import { formatTime } from "../../api/machinery/time.ts";
import type { KubeObject, ResourceId } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  allAtOnce,
  codeOf,
  type Controller,
  isGone,
  NAMESPACES,
  type Outcome,
  targetOf,
} from "../runtime/mod.ts";
import { type Condition, conditionOf, type Obj, sameStatus } from "./objects.ts";
import { isFinished, textOf } from "./pods.ts";
import { type CollectedKind, type ControllerPorts, storedKinds } from "./ports.ts";

/** How long content with finalizers is given before it is looked at again, in seconds. */
const FINALIZER_ESTIMATE_S = 15;

/** What was found when the content was deleted. */
interface Findings {
  /** `pods.` or `deployments.apps` and how many are left. */
  remaining: Map<string, number>;
  finalizers: Map<string, number>;
  errors: string[];
  estimateS: number;
  /** Group-versions of which nobody knows now what they serve. */
  undiscovered?: readonly string[];
}

/** What may be in a namespace. */
interface Contents {
  kinds: readonly CollectedKind[];
  undiscovered: readonly string[];
}

/** The row; which kinds there are comes from the ports. */
export function namespaceController(
  { kinds, remoteKinds }: Pick<ControllerPorts, "kinds" | "remoteKinds">,
): Controller<void> {
  const contents = (): Contents => {
    const own = storedKinds(kinds).filter((kind) => kind.namespaced);
    if (!remoteKinds) return { kinds: own, undiscovered: [] };
    const remote = remoteKinds();
    const listed = remote.kinds.filter(({ namespaced, verbs }) =>
      namespaced && verbs.includes("list") && verbs.includes("delete")
    );
    return { kinds: [...own, ...listed], undiscovered: remote.stale };
  };
  return {
    name: "namespace",
    account: "namespace-controller",
    for: NAMESPACES,
    workers: 10,
    reconcile: (key, context) => reconcile(key, context, contents),
  };
}

/** Takes one terminating namespace a step further. */
export async function reconcile(
  key: string,
  context: ActorContext,
  contents: () => Contents,
): Promise<Outcome> {
  const cached = context.informers.for(NAMESPACES).get(key);
  if (!cached?.metadata.deletionTimestamp) return;
  let namespace: Obj;
  try {
    namespace = await context.client.get<KubeObject>({ resource: NAMESPACES, name: key });
  } catch (error) {
    if (isGone(error)) return;
    throw error;
  }
  if (!namespace.metadata.deletionTimestamp) return;
  if ((namespace.spec?.finalizers ?? []).length === 0) return;
  const { kinds, undiscovered } = contents();
  const findings: Findings = { ...await deleteContent(context, key, kinds), undiscovered };
  const status = statusAfter(namespace, findings, context.clock.now());
  if (!sameStatus(status, namespace.status)) {
    const target = targetOf(NAMESPACES, namespace, "status");
    namespace = await context.client.update<KubeObject>(target, { ...namespace, status });
  }
  if (findings.errors.length > 0) throw new Error(findings.errors.join(", "));
  if (undiscovered.length > 0) throw new Error(undiscoveredText(undiscovered));
  if (findings.remaining.size > 0) {
    return { afterMs: (Math.floor(findings.estimateS / 2) + 1) * 1000 };
  }
  const finalizers = namespace.spec.finalizers.filter((name: string) => name !== "kubernetes");
  await context.client.update<KubeObject>(targetOf(NAMESPACES, namespace, "finalize"), {
    ...namespace,
    spec: { ...namespace.spec, finalizers },
  });
}

/** Pods first; while some are left nothing else is touched, because they may need what else is there. */
async function deleteContent(
  context: ActorContext,
  namespace: string,
  kinds: readonly CollectedKind[],
): Promise<Findings> {
  const findings: Findings = {
    remaining: new Map(),
    finalizers: new Map(),
    errors: [],
    estimateS: 0,
  };
  const isPods = (kind: CollectedKind) => kind.group === "" && kind.plural === "pods";
  for (const kind of kinds) {
    if (isPods(kind)) await deleteKind(context, { namespace, kind, findings });
  }
  if (findings.remaining.size > 0) return findings;
  const others = kinds.filter((kind) => !isPods(kind));
  await allAtOnce(others, (kind) => deleteKind(context, { namespace, kind, findings }));
  return findings;
}

async function deleteKind(
  context: ActorContext,
  { namespace, kind, findings }: { namespace: string; kind: CollectedKind; findings: Findings },
): Promise<void> {
  const { group, version, plural } = kind;
  const resource: ResourceId = { group, version, plural };
  const name = `${plural}.${group}`;
  try {
    const present = await context.client.list({ resource, namespace });
    if (present.items.length === 0) return;
    const graceS = plural === "pods" && group === "" ? longestGrace(present.items) : 0;
    if (kind.verbs.includes("deletecollection")) {
      await context.client.deleteCollection({ resource, namespace }, {
        propagationPolicy: "Background",
      });
    } else {
      await allAtOnce(
        present.items,
        (item) =>
          context.client.delete({ resource, namespace, name: item.metadata.name }, {
            propagationPolicy: "Background",
          }).catch((error) => {
            if (!isGone(error)) throw error;
          }),
      );
    }
    const left = (await context.client.list({ resource, namespace })).items;
    if (left.length === 0) return;
    findings.remaining.set(name, left.length);
    let held = false;
    for (const item of left) {
      for (const finalizer of item.metadata.finalizers ?? []) {
        findings.finalizers.set(finalizer, (findings.finalizers.get(finalizer) ?? 0) + 1);
        held = true;
      }
    }
    if (graceS === 0 && !held) {
      // Something was made in between, or takes its time: the next look will tell.
      findings.estimateS = Math.max(findings.estimateS, 1);
    }
    findings.estimateS = Math.max(findings.estimateS, graceS || (held ? FINALIZER_ESTIMATE_S : 0));
  } catch (error) {
    // The kind went away while we looked.
    if (isGone(error) || codeOf(error) === 405) return;
    findings.errors.push(textOf(error));
  }
}

function longestGrace(pods: readonly Obj[]): number {
  let longest = 0;
  for (const pod of pods) {
    if (!isFinished(pod)) longest = Math.max(longest, pod.spec.terminationGracePeriodSeconds ?? 0);
  }
  return longest;
}

// --- conditions -------------------------------------------------------------------------------------

/** Each condition as it reads when all is well. */
const WELL: readonly [type: string, reason: string, message: string][] = [
  [
    "NamespaceDeletionDiscoveryFailure",
    "ResourcesDiscovered",
    "All resources successfully discovered",
  ],
  [
    "NamespaceDeletionGroupVersionParsingFailure",
    "ParsedGroupVersions",
    "All legacy kube types successfully parsed",
  ],
  [
    "NamespaceDeletionContentFailure",
    "ContentDeleted",
    "All content successfully deleted, may be waiting on finalization",
  ],
  ["NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"],
  [
    "NamespaceFinalizersRemaining",
    "ContentHasNoFinalizers",
    "All content-preserving finalizers finished",
  ],
];

function undiscoveredText(groupVersions: readonly string[]): string {
  const each = groupVersions.map((gv) => `${gv}: stale GroupVersion discovery: ${gv}`);
  return `unable to retrieve the complete list of server APIs: ${each.sort().join(", ")}`;
}

/** The status with the conditions that the findings make. Pure. */
export function statusAfter(namespace: Obj, findings: Findings, now: number): Obj["status"] {
  const bad = new Map<string, { reason: string; message: string }>();
  const { undiscovered = [] } = findings;
  if (undiscovered.length > 0) {
    bad.set("NamespaceDeletionDiscoveryFailure", {
      reason: "DiscoveryFailed",
      message: `Discovery failed for some groups, ${undiscovered.length} failing: ${
        undiscoveredText(undiscovered)
      }`,
    });
  }
  if (findings.errors.length > 0) {
    bad.set("NamespaceDeletionContentFailure", {
      reason: "ContentDeletionFailed",
      message: `Failed to delete all resource types, ${findings.errors.length} remaining: ` +
        findings.errors.join(", "),
    });
  }
  if (findings.remaining.size > 0) {
    const parts = [...findings.remaining].map(([name, n]) => `${name} has ${n} resource instances`);
    bad.set("NamespaceContentRemaining", {
      reason: "SomeResourcesRemain",
      message: `Some resources are remaining: ${parts.sort().join(", ")}`,
    });
  }
  if (findings.finalizers.size > 0) {
    const parts = [...findings.finalizers].map(([f, n]) => `${f} in ${n} resource instances`);
    bad.set("NamespaceFinalizersRemaining", {
      reason: "SomeFinalizersRemain",
      message: `Some content in the namespace has finalizers remaining: ${parts.sort().join(", ")}`,
    });
  }
  const conditions: Condition[] = [...(namespace.status?.conditions ?? [])];
  for (const [type, reason, message] of WELL) {
    const found = bad.get(type);
    const next: Condition = {
      type,
      status: found ? "True" : "False",
      reason: found?.reason ?? reason,
      message: found?.message ?? message,
      lastTransitionTime: formatTime(now),
    };
    const present = conditionOf({ conditions }, type);
    if (!present) conditions.push(next);
    else if (present.status !== next.status || present.message !== next.message) {
      if (present.status === next.status) next.lastTransitionTime = present.lastTransitionTime;
      conditions[conditions.indexOf(present)] = next;
    }
  }
  return { ...namespace.status, phase: "Terminating", conditions };
}
