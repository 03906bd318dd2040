/**
 * The Kubernetes API over a store: `createApi(options)` makes the server, whoever then speaks to it.
 *
 * - `api.client(user)` is the in-process client: it calls the pipeline with objects, and gets the store's own
 *   frozen ones. `createInformers(client, clock)` keeps caches by it.
 * - `api.fetch(request)` is the same pipeline as HTTP; `api.listen(options)` puts it behind sockets.
 * - `httpClient(options)` is the client's interface to a server elsewhere.
 *
 * What it promises:
 *
 * - **One door.** Every read and write, ours and anybody's, is authorized; every write is defaulted, admitted and
 *   validated, over HTTP or not.
 * - **Exact writes.** Existence, resourceVersion, uid, quotas, budgets, addresses and ports are decided inside the
 *   store's write. An update that names a resourceVersion meets 409 when the object moved; patches and applies start
 *   again, five times at most.
 * - **One revision a list.** All pages of a list show the revision of the first; a token whose history is gone is 410
 *   and comes with another one.
 * - **Whole watches.** Events come in order, none twice, none left out; who is too slow is told 410, not skipped.
 * - **No 500 from bad input.** Whatever is sent, the answer is a Status that says what is wrong with it.
 * - **No turn for long.** Lists, Tables and replays give way to other work every few milliseconds.
 * - **Nothing copied twice.** Stored bytes are sent as they lie, with the resourceVersion put in; an event is encoded
 *   once for all who watch.
 * - **Fair.** Over HTTP who asks much waits, or is told to come again, and not those beside; what a client may hold of
 *   connections, streams, time, heads and bodies is bounded.
 * - **Told.** What the audit's policy asks for is told, of requests over HTTP and of this process's own.
 * - **Other servers' parts.** What an APIService gives to a Service is passed on to it, under the user's name; it
 *   takes nothing from what is built in.
 *
 * What it does not do: keep certificates and keys (`auth/`), run controllers, reach nodes (a dialer is handed in).
 *
 * Reading order: `server/core.ts` (the door), `server/request.ts`, `server/list.ts`, `server/watch.ts`,
 * `server/writes.ts`, `server/deletes.ts`, `server/subresources.ts`; then HTTP: `server/listen.ts`, `server/connections.ts`,
 * `server/serving.ts`, `server/app.ts`, `server/passage.ts` (what lies before every request), `server/front.ts`,
 * `server/reply.ts`; `server/flow.ts` and `server/audit.ts`; then `server/streams.ts` and `server/crds.ts`.
 *
 * ```ts ignore
 * const database = await openDatabase({ codec: objectCodec, clock });
 * const auth = createAuth({ view: () => database.objects.view(), clock, tokenKeys });
 * const api = createApi({ database, kinds: createKinds(), clock, ...auth });
 * const client = api.client({ name: "me", groups: ["system:masters"] });
 * await client.create({ resource: { group: "", version: "v1", plural: "namespaces" } }, { metadata: { name: "a" } });
 * ```
 */
import type { Buffer } from "node:buffer";
import type { Clock } from "../kv/clock.ts";
import type { Database } from "../kv/contract.ts";
import type { AdmissionPlugin, Authorizer, Credentials } from "./auth/contract.ts";
import type { Auth } from "./auth/mod.ts";
import type { Client, User } from "./client/contract.ts";
import type { NodeApi, NodeDialer } from "./client/node_api.ts";
import type { Outbound } from "./client/outbound.ts";
import { unauthorized } from "./machinery/errors.ts";
import { Past } from "./past.ts";
import { Pace } from "./machinery/pace.ts";
import type { Kinds, KubeObject } from "./machinery/types.ts";
import { SERVICE_RANGE } from "./server/allocators.ts";
import { httpClient } from "./client/http.ts";
import { kubeletPort } from "./server/kubelet_port.ts";
import { Aggregation, type RemoteKinds } from "./server/aggregation/registry.ts";
import type { FrontProxyIdentity } from "./server/aggregation/remote.ts";
import { chainOf } from "./server/admit.ts";
import { type AppOptions, callOfRequest, createApp, responseOf } from "./server/app.ts";
import { Definitions } from "./server/crds.ts";
import type { Deps, VirtualAnswer } from "./server/deps.ts";
import type { Call, Reply } from "./server/http.ts";
import {
  hostDial,
  hostRequest,
  listen,
  type Listener,
  type ListenOptions,
  platformSocket,
  type Served,
  type Socket,
} from "./server/listen.ts";
import { Spans } from "./machinery/spans.ts";
import { OtlpExporter, type TracingOptions } from "./server/otlp.ts";
import { TraceIds } from "./server/causes.ts";
import { type Elsewhere, localClient } from "./server/local_client.ts";
import { Arrivals } from "./server/arrivals.ts";
import { Auditor, type AuditSink } from "./server/audit.ts";
import { AuditLog } from "./server/audit_log.ts";
import { AuditWebhook } from "./server/audit_webhook.ts";
import { InnerMetrics } from "./server/inner_metrics.ts";
import { WatchEvents } from "./server/watch_metrics.ts";
import { hostLogFiles, hostUsage } from "./server/files.ts";
import { Health } from "./server/health.ts";
import { processLines } from "./server/zpages.ts";
import type { AuditOptions, FrontOptions } from "./server/front_options.ts";
import { Closing } from "./server/closing.ts";
import { Deadlines } from "./server/deadlines.ts";
import { Flow } from "./server/flow.ts";
import { FlowKeeper } from "./server/flow_keeper.ts";
import { flowLines } from "./server/flow_report.ts";
import { Metrics, objectLines } from "./server/metrics.ts";
import { OpenApi } from "./server/openapi.ts";
import { createOutbound } from "./server/outbound.ts";
import { placesIn } from "./peers.ts";
import { relayByRecords, relayedHere } from "./server/relay.ts";
import { dialerThrough, Tunnels } from "./server/tunnels.ts";

