/**
 * Who may do what: the seams between the request pipeline (`api/server`) and identity (`api/auth`).
 */
import type { User } from "../client/contract.ts";
import type { Pace } from "../machinery/pace.ts";
import type { DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";
import type { Draft, View } from "../../kv/contract.ts";

/** What is known of a request before it has a user. */
export interface Credentials {
  /** Lower-case names. */
  header(name: string): string | undefined;
  /** All headers: several values as a list, or joined by `, `. */
  headers?(): Iterable<readonly [string, string | readonly string[]]>;
  /** DER of a client certificate that the TLS layer verified against the cluster CA. */
  certificate?: {
    subject: { commonName?: string; organizations: readonly string[] };
    raw: Uint8Array;
  };
  /** There was a client certificate, and nobody vouched for it: who shows such a thing is not anonymous. */
  readonly refusedCertificate?: boolean;
  path: string;
  /** The host that it was sent to, as the client named it. */
  readonly host?: string;
  /** Tells the audit of the credentials; absent: nobody wants to know. */
  annotate?(key: string, value: string): void;
}

/** Undefined: no credentials of this kind. Throws ApiError 401 when there are some and they are wrong. */
export interface Authenticator {
  authenticate(credentials: Credentials): Promise<User | undefined> | User | undefined;
}

/** Upstream's authorization attributes. */
export interface Attributes {
  user: User;
  verb: string;
  /** True for API resources; else `path` counts. */
  resourceRequest: boolean;
  group: string;
  version: string;
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
  path: string;
  fieldSelector?: string;
  labelSelector?: string;
}

export interface Decision {
  allowed: boolean;
  /** A firm no: whoever would be asked after is not. Otherwise not to allow is to have no opinion. */
  denied?: true;
  /** Said in the 403 after the standard sentence, and in reviews. */
  reason?: string;
  /** What went wrong on the way to the decision; reviews show it. */
  error?: string;
}

export interface PolicyRule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
}

export interface Authorizer {
  /** At once, unless somebody outside must be asked. Never throws. */
  authorize(attributes: Attributes): Decision | Promise<Decision>;
  /** All rules of a user in a namespace, for SelfSubjectRulesReview and the escalation check. */
  rules(user: User, namespace: string): {
    rules: PolicyRule[];
    errors: string[];
    /** The user has rights beyond these that cannot be listed. */
    incomplete?: boolean;
  };
}

/** One that decides at once, from the head view alone. */
export interface PromptAuthorizer extends Authorizer {
  authorize(attributes: Attributes): Decision;
}

export type Operation = "CREATE" | "UPDATE" | "DELETE" | "CONNECT";

/** What admission sees of a write. `object` is private to the request: mutating plugins change it in place. */
export interface Admission {
  operation: Operation;
  kind: Kind;
  subresource: string;
  namespace: string;
  name: string;
  user: User;
  dryRun: boolean;
  /** The new object; absent at DELETE. At CONNECT and for posts to subresources, what was posted. */
  object?: KubeObject;
  /** The stored object at UPDATE and DELETE. */
  old?: DeepReadonly<KubeObject>;
  options: Record<string, unknown>;
  /** What `object` is where it is not of `kind`: Scale, Eviction, PodExecOptions. */
  form?: Kind;
  /** One of many deletes of a `deletecollection`, which names none of them. */
  collection?: boolean;
  /** Aborts when nobody waits for the answer any more. */
  signal?: AbortSignal;
  /** How long work over it gives way to others; absent: it does not. */
  pace?(): Pace;
  /** Set by plugins that want the mutating plugins to run once more. */
  reinvocation?: Reinvocation;
  /** The state that mutating and validating plugins read. */
  view: View<KubeObject>;
  /** Wall time in ms. */
  now: number;
  /** Lines for `Warning` headers. */
  warn(text: string): void;
  /** Audit annotations; `requestLevel`: only where the audit holds what was sent. */
  annotate(key: string, value: string, what?: { requestLevel: boolean }): void;
}

/** The second run of the mutating plugins over one write: there is at most one. */
export interface Reinvocation {
  /** A plugin asks for it. */
  wanted: boolean;
  /** It is going on. */
  again: boolean;
  /** Webhooks that were called and may be called again. */
  called: Set<string>;
  /** Webhooks that are called in the second run. */
  due: Set<string>;
  /** The object as the webhooks left it. */
  left?: DeepReadonly<KubeObject>;
}

/**
 * One admission plugin, upstream's name. Plugins refuse by throwing ApiError. Mutating plugins run in order, then
 * defaults again; then validating ones. `commit` runs inside the write function: synchronous, exact, maybe repeatedly.
 */
export interface AdmissionPlugin {
  name: string;
  handles(admission: Admission): boolean;
  /** Its `mutate` refuses early, and changes nothing. */
  refuses?: true;
  mutate?(admission: Admission): Promise<void> | void;
  validate?(admission: Admission): Promise<void> | void;
  commit?(admission: Admission, draft: Draft<KubeObject>): void;
}
