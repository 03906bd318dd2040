/**
 * `/plesio/v1/ledger`: what each client has asked, and what of it should worry who wrote it.
 *
 * - `GET`, `?client=` (the first word of its user agent, or its user): requests by verb and resource, and findings.
 * - `POST /plesio/v1/ledger/check {"client": …, "limits": {"noOpWrites": 0}}`: 200, or 409 with what is beyond the limits,
 *   in plain words: a gate for CI. Without limits nothing that is found is let by.
 * - `DELETE`: begins anew.
 *
 * | limit | counts |
 * | --- | --- |
 * | `unboundedLists` | lists of more than 500 objects without `limit`, and not from a cache (`resourceVersion=0`) |
 * | `noOpWrites` | updates and patches that changed nothing |
 * | `hotLoops` | requests repeated more than ten times within ten seconds with the same outcome, and nothing changed |
 * | `conflictsWithoutBackoff` | writes that conflicted five times on end, each tried again within 10 ms |
 * | `watchesWithoutBookmarks` | watches of collections that ask for no bookmarks |
 * | `writesAfterLostLease` | writes of a client whose Lease somebody else holds by then |
 * | `requests` | all of them |
 *
 * Streams (exec, logs, proxies), discovery and what other servers serve are counted as requests, by their first words
 * where they name no resource, and as failures; findings are of objects. What is refused before anybody knows which kind
 * it is for is not counted.
 *
 * Seconds are those of the cluster's clock or of the machine's, whichever saw more of them go by. Replicas are told apart
 * by user agent and user alone: a test of leader election gives each its own.
 */
import type { Clock } from "../../kv/clock.ts";
import { qualified } from "../machinery/errors.ts";
import { ApiError } from "../machinery/types.ts";
import { type Deps, type StagedCall, stagedCall, storeOf } from "../server/deps.ts";
import { jsonReply, type Reply } from "../server/http.ts";
import type { Answer, ApiRequest } from "../server/request.ts";
import { asked as body, fields, number, type ReadersOf, text } from "./body.ts";
import { allowMethods, type Asked, kitOf } from "./endpoint.ts";

/** What bounds what is kept: clients, what is remembered of each one's requests, examples of a finding. */
export const CLIENTS_MAX = 1_000;
export const TARGETS_MAX = 2_000;
const EXAMPLES_MAX = 5;

/** A list of more objects is to be asked for in pages: as many as client-go's pager asks for. */
export const LIST_ITEMS_MAX = 500;
/** A request that comes more often within so long, to the same effect, is a loop. */
export const REPEATS_MAX = 10;
const REPEATS_MS = 10_000;
/** Conflicts on end, each tried again within so long, are too many. */
export const CONFLICTS_MAX = 5;
const BACKOFF_MS = 10;

/** Our own parts: they are looked at when they are named. */
const OWN_AGENTS: ReadonlySet<string> = new Set([
  "plesio",
  "kube-controller-manager",
  "kube-scheduler",
  "unknown",
]);

/** How each finding is said. */
const WORDS = {
  unboundedLists: "listed everything at once: more than 500 objects, without limit",
  noOpWrites: "wrote what was there already",
  hotLoops: "asked the same again and again, and nothing had changed",
  conflictsWithoutBackoff: "went on writing into conflicts without waiting",
  watchesWithoutBookmarks: "watched without bookmarks, and will have to list again",
  writesAfterLostLease: "wrote although another holds its lease",
  requests: "sent many requests",
} as const;

/** What can be bounded. */
export type Rule = keyof typeof WORDS;
const RULES = Object.keys(WORDS) as Rule[];

/** What is checked. */
export interface CheckOrder {
  /** This one alone (default: all but Plesio's own parts). */
  client?: string;
  /** How many there may be of each (default: none of any but `requests`, which have no bound). */
  limits?: Partial<Record<Rule, number>>;
}

/** Something beyond its limit. */
export interface Finding {
  client: string;
  user: string;
  rule: Rule;
  count: number;
  limit: number;
  /** In plain words. */
  text: string;
  examples: readonly string[];
}

