/**
 * `/plesio/v1/faults`: what is to go wrong. `POST` adds one (`fault.ts` says what there is), `GET` lists them with how
 * often each could have struck and did, `DELETE` takes away all, or `/plesio/v1/faults/NAME` one.
 *
 * A stage around every request for a resource, over HTTP and in this process alike, and another one around every call
 * that is answered by more than an object: streams, discovery, what aggregated servers serve. They are there with the
 * test kit only. Plesio's own endpoints, by which faults are taken away again, never fail by one.
 */
import { type Clock, ManualClock, type Timer } from "../../kv/clock.ts";
import type { Store } from "../../kv/contract.ts";
import {
  type Endpoint,
  type Outbound,
  OutboundError,
  type OutboundRequest,
} from "../client/outbound.ts";
import {
  alreadyExists,
  badRequest,
  conflict,
  expired,
  internal,
  qualified,
  timedOut,
  tooManyRequests,
  unavailable,
} from "../machinery/errors.ts";
import { over } from "../machinery/over.ts";
import { ApiError, type KubeObject } from "../machinery/types.ts";
import {
  type CallStage,
  type Deps,
  type Stage,
  type StagedCall,
  stagedCall,
} from "../server/deps.ts";
import { Disconnected, isStream, jsonReply, type Reply } from "../server/http.ts";
import type { ApiRequest, Frame, FrameStream } from "../server/request.ts";
import { decoded } from "../server/route.ts";
import { asked as body } from "./body.ts";
import { allowMethods, type Asked, kitOf, notThere } from "./endpoint.ts";
import { type Effect, type Fault, matcher, type ReadFault, readFault } from "./fault.ts";

/** Faults there may be at once. */
export const FAULTS_MAX = 1_000;
/** Histories that are remembered to be gone for a client. */
const GONE_MAX = 10_000;

/** Answers it. */
export async function faults(asked: Asked): Promise<Reply> {
  allowMethods(asked, "GET", "POST", "DELETE");
  const { faults } = kitOf(asked);
  const { method } = asked.call;
  const name = decoded(asked.rest.slice(1));
  if (method === "POST") {
    return jsonReply(201, faults.add(await body(asked.call) as Fault));
  }
  if (method === "DELETE") {
    if (!name) faults.clear();
    else if (!faults.remove(name)) throw noFault(name);
    return jsonReply(200, { faults: faults.list() });
  }
  if (!name) return jsonReply(200, { faults: faults.list() });
  const found = faults.list().find((one) => one.name === name);
  if (!found) throw noFault(name);
  return jsonReply(200, found);
}

function noFault(name: string): ApiError {
  return notThere(`there is no fault ${JSON.stringify(name)}`);
}

/** A fault as it is listed. */
export type ShownFault = Fault & {
  name: string;
  /** How often it could have struck, and did. */
  met: number;
  struck: number;
};

/** A fault in force. */
class Standing {
  readonly effect: Effect;
  readonly fault: Readonly<ReadFault> & { name: string };
  met = 0;
  struck = 0;
  timer: Timer | undefined;
  readonly #chance: Clock;
  readonly #verbs: readonly string[] | undefined;
  readonly #is: Record<typeof LOOKED_AT[number] | "client", Test>;
  readonly isWebhook: Test;