export { httpClient, type HttpClientOptions } from "./client/http.ts";
export type { RemoteKinds } from "./server/aggregation/registry.ts";
export { createInformers } from "./client/informer.ts";
export { objectCodec } from "./server/codec.ts";

/** What an API is made of. */
export interface ApiOptions {
  database: Database<KubeObject>;
  kinds: Kinds;
  clock: Clock;
  /** Whose a request is, by its credentials (default: nobody's). */
  authenticate?: Auth["authenticate"];
  authorizer: Authorizer;
  admission?: readonly AdmissionPlugin[];
  /** Reaches nodes for logs, exec and the like, beside those that have dialled in. */
  dialer?: NodeDialer;
  /** Reaches those of other processes, given what reaches those of this one. */
  elsewhere?: (here: NodeDialer) => NodeDialer;
  /** Answers other processes for all nodes that are here. */
  allNodes?: NodeApi;
  /** The rest of `createAuth`'s result, which may be spread into these options. */
  impersonate?: Auth["impersonate"];
  review?: Auth["review"];
  tokens?: Auth["tokens"];
  metricsText?: Auth["metricsText"];
  identity?: Auth["identity"];
  admissions?: Auth["admissions"];
  /** Answers of kinds that are not stored. */
  virtual?: Readonly<Record<string, VirtualAnswer>>;
  /** Lets the event loop do other work in the middle of long scans (default: a timer, or nothing under a manual clock). */
  turn?: () => Promise<void>;
  /** Where Services get their addresses (default 10.96.0.0/12); an IPv6 range may follow after a comma. */
  serviceRange?: string;
  /** Reaches webhooks, aggregated servers and what proxies ask for (default: this machine's network). */
  outbound?: Outbound;
  /** Health checks beside those of every server. */
  checks?: ConstructorParameters<typeof Health>[0];
  /** Audit, limits and deadlines. */
  front?: FrontOptions;
  /** Tells of every request, in the place of what `front.audit` asks for. */
  audit?: Auditor;
  /** Hears of every request once it is answered, with the stages it went through. */
  trace?: Deps["trace"];
  /** Hears of what goes wrong beside requests: audit events that were lost. */
  warn?: (text: string) => void;
  /** What else must be taken up of what other processes have changed before a request is looked at; undefined: nothing. */
  following?: () => Promise<void> | undefined;
  /** Hears of exceptions that became a 500: our own bugs. */
  onError?: Deps["onError"];
  /** The state of feature gates (default: Kubernetes 1.36's). */
  features?: ReadonlyMap<string, boolean>;
  /** The certificate by which servers behind APIServices know this one; without it they are told no user. */
  frontProxy?: () => Promise<FrontProxyIdentity>;
  /** Whether what APIServices give to other servers is passed on to them (default true). */
  aggregates?: boolean;
  /** What tests do to requests, and note of them (default: nothing). */
  stage?: Deps["stage"];
  callStage?: Deps["callStage"];
  /** Answers paths that Kubernetes has not. */
  beside?: AppOptions["beside"];
}

