/**
 * Priority levels and FlowSchemas at work: what the stored objects say, as queues and rules. Levels lend seats they do
 * not need to others, anew every ten seconds, by what each has wanted of late.
 *
 * The two mandatory levels are there even when their objects are not. A level whose object is gone lives on until the
 * last of its requests has been served.
 */
import type { Clock } from "../../kv/clock.ts";
import type { Requested } from "../auth/impersonate.ts";
import type { User } from "../client/contract.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { type FlowSchema, matchesSchema } from "./flow_matching.ts";
import { type FlowLabel, QueueSet, type Queuing } from "./flow_queues.ts";
import { divided, handOf, RetryAfter, type Seen } from "./flow_shares.ts";

/** A level's spec, as far as it matters here. */
export interface LevelSpec {
  type: "Exempt" | "Limited";
  limited?: {
    nominalConcurrencyShares?: number;
    lendablePercent?: number;
    borrowingLimitPercent?: number;
    limitResponse: {
      type: "Queue" | "Reject";
      queuing?: { queues: number; handSize: number; queueLengthLimit: number };
    };
  };
  exempt?: { nominalConcurrencyShares?: number; lendablePercent?: number };
}

/** A stored PriorityLevelConfiguration. */
export type LevelObject = DeepReadonly<KubeObject & { spec: LevelSpec }>;

/** How often seats are lent anew. */
export const BORROWING_MS = 10_000;
/** How fast a level's former demand is forgotten (upstream's). */
const SMOOTHING = 0.977;
/** Part of a level's seats that one request may take. */
const SEATS_OF_ONE = 0.15;
/** Classifications remembered of one user. */
const CLASSES_MAX = 256;

/** One level. */
export interface Level {
  readonly name: string;
  uid: string;
  spec: DeepReadonly<LevelSpec>;
  readonly set: QueueSet;
  readonly retry: RetryAfter;
  /** Its object is gone. */
  quiescing: boolean;
  nominal: number;
  least: number;
  most: number;
  /** Seats that it has now. */
  current: number;
  /** Seats of one request at most; 0: no bound of its own. */
  seatsMax: number;
  seen: Seen;
  smoothed: number;
  target: number;
  /** Seats that it was not to get fewer of when seats were lent last. */
  wanted: number;
}

/** What a request is: of which schema, at which level, of which flow. */
export interface Classified {
  readonly schema: FlowSchema;
  readonly level: Level;
  readonly label: FlowLabel;
  readonly stats: FlowStats;
  /** The headers that tell a client. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Upper bounds of waits and executions, in seconds (upstream's). */
export const WAIT_BUCKETS = [0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30];

/** Upper bounds of estimated seats (upstream's). */
export const SEAT_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 100];

/** What metrics show of a schema's requests at a level. */
export class FlowStats {
  dispatched = 0;
  readonly rejected = new Map<string, number>();
  readonly waits = new Histogram();
  readonly executions = new Histogram();
  /** Seats that requests were estimated to take. */
  readonly seats = new Histogram(SEAT_BUCKETS);
}

/** Counts values below bounds: durations in seconds, unless others are given. */
export class Histogram {
  count = 0;
  sum = 0;
  readonly bounds: readonly number[];
  readonly buckets: Uint32Array;

  constructor(bounds: readonly number[] = WAIT_BUCKETS) {
    this.bounds = bounds;
    this.buckets = new Uint32Array(bounds.length);
  }

  add(value: number): void {
    this.count++;
    this.sum += value;
    for (let i = this.bounds.length - 1; i >= 0 && value <= this.bounds[i]; i--) this.buckets[i]++;
  }
}

const MANDATORY_LEVELS: readonly LevelObject[] = [
  level("exempt", { type: "Exempt", exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 } }),
  level("catch-all", {
    type: "Limited",
    limited: {
      nominalConcurrencyShares: 5,
      lendablePercent: 0,
      limitResponse: { type: "Reject" },
    },
  }),
];

