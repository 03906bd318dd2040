/**
 * Identity: who is asking, may they, and is what they ask admissible.
 *
 * Who: client certificates, front proxies' headers, then bearer tokens (fixed ones, bootstrap tokens, ServiceAccounts',
 * nodes' own, other issuers' by OpenID Connect, a webhook's), then nobody in particular. May they: any order of Node, RBAC and
 * webhooks. What is not configured costs nothing: without webhooks every decision is made at once.
 *
 * What it promises:
 *
 * - **No default power.** Without credentials only health and version answer; wrong credentials are 401.
 * - **No lag.** A decision, and a token's validity, reflect every write that was committed before it was asked.
 * - **No escalation.** Nobody can grant what they do not hold, whatever the order of edits; the check is part
 *   of the commit (`tests/escalation` tries to break it).
 * - **Bounded trust.** Others' answers count for a while in bounded memories; a provider or webhook that is away refuses,
 *   by the policy that is configured, and cannot be made to be asked without end.
 * - **Exact admission.** Namespaces, quotas and aggregated roles are decided inside the write's own commit.
 * - **Upstream's words.** Names, orders, texts and codes are those of Kubernetes 1.36.
 *
 * What it does not do: hold certificates and keys (its caller does, sealed in the store), speak HTTP (webhooks
 * are asked through a port that is handed in).
 *
 * Reading order: `contract.ts`, `authn.ts`, `tokens.ts`, `jwt.ts`, `node_tokens.ts`, `logins.ts`, `oidc.ts`, `distributed_claims.ts`,
 * `jwt_authenticator.ts`, `token_webhook.ts`, `request_header.ts`, `impersonate.ts`; `authorize.ts`, `authorizers.ts`, `rbac.ts`,
 * `rbac_escalation.ts`, `bootstrap_roles.ts`, `node.ts`, `pods_of_nodes.ts`, `authorize_webhook.ts`; `admission.ts`, `plugins/mod.ts`;
 * `reviews.ts`; `pki.ts`, `kubeconfig.ts`.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { createAuth, createTokenKey } from "./mod.ts";
 * import { State, stillClock } from "./state_fixture.ts";
 *
 * const state = new State(); // a store's view, in real life
 * const auth = createAuth({
 *   view: () => state.view(),
 *   clock: stillClock().clock,
 *   tokenKeys: [createTokenKey()],
 *   tokens: new Map([["secret", { name: "carol", groups: ["system:masters"] }]]),
 * });
 * const header = (name: string) => name === "authorization" ? "Bearer secret" : undefined;
 * const user = await auth.authenticate({ path: "/api/v1/pods", header });
 * const list = { user, verb: "list", resourceRequest: true, resource: "pods", group: "" };
 * const rest = { version: "v1", subresource: "", namespace: "", name: "", path: "" };
 * assertEquals((await auth.authorizer.authorize({ ...list, ...rest })).allowed, true);
 * ```
 */
import type { Clock } from "../../kv/clock.ts";
import type { View } from "../../kv/contract.ts";
import type { User } from "../client/contract.ts";
import { type Outbound, OutboundError } from "../client/outbound.ts";
import type { Kinds, KubeObject } from "../machinery/types.ts";
import { AdmissionMetrics } from "./admission_metrics.ts";
import {
  anonymousAuthenticator,
  type AnonymousOptions,
  authenticateWith,
  certificateAuthenticator,
  configuredAnonymous,
  NobodyError,
  tokenAuthenticator,
} from "./authn.ts";
import {
  type AuthorizerContext,
  type AuthorizerOptions,
  AUTHORIZERS_DEFAULT,
  createAuthorizer,
} from "./authorizers.ts";
import type { AdmissionPlugin, Authenticator, Authorizer, Credentials } from "./contract.ts";
import { IdentityMetrics } from "./identity_metrics.ts";
import { type HeaderPairs, impersonated, type Requested } from "./impersonate.ts";
import { TokenKeys } from "./jwt.ts";
import { type JwtAuthenticatorOptions, JwtTokens } from "./jwt_authenticator.ts";
import { Logins } from "./logins.ts";
import { NodeTokens } from "./node_tokens.ts";
import { type Settings, settingsInMemory } from "./material.ts";
import { createPlugins, type PluginOptions } from "./plugins/mod.ts";
import { type Follow, PodsOfNodes } from "./pods_of_nodes.ts";
import { type Review, type ReviewContext, REVIEWS } from "./reviews.ts";
import {
  requestHeaderAuthenticator,
  type RequestHeaderOptions,
  signedBy,
} from "./request_header.ts";
import { TokenWebhook, type TokenWebhookOptions } from "./token_webhook.ts";
import { type TokenOptions, Tokens, type TokenSource } from "./tokens.ts";