  constructor({ effect, ...fault }: ReadFault & { effect: Effect }, name: string) {
    this.effect = effect;
    this.fault = { ...fault, name };
    // Sequences of small seeds beside each other are alike at first only
    this.#chance = new ManualClock({ seed: fault.seed ?? 1 });
    this.#verbs = fault.verb;
    const client = fault.client ?? (fault.node && `system:node:${fault.node}`);
    this.#is = {
      client: matcher(client),
      resource: matcher(fault.resource),
      subresource: matcher(fault.subresource),
      namespace: matcher(fault.namespace),
      object: matcher(fault.object),
      path: matcher(fault.path),
    };
    this.isWebhook = fault.webhook === undefined ? () => false : matcher(fault.webhook);
  }

  /** Whether a request is of those that it may strike; `frame`: of its events, this one. */
  meets(asked: StagedCall, frame?: Frame): boolean {
    const { verb, user, agent, subject, namespace, subresource, name, path } = asked;
    if (this.fault.webhook !== undefined || this.effect === "loss") return false;
    if (this.#verbs && !this.#verbs.includes(verb) && !this.#verbs.includes("*")) return false;
    const { client, resource, object, ...is } = this.#is;
    if (!client(agent) && !client(user.name)) return false;
    const isPath = this.fault.path !== undefined;
    // Whoever says nothing of paths means resources, but for whom nothing gets through
    if (!subject) return isPath ? is.path(path) : this.effect === "partition" && this.#isWhole;
    if (isPath) return false;
    if (!resource(subject.resource) && !resource(qualified(subject))) return false;
    const about = frame?.item?.value.metadata;
    return is.subresource(subresource) && is.namespace(about?.namespace ?? namespace) &&
      (frame && !about || object(about?.name ?? name));
  }

  /** Nothing is said of what is asked for. */
  get #isWhole(): boolean {
    return LOOKED_AT.every((field) => this.fault[field] === undefined);
  }

  /** Whether it strikes now that it may. */
  strikes(): boolean {
    const { after = 0, times = Infinity, probability } = this.fault;
    if (this.struck >= times) return false;
    if (this.met++ < after) return false;
    if (probability !== undefined && this.#chance.random() >= probability) return false;
    this.struck++;
    return true;
  }
}

type Test = (text: string) => boolean;

/** By what of what they ask for calls are told apart. */
const LOOKED_AT = ["resource", "subresource", "namespace", "object", "path"] as const;

/** What faults work with. */
export interface FaultPorts {
  clock: Clock;
  /** A simulated node is lost, or found again; false: there is none of that name. */
  lose(node: string, lost: boolean): boolean;
}

/** See the file's text. */
export class Faults {
  readonly #ports: FaultPorts;
  readonly #standing = new Map<string, Standing>();
  /** Watches and other streams. */
  readonly #open = new Set<Breakable>();
  /** Up to where history is gone, by client and resource. */
  readonly #gone = new Map<string, number>();
  #named = 0;
  /** Requests that wait for the clock. */
  held = 0;

  constructor(ports: FaultPorts) {
    this.#ports = ports;
  }