/** What is shown of a client. */
export interface ClientReport {
  client: string;
  user: string;
  requests: Record<string, number>;
  /** Answers that were failures, by code. */
  failures: Record<string, number>;
  findings: Partial<Record<Rule, { count: number; examples: readonly string[] }>>;
}

const limit = number(0, Number.MAX_SAFE_INTEGER);
const order = fields(
  {
    client: text(),
    limits: fields(
      Object.fromEntries(RULES.map((rule) => [rule, limit])) as Record<Rule, typeof limit>,
    ),
  } satisfies ReadersOf<CheckOrder>,
);

/** Answers it. */
export async function ledger(asked: Asked): Promise<Reply> {
  const { ledger } = kitOf(asked);
  if (asked.rest === "/check") {
    allowMethods(asked, "POST");
    const findings = ledger.check(await body(asked.call) as CheckOrder);
    if (findings.length === 0) return jsonReply(200, { findings });
    const causes = findings.map(({ client, rule, text }) => ({
      reason: rule,
      message: text,
      field: client,
    }));
    const message = findings.map(({ text }) => text).join("\n");
    throw new ApiError({ code: 409, reason: "BeyondLimits", message, details: { causes } });
  }
  allowMethods(asked, "GET", "DELETE");
  if (asked.call.method === "DELETE") ledger.clear();
  const client = new URLSearchParams(asked.call.query).get("client") ?? undefined;
  return jsonReply(200, { clients: ledger.report(client) });
}

/** When something was, by both clocks. */
interface Moment {
  cluster: number;
  host: number;
}

/** The same request again. */
interface Repeats {
  outcome: string;
  count: number;
  since: Moment;
  told: boolean;
}

interface Conflicts {
  count: number;
  at: Moment;
}

interface ClientRecord {
  client: string;
  user: string;
  requests: Map<string, number>;
  failures: Map<number, number>;
  findings: Map<Rule, { count: number; examples: string[] }>;
  repeats: Map<string, Repeats>;
  conflicts: Map<string, Conflicts>;
  /** The Lease that it held until somebody else took it. */
  lost?: string;
}

/** See the file's text. */
export class Ledger {
  readonly #clocks: { clock: Clock; host: Clock };
  readonly #clients = new Map<string, ClientRecord>();
  /** Who holds which Lease. */
  readonly #leases = new Map<string, { holder: string; record: ClientRecord }>();

  constructor(clocks: { clock: Clock; host: Clock }) {
    this.#clocks = clocks;
  }

  /** Begins anew. */
  clear(): void {
    this.#clients.clear();
    this.#leases.clear();
  }