export type * from "./contract.ts";
export { authenticateWith, withoutTokenProtocol } from "./authn.ts";
export { type AuthorizationWebhook } from "./authorize_webhook.ts";
export { AUTHORIZATION_MODES, type AuthorizerOptions } from "./authorizers.ts";
export { forbiddenRequest, inOrder, refusalText, refusedRequest } from "./authorize.ts";
export {
  type BootstrapContext,
  bootstrapPolicy,
  bootstrapRoleWrites,
  type BootstrapWrite,
  controllerAccounts,
} from "./bootstrap_roles.ts";
export { type Approval, approvalsFor, signedStatus } from "./csr_signer.ts";
export { type Claims, TokenError, TokenKeys } from "./jwt.ts";
export {
  type Access,
  createKubeconfig,
  mergeKubeconfig,
  removeFromKubeconfig,
} from "./kubeconfig.ts";
export * from "./names.ts";
export { OIDC_ALGORITHMS } from "./oidc.ts";
export {
  type CertificateSubject,
  certificateSubject,
  createAuthority,
  createTokenKey,
  issueClient,
  type Issued,
  issueServer,
  mustRenew,
  readRequest,
  renewAt,
  type RequestFacts,
  serverNames,
  signRequest,
  type Usage,
} from "./pki.ts";
export { PLUGIN_NAMES, type PluginOptions } from "./plugins/mod.ts";
export { type ReviewContext } from "./reviews.ts";
export { ISSUER_DEFAULT, noteTokenUse, type TokenIdentity, Tokens } from "./tokens.ts";

/** Further ways to say who one is. */
export interface AuthenticationOptions {
  /** Tokens of other issuers. */
  jwt?: readonly JwtAuthenticatorOptions[];
  /** What those may be signed with (default: all of `OIDC_ALGORITHMS`). */
  signingAlgorithms?: readonly string[];
  /** Somebody outside who knows further tokens. */
  webhook?: TokenWebhookOptions;
  /** Proxies that name the user in headers. */
  requestHeader?: RequestHeaderOptions;
  /** Requests without credentials (default: health and version are open). */
  anonymous?: AnonymousOptions;
  /** Whether bootstrap tokens are credentials (default true). */
  bootstrapTokens?: boolean;
  /** Limits and places of ServiceAccount tokens. */
  serviceAccounts?: Pick<TokenOptions, "secondsMax" | "extend" | "jwksUri">;
}

/** What identity works with. */
export interface AuthOptions {
  /** The head of the store. */
  view: () => View<KubeObject>;
  /** Follows the store, which makes many pods cost nodes less (default: not). */
  follow?: Follow;
  clock: Clock;
  /** By which certificates end (default: `clock`). */
  host?: Pick<Clock, "now">;
  /** Private keys (PEM) of ServiceAccount tokens: the first signs, all verify. */
  tokenKeys: readonly string[];
  /** Public keys or certificates (PEM) that verify such tokens too (default: none). */
  tokenVerifiers?: readonly string[];
  /** Issuer of tokens (default `https://kubernetes.default.svc.cluster.local`). */
  issuer?: string;
  /** Further issuers whose tokens are good (default: none). */
  otherIssuers?: readonly string[];
  /** Audiences of the API server (default: the issuer). */
  audiences?: readonly string[];
  /** Static tokens and whose they are (default: none). */
  tokens?: ReadonlyMap<string, User>;
  /** Paths open to anybody (default: health and version). */
  anonymousPaths?: readonly string[];
  /** What is served, for quotas on resources by name (default: built-in paths). */
  kinds?: () => Kinds | undefined;
  /** Makes a namespace, as the server itself: for NamespaceAutoProvision, which cannot be switched on without. */
  createNamespace?: (name: string) => Promise<void>;
  /** Reaches webhooks; asked for at the first one (default: none can be reached). */
  outbound?: () => Outbound;
  /** Further ways to say who one is (default: none). */
  authentication?: AuthenticationOptions;
  /** Authorities of users' certificates (PEM), asked for where front proxies have others. */
  clientAuthorities?: () => string;
  /** Where log-ins are kept (default: with this object alone). */
  settings?: Settings;
  /** What that setting holds, where it has been read (default: nothing yet). */
  logins?: Uint8Array;
  /** Authorities of nodes' certificates (PEM), by which nodes' tokens are good (default: there are none). */
  nodeAuthorities?: () => Promise<string>;
  /** Hears that a token which lives in a Secret was used today. */
  legacyUsed?: TokenOptions["legacyUsed"];
  /** Who decides, in this order (default: Node, then RBAC). */
  authorization?: readonly AuthorizerOptions[];
  /** Admission plugins to switch on or off beyond the default. */
  plugins?: PluginOptions;
}

