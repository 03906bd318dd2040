/**
 * Audit: who did what, when, and what came of it, as Events of `audit.k8s.io/v1`.
 *
 * - A request has one record while auditing is on and the policy asks for it; it is told to every sink at each of its
 *   stages: received; for long-running ones, started; complete. Our own exceptions are the stage Panic.
 * - Objects are in it at levels Request and RequestResponse only, so that a policy which says Metadata for Secrets
 *   keeps them out.
 * - Whoever decides something leaves annotations; the first writer of a key wins.
 *
 * Without a policy there is no Auditor, and nothing is done for any request.
 */
import type { Clock } from "../../kv/clock.ts";
import type { User } from "../client/contract.ts";
import { parseIp } from "../machinery/ip.ts";
import { formatMicroTime } from "../machinery/time.ts";
import type { Status } from "../machinery/types.ts";
import {
  AUDIT_LEVELS,
  type Audited,
  type AuditPolicy,
  AuditRules,
  type AuditStage,
  type AuditVerdict,
} from "../auth/audit_policy.ts";
import type { Call } from "./http.ts";

/** Longest user agent that is told. */
export const USER_AGENT_LENGTH_MAX = 1024;
const CUT = "...TRUNCATED";
/** Annotation of an event whose objects were left out, as it was too long. */
const TRUNCATED = "audit.k8s.io/truncated";

/** Where events go. */
export interface AuditSink {
  /** In error texts and metrics. */
  readonly name: string;
  /** A request whose arrival cannot be kept must not go on. */
  readonly strict?: boolean;
  /**
   * Takes an event. False: it is lost, which this sink does not stand for (strict). A promise: whoever can, waits
   * with the answer until it is kept.
   */
  process(event: AuditEvent): boolean | Promise<boolean>;
  /** Keeps what is pending, and ends. */
  close(): Promise<void>;
}

/** One stage of a record; `withoutObjects` makes it shorter. */
export interface AuditEvent {
  readonly record: AuditRecord;
  readonly stage: AuditStage;
  /** Wall time in ms. */
  readonly at: number;
  /** Without kind and apiVersion, without the opening brace: both are put before it. */
  readonly json: string;
}

/** Counts of what has been told. */
export interface AuditCounts {
  events: number;
  rejected: number;
  levels: Map<string, number>;
  /** Events that were lost, by sink. */
  errors: Map<string, number>;
}

/** What is noted of a request at first. */
export interface AuditBegin {
  id: string;
  /** When it came, wall time in ms. */
  at: number;
  uri: string;
  userAgent?: string;
  sourceIPs: readonly string[];
  asked: Audited;
}

/** What an auditor works with. */
export interface AuditorOptions {
  policy: AuditPolicy;
  sinks: readonly AuditSink[];
  clock: Pick<Clock, "now">;
  /** Tells only of requests to paths that begin so, and leaves the sinks to others (default: of all). */
  under?: string;
}

/** Makes records of requests, and hands them to the sinks. */
export class Auditor {
  readonly clock: Pick<Clock, "now">;
  readonly counts: AuditCounts = {
    events: 0,
    rejected: 0,
    levels: new Map(),
    errors: new Map(),
  };
  /** Whether a request waits until its arrival is kept. */
  readonly strict: boolean;
  readonly #rules: AuditRules;
  readonly #sinks: readonly AuditSink[];
  readonly #o: AuditorOptions;

  constructor(options: AuditorOptions) {
    const { policy, sinks, clock } = this.#o = options;
    this.#rules = new AuditRules(policy);
    this.#sinks = sinks;
    this.strict = sinks.some((sink) => sink.strict);
    this.clock = clock;
  }

