/**
 * What is not one question and one answer: logs, exec, attach, port-forward, proxies, watches over
 * WebSocket. Whoever asks is authenticated and authorized first; the node is asked before the protocol
 * is switched, so that a refusal is still an HTTP answer.
 */
import { Buffer } from "node:buffer";
import type { IncomingMessage, Socket } from "./listen.ts";
import { withoutTokenProtocol } from "../auth/authn.ts";
import type { NodeApi, PodRef, RemoteProcess } from "../client/node_api.ts";
import { badRequest, methodNotAllowed, noSuchResource, unavailable } from "../machinery/errors.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { upgradeRemote } from "./aggregation/proxy.ts";
import { served } from "./codec.ts";
import { admitConnection } from "./connect.ts";
import { attributesOf, authorize } from "./authorize.ts";
import { type Deps, subjectOf } from "./deps.ts";
import {
  EXEC_PROTOCOLS,
  EXEC_SPDY_PROTOCOLS,
  serveProcess,
  serveProcessSpdy,
  SpdyStreams,
  type Wanted,
} from "./exec.ts";
import { requestedResource, requestFor } from "./front.ts";
import { failure, pass, type Passage, staged } from "./passage.ts";
import type { Call, Reply } from "./http.ts";
import { getObject } from "./list.ts";
import { logReply } from "./logs.ts";
import {
  FORWARD_PROTOCOLS,
  FORWARD_SPDY_PROTOCOL,
  Forwards,
  portsOf,
  serveChannels,
  tunnel,
  TUNNEL_PROTOCOL,
} from "./port_forward.ts";
import { proxyReply, proxyWebSocket } from "./proxy.ts";
import type { ApiRequest } from "./request.ts";
import { flag, type Route, routeOf } from "./route.ts";
import { SpdySession, type SpdyTransport } from "../client/spdy.ts";
import { admitPeer, relay, RELAY_SUBRESOURCE } from "./relay.ts";
import { TUNNEL_PROTOCOL as NODE_TUNNEL_PROTOCOL, TUNNEL_SUBRESOURCE } from "./tunnels.ts";
import { acceptWebSocket, offeredProtocols, type Socketed } from "./web_socket.ts";
import { serveWatchSocket } from "./watch_socket.ts";

type Pod = DeepReadonly<KubeObject>;

/** Subresources that are a connection to something. */
const CONNECTIONS = new Set(["exec", "attach", "portforward", "proxy"]);

/** Answers, without another protocol, what `CONNECTED` names. */
export async function connectPlain(deps: Deps, call: Call, request: ApiRequest): Promise<Reply> {
  if (request.subresource !== "log") await admitConnection(deps, request);
  switch (request.subresource) {
    case "log":
      return await logReply(deps, request);
    case "proxy":
      return await proxyReply(deps, call, request);
    default:
      // A pod that is not there is said first
      await getObject(deps, { ...request, params: {} });
      throw badRequest("Upgrade request required");
  }
}

/** Takes over a socket whose client asks for WebSocket or SPDY. Never throws. */
export async function upgrade(deps: Deps, call: Call, socket: Socket, head: Buffer): Promise<void> {
  const take = (protocol?: string) =>
    acceptWebSocket(call.raw as IncomingMessage, socket, head, protocol);
  const door: Way = { switched: false, take, raw: { socket, head } };
  const reply = await passUpgrade(deps, call, door);
  // Once the protocol is another one, an HTTP answer would be noise in it
  if (reply.broken) socket.destroy();
  else if (!door.switched) refuse(socket, reply);
  else if (reply.status !== SWITCHED) socket.destroy();
}

/**
 * Answers a request for a WebSocket where the platform holds the socket: `take` makes it one. Resolves once the
 * connection is over, or at once with what it was refused by. Never throws.
 */
export async function upgradeRequest(
  deps: Deps,
  call: Call,
  take: Way["take"],
): Promise<Reply | undefined> {
  const door: Way = { switched: false, take };
  const reply = await passUpgrade(deps, call, door);
  return door.switched ? undefined : reply;
}

/** How a connection is taken over. */
interface Way {
  /** The protocol has been switched. */
  switched: boolean;
  take(protocol?: string): Promise<Socketed>;
  /** What speaks other protocols than WebSocket needs; the platform may keep it. */
  raw?: { socket: Socket; head: Buffer };
}

function rawOf({ raw }: Way): { socket: Socket; head: Buffer } {
  if (!raw) {
    throw badRequest(
      "unable to upgrade: only WebSockets reach this server, and none to be passed on",
    );
  }
  return raw;
}

/** Status of an answer that switches to another protocol. */
const SWITCHED = 101;

function routeOrNone(path: string): Route | undefined {
  try {
    return routeOf(path);
  } catch {
    return undefined;
  }
}