function level(name: string, spec: LevelSpec): LevelObject {
  return object("PriorityLevelConfiguration", name, spec) as LevelObject;
}

function object(kind: string, name: string, spec: object) {
  return {
    apiVersion: "flowcontrol.apiserver.k8s.io/v1",
    kind,
    metadata: { name, uid: "" },
    spec,
  } as unknown;
}

const ANYTHING = {
  resourceRules: [{
    verbs: ["*"],
    apiGroups: ["*"],
    resources: ["*"],
    clusterScope: true,
    namespaces: ["*"],
  }],
  nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["*"] }],
};

function everything(name: string, precedence: number, groups: readonly string[]): FlowSchema {
  const subjects = groups.map((group) => ({ kind: "Group", group: { name: group } }));
  return object("FlowSchema", name, {
    priorityLevelConfiguration: { name },
    matchingPrecedence: precedence,
    ...(precedence > 1 && { distinguisherMethod: { type: "ByUser" } }),
    rules: [{ subjects, ...ANYTHING }],
  }) as FlowSchema;
}

const EXEMPT_SCHEMA = everything("exempt", 1, ["system:masters"]);
const CATCH_ALL_SCHEMA = everything("catch-all", 10_000, [
  "system:unauthenticated",
  "system:authenticated",
]);

/** See the module's text. */
export class Levels {
  readonly levels = new Map<string, Level>();
  /** Seats of the whole server. */
  readonly seats: number;
  schemas: readonly FlowSchema[] = [];
  #nominalSum = 0;
  readonly #clock: Clock;
  /** When seats were to be lent last, while nobody wants any: see `rest`. */
  #restingSince: number | undefined;
  #wake: (afterMs: number) => void = () => {};
  #classes = new WeakMap<User, Map<string, Classified>>();
  /** By level and schema. */
  readonly stats = new Map<string, { level: string; schema: string; stats: FlowStats }>();

  constructor(clock: Clock, seats: number) {
    this.#clock = clock;
    this.seats = seats;
    this.digest([], []);
  }

  /** Takes over what the objects say. Those that make no sense are left out: their validation refuses them. */
  digest(levels: readonly LevelObject[], schemas: readonly FlowSchema[]): void {
    const wanted = new Map(MANDATORY_LEVELS.map((one) => [one.metadata.name, one]));
    for (const one of levels) if (isLevel(one)) wanted.set(one.metadata.name, one);
    for (const [name, one] of wanted) this.#keep(name, one);
    for (const [name, known] of this.levels) {
      if (wanted.has(name)) continue;
      if (known.set.idle) this.levels.delete(name);
      else known.quiescing = true;
    }
    this.#share();
    const usable = schemas.filter((schema) =>
      wanted.has(schema.spec.priorityLevelConfiguration?.name)
    ).sort((a, b) =>
      a.spec.matchingPrecedence - b.spec.matchingPrecedence ||
      (a.metadata.name < b.metadata.name ? -1 : 1)
    );
    const names = new Set(usable.map((schema) => schema.metadata.name));
    this.schemas = [
      ...(names.has("exempt") ? [] : [EXEMPT_SCHEMA]),
      ...usable,
      ...(names.has("catch-all") ? [] : [CATCH_ALL_SCHEMA]),
    ];
    this.#classes = new WeakMap();
  }

  #keep(name: string, { metadata, spec }: LevelObject): void {
    const known = this.levels.get(name);
    if (known) {
      known.spec = spec;
      known.uid = metadata.uid ?? "";
      known.quiescing = false;
      return;
    }
    this.levels.set(name, {
      name,
      uid: metadata.uid ?? "",
      spec,
      set: new QueueSet(this.#clock, () => this.#stir()),
      retry: new RetryAfter(),
      quiescing: false,
      nominal: 0,
      least: 0,
      most: 0,
      current: -1,
      seatsMax: 0,
      seen: { mean: 0, deviation: 0, highest: 0, ms: 0 },
      smoothed: 0,
      target: 0,
      wanted: 0,
    });
  }

