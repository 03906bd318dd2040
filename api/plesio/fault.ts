/**
 * A fault as it is asked for: whom and what it strikes, how often, and what it does. Whatever it does, an API server of
 * Kubernetes may do: what breaks by it would have broken in production.
 *
 * | field | what it does |
 * | --- | --- |
 * | `status` | answers so, as upstream words it (`message` words it otherwise; `retryAfter` in seconds); `done`: after the request was done |
 * | `delay` | the answer comes that much later, by the cluster's clock |
 * | `close` | the connection is closed `before` the request is done, `after` it, or in the `middle` of the answer |
 * | `stale` | reads that take any version (`resourceVersion=0`, or an older one) show the state so many revisions ago |
 * | `events` | of watches, those begun already included: see below |
 * | `partition` | the client's, or the node's, requests get nowhere, and its watches break |
 * | `loss` | the simulated `node` gives no sign of life, and does nothing |
 * | `jump` | time jumps on before the request is answered |
 *
 * `events`: `late` (`by` so much), `drop` (the event is not told, and neither is what comes after: the watch ends with 410,
 * and cannot go on from before), `duplicate` (told, and then 410: listing again tells it again), `restart` (the watch ends
 * before the event, as at its timeout), `break` (the connection is closed), `bookmark` (one follows each event), `no-bookmarks`.
 *
 * Streams (exec, attach, port-forward, logs, proxies) and what other servers serve are met like all else, as far as it has
 * a meaning there: `status`, `delay`, `close`, `partition` and `jump`; a stream that was opened is cut `after` as in the
 * `middle`. Paths that name no resource (discovery, OpenAPI, health) are met by faults that name a `path`, such as
 * `/apis*`, and by partitions of a client.
 *
 * `webhook` strikes calls of webhooks in place of requests, by `name.namespace` of the Service or by URL; there `status`,
 * `delay` and `close` have a meaning.
 */
import { badRequest } from "../machinery/errors.ts";
import { duration, fields, number, type ReadersOf, text, texts, yes } from "./body.ts";

/** What `events` may be. */
export const EVENT_FAULTS = [
  "late",
  "drop",
  "duplicate",
  "restart",
  "break",
  "bookmark",
  "no-bookmarks",
] as const;

/** See the file's text. In texts a `*` stands for anything; what is left out is not looked at. */
export interface Fault {
  /** By which it is found again (default `fault-1`, …). */
  name?: string;
  /** The first word of its user agent, or its user's name. */
  client?: string;
  verb?: string | readonly string[];
  /** `pods`, `deployments.apps`, or `*`. */
  resource?: string;
  subresource?: string;
  namespace?: string;
  /** Of what is no resource. */
  path?: string;
  /** Of the object; of events, that which they tell of. */
  object?: string;
  webhook?: string;
  node?: string;
  /** So many that it would strike go by first. */
  after?: number;
  /** It strikes so often at most. */
  times?: number;
  /** It strikes with this probability, by its own sequence of chance: the same each time. */
  probability?: number;
  seed?: number;
  /** It goes away after so long, by the cluster's clock. */
  during?: string | number;
  status?: number;
  message?: string;
  retryAfter?: number;
  done?: true;
  delay?: string | number;
  close?: "before" | "middle" | "after";
  stale?: number;
  events?: typeof EVENT_FAULTS[number];
  by?: string | number;
  partition?: true;
  loss?: true;
  jump?: string | number;
}

const EFFECTS = [
  "status",
  "delay",
  "close",
  "stale",
  "events",
  "partition",
  "loss",
  "jump",
] as const;

/** Of what one is, for it to be told from others. */
export type Effect = typeof EFFECTS[number];

const COUNT_MAX = 1_000_000_000;
const count = number(0, COUNT_MAX);
const plain = text();

const read = fields(
  {
    name: plain,
    client: plain,
    verb: texts,
    resource: plain,
    subresource: plain,
    namespace: plain,
    path: plain,
    object: plain,
    webhook: plain,
    node: plain,
    after: count,
    times: number(1, COUNT_MAX),
    probability: number(0, 1, { whole: false }),
    seed: count,
    during: duration,
    status: number(400, 599),
    message: plain,
    retryAfter: count,
    done: yes,
    delay: duration,
    close: text(["before", "middle", "after"] as const),
    stale: number(1, COUNT_MAX),
    events: text(EVENT_FAULTS),
    by: duration,
    partition: yes,
    loss: yes,
    jump: duration,
  } satisfies ReadersOf<Fault>,
);

/** What goes only with one effect. */
const GOES_WITH: Readonly<Record<string, Effect>> = {
  message: "status",
  retryAfter: "status",
  done: "status",
  by: "events",
};
/** What calls of webhooks may meet. */
const OF_WEBHOOKS: readonly Effect[] = ["status", "delay", "close"];

/** What only requests for resources have. */
const OF_RESOURCES = ["resource", "subresource", "namespace", "object", "webhook", "node"] as const;

/** A fault as it was read: durations in ms. */
export type ReadFault = ReturnType<typeof read>;

/** Reads a fault; throws 400 for one that makes no sense. */
export function readFault(given: unknown): ReadFault & { effect: Effect } {
  const fault = read(given, "");
  const effects = EFFECTS.filter((effect) => fault[effect] !== undefined);
  if (effects.length !== 1) {
    const said = effects.length === 0 ? "none" : effects.join(" and ");
    throw badRequest(`a fault has exactly one of ${EFFECTS.join(", ")}: this has ${said}`);
  }
  const [effect] = effects;
  for (const [field, wanted] of Object.entries(GOES_WITH)) {
    if (fault[field as keyof Fault] === undefined || effect === wanted) continue;
    throw badRequest(`${field} goes with ${wanted}, not with ${effect}`);
  }
  if ((fault.events === "late") !== (fault.by !== undefined)) {
    throw badRequest('by says how late events are: it goes with events: "late", which needs it');
  }
  if (fault.webhook && !OF_WEBHOOKS.includes(effect)) {
    throw badRequest(`calls of webhooks may meet ${OF_WEBHOOKS.join(", ")}, not ${effect}`);
  }
  if (fault.path) {
    const other = OF_RESOURCES.find((field) => fault[field] !== undefined);
    if (other) throw badRequest(`path is of what is no resource: it does not go with ${other}`);
    if (effect === "stale" || effect === "events" || effect === "loss") {
      throw badRequest(`what lies under a path may not meet ${effect}`);
    }
  }
  if (effect === "loss" && !fault.node) throw badRequest("loss is of a node: name it");
  if (effect === "partition" && !fault.node === !fault.client) {
    throw badRequest("partition is of exactly one client or node: name it");
  }
  if (fault.node && effect !== "loss" && effect !== "partition") {
    throw badRequest(`node goes with loss and partition, not with ${effect}`);
  }
  return { ...fault, effect };
}

/** Makes the test of texts that a pattern asks for; none: all pass. */
export function matcher(pattern: string | undefined): (text: string) => boolean {
  if (pattern === undefined || pattern === "*") return () => true;
  if (!pattern.includes("*")) return (text) => text === pattern;
  const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  const expression = new RegExp(`^${parts.join(".*")}$`, "s");
  return (text) => expression.test(text);
}
