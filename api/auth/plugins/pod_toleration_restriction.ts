/**
 * PodTolerationRestriction: a namespace's annotations, or else a configuration file, say which tolerations its pods get
 * unasked and which they may have at all. Off by default, as upstream.
 */
import { qosClass } from "../../kinds/rules/pod_resources.ts";
import { JsonError, parseJson } from "../../machinery/json.ts";
import { jsonTypeName } from "../../machinery/json_value.ts";
import { ApiError, type DeepReadonly } from "../../machinery/types.ts";
import { isPod } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { covers, mergeTolerations, type Toleration } from "./tolerations.ts";

const DEFAULTS = "scheduler.alpha.kubernetes.io/defaultTolerations";
const WHITELIST = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";

/** What pods under memory pressure may go on with, unless they are the first to be put out. */
const PRESSURE: Toleration = {
  key: "node.kubernetes.io/memory-pressure",
  operator: "Exists",
  effect: "NoSchedule",
};

/** What counts for namespaces whose annotations say nothing. */
export interface TolerationRestriction {
  /** What pods get unasked (default: nothing). */
  default?: readonly Toleration[];
  /** What pods may have (default: everything). */
  whitelist?: readonly Toleration[];
}

/** Upstream's PodTolerationRestriction. */
export function podTolerationRestriction(
  { default: unasked = [], whitelist = [] }: TolerationRestriction = {},
): AdmissionPlugin {
  function check(a: Admission): void {
    const list: readonly Toleration[] = a.object!.spec?.tolerations ?? [];
    if (list.length === 0) return;
    const own = tolerationsOf(a, WHITELIST);
    const allowed = own ?? whitelist;
    if (allowed.length === 0) return;
    if (list.every((toleration) => allowed.some((one) => covers(one, toleration)))) return;
    throw plain(
      "pod tolerations (possibly merged with namespace default tolerations) conflict with its " +
        `${own ? "namespace" : "cluster"} whitelist`,
    );
  }
  return {
    name: "PodTolerationRestriction",
    handles: (a) => isPod(a) && (a.operation === "CREATE" || a.operation === "UPDATE"),
    mutate(a) {
      const spec = a.object!.spec ??= {};
      const more = a.operation === "CREATE" ? [...tolerationsOf(a, DEFAULTS) ?? unasked] : [];
      if ((a.object!.status?.qosClass || qosClass(spec)) !== "BestEffort") more.push(PRESSURE);
      if (more.length) {
        const copies = more.map((toleration) => ({ ...toleration }));
        spec.tolerations = mergeTolerations(spec.tolerations ?? [], copies);
      }
      check(a);
    },
    validate: check,
  };
}

/** Upstream hands such errors on as they are: without a reason, as faults of the server. */
function plain(message: string): ApiError {
  return new ApiError({ code: 500, message });
}

/** What an annotation of the namespace lists; undefined where there is none. */
function tolerationsOf(a: Admission, annotation: string): readonly Toleration[] | undefined {
  const namespace = a.view.get(`/registry/namespaces/${a.namespace}`)?.value as
    | DeepReadonly<{ metadata: { annotations?: Record<string, string> } }>
    | undefined;
  const text = namespace?.metadata.annotations?.[annotation];
  if (text === undefined) return undefined;
  return text === "" ? [] : parsed(text);
}

/** Go's types of a toleration's fields. */
const FIELDS: Readonly<Record<string, string>> = {
  key: "string",
  operator: "v1.TolerationOperator",
  value: "string",
  effect: "v1.TaintEffect",
  tolerationSeconds: "int64",
};

function parsed(text: string): Toleration[] {
  let list: unknown;
  try {
    list = parseJson(text).value;
  } catch (error) {
    if (error instanceof JsonError) throw plain(error.message);
    throw error;
  }
  if (list === null) return [];
  if (!Array.isArray(list)) throw mistaken(list, "value of type []v1.Toleration");
  return list.map((one) => {
    if (one === null) return {};
    if (typeof one !== "object" || Array.isArray(one)) {
      throw mistaken(one, "value of type v1.Toleration");
    }
    const toleration: Record<string, unknown> = {};
    for (const [field, type] of Object.entries(FIELDS)) {
      const value = one[field] ?? undefined;
      if (value === undefined) continue;
      const wanted = type === "int64" ? Number.isInteger(value) : typeof value === "string";
      if (!wanted) throw mistaken(value, `struct field Toleration.${field} of type ${type}`);
      toleration[field] = value;
    }
    return toleration;
  });
}

function mistaken(value: unknown, place: string): ApiError {
  const fraction = typeof value === "number" && !Number.isInteger(value) ? ` ${value}` : "";
  return plain(`json: cannot unmarshal ${jsonTypeName(value)}${fraction} into Go ${place}`);
}