  /** Divides the server's seats by shares, then lends. */
  #share(): void {
    let shares = 0;
    for (const { spec } of this.levels.values()) shares += sharesOf(spec);
    this.#nominalSum = 0;
    for (const one of this.levels.values()) {
      const { spec } = one;
      const nominal = shares > 0 ? Math.ceil(this.seats * sharesOf(spec) / shares) : 0;
      const lendable = (spec.limited ?? spec.exempt)?.lendablePercent ?? 0;
      const borrowing = spec.limited?.borrowingLimitPercent;
      one.nominal = nominal;
      one.least = nominal - Math.round(nominal * lendable / 100);
      one.most = nominal +
        (borrowing === undefined || borrowing === null
          ? this.seats
          : Math.round(nominal * borrowing / 100));
      if (one.current < 0) one.current = nominal - Math.floor((nominal - one.least) / 2);
      this.#nominalSum += nominal;
      const queuing = spec.limited?.limitResponse.queuing;
      one.seatsMax = queuing
        ? Math.max(
          1,
          Math.min(Math.ceil(nominal * SEATS_OF_ONE), Math.floor(nominal / queuing.handSize)),
        )
        : 0;
    }
    this.lend(true);
  }

  /**
   * Gives seats to levels by what they have wanted since this was called last. When all want what they wanted then,
   * they have it: unless they were `shared` out anew.
   */
  lend(shared = false): void {
    if (!shared && this.#isStill()) return;
    const now = this.#clock.monotonic();
    const limited: { level: Level; least: number }[] = [];
    let remaining = this.#nominalSum;
    let changed = shared;
    for (const one of this.levels.values()) {
      const seen = one.seen = one.set.demand.take(now);
      if (seen.ms > 0) {
        const envelope = seen.mean + seen.deviation;
        one.smoothed = Math.max(envelope, SMOOTHING * one.smoothed + (1 - SMOOTHING) * envelope);
      }
      const highest = Math.round(seen.highest);
      if (one.spec.type === "Exempt") {
        const wanted = Math.max(one.least, highest);
        changed ||= wanted !== one.current;
        one.current = one.target = wanted;
        remaining -= one.current;
        continue;
      }
      const least = Math.max(one.least, Math.min(one.nominal, highest));
      const target = Math.max(least, one.smoothed);
      changed ||= target !== one.target || least !== one.wanted;
      one.target = target;
      one.wanted = least;
      limited.push({ level: one, least });
    }
    if (!changed) return;
    this.#give(limited, remaining);
    for (const one of this.levels.values()) one.set.configure(queuingOf(one.spec), one.current);
  }

  /**
   * Lends seats, unless nobody has asked for anything: then `wake` is called once somebody does, with the time until
   * seats are to be lent, as if they had been every ten seconds. Returns whether that is so.
   */
  rest(wake: (afterMs: number) => void): boolean {
    this.lend();
    if (!this.#isStill()) return false;
    this.#restingSince = this.#clock.monotonic();
    this.#wake = wake;
    return true;
  }

  #stir(): void {
    if (this.#restingSince === undefined) return;
    const since = this.#clock.monotonic() - this.#restingSince;
    this.#restingSince = undefined;
    const into = since % BORROWING_MS;
    this.#restart(this.#clock.monotonic() - into);
    this.#wake(BORROWING_MS - into);
  }

  /** Whether nobody has asked for anything since seats were lent, nor before. What follows is measured from now. */
  #isStill(): boolean {
    for (const { set, seen, smoothed } of this.levels.values()) {
      if (!set.demand.still || smoothed > 0 || seen.highest > 0) return false;
    }
    this.#restart(this.#clock.monotonic());
    return true;
  }

  #restart(now: number): void {
    for (const { set } of this.levels.values()) set.demand.restart(now);
  }

  #give(limited: readonly { level: Level; least: number }[], remaining: number): void {
    const guaranteed = limited.reduce((sum, { level }) => sum + level.least, 0);
    const wanted = limited.reduce((sum, { least }) => sum + least, 0);
    if (remaining <= guaranteed) {
      for (const { level } of limited) level.current = level.least;
    } else if (remaining <= wanted) {
      const part = (remaining - guaranteed) / (wanted - guaranteed);
      for (const { level, least } of limited) {
        level.current = level.least + Math.round((least - level.least) * part);
      }
    } else {
      const items = limited.map(({ level, least }) => ({
        least,
        most: level.most,
        target: level.target,
      }));
      const given = divided(this.#nominalSum, items);
      if (given) limited.forEach(({ level }, i) => level.current = Math.round(given[i]));
    }
  }

  /** Forgets a level whose object is gone once nobody is in it. */
  reap(level: Level): void {
    if (level.quiescing && level.set.idle) this.levels.delete(level.name);
  }

  /** What a request is. */
  classify(user: User, requested: Requested): Classified {
    if (!requested.resourceRequest) return this.#classify(user, requested);
    let known = this.#classes.get(user);
    if (!known) this.#classes.set(user, known = new Map());
    const { verb, group, resource, subresource, namespace } = requested;
    const key = `${verb} ${group}/${resource}/${subresource} ${namespace}`;
    let found = known.get(key);
    if (!found) {
      found = this.#classify(user, requested);
      if (known.size >= CLASSES_MAX) known.clear();
      known.set(key, found);
    }
    return found;
  }

  #classify(user: User, requested: Requested): Classified {
    const schema = this.schemas.find(({ spec }) => matchesSchema(spec, user, requested)) ??
      this.schemas.find(({ metadata }) => metadata.name === "catch-all")!;
    const level = this.levels.get(schema.spec.priorityLevelConfiguration.name)!;
    const method = schema.spec.distinguisherMethod?.type;
    const flow = method === "ByUser"
      ? user.name
      : method === "ByNamespace"
      ? requested.namespace
      : "";
    const { queues, hand } = queuingOf(level.spec);
    const name = schema.metadata.name;
    const label = { schema: name, flow, hand: queues > 0 ? handOf(name, flow, queues, hand) : [] };
    const headers = {
      "x-kubernetes-pf-flowschema-uid": schema.metadata.uid ?? "",
      "x-kubernetes-pf-prioritylevel-uid": level.uid,
    };
    return { schema, level, label, headers, stats: this.#statsOf(level.name, name) };
  }

  #statsOf(level: string, schema: string): FlowStats {
    const key = `${level}/${schema}`;
    let found = this.stats.get(key);
    if (!found) this.stats.set(key, found = { level, schema, stats: new FlowStats() });
    return found.stats;
  }
}

function sharesOf({ limited, exempt }: DeepReadonly<LevelSpec>): number {
  return (limited ? limited.nominalConcurrencyShares ?? 30 : exempt?.nominalConcurrencyShares) ?? 0;
}

/** How a level queues. */
function queuingOf({ type, limited }: DeepReadonly<LevelSpec>): Queuing {
  if (type === "Exempt") return { queues: -1, hand: 1, lengthMax: 0 };
  const queuing = limited?.limitResponse.queuing;
  if (!queuing) return { queues: 0, hand: 1, lengthMax: 0 };
  return {
    queues: queuing.queues,
    hand: queuing.handSize,
    lengthMax: queuing.queueLengthLimit,
  };
}

/** Whether a stored level holds together. */
function isLevel({ metadata, spec }: LevelObject): boolean {
  const exempt = spec?.type === "Exempt";
  if (exempt !== (metadata.name === "exempt")) return false;
  if (exempt) return spec.exempt !== undefined;
  const response = spec?.limited?.limitResponse;
  if (!response) return false;
  const { queuing } = response;
  if (response.type !== "Queue") return !queuing;
  return queuing !== undefined && queuing.handSize >= 1 && queuing.handSize <= queuing.queues;
}