/** Identity, ready for the request pipeline. */
export interface Auth {
  /** The user of a request; throws or rejects with ApiError 401. */
  authenticate(credentials: Credentials): User | Promise<User>;
  /**
   * The user the request acts as; `requested` is what it does, `constrained` hears of the constrained right that was
   * used. Throws ApiError 400 or 403.
   */
  impersonate(
    user: User,
    headers: HeaderPairs,
    requested?: Requested,
    constrained?: (constraint: string) => void,
  ): Promise<User>;
  readonly authorizer: Authorizer;
  /**
   * Takes up another configuration of authorizers and of other issuers' tokens, for those who ask from now on. Throws
   * Error for what must stay: what is anonymous, and the authorizers that are no webhooks.
   */
  renew(next: Pick<AuthOptions, "authentication" | "authorization">): void;
  readonly admission: readonly AdmissionPlugin[];
  readonly tokens: Tokens;
  /** Links by which browsers log in. */
  readonly logins: Logins;
  /** Lines for `/metrics`. */
  metricsText(): string;
  /** Where the server counts whom it knew without asking, and what was decided. */
  identity: Pick<IdentityMetrics, "attempted" | "decided">;
  /** Where it counts how long admission took. */
  admissions: Pick<AdmissionMetrics, "asked" | "stepped">;
  /** The review of a kind (`authorization.k8s.io/selfsubjectaccessreviews`), if it is one. */
  review(resource: string): ((object: KubeObject, context: ReviewAsker) => Answer) | undefined;
}

type Answer = ReturnType<Review>;
/** Who asks a review, in which namespace, when. */
export type ReviewAsker = Pick<ReviewContext, "user" | "namespace" | "now">;

/** Front proxies first, then holders of certificates; which is which, their authorities tell. */
function certificateAuthenticators(
  { clock, host = clock, authentication = {}, clientAuthorities }: AuthOptions,
): Authenticator[] {
  const { requestHeader } = authentication;
  if (!requestHeader) return [certificateAuthenticator(host)];
  const signed = signedBy();
  const isUser = (raw: Uint8Array) => signed(clientAuthorities?.() ?? "", raw);
  return [
    requestHeaderAuthenticator(requestHeader, host),
    certificateAuthenticator(host, isUser),
  ];
}

/** An authorizer whose chain can be put in the place of another while it is in use. */
function renewable(first: readonly AuthorizerOptions[], context: AuthorizerContext) {
  let chain = createAuthorizer(first, context);
  let known = JSON.stringify(first);
  const types = new Set(first.map(({ type }) => type).filter((type) => type !== "Webhook"));
  const authorizer: Authorizer = {
    authorize: (attributes) => chain.authorize(attributes),
    rules: (user, namespace) => chain.rules(user, namespace),
  };
  const use = (next: readonly AuthorizerOptions[]) => {
    const missing = [...types].filter((type) => !next.some((one) => one.type === type)).sort();
    if (missing.length) throw new Error(`missing required types: [${missing.join(" ")}]`);
    const text = JSON.stringify(next);
    if (text !== known) chain = createAuthorizer(next, context);
    known = text;
  };
  return { authorizer, use };
}