  /** Adds one; throws 400 for one that makes no sense. */
  add(given: Fault): ShownFault {
    const fault = readFault(given);
    if (fault.effect === "jump" && !this.#ports.clock.manual) {
      throw badRequest("time jumps where the cluster's clock is one that is moved");
    }
    if (this.#standing.size >= FAULTS_MAX) {
      throw badRequest(`there are ${FAULTS_MAX} faults already`);
    }
    const name = fault.name ?? `fault-${++this.#named}`;
    if (this.#standing.has(name)) {
      throw badRequest(`there is a fault ${JSON.stringify(name)} already`);
    }
    const standing = new Standing(fault, name);
    if (fault.node) this.#loseNode(standing);
    this.#standing.set(name, standing);
    if (standing.effect === "partition") {
      for (const stream of this.#open) if (standing.meets(stream.asked)) stream.breakOff();
    }
    if (fault.during !== undefined) {
      const ended = () => this.remove(name);
      standing.timer = this.#ports.clock.timer("work", fault.during, ended);
    }
    return shown(standing);
  }

  #loseNode(standing: Standing): void {
    const node = standing.fault.node!;
    if (this.#ports.lose(node, true)) standing.met = standing.struck = 1;
    else if (standing.effect === "loss") {
      throw badRequest(`there is no simulated node ${JSON.stringify(node)}`);
    }
  }

  /** All of them, in the order in which they were added. */
  list(): ShownFault[] {
    return [...this.#standing.values()].map(shown);
  }

  /** Takes one away; false: there is none of that name. */
  remove(name: string): boolean {
    const standing = this.#standing.get(name);
    if (!standing) return false;
    standing.timer?.cancel();
    if (standing.fault.node) this.#ports.lose(standing.fault.node, false);
    return this.#standing.delete(name);
  }

  /** Takes all away, and what they left. */
  clear(): void {
    for (const name of [...this.#standing.keys()]) this.remove(name);
    this.#gone.clear();
    this.#named = 0;
  }

  /** The stage of requests: what is standing strikes, in order, and the rest goes on. */
  readonly stage: Stage = async (deps, request, answer) => {
    this.#checkHistory(request);
    const struck = await this.#strike(stagedCall(request), takesStale(request));
    const on = struck.stale === undefined ? deps : await behind(deps, request, struck.stale);
    const answered = await answer(on, request);
    if (struck.late) {
      answered.watch?.close();
      throw struck.late;
    }
    if (answered.watch) {
      const watch = new FaultyWatch(request, answered.watch, this);
      if (struck.midway) watch.breakOff();
      return { ...answered, watch };
    }
    if (struck.midway) throw new Disconnected(answered);
    return answered;
  };

  /** The stage of other calls. */
  readonly callStage: CallStage = async (asked, answer) => {
    const { late, midway } = await this.#strike(asked, false);
    let over: (() => void) | undefined;
    try {
      const reply = await answer((breakOff) => {
        over = this.opened({ asked, breakOff });
        if (late || midway) breakOff();
      });
      if (over) return reply;
      const body = isStream(reply.body) ? new FaultyBody(asked, reply.body, this) : undefined;
      if (late) {
        void body?.[Symbol.asyncIterator]().return();
        throw late;
      }
      if (midway) body?.breakOff();
      return { ...reply, ...(body ? { body } : midway && { broken: "midway" }) };
    } finally {
      over?.();
    }
  };

  /** What strikes a call before it is answered does so now; the rest is told. Rejects with what it is answered by. */
  async #strike(asked: StagedCall, mayBeStale: boolean) {
    const struck: { stale?: number; late?: Error; midway: boolean } = { midway: false };
    for (const standing of this.#standing.values()) {
      const { effect, fault } = standing;
      if (effect === "events" || !standing.meets(asked)) continue;
      if (effect === "stale" && !mayBeStale) continue;
      if (!standing.strikes()) continue;
      if (effect === "partition" || fault.close === "before") throw new Disconnected();
      if (effect === "delay") await this.#hold(fault.delay!);
      else if (effect === "stale") struck.stale = fault.stale!;
      else if (effect === "jump") (this.#ports.clock as ManualClock).jump(fault.jump!);
      else if (fault.close === "middle") struck.midway = true;
      else {
        struck.late = effect === "close" ? new Disconnected() : failureOf(asked, fault);
        if (effect === "status" && !fault.done) throw struck.late;
      }
    }
    return struck;
  }

  /** Which fault strikes an event, if one does. */
  strikingEvent(asked: StagedCall, frame: Frame): Standing["fault"] | undefined {
    for (const standing of this.#standing.values()) {
      const { effect, fault } = standing;
      if (effect !== "events" || !standing.meets(asked, frame)) continue;
      if ((fault.events === "no-bookmarks") !== (frame.item === undefined)) continue;
      if (standing.strikes()) return fault;
    }
    return undefined;
  }

  /** A stream is open, until what is returned is called. */
  opened(stream: Breakable): () => void {
    this.#open.add(stream);
    return () => this.#open.delete(stream);
  }

  /** Events come late: nobody is busy meanwhile. */
  late(ms: number): Promise<void> {
    return this.#ports.clock.sleep(ms);
  }

  /** What was before a revision cannot be watched by that client any more. */
  forget(request: ApiRequest, revision: number): ApiError {
    if (this.#gone.size >= GONE_MAX) this.#gone.clear();
    this.#gone.set(historyOf(request), revision);
    return tooOld(revision - 1, revision);
  }

  #checkHistory(request: ApiRequest): void {
    if (this.#gone.size === 0) return;
    // Whoever lists again begins anew
    if (request.verb === "list") this.#gone.delete(historyOf(request));
    if (request.verb !== "watch") return;
    const gone = this.#gone.get(historyOf(request));
    const { resourceVersion = "" } = request.params;
    const from = Number(resourceVersion);
    if (gone !== undefined && from > 0 && from < gone) throw tooOld(from, gone);
  }

  async #hold(ms: number): Promise<void> {
    this.held++;
    try {
      await this.#ports.clock.sleep(ms);
    } finally {
      this.held--;
    }
  }

  /** The way out, on which calls of webhooks meet what is standing. */
  outbound(way: Outbound): Outbound {
    return {
      open: way.open,
      connect: way.connect,
      send: async (endpoint, request) => {
        for (const standing of this.#standing.values()) {
          if (!placesOf(endpoint).some(standing.isWebhook) || !standing.strikes()) continue;
          const { status, delay, close, message } = standing.fault;
          if (delay !== undefined) await this.#delayCall(endpoint, request, delay);
          if (status !== undefined) {
            const text = message ?? `fault ${standing.fault.name}`;
            return { status, headers: {}, body: new TextEncoder().encode(text) };
          }
          if (close) {
            if (close !== "before") await way.send(endpoint, request);
            throw new OutboundError(`${saidOf(endpoint, request)}: EOF`, "connection");
          }
        }
        return await way.send(endpoint, request);
      },
    };
  }

  async #delayCall(endpoint: Endpoint, request: OutboundRequest, ms: number): Promise<void> {
    const { timeoutMs = Infinity } = request;
    await this.#hold(Math.min(ms, timeoutMs));
    if (ms < timeoutMs) return;
    const said = saidOf(endpoint, request);
    throw new OutboundError(`${said}: context deadline exceeded`, "timeout");
  }
}

function shown({ fault, met, struck }: Standing): ShownFault {
  return { ...fault, met, struck };
}

function historyOf({ agent, user, kind }: ApiRequest): string {
  return JSON.stringify([agent, user.name, kind.plural, kind.group]);
}

function tooOld(asked: number, oldest: number): ApiError {
  return expired(`too old resource version: ${asked} (${oldest})`);
}

/** A failure as upstream words it. */
function failureOf(asked: StagedCall, { status, message, retryAfter }: Fault): ApiError {
  const { subject, verb, name } = asked;
  const error = wordsOf(asked, status!, retryAfter);
  if (message !== undefined) error.status.message = message;
  if (retryAfter !== undefined) {
    error.status.details = { ...error.status.details, retryAfterSeconds: retryAfter };
  }
  if (status === 409 && verb === "create" && message === undefined && subject) {
    return alreadyExists(subject, name);
  }
  return error;
}

function wordsOf({ subject, name }: StagedCall, status: number, retryAfter = 1): ApiError {
  switch (status) {
    case 409:
      return conflict(subject ?? { group: "", resource: "" }, name);
    case 410:
      return expired("The resourceVersion for the provided list is too old.");
    case 429:
      return tooManyRequests("Too many requests, please try again later.", retryAfter);
    case 500:
      return internal("etcdserver: request timed out");
    case 503:
      return unavailable("the server is currently unable to handle the request");
    case 504:
      return timedOut("request did not complete within the allotted timeout");
  }
  const message = `the server responded with the status code ${status}`;
  return new ApiError({ code: status, reason: "Unknown", message, details: {} });
}

/** Whether a read may be answered from a cache that is behind. */
function takesStale(
  { verb, params: { resourceVersion, resourceVersionMatch } }: ApiRequest,
): boolean {
  if (verb !== "get" && verb !== "list" && verb !== "watch") return false;
  return resourceVersion === "0" && resourceVersionMatch !== "Exact";
}

/** The server's parts, with a store that has not heard of the last `count` revisions. */
async function behind(deps: Deps, { kind }: ApiRequest, count: number): Promise<Deps> {
  const which = kind.store === "events" ? "events" : "objects";
  const store = deps.database[which];
  const view = await store.at(Math.max(store.oldest(), store.view().revision - count));
  const own: Partial<Store<KubeObject>> = {
    view: () => view,
    fresh: () => Promise.resolve(view),
  };
  const past = over(store, own);
  return { ...deps, database: over(deps.database, { [which]: past }) };
}

/** What a pattern may call an endpoint. */
function placesOf({ url, service }: Endpoint): string[] {
  if (service) return [`${service.name}.${service.namespace}`];
  return url === undefined ? [] : [url];
}

function saidOf(endpoint: Endpoint, { method }: OutboundRequest): string {
  const verb = method[0] + method.slice(1).toLowerCase();
  const [place] = placesOf(endpoint);
  return `${verb} "${endpoint.service ? `https://${place}.svc` : place}"`;
}

/** A stream that a partition ends. */
interface Breakable {
  readonly asked: StagedCall;
  /** Closes the connection. */
  breakOff(): void;
}

/** A body in pieces, whose connection may be closed. */
class FaultyBody implements AsyncIterable<Uint8Array>, Breakable {
  readonly asked: StagedCall;
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #over: () => void;
  readonly #broken = Promise.withResolvers<never>();

  constructor(asked: StagedCall, body: AsyncIterable<Uint8Array>, faults: Faults) {
    this.asked = asked;
    this.#pieces = body[Symbol.asyncIterator]();
    this.#over = faults.opened(this);
    this.#broken.promise.catch(() => {
      // Whoever reads on hears of it
    });
  }

  breakOff(): void {
    this.#broken.reject(new Disconnected());
    void this.#end();
  }

  async #end(): Promise<void> {
    this.#over();
    await this.#pieces.return?.();
  }

