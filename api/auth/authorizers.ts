/**
 * The chain of authorizers that a configuration asks for: upstream's modes in the order given, each at most once but
 * webhooks. Members of system:masters pass before any of them.
 */
import type { Clock } from "../../kv/clock.ts";
import type { View } from "../../kv/contract.ts";
import type { Outbound } from "../client/outbound.ts";
import type { KubeObject } from "../machinery/types.ts";
import { AbacAuthorizer, type AbacPolicy } from "./abac.ts";
import { inOrder } from "./authorize.ts";
import { type AuthorizationWebhook, WebhookAuthorizer } from "./authorize_webhook.ts";
import type { Authorizer, PromptAuthorizer } from "./contract.ts";
import type { IdentityMetrics } from "./identity_metrics.ts";
import { NodeAuthorizer } from "./node.ts";
import type { PodsOfNodes } from "./pods_of_nodes.ts";
import { RbacAuthorizer } from "./rbac.ts";

/** Upstream's modes that a file may name. ABAC has a file of its own, and goes by flags. */
export const AUTHORIZATION_MODES = [
  "AlwaysAllow",
  "AlwaysDeny",
  "Webhook",
  "RBAC",
  "Node",
] as const;

/** Modes that need no further word. */
export type PlainMode = Exclude<(typeof AUTHORIZATION_MODES)[number], "Webhook">;

/** One authorizer of the chain. */
export type AuthorizerOptions =
  | { type: PlainMode; name: string }
  | { type: "ABAC"; name: string; policies: readonly AbacPolicy[] }
  | { type: "Webhook"; name: string; webhook: AuthorizationWebhook };

/** What a cluster has where nothing is said. */
export const AUTHORIZERS_DEFAULT: readonly AuthorizerOptions[] = [
  { type: "Node", name: "node" },
  { type: "RBAC", name: "rbac" },
];

/** What authorizers work with. */
export interface AuthorizerContext {
  view: () => View<KubeObject>;
  clock: Clock;
  /** Needed by webhooks alone. */
  outbound: () => Outbound;
  /** Where nodes look for pods first (default: among all). */
  pods?: PodsOfNodes;
  /** Counts what is decided (default: nobody). */
  metrics?: IdentityMetrics;
}

const ALWAYS_ALLOW: PromptAuthorizer = {
  authorize: () => ({ allowed: true }),
  rules: () => ({
    rules: [
      { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
      { verbs: ["*"], nonResourceURLs: ["*"] },
    ],
    errors: [],
  }),
};

const ALWAYS_DENY: PromptAuthorizer = {
  authorize: () => ({ allowed: false, reason: "Everything is forbidden." }),
  rules: () => ({ rules: [], errors: [] }),
};

/** Makes the chain. */
export function createAuthorizer(
  chain: readonly AuthorizerOptions[],
  context: AuthorizerContext,
): Authorizer {
  const { metrics } = context;
  return inOrder(chain.map((one) => {
    const authorizer = authorizerOf(one, context);
    return metrics ? metrics.counted(one, authorizer) : authorizer;
  }));
}

function authorizerOf(one: AuthorizerOptions, context: AuthorizerContext): Authorizer {
  switch (one.type) {
    case "Node":
      return new NodeAuthorizer(context.view, context.pods);
    case "RBAC":
      return new RbacAuthorizer(context.view);
    case "ABAC":
      return new AbacAuthorizer(one.policies);
    case "AlwaysAllow":
      return ALWAYS_ALLOW;
    case "AlwaysDeny":
      return ALWAYS_DENY;
    case "Webhook":
      return new WebhookAuthorizer(one.webhook, {
        outbound: context.outbound,
        clock: context.clock,
        evaluated: (how) => context.metrics?.evaluated(one.name, how),
      });
  }
}