function sameValue(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function tokenSources(
  { jwt, signingAlgorithms, webhook }: AuthenticationOptions,
  ports: { outbound: () => Outbound; clock: Clock },
): TokenSource[] {
  return [
    ...(jwt?.length ? [new JwtTokens(jwt, ports, signingAlgorithms)] : []),
    ...(webhook ? [new TokenWebhook(webhook, ports)] : []),
  ];
}

function noWayOut(): never {
  throw new OutboundError("nothing outside can be reached", "connection");
}

/** Asks who it is, and counts how that ended. */
function counted(
  { metrics, clock }: { metrics: IdentityMetrics; clock: Clock },
  authenticators: readonly Authenticator[],
  credentials: Credentials,
): User | Promise<User> {
  const since = clock.monotonic();
  const known = (user: User): User => {
    metrics.attempted("success", clock.monotonic() - since, user.name);
    return user;
  };
  const refused = (error: unknown): never => {
    metrics.attempted(
      error instanceof NobodyError ? "failure" : "error",
      clock.monotonic() - since,
    );
    throw error;
  };
  try {
    const user = authenticateWith(authenticators, credentials);
    return user instanceof Promise ? user.then(known, refused) : known(user);
  } catch (error) {
    return refused(error);
  }
}

/** Makes identity over a store's view. Nothing is read or generated before it is used. */
export function createAuth(options: AuthOptions): Auth {
  const { view, clock, nodeAuthorities, settings = settingsInMemory() } = options;
  const outbound = options.outbound ?? noWayOut;
  const { authentication = {} } = options;
  const tokens = new Tokens({
    view,
    clock,
    others: tokenSources(authentication, { outbound, clock }),
    ...authentication.serviceAccounts,
    bootstrap: authentication.bootstrapTokens,
    legacyUsed: options.legacyUsed,
    keys: new TokenKeys(options.tokenKeys, options.tokenVerifiers),
    issuer: options.issuer,
    otherIssuers: options.otherIssuers,
    audiences: options.audiences,
    statics: options.tokens,
  });
  const metrics = new AdmissionMetrics();
  const chain = options.authorization ?? AUTHORIZERS_DEFAULT;
  // Who may do anything must at least say who he is
  const open = !chain.some(({ type }) => type === "AlwaysAllow");
  const authenticators = [
    ...certificateAuthenticators(options),
    tokenAuthenticator(tokens, nodeAuthorities && new NodeTokens({ ...options, nodeAuthorities })),
    authentication.anonymous
      ? configuredAnonymous({
        ...authentication.anonymous,
        enabled: authentication.anonymous.enabled && open,
      })
      : anonymousAuthenticator(options.anonymousPaths),
  ];
  let sources = authentication;
  const pods = options.follow && new PodsOfNodes(options.follow);
  const counts = new IdentityMetrics();
  const context = { view, clock, outbound, pods, metrics: counts };
  const { authorizer, use } = renewable(chain, context);
  return {
    renew(next) {
      if (!sameValue(next.authentication?.anonymous, authentication.anonymous)) {
        throw new Error("anonymous: Forbidden: changed from initial configuration file");
      }
      use(next.authorization ?? AUTHORIZERS_DEFAULT);
      // What has not changed keeps what it remembers
      if (sameValue(next.authentication, sources)) return;
      sources = next.authentication ?? {};
      tokens.ask(tokenSources(sources, { outbound, clock }));
    },
    authenticate: (credentials) => counted({ metrics: counts, clock }, authenticators, credentials),
    impersonate: (user, headers, requested, constrained) =>
      impersonated(user, headers, authorizer, requested, constrained),
    authorizer,
    admission: createPlugins(
      { ...options, view, clock, authorizer, metrics },
      options.plugins,
    ),
    tokens,
    logins: new Logins(clock, tokens, settings, options.logins),
    identity: counts,
    admissions: metrics,
    metricsText: () => [metrics.text(), counts.text()].filter(Boolean).join("\n"),
    review(resource) {
      const review = REVIEWS[resource];
      return review && ((object, asker) => review(object, { ...asker, authorizer, tokens }));
    },
  };
}
