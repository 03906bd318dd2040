/**
 * The webhooks that are configured, made ready: in the order in which they are called (configurations by name, then
 * by their place in them), with selectors, endpoint and rules compiled. Whoever has none pays for one count.
 */
import type { View } from "../../kv/contract.ts";
import type { Endpoint } from "../client/outbound.ts";
import type { LabelSelectorSpec } from "../machinery/selectors.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import {
  compileMatchConditions,
  type MatchCondition,
  type MatchConditions,
} from "./match_conditions.ts";
import type { Rule } from "./request_matching.ts";

/** Which of the two chains a webhook belongs to. */
export type HookType = "mutating" | "validating";

/** Where the configurations lie. */
export const HOOK_PATHS: Readonly<Record<HookType, string>> = {
  mutating: "/registry/mutatingwebhookconfigurations/",
  validating: "/registry/validatingwebhookconfigurations/",
};

/** Seconds a webhook has to answer, unless it says (upstream's default). */
const TIMEOUT_SECONDS = 10;
const SERVICE_PORT = 443;

/** One webhook, ready to be asked. */
export interface Hook {
  type: HookType;
  /** The name of its configuration. */
  configuration: string;
  /** Tells it from every other, also from one of the same name in its configuration. */
  id: string;
  name: string;
  rules: DeepReadonly<Rule[]>;
  matchPolicy: string;
  namespaceSelector?: DeepReadonly<LabelSelectorSpec>;
  objectSelector?: DeepReadonly<LabelSelectorSpec>;
  /** `undefined` without conditions. Compiled at the first call. */
  conditions?: () => Promise<MatchConditions>;
  /** Undefined when the configuration names none. */
  endpoint?: Endpoint;
  timeoutMs: number;
  /** Failing to ask it is as good as being allowed. */
  ignoresFailure: boolean;
  /** May be asked during a dry run; undefined: it does not say. */
  dryRun?: boolean;
  reviewVersions: readonly string[];
  /** Wants to see again what others changed after it. */
  reinvoked: boolean;
}

const FORMS = new WeakMap<object, readonly Hook[]>();

interface Remembered {
  values: readonly unknown[];
  hooks: readonly Hook[];
}
const NONE: readonly Hook[] = [];

/** The webhooks of a view, remembered until a configuration changes. */
export class Hooks {
  readonly #remembered = new Map<HookType, Remembered>();

  /** True when there may be some. */
  any(type: HookType, view: View<KubeObject>): boolean {
    return view.count(HOOK_PATHS[type]) > 0;
  }

  /** All of them, in order. */
  of(type: HookType, view: View<KubeObject>): readonly Hook[] {
    if (!this.any(type, view)) return NONE;
    const values: DeepReadonly<KubeObject>[] = [];
    for (const { value } of view.scan(HOOK_PATHS[type])) values.push(value);
    const known = this.#remembered.get(type);
    if (known?.values.length === values.length && known.values.every((v, i) => v === values[i])) {
      return known.hooks;
    }
    const hooks = values.flatMap((value) => hooksOf(type, value));
    this.#remembered.set(type, { values, hooks });
    return hooks;
  }
}

function hooksOf(type: HookType, configuration: DeepReadonly<KubeObject>): readonly Hook[] {
  const known = FORMS.get(configuration);
  if (known) return known;
  const names = new Map<string, number>();
  const hooks = ((configuration.webhooks ?? []) as DeepReadonly<KubeObject>[]).map((hook) => {
    const count = names.get(hook.name) ?? 0;
    names.set(hook.name, count + 1);
    const id = `${configuration.metadata.name}/${hook.name}/${count}`;
    return hookOf(type, hook, { configuration: configuration.metadata.name, id });
  });
  FORMS.set(configuration, hooks);
  return hooks;
}

function hookOf(
  type: HookType,
  // deno-lint-ignore no-explicit-any -- of a kind known at run time only
  hook: any,
  identity: { configuration: string; id: string },
): Hook {
  const { name, failurePolicy, matchConditions } = hook;
  const conditions = matchConditions as MatchCondition[] | undefined;
  let compiled: Promise<MatchConditions> | undefined;
  return {
    type,
    ...identity,
    name,
    rules: hook.rules ?? [],
    matchPolicy: hook.matchPolicy ?? "Equivalent",
    namespaceSelector: hook.namespaceSelector,
    objectSelector: hook.objectSelector,
    conditions: conditions?.length
      ? () => compiled ??= compileMatchConditions(conditions, "admission", { failurePolicy })
      : undefined,
    endpoint: endpointOf(hook.clientConfig ?? {}),
    timeoutMs: (hook.timeoutSeconds ?? TIMEOUT_SECONDS) * 1000,
    ignoresFailure: failurePolicy === "Ignore",
    dryRun: hook.sideEffects === undefined
      ? undefined
      : hook.sideEffects === "None" || hook.sideEffects === "NoneOnDryRun",
    reviewVersions: hook.admissionReviewVersions ?? [],
    reinvoked: hook.reinvocationPolicy === "IfNeeded",
  };
}

/** A WebhookClientConfig as it is dialled; undefined when it names nothing. */
export function endpointOf(
  // deno-lint-ignore no-explicit-any -- of a kind known at run time only
  config: any,
): Endpoint | undefined {
  const caBundle = config.caBundle ? atob(config.caBundle) : undefined;
  if (config.service) {
    const { namespace, name, path, port = SERVICE_PORT } = config.service;
    return { service: { namespace, name, path, port }, caBundle };
  }
  return config.url ? { url: config.url, caBundle } : undefined;
}