async function passUpgrade(deps: Deps, call: Call, door: Way): Promise<Reply> {
  const route = routeOrNone(call.path);
  if (!route) return failure(noSuchResource());
  const asked = { method: call.method, route, query: new URLSearchParams(call.query) };
  if (deps.starting) await deps.starting;
  const remote = deps.aggregation?.find(route.group, route.version);
  const requested = requestedResource(asked);
  // What others serve by another protocol lasts, whatever they call it
  const longRunning = remote ? true : undefined;
  return await pass(deps, call, { requested, longRunning }, async (passage) => {
    const { user, audit } = passage;
    if (remote) {
      await authorize(deps, { ...requested, user }, audit);
      return await staged(deps, { call, passage }, async (told) => {
        const raw = { ...rawOf(door), switchTo: () => switchTo(door, { told, audit }) };
        await upgradeRemote(deps, call, { remote, user, door: raw });
        return { status: SWITCHED, headers: {} };
      });
    }
    if (isOfNode(route, RELAY_SUBRESOURCE)) {
      await relayed({ deps, call, door }, route.name, passage);
      return { status: SWITCHED, headers: {} };
    }
    if (isOfNode(route, TUNNEL_SUBRESOURCE)) {
      await dialledIn({ deps, call, door }, route.name, passage);
      return { status: SWITCHED, headers: {} };
    }
    const request = await requestFor(deps, call, { ...asked, passage });
    await authorize(deps, attributesOf(request), audit);
    const { kind, subresource } = request;
    if (subresource && !kind.subresources.some((s) => s.name === subresource)) {
      throw noSuchResource();
    }
    const connect = async (told: Told["told"]): Promise<Reply> => {
      const opened: Door = Object.assign(door, { deps, call, request, told, audit });
      if (CONNECTIONS.has(subresource)) await admitConnection(deps, request);
      const protocol = call.header("upgrade")?.toLowerCase();
      if (protocol === "websocket") await webSocket(opened);
      else if (protocol === "spdy/3.1") await spdy(opened);
      else throw badRequest("unable to upgrade: unknown protocol");
      return { status: SWITCHED, headers: {} };
    };
    // A watch comes to its own stage
    if (request.verb === "watch") return await connect(() => {});
    return await staged(deps, { call, passage }, connect);
  });
}

/** Whether a path is a way to a node that is no resource. */
function isOfNode({ group, version, resource, subresource, rest }: Route, way: string): boolean {
  return group === "" && version === "v1" && resource === "nodes" && subresource === way &&
    rest === "";
}

/** Answers another process for a node that is here, until the connection ends. */
async function relayed(
  { deps, call, door }: Pick<Door, "deps" | "call"> & { door: Way },
  name: string,
  { user, audit }: Passage,
): Promise<void> {
  admitPeer(user, name);
  if (!deps.relayed) throw noSuchResource();
  const node = await deps.relayed(name);
  const carrier = await tunnelCarrier(call, door, audit);
  const forget = deps.closing.streaming(() => carrier.close(1001, "the server is going"));
  await relay(deps, node, carrier).finally(forget);
}

/** Takes the connection over, for frames of a tunnel. */
function tunnelCarrier(call: Call, door: Way, audit: Passage["audit"]): Promise<Socketed> {
  const offered = offeredProtocols(call.header("sec-websocket-protocol"));
  if (call.header("upgrade")?.toLowerCase() !== "websocket") {
    throw badRequest("unable to upgrade: unknown protocol");
  }
  if (!offered.includes(NODE_TUNNEL_PROTOCOL)) {
    throw badRequest(`unable to upgrade: a tunnel speaks ${NODE_TUNNEL_PROTOCOL}`);
  }
  audit?.started(SWITCHED);
  door.switched = true;
  return door.take(NODE_TUNNEL_PROTOCOL);
}

/** Takes the connection by which a node may be reached from now on, until it ends. */
async function dialledIn(
  { deps, call, door }: Pick<Door, "deps" | "call"> & { door: Way },
  name: string,
  { user, requested, audit }: Passage,
): Promise<void> {
  await authorize(deps, { ...requested, verb: "create", user }, audit);
  deps.tunnels.admit(user, name);
  const carrier = await tunnelCarrier(call, door, audit);
  const forget = deps.closing.streaming(() => carrier.close(1001, "the server is going"));
  await deps.tunnels.serve(name, carrier).finally(forget);
}

/** Who is told of a connection that has been taken over. */
interface Told {
  audit: Passage["audit"];
  /** Hears how it is broken off. */
  told(breakOff: () => void): void;
}

interface Door extends Way, Told {
  deps: Deps;
  call: Call;
  request: ApiRequest;
}

/** From here on the connection speaks another protocol. */
function switchTo(door: Way, { audit, told }: Told): void {
  door.switched = true;
  audit?.started(SWITCHED);
  const { raw } = door;
  if (raw) told(() => raw.socket.destroy());
}