/** What is known of a client before it says anything. */
export interface ClientInfo {
  /** Who it is: credentials are not looked at. */
  user?: User;
  /** Its certificate, verified. */
  certificate?: Credentials["certificate"];
  /** The address it comes from. */
  remote?: string;
}

/** A running API. */
export interface Api {
  /** The in-process client of a user; `agent` becomes the default field manager. */
  client(user: User, agent?: string): Client;
  /** The API as a fetch handler. `info` is what the caller knows of the client. */
  fetch(request: Request, info?: ClientInfo): Promise<Response>;
  /** Answers a call that is no fetch request. */
  answer(call: Call): Promise<Reply>;
  /**
   * As `fetch`, for a platform that holds the sockets: one that asks for a WebSocket is given it. `ended` resolves when
   * that is over.
   */
  serve(
    request: Request,
    info?: ClientInfo,
  ): Promise<{ response: Response; ended?: Promise<void> }>;
  /** Takes over a socket that asks for WebSocket or SPDY. */
  upgrade(call: Call, socket: Socket, head: Buffer): void;
  /** What other servers serve. */
  remoteKinds(): RemoteKinds;
  /** Opens a socket; with a node's name, that node's own port. */
  listen(options: ListenOptions & { node?: string }): Promise<Listener>;
  /** Nodes of other machines that have dialled in. */
  readonly tunnels: Tunnels;
  readonly metrics: Metrics;
  /** What tells of requests to another server that lies under a path of this one; undefined: nothing is told. */
  auditUnder(path: string): Auditor | undefined;
  /** The same as it was. */
  readonly past: Past;
  /** Requests that came over HTTP, and those that are worked on; streams are not counted. */
  readonly requests: Pick<Closing, "running" | "entries">;
  /** Records what others in this process do, where spans are wanted. */
  readonly spans?: Spans;
  /** Ends requests in order, then closes every listener. */
  shutdown(): Promise<void>;
  /** Keeps what the audit still holds. Nothing may be asked afterwards. */
  close(): Promise<void>;
}

/** WebSocket, SPDY and what they need take long to load, and most processes never do. */
function streams() {
  return import("./server/streams.ts");
}

/** Whose requests are where nobody tells. */
function nobody(): never {
  throw unauthorized();
}

/** The way out over this machine's network. Whoever makes identity as well gives both the same. */
export function hostOutbound(
  { database, clock }: Pick<ApiOptions, "database" | "clock">,
): Outbound {
  const view = () => database.objects.view();
  return createOutbound({ view, clock, request: hostRequest, dial: hostDial });
}

/** The way out of a process without a store: to addresses, and to no Services. */
export function urlOutbound(clock: Clock): Outbound {
  const view = () => {
    throw new TypeError("there are no Services without a cluster");
  };
  return createOutbound({ view, clock, request: hostRequest, dial: hostDial });
}

/** Makes the audit that options ask for, if they do. */
function auditorOf(
  { clock, outbound }: Pick<Deps, "clock" | "outbound">,
  { policy, log, webhook }: Partial<AuditOptions> = {},
  warn: (text: string) => void = () => undefined,
): Auditor | undefined {
  if (!policy || !(log || webhook)) return undefined;
  const sinks: AuditSink[] = [];
  const failed = (name: string) => (error: unknown, events: number) => {
    auditor.lost(name, events);
    const why = error instanceof Error ? error.message : String(error);
    warn(`Error in audit plugin '${name}' affecting ${events} audit events: ${why}`);
  };
  if (log) sinks.push(new AuditLog(log, { files: hostLogFiles, clock, failed: failed("log") }));
  if (webhook) {
    sinks.push(new AuditWebhook(webhook, { outbound, clock, failed: failed("webhook") }));
  }
  const auditor = new Auditor({ policy, sinks, clock });
  return auditor;
}

/** Makes the flow control that options ask for. */
function flowOf({ clock, kinds, database, front = {} }: ApiOptions): Flow {
  return new Flow({
    clock,
    kind: ({ group, version, resource }) => kinds.byResource(group, version, resource),
    view: (kind) => (kind.store === "events" ? database.events : database.objects).view(),
  }, { ...front.flow, timeoutMs: front.requestTimeoutMs });
}