  [Symbol.asyncIterator]() {
    return {
      next: async () => {
        try {
          const piece = await Promise.race([this.#broken.promise, this.#pieces.next()]);
          if (piece.done) this.#over();
          return piece;
        } catch (error) {
          // Nobody ends a body that has failed
          this.#over();
          throw error;
        }
      },
      return: async () => {
        await this.#end();
        return { done: true as const, value: undefined };
      },
    };
  }
}

/** A watch whose events may meet faults. */
class FaultyWatch implements FrameStream, Breakable {
  readonly request: ApiRequest;
  readonly asked: StagedCall;
  readonly kind: FrameStream["kind"];
  readonly #stream: FrameStream;
  readonly #faults: Faults;
  #broken = false;

  constructor(request: ApiRequest, stream: FrameStream, faults: Faults) {
    this.request = request;
    this.asked = stagedCall(request);
    this.kind = stream.kind;
    this.#stream = stream;
    this.#faults = faults;
  }

  close(): void {
    this.#stream.close();
  }

  breakOff(): void {
    this.#broken = true;
    this.#stream.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<readonly Frame[]> {
    const over = this.#faults.opened(this);
    try {
      for await (const frames of this.#stream) {
        let told: Frame[] = [];
        for (const frame of frames) {
          const fault = this.#faults.strikingEvent(this.asked, frame);
          if (fault?.events === "no-bookmarks" && !frame.initialEnd) continue;
          if (fault?.events === "late") {
            if (told.length) yield told;
            told = [];
            await this.#faults.late(fault.by!);
          }
          const ended = fault && this.#end(fault, frame);
          if (!ended || fault.events === "duplicate") told.push(frame);
          if (fault?.events === "bookmark" && this.request.params.allowWatchBookmarks) {
            told.push({ type: "BOOKMARK", revision: frame.revision });
          }
          if (!ended) continue;
          if (told.length) yield told;
          if (ended instanceof Error) throw ended;
          return;
        }
        if (told.length) yield told;
      }
      if (this.#broken) throw new Disconnected();
    } finally {
      over();
      this.#stream.close();
    }
  }

  /** How a watch ends by a fault: by an error, or as at its timeout. */
  #end({ events }: Fault, { revision }: Frame): Error | "ended" | undefined {
    switch (events) {
      case "drop":
        return this.#faults.forget(this.request, revision);
      case "duplicate":
        return this.#faults.forget(this.request, revision + 1);
      case "break":
        return new Disconnected();
      case "restart":
        return "ended";
    }
    return undefined;
  }
}
