/**
 * ImagePolicyWebhook: somebody outside is asked whether a pod's images may run (upstream:
 * plugin/pkg/admission/imagepolicy). Off by default; it needs a configuration. Answers count for a while, by what was
 * asked.
 */
import type { Endpoint } from "../../client/outbound.ts";
import type { KubeObject } from "../../machinery/types.ts";
import { isPod, type PluginContext, refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { Remembered } from "../remembered.ts";
import { ReviewWebhook } from "../review_webhook.ts";

/** How images are asked about. */
export interface ImagePolicyOptions {
  endpoint: Endpoint;
  /** How long a yes counts, in ms; 0: not at all (default 5 min). */
  allowMs?: number;
  /** How long a no counts, in ms; 0: not at all (default 30 s). */
  denyMs?: number;
  /** The pause before a failed question is asked again, in ms (default 500). */
  retryMs?: number;
  /** Images may run when nobody answers (default false). */
  defaultAllow?: boolean;
}

/** How long answers count where nothing is said. */
export const ALLOW_MS = 5 * 60_000;
export const DENY_MS = 30_000;
/** Answers that are remembered. */
export const ANSWERS_MAX = 1024;
const AUDIT_PREFIX = "imagepolicywebhook.image-policy.k8s.io/";
/** Annotations of a pod that the other side sees. */
const SHOWN = ".image-policy.k8s.io/";
/** Marks a pod that was let in because nobody answered. */
const FAILED_OPEN = "alpha.image-policy.k8s.io/failed-open";

interface Answer {
  allowed?: boolean;
  reason?: string;
  auditAnnotations?: Record<string, string>;
}

/** Upstream's ImagePolicyWebhook. Throws TypeError without options. */
export function imagePolicy(
  context: PluginContext,
  options: ImagePolicyOptions | undefined,
): AdmissionPlugin {
  if (!options) {
    throw new TypeError(`couldn't init admission plugin "ImagePolicyWebhook": no config specified`);
  }
  const { allowMs = ALLOW_MS, denyMs = DENY_MS, defaultAllow = false, endpoint } = options;
  const webhook = new ReviewWebhook({
    outbound: context.outbound!,
    clock: context.clock,
    endpoint,
    apiVersion: "imagepolicy.k8s.io/v1alpha1",
    kind: "ImageReview",
    empty: { allowed: false },
    retryMs: options.retryMs,
  });
  const answers = new Remembered<Answer>(context.clock, ANSWERS_MAX);
  const ask = async (a: Admission): Promise<Answer> => {
    const spec = specOf(a);
    const key = JSON.stringify(spec);
    const known = answers.get(key);
    if (known) return known;
    const answer = await webhook.ask(spec) as Answer;
    const lifeMs = answer.allowed ? allowMs : denyMs;
    if (lifeMs > 0) answers.set(key, answer, lifeMs);
    return answer;
  };
  return {
    name: "ImagePolicyWebhook",
    handles: (a) =>
      (a.operation === "CREATE" || a.operation === "UPDATE") &&
      (isPod(a) || isPod(a, "ephemeralcontainers")),
    async validate(a) {
      let answer: Answer;
      try {
        answer = await ask(a);
      } catch (error) {
        if (!defaultAllow) throw refusal(a, error instanceof Error ? error.message : String(error));
        a.annotate(`${AUDIT_PREFIX}failed-open`, "true");
        const { metadata } = a.object!;
        metadata.annotations = { ...metadata.annotations, [FAILED_OPEN]: "true" };
        return;
      }
      for (const [key, value] of Object.entries(answer.auditAnnotations ?? {})) {
        a.annotate(AUDIT_PREFIX + key, String(value));
      }
      if (answer.allowed) return;
      throw refusal(
        a,
        answer.reason
          ? `image policy webhook backend denied one or more images: ${answer.reason}`
          : "one or more images rejected by webhook backend",
      );
    },
  };
}

/** What is asked. */
function specOf(a: Admission): Record<string, unknown> {
  const { spec = {}, metadata } = a.object as KubeObject;
  const lists = a.subresource ? ["ephemeralContainers"] : ["containers", "initContainers"];
  const containers = lists.flatMap((list) => (spec[list] ?? []) as { image?: string }[]);
  const annotations = Object.entries(metadata.annotations ?? {}).filter(([key]) =>
    key.includes(SHOWN)
  );
  return {
    containers: containers.map(({ image }) => ({ image })),
    ...annotations.length && { annotations: Object.fromEntries(annotations) },
    namespace: a.namespace,
  };
}