  /** The record of a request; undefined when the policy does not want one. */
  begin(begun: AuditBegin): AuditRecord | undefined {
    if (this.#o.under && !begun.uri.startsWith(this.#o.under)) return undefined;
    const verdict = this.#rules.of(begun.asked);
    const { levels } = this.counts;
    levels.set(verdict.level, (levels.get(verdict.level) ?? 0) + 1);
    if (verdict.level === "None") return undefined;
    return new AuditRecord(this, verdict, begun);
  }

  /** Tells the sinks; false when one of them insists and failed. */
  tell(event: AuditEvent): boolean | Promise<boolean> {
    this.counts.events++;
    let kept = true;
    let waits: Promise<boolean>[] | undefined;
    for (const sink of this.#sinks) {
      const taken = sink.process(event);
      if (typeof taken === "boolean") kept = taken && kept;
      else (waits ??= []).push(taken);
    }
    if (!waits) return kept;
    if (waits.length === 1 && kept) return waits[0];
    return Promise.all(waits).then((all) => kept && all.every(Boolean));
  }

  /** Counts events that a sink lost. */
  lost(sink: string, count = 1): void {
    const { errors } = this.counts;
    errors.set(sink, (errors.get(sink) ?? 0) + count);
  }

  /** One with the same sinks for another server, which lies under a path of this one: not of what that does itself. */
  under(path: string): Auditor {
    return new Auditor({ ...this.#o, under: path });
  }

  async close(): Promise<void> {
    if (this.#o.under) return;
    await Promise.all(this.#sinks.map((sink) => sink.close()));
  }

  /** For `/metrics`. */
  lines(): string {
    const { events, rejected, levels, errors } = this.counts;
    const lines: string[] = [];
    const head = (name: string, help: string) =>
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} counter`);
    head("apiserver_audit_event_total", "Audit events that were told");
    lines.push(`apiserver_audit_event_total ${events}`);
    head("apiserver_audit_level_total", "Requests, by the level the policy has for them");
    for (const [level, count] of levels) {
      lines.push(`apiserver_audit_level_total{level="${level}"} ${count}`);
    }
    head("apiserver_audit_error_total", "Audit events that were lost, by backend");
    for (const [name, count] of errors) {
      lines.push(`apiserver_audit_error_total{plugin="${name}"} ${count}`);
    }
    head("apiserver_audit_requests_rejected_total", "Requests refused for want of an audit");
    lines.push(`apiserver_audit_requests_rejected_total ${rejected}`);
    return lines.join("\n");
  }
}

/** What an event says of the object. */
export interface ObjectRef {
  resource?: string;
  namespace?: string;
  name?: string;
  uid?: string;
  apiGroup?: string;
  apiVersion?: string;
  resourceVersion?: string;
  subresource?: string;
}

/** What is told of one request; grows as the request goes on. */
export class AuditRecord {
  readonly begun: AuditBegin;
  readonly verdict: AuditVerdict;
  readonly ref: ObjectRef | undefined;
  impersonated: User | undefined;
  /** How the request acts as somebody else, where that was by a constrained right. */
  impersonationConstraint: string | undefined;
  status: AuditStatus | undefined;
  annotations: Record<string, string> | undefined;
  /** JSON texts. */
  requestObject: string | undefined;
  responseObject: string | undefined;
  readonly #auditor: Auditor;
  readonly #head: string;
  /** The text that stages have alike. */
  #alike: string | undefined;
  #received: string | undefined;
  #started = false;
  #done = false;

  constructor(auditor: Auditor, verdict: AuditVerdict, begun: AuditBegin) {
    this.#auditor = auditor;
    this.verdict = verdict;
    this.begun = begun;
    const { asked } = begun;
    if (asked.resourceRequest) {
      this.ref = {
        resource: asked.resource || undefined,
        namespace: asked.namespace || undefined,
        name: asked.name || undefined,
        uid: undefined,
        apiGroup: asked.group || undefined,
        apiVersion: asked.version || undefined,
        resourceVersion: undefined,
        subresource: asked.subresource || undefined,
      };
    }
    this.#head = `"level":"${verdict.level}","auditID":${text(begun.id)},"stage":`;
  }

  /** Whether what was sent is told. */
  get wantsRequest(): boolean {
    return AUDIT_LEVELS.indexOf(this.verdict.level) >= 2;
  }

  /** Whether what is answered is told. */
  get wantsResponse(): boolean {
    return this.verdict.level === "RequestResponse";
  }

  /** Notes what somebody decided; the first writer of a key wins. */
  annotate(key: string, value: string): void {
    const notes = this.annotations ??= Object.create(null) as Record<string, string>;
    notes[key] ??= value;
  }

  /** Notes what was sent: at Metadata only which object it is. */
  sent(value: unknown): void {
    const metadata = (value as { metadata?: Record<string, unknown> } | null)?.metadata;
    const { ref } = this;
    if (ref && typeof metadata === "object" && metadata !== null) {
      const own = (key: string) => typeof metadata[key] === "string" && metadata[key] || undefined;
      ref.namespace ??= own("namespace");
      ref.name ??= own("name");
      ref.uid ??= own("uid");
      ref.resourceVersion ??= own("resourceVersion");
      this.#alike = undefined;
    }
    if (this.wantsRequest) this.requestObject = this.#objectText(value);
  }

  /** Notes a patch, told as it is. */
  patched(value: unknown): void {
    if (this.wantsRequest) this.requestObject = JSON.stringify(value);
  }

  /** Notes the answer's object (JSON). */
  answered(value: unknown): void {
    if (this.wantsResponse) this.responseObject = this.#objectText(value);
  }

  #objectText(value: unknown): string {
    if (!this.verdict.omitManagedFields) return JSON.stringify(value);
    return JSON.stringify(
      value,
      function (this: unknown, key, inner) {
        return key === "metadata" && typeof inner === "object" && inner?.managedFields
          ? { ...inner, managedFields: undefined }
          : inner;
      },
    );
  }

  /** Tells that it has come; false when the request must not go on. */
  received(): boolean | Promise<boolean> {
    const kept = this.#tell("RequestReceived", this.begun.at);
    return this.#auditor.strict ? kept : true;
  }

  /** Counts a request that did not go on. */
  rejected(): void {
    this.#done = true;
    this.#auditor.counts.rejected++;
  }

  /** Tells that the answer begins. */
  started(code: number, status?: Status): void {
    if (this.#started || this.#done) return;
    this.#started = true;
    this.#note(code, status);
    void this.#tell("ResponseStarted", this.#auditor.clock.now());
  }

  /** Tells that the answer has been given, once. A promise: keeping it is waited for. */
  complete(code?: number, status?: Status): Promise<boolean> | undefined {
    if (this.#done) return undefined;
    this.#done = true;
    if (code !== undefined) this.#note(code, status);
    this.status ??= { code: 200, status: "Success", message: "Connection closed early" };
    const kept = this.#tell("ResponseComplete", this.#auditor.clock.now());
    return typeof kept === "boolean" ? undefined : kept;
  }

  /** Says no more: what was told so far is all (a refusal before auditing proper begins). */
  end(): void {
    this.#done = true;
  }

  /** Tells of an exception of our own. */
  panicked(error: unknown): void {
    if (this.#done) return;
    this.#done = true;
    const message = `APIServer panic'd: ${error instanceof Error ? error.message : String(error)}`;
    this.status = { status: "Failure", message, reason: "InternalError", code: 500 };
    void this.#tell("Panic", this.#auditor.clock.now());
  }

  /** Notes what is answered, to be told at the next stage. */
  #note(code: number, status?: Status): void {
    if (status) {
      const { message, reason, details } = status;
      this.status = { status: status.status, message, reason, details, code: status.code || code };
    } else if (this.status) this.status.code = code;
    else this.status = { code };
  }

  #tell(stage: AuditStage, at: number): boolean | Promise<boolean> {
    if (this.verdict.omitStages.has(stage)) return true;
    return this.#auditor.tell({ record: this, stage, at, json: this.json(stage, at) });
  }

  /** The event of a stage, in the form that `AuditEvent` says; `bare` leaves out the objects. */
  json(stage: AuditStage, at: number, bare = false): string {
    const { begun, status } = this;
    const annotations = bare ? { ...this.annotations, [TRUNCATED]: "true" } : this.annotations;
    let out = `${this.#head}"${stage}"${this.#said()}`;
    if (status) out += `,"responseStatus":${statusText(status)}`;
    if (this.requestObject && !bare) out += `,"requestObject":${this.requestObject}`;
    if (this.responseObject && !bare) out += `,"responseObject":${this.responseObject}`;
    const received = this.#received ??= formatMicroTime(begun.at);
    out += `,"requestReceivedTimestamp":"${received}","stageTimestamp":"${
      at === begun.at ? received : formatMicroTime(at)
    }"`;
    if (annotations) out += `,"annotations":${sortedText(annotations)}`;
    return out + "}";
  }

  /** What all stages say alike: made once, but for those who act as somebody else. */
  #said(): string {
    if (this.#alike !== undefined && !this.impersonated) return this.#alike;
    const { begun, ref } = this;
    const { asked } = begun;
    let out = `,"requestURI":${text(begun.uri)},"verb":${word(asked.verb)}` +
      `,"user":${asked.user ? userText(asked.user) : "{}"}`;
    if (this.impersonated) out += `,"impersonatedUser":${userText(this.impersonated)}`;
    if (this.impersonationConstraint) {
      const constraint = text(this.impersonationConstraint);
      out += `,"authenticationMetadata":{"impersonationConstraint":${constraint}}`;
    }
    if (begun.sourceIPs.length) out += `,"sourceIPs":[${begun.sourceIPs.map(word).join(",")}]`;
    if (begun.userAgent) out += `,"userAgent":${word(begun.userAgent)}`;
    if (ref) out += `,"objectRef":${refText(ref)}`;
    return this.#alike = out;
  }
}

/** What an event says of the answer. */
export type AuditStatus = Partial<Pick<Status, "status" | "message" | "reason" | "details">> & {
  code: number;
};

/** Nothing in it that JSON would write otherwise. */
const PLAIN = /^[ !#-\[\]-~]*$/;

/** A text that is seldom the same. */
function text(value: string): string {
  return PLAIN.test(value) ? `"${value}"` : JSON.stringify(value);
}

const words = new Map<string, string>();
/** Words that are remembered as JSON, and how long they may be. */
export const WORDS_MAX = 1024;
export const WORD_LENGTH_MAX = 256;

/** A text of which there are few. */
function word(value: string): string {
  let known = words.get(value);
  if (known !== undefined) return known;
  known = JSON.stringify(value);
  if (value.length > WORD_LENGTH_MAX) return known;
  if (words.size >= WORDS_MAX) words.clear();
  words.set(value, known);
  return known;
}

const users = new WeakMap<User, string>();

/** A user as UserInfo. */
function userText(user: User): string {
  let known = users.get(user);
  if (known === undefined) {
    const { name, uid, groups, extra } = user;
    const sorted = extra && Object.keys(extra).length > 0
      ? Object.fromEntries(Object.entries(extra).sort(([a], [b]) => a < b ? -1 : 1))
      : undefined;
    known = JSON.stringify({
      username: name || undefined,
      uid: uid || undefined,
      groups: groups.length ? groups : undefined,
      extra: sorted,
    });
    users.set(user, known);
  }
  return known;
}

/** A map as Go writes it: by key. */
function sortedText(map: Record<string, string>): string {
  const keys = Object.keys(map);
  if (keys.length > 1) keys.sort();
  let out = "";
  for (const key of keys) out += `${out && ","}${word(key)}:${word(map[key])}`;
  return `{${out}}`;
}

/** The answer's status; nearly always only a code is known. */
function statusText(status: AuditStatus): string {
  const { status: outcome, message, reason, details, code } = status;
  return outcome === undefined && message === undefined && !reason && !details
    ? `{"metadata":{},"code":${code}}`
    : JSON.stringify({ metadata: {}, ...status });
}

/** An object's reference: JSON.stringify would take it for a stranger each time. */
function refText(ref: ObjectRef): string {
  let out = ref.resource ? `,"resource":${word(ref.resource)}` : "";
  if (ref.namespace) out += `,"namespace":${word(ref.namespace)}`;
  if (ref.name) out += `,"name":${text(ref.name)}`;
  if (ref.uid) out += `,"uid":${text(ref.uid)}`;
  if (ref.apiGroup) out += `,"apiGroup":${word(ref.apiGroup)}`;
  if (ref.apiVersion) out += `,"apiVersion":${word(ref.apiVersion)}`;
  if (ref.resourceVersion) out += `,"resourceVersion":${text(ref.resourceVersion)}`;
  if (ref.subresource) out += `,"subresource":${word(ref.subresource)}`;
  return `{${out.slice(1)}}`;
}

/** An event as a document of its own. */
export function eventText(event: AuditEvent): string {
  return `{"kind":"Event","apiVersion":"audit.k8s.io/v1",${event.json}`;
}

/** The same event without its objects, and saying so. */
export function withoutObjects({ record, stage, at }: AuditEvent): AuditEvent {
  return { record, stage, at, json: record.json(stage, at, true) };
}

/** Events as one EventList. */
export function eventListText(events: readonly AuditEvent[]): string {
  const items = events.map((event) => `{${event.json}`).join(",");
  return `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[${items}]}`;
}

/** A user agent as it is told. */
export function agentText(agent: string | undefined): string | undefined {
  return agent && agent.length > USER_AGENT_LENGTH_MAX
    ? agent.slice(0, USER_AGENT_LENGTH_MAX) + CUT
    : agent;
}

const NOWHERE: readonly string[] = [];
const single = new Map<string, readonly string[]>();
/** Remote addresses that are remembered as lists. */
const REMOTES_MAX = 1024;

/** Where a call came from: what proxies say, then who really sent it. All but the last can be made up. */
export function sourceIPsOf(call: Call): readonly string[] {
  const forwarded = call.header("x-forwarded-for");
  const real = call.header("x-real-ip");
  const remote = call.remote ?? "";
  if (!forwarded && !real) {
    if (!remote) return NOWHERE;
    let known = single.get(remote);
    if (!known) {
      if (single.size >= REMOTES_MAX) single.clear();
      single.set(remote, known = [remote]);
    }
    return known;
  }
  const found: string[] = [];
  for (const part of forwarded?.split(",") ?? []) {
    const text = part.trim();
    if (isAddress(text)) found.push(text);
  }
  if (real && isAddress(real) && !found.includes(real)) found.push(real);
  if (remote && found.at(-1) !== remote) found.push(remote);
  return found;
}

function isAddress(text: string): boolean {
  return parseIp(text, { sloppy: true }) !== undefined;
}