/** Answers a request that was to be upgraded with a plain failure. */
function refuse(socket: Socket, reply: Reply): void {
  if (socket.destroyed) return;
  const body = reply.body instanceof Uint8Array ? reply.body : new Uint8Array();
  const lines = [`HTTP/1.1 ${reply.status} Refused`];
  for (const name in reply.headers) lines.push(`${name}: ${reply.headers[name]}`);
  lines.push(`content-length: ${body.length}`, "connection: close", "", "");
  socket.write(lines.join("\r\n"));
  socket.end(body);
}

async function handshake(
  door: Door,
  offered: readonly string[],
  known: readonly string[],
): Promise<Socketed> {
  const wanted = withoutTokenProtocol(offered);
  const chosen = wanted.find((p) => known.includes(p));
  if (wanted.length && !chosen) {
    throw badRequest(`unable to upgrade: no subprotocol of ${wanted.join(", ")} is supported`);
  }
  switchTo(door, door);
  const socket = await door.take(chosen);
  if (!door.raw) door.told(() => socket.close(1001));
  return socket;
}

async function webSocket(door: Door): Promise<void> {
  const { deps, call, request } = door;
  const offered = offeredProtocols(call.header("sec-websocket-protocol"));
  if (request.verb === "watch") {
    return await serveWatchSocket(deps, call, request, {
      // Whatever single subprotocol a client names, beside that of its token, is its own affair
      accept: () => handshake(door, offered, withoutTokenProtocol(offered).slice(0, 1)),
    });
  }
  switch (request.subresource) {
    case "exec":
    case "attach": {
      await authorize(deps, { ...attributesOf(request), verb: "create" });
      const { process, wanted } = await startProcess(deps, request);
      const socket = await orClose(process, handshake(door, offered, EXEC_PROTOCOLS));
      return await serveProcess(socket, process, wanted);
    }
    case "portforward": {
      await authorize(deps, { ...attributesOf(request), verb: "create" });
      return await forwardWebSocket(door, offered);
    }
    case "log":
      return await logSocket(door, offered);
    case "proxy": {
      const raw = { ...rawOf(door), switchTo: () => switchTo(door, door) };
      return await proxyWebSocket(deps, call, request, raw);
    }
    default:
      throw methodNotAllowed(subjectOf(request.kind), "websocket");
  }
}

async function orClose(process: RemoteProcess, socket: Promise<Socketed>): Promise<Socketed> {
  try {
    return await socket;
  } catch (error) {
    process.close();
    throw error;
  }
}

async function logSocket(door: Door, offered: readonly string[]): Promise<void> {
  const reply = await logReply(door.deps, door.request);
  const socket = await handshake(door, offered, ["binary.k8s.io", "base64.binary.k8s.io"]);
  const base64 = socket.protocol.startsWith("base64");
  if (reply.body && !(reply.body instanceof Uint8Array)) {
    const pieces = reply.body[Symbol.asyncIterator]();
    void socket.closed.then(() => pieces.return?.());
    for (;;) {
      const { done, value: data } = await pieces.next();
      if (done) break;
      await socket.send(base64 ? Buffer.from(data).toString("base64") : data);
    }
  }
  socket.close(1000);
}

async function forwardWebSocket(door: Door, offered: readonly string[]): Promise<void> {
  const { deps, request } = door;
  const { pod, node } = await podAndNode(deps, request);
  const forwarding = { node, pod: refOf(pod) };
  const ports = portsOf(request.params.raw ?? new URLSearchParams());
  if (!offered.includes(TUNNEL_PROTOCOL) && ports.length === 0) {
    throw badRequest(`query parameter "ports" is required`);
  }
  const socket = await handshake(door, offered, FORWARD_PROTOCOLS);
  if (socket.protocol !== TUNNEL_PROTOCOL) return await serveChannels(socket, ports, forwarding);
  const forwards = new Forwards(forwarding);
  const transport = { send: (data: Uint8Array) => socket.send(data), close: () => socket.close() };
  const session = new SpdySession(transport, (stream) => forwards.add(stream));
  tunnel(socket, session);
  await session.closed;
  forwards.close();
}

/** The request's pod, and the node that runs it. */
async function podAndNode(
  deps: Deps,
  request: ApiRequest,
): Promise<{ pod: Pod; node: NodeApi }> {
  const { item, kind } = await getObject(deps, { ...request, params: {} });
  const pod = served(kind, item!);
  const name = pod.spec?.nodeName;
  if (!name) throw badRequest(`pod ${request.name} does not have a host assigned`);
  if (!deps.dialer) throw unavailable(`node ${name} cannot be reached from here`);
  return { pod, node: await deps.dialer(name) };
}

