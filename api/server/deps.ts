/**
 * What the server is made of, handed to every part of it: the database, the kinds, identity, the clock.
 * Also the few things all verbs ask of them: where an object lies, which store holds it.
 */
import type { InnerMetrics } from "./inner_metrics.ts";
import type { WatchEvents } from "./watch_metrics.ts";
import type { Clock } from "../../kv/clock.ts";
import {
  ClosedError,
  CompactedError,
  type Database,
  FutureRevisionError,
  type Store,
  StoreError,
  TermOverError,
  TooLargeError,
} from "../../kv/contract.ts";
import type { Authorizer } from "../auth/contract.ts";
import type { Auth } from "../auth/mod.ts";
import type { User } from "../client/contract.ts";
import type { NodeDialer } from "../client/node_api.ts";
import type { Outbound } from "../client/outbound.ts";
import {
  conflict,
  expired,
  internal,
  qualified,
  storageFull,
  type Subject,
  timedOut,
  tooLarge,
  unavailable,
} from "../machinery/errors.ts";
import type { Spans } from "../machinery/spans.ts";
import type { Pace } from "../machinery/pace.ts";
import { formatTime } from "../machinery/time.ts";
import type { AdmissionChain } from "./admit.ts";
import type { Arrivals } from "./arrivals.ts";
import type { Auditor } from "./audit.ts";
import type { TraceIds } from "./causes.ts";
import type { Closing } from "./closing.ts";
import type { Deadlines } from "./deadlines.ts";
import type { FrontPolicy } from "./front_options.ts";
import type { Aggregation } from "./aggregation/registry.ts";
import type { Flow } from "./flow.ts";
import type { Health } from "./health.ts";
import type { Reply } from "./http.ts";
import type { Tunnels } from "./tunnels.ts";
import type { Answer, ApiRequest } from "./request.ts";
import { ApiError, type Kind, type Kinds, type KubeObject } from "../machinery/types.ts";

/** Makes the answer of a kind that is not stored. */
export type VirtualAnswer = (
  object: KubeObject | undefined,
  request: ApiRequest,
) => Promise<KubeObject> | KubeObject;

/** A call that is answered by more than an object: a stream, discovery, what another server serves. */
export interface StagedCall {
  verb: string;
  /** Of what is asked for; absent: a path that names no resource. */
  subject?: Subject;
  subresource: string;
  namespace: string;
  name: string;
  path: string;
  user: User;
  agent: string;
}

/**
 * A stage around such a call: `answer` is what goes on. It tells `opened`, once another protocol is spoken, how that is
 * broken off.
 */
export type CallStage = (
  call: StagedCall,
  answer: (opened: (breakOff: () => void) => void) => Promise<Reply>,
) => Promise<Reply>;

/** A stage around every request for a resource: `answer` is what goes on. */
export type Stage = (
  deps: Deps,
  request: ApiRequest,
  answer: (deps: Deps, request: ApiRequest) => Promise<Answer>,
) => Promise<Answer>;

/** The server's parts. */
export interface Deps {
  database: Database<KubeObject>;
  kinds: Kinds;
  clock: Clock;
  /** Whose a request is, by its credentials; throws or rejects with 401. */
  authenticate: Auth["authenticate"];
  authorizer: Authorizer;
  admission: AdmissionChain;
  dialer?: NodeDialer;
  /** Finds nodes of this process alone, for the others; absent where there are no others. */
  relayed?: NodeDialer;
  /** Nodes that have dialled in. */
  tunnels: Tunnels;
  /** Whom a request acts as; without it impersonation headers are refused. */
  impersonate?: Auth["impersonate"];
  /** The review of a kind, by `group/plural`. */
  review?: Auth["review"];
  /** ServiceAccount tokens. */
  tokens?: Auth["tokens"];
  /**
   * Answers of kinds that are not stored, by `plural.group` (`nodes.metrics.k8s.io`), and of subresources of our own, by
   * `plural.group/subresource` (`pods/explanation`). `object` is what was posted; none at get and list.
   */
  virtual?: Readonly<Record<string, VirtualAnswer>>;
  /** Settles once custom resources are served; requests wait for it. Undefined from then on. */
  starting?: Promise<void>;
  /**
   * Settles once this process knows what others had been answered before: whom they admit, what they serve and what they
   * know counts for the next request. Absent where one process owns the store.
   */
  upToDate?: () => Promise<void>;
  /** Where Services get their addresses: an IPv4 range, and perhaps an IPv6 one after a comma. */
  serviceRange: string;
  /** Reaches webhooks, aggregated servers, what proxies ask for. */
  outbound: Outbound;
  /** The state of feature gates; absent: all are as Kubernetes 1.36 has them. */
  features?: ReadonlyMap<string, boolean>;
  /** The parts of the API that other servers serve. */
  aggregation?: Aggregation;
  /** Records spans; absent: nothing is. */
  spans?: Spans;
  /** Ids of traces that begin here. */
  traceIds: TraceIds;
  flow: Flow;
  arrivals: Arrivals;
  deadlines: Deadlines;
  closing: Closing;
  health: Health;
  watchEvents: WatchEvents;
  inner: InnerMetrics;
  /** Counts decisions, and those who need no credentials. */
  identity?: Auth["identity"];
  /** Counts how long admission takes. */
  admissions?: Auth["admissions"];
  /** Wall time in ms. */
  startedAt: number;
  front: FrontPolicy;
  /** Makes records of requests; absent: nothing is audited. */
  audit?: Auditor;
  /** What tests do to requests, and note of them; absent: nothing. */
  stage?: Stage;
  /** The same around every call that does not come to a stage. */
  callStage?: CallStage;
  /** Hears of every request's stages; absent: nothing is noted. */
  trace?: (request: ApiRequest) => void;
  /** Hears of exceptions that became a 500. */
  onError?: (error: unknown, request: ApiRequest) => void;
  /** Lets other work of the event loop run; long scans call it. */
  turn: () => Promise<void>;
  /** The same for work that looks at the time itself: one for each piece of work of a user's, rationed while others ask. */
  pace: (user?: string) => Pace;
}