/** The server's parts, before any of them works. */
function depsOf(options: ApiOptions, front: FrontOptions): Deps {
  const { clock } = options;
  const flow = flowOf(options);
  const { processes } = options.database;
  const tunnels = new Tunnels(clock, processes && placesIn(processes, clock));
  const here = dialerThrough(tunnels, options.dialer);
  const slice = () => flow.slice();
  const turn = options.turn ?? (clock.manual ? () => Promise.resolve() : slice);
  const slices = { monotonic: () => clock.monotonic(), sliceMs: () => flow.sliceMs };
  const pace = (user?: string) =>
    new Pace({ ...slices, turn: turn === slice ? (ms) => flow.slice(user, ms) : turn });
  return {
    database: options.database,
    kinds: options.kinds,
    clock,
    authenticate: options.authenticate ?? nobody,
    authorizer: options.authorizer,
    admission: chainOf(options.admission ?? []),
    dialer: options.elsewhere?.(here) ?? here,
    ...(processes && { relayed: relayedHere(here, options.allNodes) }),
    tunnels,
    impersonate: options.impersonate,
    review: options.review,
    tokens: options.tokens,
    virtual: options.virtual,
    flow,
    arrivals: new Arrivals(clock, () => flow.sharing),
    deadlines: new Deadlines(clock, front.requestTimeoutMs),
    closing: new Closing(clock, front.closing),
    health: new Health(options.checks),
    watchEvents: new WatchEvents(),
    inner: new InnerMetrics(),
    identity: options.identity,
    admissions: options.admissions,
    startedAt: clock.now(),
    front,
    audit: options.audit,
    trace: options.trace,
    stage: options.stage,
    callStage: options.callStage,
    traceIds: new TraceIds(options.clock.bytes(16)),
    onError: options.onError,
    outbound: options.outbound ?? hostOutbound(options),
    features: options.features,
    serviceRange: options.serviceRange ?? SERVICE_RANGE,
    turn,
    pace,
  };
}

/** Begins to record spans, and to send them. */
function exporterOf(
  { warn = () => undefined }: ApiOptions,
  deps: Deps,
  tracing: TracingOptions,
  metricsText: () => string,
): OtlpExporter {
  const { clock, outbound, database: { objects } } = deps;
  const spans = deps.spans = new Spans({
    clock,
    clusterId: objects.clusterId,
    ratePerMillion: tracing.samplingRatePerMillion ?? 0,
    traceOf(revision) {
      const found = objects.written(revision);
      return found instanceof Promise ? undefined : found?.cause?.trace;
    },
  });
  const failed = (error: unknown) =>
    warn(`a collector did not take spans or metrics: ${(error as Error).message}`);
  const instance = clock.uuid();
  return new OtlpExporter(tracing, { spans, outbound, clock, instance, metricsText, failed });
}

/** Where clients in this process ask for what other servers serve: through the door of HTTP, without sockets. */
function elsewhereOf(
  { app, aggregation }: { app: ReturnType<typeof createApp>; aggregation: Aggregation },
): Elsewhere {
  return {
    serves: ({ group, version }) => aggregation.find(group, version) !== undefined,
    http: (user, agent) =>
      httpClient({
        server: "https://kubernetes",
        agent,
        transport: (request) => app.fetch(request, { ...callOfRequest(request), user }),
      }),
  };
}

/** Asks itself whether it is ready, as upstream's server does before it tells anybody where it is. */
function askReady(deps: Deps): void {
  void deps.health.reply(deps, "/readyz", new URLSearchParams());
}

/** The listeners of one API. */
class Listeners {
  readonly #open: Listener[] = [];
  readonly #served: (node?: string) => Served;
  readonly #options: Pick<ListenOptions, "clock" | "streamsMax">;
  /** Called whenever one has opened. */
  readonly #opened: () => void;

  constructor(
    served: (node?: string) => Served,
    options: Pick<ListenOptions, "clock" | "streamsMax">,
    opened: () => void,
  ) {
    this.#served = served;
    this.#options = options;
    this.#opened = opened;
  }