/** What a node needs to know of a pod. */
export function refOf(pod: Pod): PodRef {
  const { namespace = "", name, uid } = pod.metadata;
  return { namespace, name, uid };
}

/** The container that is meant; throws 400 in upstream's words. */
export function containerOf(pod: Pod, asked: string): string {
  const spec = pod.spec ?? {};
  const names = (list: unknown) => ((list ?? []) as { name: string }[]).map((c) => c.name);
  const containers = names(spec.containers);
  const init = names(spec.initContainers);
  const ephemeral = names(spec.ephemeralContainers);
  const name = pod.metadata.name;
  if (asked) {
    if (containers.includes(asked) || init.includes(asked) || ephemeral.includes(asked)) {
      return asked;
    }
    throw badRequest(`container ${asked} is not valid for pod ${name}`);
  }
  if (containers.length === 1) return containers[0];
  if (containers.length === 0) {
    throw badRequest(`a container name must be specified for pod ${name}`);
  }
  let text = `a container name must be specified for pod ${name}, choose one of: [${
    containers.join(" ")
  }]`;
  if (init.length) text += ` or one of the init containers: [${init.join(" ")}]`;
  if (ephemeral.length) text += ` or one of the ephemeral containers: [${ephemeral.join(" ")}]`;
  throw badRequest(text);
}

async function startProcess(
  deps: Deps,
  request: ApiRequest,
): Promise<{ process: RemoteProcess; wanted: Wanted }> {
  const query = request.params.raw ?? new URLSearchParams();
  const { pod, node } = await podAndNode(deps, request);
  const container = containerOf(pod, query.get("container") ?? "");
  const tty = flag(query, "tty");
  const wanted: Wanted = {
    stdin: flag(query, "stdin"),
    stdout: flag(query, "stdout"),
    // A terminal has one output
    stderr: flag(query, "stderr") && !tty,
    tty,
  };
  if (!wanted.stdin && !wanted.stdout && !wanted.stderr) {
    throw badRequest("you must specify at least 1 of stdin, stdout, stderr");
  }
  const asked = { pod: refOf(pod), container, ...wanted };
  if (request.subresource === "attach") return { process: await node.attach(asked), wanted };
  const command = query.getAll("command");
  if (command.length === 0) throw badRequest("you must specify a command to execute");
  return { process: await node.exec({ ...asked, command }), wanted };
}

/** The first of a client's SPDY subprotocols that is known. */
function chosenSpdy(call: Call, known: readonly string[]): string {
  const offered = offeredProtocols(call.header("x-stream-protocol-version"));
  if (offered.length === 0) return known[known.length - 1];
  const chosen = offered.find((p) => known.includes(p));
  if (chosen) return chosen;
  throw badRequest(
    `unable to upgrade: unable to negotiate protocol: client supports [${offered.join(" ")}], ` +
      `server accepts [${known.join(" ")}]`,
  );
}

async function spdy(door: Door): Promise<void> {
  const { deps, call, request } = door;
  switch (request.subresource) {
    case "exec":
    case "attach": {
      const protocol = chosenSpdy(call, EXEC_SPDY_PROTOCOLS);
      const { process, wanted } = await startProcess(deps, request);
      const streams = new SpdyStreams(wanted, protocol);
      const session = openSession(door, protocol, (stream) => streams.add(stream));
      try {
        await streams.complete(deps);
      } catch {
        process.close();
        return session.close();
      }
      return await serveProcessSpdy(session, streams, process, protocol);
    }
    case "portforward": {
      const protocol = chosenSpdy(call, [FORWARD_SPDY_PROTOCOL]);
      const { pod, node } = await podAndNode(deps, request);
      const forwards = new Forwards({ node, pod: refOf(pod) });
      await openSession(door, protocol, (stream) => forwards.add(stream)).closed;
      forwards.close();
      return;
    }
    default:
      throw methodNotAllowed(subjectOf(request.kind), "upgrade");
  }
}

/** Switches a connection to SPDY. */
function openSession(
  door: Door,
  protocol: string,
  onStream: ConstructorParameters<typeof SpdySession>[1],
): SpdySession {
  const { socket, head } = rawOf(door);
  switchTo(door, door);
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n" +
      `X-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
  );
  const transport: SpdyTransport = {
    send: (bytes) =>
      new Promise((resolve) => {
        if (socket.destroyed || socket.write(bytes)) return resolve();
        const done = () => {
          socket.off("drain", done);
          socket.off("close", done);
          resolve();
        };
        socket.on("drain", done);
        socket.on("close", done);
      }),
    close: () => void socket.end(),
  };
  const session = new SpdySession(transport, onStream);
  const take = (data: Uint8Array) => {
    socket.pause();
    void session.receive(data.slice()).then(() => socket.resume());
  };
  socket.on("data", take);
  socket.on("close", () => session.close());
  if (head.length) take(head);
  socket.resume();
  return session;
}