  /** What was asked: by this client, or by all but Plesio's own parts. */
  report(client?: string): ClientReport[] {
    return this.#chosen(client).map((record) => ({
      client: record.client,
      user: record.user,
      requests: Object.fromEntries(record.requests),
      failures: Object.fromEntries(record.failures),
      findings: Object.fromEntries(record.findings),
    }));
  }

  /** What is beyond its limit. */
  check(given: CheckOrder = {}): Finding[] {
    const { client, limits } = order(given, "");
    const findings: Finding[] = [];
    for (const record of this.#chosen(client)) {
      for (const rule of RULES) {
        const { count, examples } = foundOf(record, rule);
        const limit = limits ? limits[rule] : rule === "requests" ? undefined : 0;
        if (limit === undefined || count <= limit) continue;
        const { client, user } = record;
        findings.push({ client, user, rule, count, limit, text: "", examples });
      }
    }
    return findings.map((finding) => ({ ...finding, text: sentence(finding) }));
  }

  #chosen(client: string | undefined): ClientRecord[] {
    return [...this.#clients.values()].filter((record) =>
      client === undefined
        ? !OWN_AGENTS.has(record.client)
        : record.client === client || record.user === client
    );
  }

  /** Notes a request that begins; what is returned notes how it ended. */
  begin(deps: Deps, request: ApiRequest): (ended: Answer | ApiError) => void {
    const { kind } = request;
    const [record, what] = this.#count(stagedCall(request));
    const writes = WRITES.has(request.verb) && !request.params.dryRun;
    if (writes && record.lost !== undefined && kind.plural !== "leases") {
      find(record, "writesAfterLostLease", `${what} ${nameOf(request)}, after ${record.lost}`);
    }
    const head = kind.virtual ? 0 : storeOf(deps, kind).view().revision;
    const began = this.#now();
    return (ended) => this.#ended(record, { request, what, head, began, writes }, ended);
  }

  /** Notes a call that asks for more than an object; what is returned notes how it ended. */
  called(asked: StagedCall): (code: number) => void {
    const [record] = this.#count(asked);
    return (code) => {
      if (code >= 400) note(record.failures, code);
    };
  }

  #count(asked: StagedCall): [ClientRecord, string] {
    const record = this.#recordOf(asked);
    const { verb, subject, subresource, path } = asked;
    const what = subject
      ? `${verb} ${qualified(subject)}${subresource && `/${subresource}`}`
      : `${verb} ${path.split("/", 4).join("/")}`;
    if (!record.requests.has(what)) bounded(record.requests, TARGETS_MAX);
    note(record.requests, what);
    return [record, what];
  }

  #recordOf({ agent, user: { name } }: StagedCall): ClientRecord {
    const key = JSON.stringify([agent, name]);
    let record = this.#clients.get(key);
    if (record) return record;
    record = {
      client: agent,
      user: name,
      requests: new Map(),
      failures: new Map(),
      findings: new Map(),
      repeats: new Map(),
      conflicts: new Map(),
    };
    bounded(this.#clients, CLIENTS_MAX).set(key, record);
    return record;
  }

  #now(): Moment {
    const { clock, host } = this.#clocks;
    return { cluster: clock.monotonic(), host: host.monotonic() };
  }

  #ended(record: ClientRecord, noted: Noted, ended: Answer | ApiError): void {
    const { request, what } = noted;
    const failed = ended instanceof ApiError ? ended : undefined;
    if (failed) note(record.failures, failed.code);
    const target = `${what} ${nameOf(request)}`;
    const answer = failed ? undefined : ended as Answer;
    const same = answer && isNoOp(noted, answer);
    if (same) find(record, "noOpWrites", target);
    if (answer?.page && isUnbounded(request, answer.page.items.length)) {
      find(record, "unboundedLists", `${target}: ${answer.page.items.length} objects`);
    }
    if (answer?.watch && isWithoutBookmarks(request)) {
      find(record, "watchesWithoutBookmarks", target);
    }
    if (answer?.item && noted.writes && request.kind.plural === "leases") {
      this.#held(record, answer.item.key, answer.item.value.spec?.holderIdentity as string);
    }
    this.#conflict(record, { ...noted, target }, failed);
    const outcome = failed ? `${failed.code}` : outcomeOf(noted, answer!, same === true);
    this.#repeat(record, target, outcome);
  }

  /** Somebody holds a Lease: whoever held it before under another name has lost it. */
  #held(record: ClientRecord, lease: string, holder: string | undefined): void {
    const before = this.#leases.get(lease);
    if (before && before.record !== record && before.holder !== holder && holder) {
      before.record.lost = `${holder} took ${lease.slice(lease.lastIndexOf("/") + 1)}`;
    }
    if (!holder) return;
    record.lost = undefined;
    bounded(this.#leases, CLIENTS_MAX).set(lease, { holder, record });
  }

  #conflict(
    record: ClientRecord,
    { target, began, writes }: Noted & { target: string },
    failed: ApiError | undefined,
  ): void {
    if (!writes) return;
    const before = record.conflicts.get(target);
    if (failed?.reason !== "Conflict") {
      if (before) record.conflicts.delete(target);
      return;
    }
    const hasty = before !== undefined && between(before.at, began) < BACKOFF_MS;
    const count = hasty ? before.count + 1 : 1;
    bounded(record.conflicts, TARGETS_MAX).set(target, { count, at: this.#now() });
    if (count === CONFLICTS_MAX) find(record, "conflictsWithoutBackoff", target);
  }

  #repeat(record: ClientRecord, target: string, outcome: string): void {
    const now = this.#now();
    const before = record.repeats.get(target);
    if (
      !before || outcome === "" || before.outcome !== outcome ||
      between(before.since, now) > REPEATS_MS
    ) {
      record.repeats.delete(target);
      bounded(record.repeats, TARGETS_MAX)
        .set(target, { outcome, count: 1, since: now, told: false });
      return;
    }
    if (++before.count <= REPEATS_MAX || before.told) return;
    before.told = true;
    find(record, "hotLoops", target);
  }
}