  async open({ node, ...where }: ListenOptions & { node?: string }): Promise<Listener> {
    const listener = await listen(this.#served(node), { ...this.#options, ...where });
    this.#open.push(listener);
    this.#opened();
    return listener;
  }

  /** Takes nothing new, waits for what is under way, and closes. */
  async shutdown(closing: Closing): Promise<void> {
    const closed = closing.close();
    for (const listener of this.#open) listener.drain();
    await closed;
    await Promise.all(this.#open.map((listener) => listener.close()));
  }
}

/** Everything that is told at `/metrics`. */
function metricsOf(
  deps: Deps,
  { aggregation, definitions, exporter, metricsText }: {
    aggregation: Aggregation;
    definitions: Definitions;
    exporter?: OtlpExporter;
    metricsText?: () => string;
  },
): Metrics {
  const { audit } = deps;
  const metrics = new Metrics();
  metrics.add(() => objectLines(deps));
  metrics.add(() => flowLines(deps.flow));
  metrics.add(() => processLines(hostUsage(), deps.startedAt));
  if (audit) metrics.add(() => audit.lines());
  if (metricsText) metrics.add(metricsText);
  if (exporter) metrics.add(() => exporter.lines());
  metrics.add(() => deps.watchEvents.text());
  metrics.add(() => deps.inner.text());
  metrics.add(() => aggregation.lines());
  metrics.add(() => definitions.metricsText());
  return metrics;
}

/** How sockets are taken over. */
function upgradeOf({ beside }: ApiOptions, deps: Deps): Api["upgrade"] {
  return async (call, socket, head) => {
    try {
      const inner = beside?.(call)?.inner;
      if (inner) return inner.server.upgrade(inner.call, socket, head);
      await (await streams()).upgrade(deps, call, socket, head);
    } catch {
      // Nobody is left to tell: the connection is what was asked to be taken over
      socket.destroy();
    }
  };
}

/** Answers requests whose sockets a platform holds. */
function servingOf(deps: Deps, app: ReturnType<typeof createApp>): Api["serve"] {
  return async (request, info) => {
    const call = { ...callOfRequest(request), ...info };
    if (!request.headers.has("upgrade")) {
      return { response: await app.fetch(request, call) };
    }
    const taken = Promise.withResolvers<Response>();
    const ended = (await streams()).upgradeRequest(deps, call, (protocol) => {
      const { response, socketed } = platformSocket(request, protocol);
      taken.resolve(response);
      return socketed;
    });
    const refused = ended.then((reply) => reply && responseOf(reply, request.method));
    const response = await Promise.race([taken.promise, refused]);
    return { response: response ?? await taken.promise, ended: refused.then(() => {}) };
  };
}

/** Makes an API over a database. */
export function createApi(options: ApiOptions): Api {
  const { clock, front = {} } = options;
  const deps = depsOf(options, front);
  deps.audit ??= auditorOf(deps, front.audit, options.warn);
  // A store that closed before this was done says so to every request itself
  const aggregation = deps.aggregation = new Aggregation(deps, options.frontProxy);
  const definitions = new Definitions(deps);
  if (options.database.processes) {
    relayByRecords(deps, options.database.processes);
    deps.upToDate = async () => {
      const view = await options.database.objects.fresh();
      await definitions.caughtUp(view);
      await options.following?.();
    };
  }
  const starting = [definitions.start()];
  if (options.aggregates !== false) starting.push(aggregation.start());
  deps.starting = Promise.all(starting).then(() => {}, () => {}).finally(() =>
    deps.starting = undefined
  );
  const { levels } = deps.flow;
  // A closed store says so to every request itself
  if (levels) new FlowKeeper(deps, levels).start().catch(() => {});
  const exporter = front.tracing &&
    exporterOf(options, deps, front.tracing, () => metrics.text(deps));
  const metrics = metricsOf(deps, { aggregation, definitions, exporter, ...options });
  const openapi = new OpenApi(deps.kinds, aggregation, {
    now: () => clock.monotonic(),
    turn: deps.turn,
  });
  const app = createApp(deps, {
    metrics,
    openapi,
    beside: options.beside,
    connect: async (call, request) => (await streams()).connectPlain(deps, call, request),
  });
  const elsewhere = elsewhereOf({ app, aggregation });
  const upgrade = upgradeOf(options, deps);
  const past = new Past(options, createApi);
  const listeners = new Listeners(
    (node) => node ? kubeletPort(deps, node) : { answer: app.answer, upgrade },
    { streamsMax: front.streamsMax, ...(clock.manual ? {} : { clock }) },
    () => askReady(deps),
  );
  return {
    client: (user, agent) => localClient(deps, { user, agent, elsewhere }),
    remoteKinds: () => aggregation.kinds(),
    fetch: (request, info) => app.fetch(request, { ...callOfRequest(request), ...info }),
    answer: (call) => app.answer(call),
    serve: servingOf(deps, app),
    upgrade,
    listen: (where) => listeners.open(where),
    tunnels: deps.tunnels,
    metrics,
    requests: deps.closing,
    shutdown: async () => {
      await listeners.shutdown(deps.closing);
      await exporter?.tellLast();
    },
    auditUnder: (path) => deps.audit?.under(path),
    past,
    spans: deps.spans,
    close: async () => {
      await past.close();
      await deps.audit?.close();
      await exporter?.close();
    },
  };
}
