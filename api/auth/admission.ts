/**
 * The chain of admission plugins, in upstream's order, and what plugins share: how they refuse, how they
 * make names. Webhooks and policies stand between the built-in plugins and ResourceQuota.
 */
import type { Clock } from "../../kv/clock.ts";
import type { View } from "../../kv/contract.ts";
import type { Outbound } from "../client/outbound.ts";
import { forbidden } from "../machinery/errors.ts";
import type { ApiError, Kind, Kinds, KubeObject } from "../machinery/types.ts";
import type { AdmissionMetrics } from "./admission_metrics.ts";
import type { Admission, AdmissionPlugin, Authorizer } from "./contract.ts";

/** What plugins may use beside the admission itself. */
export interface PluginContext {
  /** The head, for plugins that wait for something to appear. */
  view: () => View<KubeObject>;
  clock: Clock;
  authorizer: Authorizer;
  /** What is served, where the caller has it: quotas on custom resources count by it. */
  kinds?: () => Kinds | undefined;
  /** Makes a namespace, as the server itself. */
  createNamespace?: (name: string) => Promise<void>;
  /** Reaches webhooks. */
  outbound?: () => Outbound;
  /** Where what was asked outside is counted. */
  metrics?: AdmissionMetrics;
}

/** The name a refusal is about: the object's, or the prefix of a name that is still to be made. */
export function nameOf(a: Admission): string {
  const metadata = a.object?.metadata;
  if (a.collection) return "Unknown";
  return a.name || metadata?.name || metadata?.generateName || "Unknown";
}

/** The 403 of a plugin, with the resource and the name in front. */
export function refusal(a: Admission, why: string): ApiError {
  return forbidden({ group: a.kind.group, resource: a.kind.plural }, nameOf(a), why);
}

/** Why an object that calls itself something else is none of a kind's, in upstream's words; undefined when it is. */
export function unknownConversion(form: Kind, changed: Partial<KubeObject>): string | undefined {
  const { group, kind } = form;
  const own = group ? `${group}/${form.version}` : form.version;
  const { apiVersion = own, kind: given = kind } = changed;
  if (apiVersion === own && given === kind) return undefined;
  const version = String(apiVersion).replace(/^.*\//, "");
  return `converting (${version}.${given}) to (${group.split(".")[0] || "core"}.${kind}): ` +
    "unknown conversion";
}

const DECODER =
  /^.* cannot be handled as an? \S+: |^the object provided is unrecognized \(must be of type \S+\): /;
/** Where an unrecognized object's first bytes are shown. */
const SHOWN = / \([^()]*\)$/;

/** Why a changed object cannot be decoded, as upstream's serializer says it. */
export function whyUndecodable(error: ApiError): string {
  const [cause] = error.status.details?.causes ?? [];
  if (cause) return cause.message ?? "";
  const why = error.message.replace(DECODER, "");
  return error.message.startsWith("the object") ? why.replace(SHOWN, "") : why;
}

/** True for a write of Pods themselves; `subresource` names one to match instead. */
export function isPod(a: Admission, subresource = ""): boolean {
  return a.kind.plural === "pods" && a.kind.group === "" && a.subresource === subresource;
}

/** Letters and digits of generated names: no vowels, so that no words come out. */
const ALPHABET = "bcdfghjklmnpqrstvwxz2456789";

/** `prefix` and five random characters, at most 63 in all. */
export function generateName(prefix: string, clock: Clock): string {
  let suffix = "";
  for (let i = 0; i < 5; i++) suffix += ALPHABET[Math.floor(clock.random() * ALPHABET.length)];
  return prefix.slice(0, 58) + suffix;
}

/** The plugins that concern a write, in order; the same for every write of that kind. */
export function concerned(
  plugins: readonly AdmissionPlugin[],
  admission: Admission,
): AdmissionPlugin[] {
  return plugins.filter((plugin) => plugin.handles(admission));
}