/** A request on its way. */
interface Noted {
  request: ApiRequest;
  what: string;
  /** The newest revision when it began. */
  head: number;
  began: Moment;
  writes: boolean;
}

const WRITES: ReadonlySet<string> = new Set([
  "create",
  "update",
  "patch",
  "delete",
  "deletecollection",
]);

function between(before: Moment, now: Moment): number {
  return Math.max(now.cluster - before.cluster, now.host - before.host);
}

function nameOf({ namespace, name, params }: ApiRequest): string {
  const { labelSelector, fieldSelector } = params;
  const where = [namespace, name].filter(Boolean).join("/") || "everywhere";
  return [where, labelSelector, fieldSelector].filter(Boolean).join(" ");
}

/** Whether an update or a patch left everything as it was. */
function isNoOp({ request, head, writes }: Noted, { item }: Answer): boolean {
  const { verb } = request;
  return writes && (verb === "update" || verb === "patch") && item !== undefined &&
    item.revision <= head;
}

function isUnbounded({ verb, params }: ApiRequest, items: number): boolean {
  return verb === "list" && items > LIST_ITEMS_MAX && !params.limit && !params.continue &&
    params.resourceVersion !== "0";
}

function isWithoutBookmarks({ params, name }: ApiRequest): boolean {
  return !params.allowWatchBookmarks && !name &&
    !params.fieldSelector?.startsWith("metadata.name=");
}

/** What tells whether asking again came to the same; "": it did not, whatever came before. */
function outcomeOf({ request, writes }: Noted, answer: Answer, same: boolean): string {
  if (writes) return same ? "same" : "";
  if (answer.item) return String(answer.item.revision);
  if (answer.page) {
    let newest = 0;
    for (const { revision } of answer.page.items) newest = Math.max(newest, revision);
    return `${answer.page.items.length} ${newest} ${request.params.continue ?? ""}`;
  }
  return answer.watch ? request.params.resourceVersion ?? "none" : "";
}

function foundOf(record: ClientRecord, rule: Rule): { count: number; examples: readonly string[] } {
  if (rule !== "requests") return record.findings.get(rule) ?? { count: 0, examples: [] };
  const sorted = [...record.requests].sort(([, a], [, b]) => b - a);
  return {
    count: sorted.reduce((sum, [, count]) => sum + count, 0),
    examples: sorted.slice(0, EXAMPLES_MAX).map(([what, count]) => `${what}: ${count}`),
  };
}

function find(record: ClientRecord, rule: Rule, example: string): void {
  const found = record.findings.get(rule);
  if (!found) record.findings.set(rule, { count: 1, examples: [example] });
  else {
    found.count++;
    if (found.examples.length < EXAMPLES_MAX && !found.examples.includes(example)) {
      found.examples.push(example);
    }
  }
}

function sentence({ client, user, rule, count, limit, examples }: Finding): string {
  const often = count === 1 ? "once" : `${count} times`;
  const allowed = limit === 0 ? "never" : `${limit} at most`;
  return `${client} (${user}) ${WORDS[rule]}: ${often}, ${allowed} allowed. ${examples.join("; ")}`;
}

function note<K>(counts: Map<K, number>, what: K): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

/** The map, with room for one more: the oldest goes. */
function bounded<K, V>(map: Map<K, V>, max: number): Map<K, V> {
  if (map.size >= max) map.delete(map.keys().next().value!);
  return map;
}