/** Notes that a request has entered a stage; does nothing unless somebody traces. */
export function enter(deps: Deps, request: ApiRequest, stage: string): void {
  request.stages?.push({ stage, at: deps.clock.monotonic() });
}

/** The store a kind's objects lie in. */
export function storeOf(deps: Deps, kind: Kind): Store<KubeObject> {
  return kind.store === "events" ? deps.database.events : deps.database.objects;
}

/** The key of one object. */
export function keyFor(kind: Kind, namespace: string, name: string): string {
  return kind.namespaced ? `${kind.path}/${namespace}/${name}` : `${kind.path}/${name}`;
}

/** The prefix of a kind's objects: of one namespace, or of all. */
export function prefixFor(kind: Kind, namespace: string): string {
  return kind.namespaced && namespace ? `${kind.path}/${namespace}/` : `${kind.path}/`;
}

/** What errors about a kind's objects name. */
export function subjectOf(kind: Kind): Subject {
  return { group: kind.group, resource: kind.plural };
}

/** A request for a resource, as calls that are more than that are told of. */
export function stagedCall(
  { verb, kind, namespace, subresource, name, body, user, agent }: ApiRequest,
): StagedCall {
  // What is to be created says itself what it is called
  const given = name || (body?.value as KubeObject | undefined)?.metadata?.name || "";
  return {
    verb,
    subject: subjectOf(kind),
    namespace,
    subresource,
    name: given,
    path: "",
    user,
    agent,
  };
}

/** `pods`, `deployments.apps`. */
export function resourceName(kind: Kind): string {
  return qualified(subjectOf(kind));
}

/** An RFC 3339 time with seconds, as metadata carries it. */
export function timeText(ms: number): string {
  return formatTime(ms);
}

/** 504 for a revision that does not exist yet, as upstream words it. */
export function futureRevision(asked: number | string, current: number): ApiError {
  const error = timedOut(`Too large resource version: ${asked}, current: ${current}`, 1);
  error.status.details!.causes = [
    { reason: "ResourceVersionTooLarge", message: "Too large resource version" },
  ];
  return error;
}

/** Turns what the store throws into what clients are told. */
export function asApiError(error: unknown, kind?: Kind, name = ""): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof TermOverError) {
    const subject = kind ? subjectOf(kind) : { group: "", resource: "" };
    return conflict(subject, name, error.message);
  }
  if (error instanceof TooLargeError) {
    return error.what === "store"
      ? storageFull(error.message)
      : tooLarge(`Request entity too large: ${error.message}`);
  }
  if (error instanceof CompactedError) {
    return expired("The resourceVersion for the provided list is too old.");
  }
  if (error instanceof FutureRevisionError) return futureRevision("requested", error.current);
  if (error instanceof ClosedError) return unavailable("the server is shutting down");
  if (error instanceof StoreError) return unavailable(error.message);
  return internal(error instanceof Error ? error.message : String(error));
}

/** Parses a resourceVersion; throws 400 for what is none, with `before` in front of the text. */
export function revisionOf(text: string, before = ""): number {
  if (!/^[0-9]{1,15}$/.test(text)) {
    throw new ApiError({
      code: 400,
      reason: "BadRequest",
      message: `${before}resourceVersion: Invalid value: ${JSON.stringify(text)}: ` +
        `strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
    });
  }
  return Number(text);
}
