/**
 * The `proxy` subresource: HTTP to a pod, to one of a Service's endpoints, or to a node, through this server.
 * A name may carry a scheme and a port: `https:web:8443`.
 */
import type { Buffer } from "node:buffer";
import type { View } from "../../kv/contract.ts";
import type { Socket } from "./listen.ts";
import type { NodeApi } from "../client/node_api.ts";
import type { Endpoint } from "../client/outbound.ts";
import { badRequest, notFound, unavailable } from "../machinery/errors.ts";
import { cidrContains, parseCidr, parseIp, unmapped } from "../machinery/ip.ts";
import type { ApiError, DeepReadonly, KubeObject } from "../machinery/types.ts";
import type { Deps } from "./deps.ts";
import { answeredHeaders, forwardedFor, passedHeaders, passUpgrade } from "./forwarding.ts";
import { type Call, piecesOf, type Reply } from "./http.ts";
import { isPage, moved, movedPage } from "./proxy_links.ts";
import type { ApiRequest } from "./request.ts";

/** Largest body that is passed on. */
const PROXY_BODY_BYTES_MAX = 64 * 1024 * 1024;

/** Longest wait for an answer to begin, in ms: what is asked of a pod may take its time, as upstream. */
const PROXY_TIMEOUT_MS = 3_600_000;

/** Credentials are for this server, not for those behind it. */
const isSecret = (name: string) => name === "authorization" || name.startsWith("impersonate-");
/** This machine's own addresses, and those of its link: not to be reached through the API. */
const OWN = ["127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10", "0.0.0.0/8"].map((text) =>
  parseCidr(text)!
);

/** Where a proxied request goes. */
interface Place {
  scheme: string;
  host: string;
  port: number;
}

/** A name as proxies write it. */
function nameParts(text: string): { scheme: string; name: string; port: string } {
  const parts = text.split(":");
  if (parts.length === 1) return { scheme: "", name: parts[0], port: "" };
  if (parts.length === 2) return { scheme: "", name: parts[0], port: parts[1] };
  if (parts.length === 3 && (parts[0] === "http" || parts[0] === "https" || parts[0] === "")) {
    return { scheme: parts[0], name: parts[1], port: parts[2] };
  }
  throw badRequest(`invalid proxy target ${JSON.stringify(text)}: want [scheme:]name[:port]`);
}

/** Answers a request for a proxy. */
export async function proxyReply(deps: Deps, call: Call, request: ApiRequest): Promise<Reply> {
  const rest = request.rest ?? "";
  if (!rest && (call.method === "GET" || call.method === "HEAD")) {
    const query = call.query ? `?${call.query}` : "";
    return { status: 301, headers: { location: `${shownAt(call, rest)}/${query}` } };
  }
  if (request.kind.plural === "nodes") return await nodeReply(deps, call, request, rest);
  const place = await placeOf(deps, request);
  const where = `${request.kind.plural.slice(0, -1)} ${JSON.stringify(request.name)}`;
  return await passOut(deps, call, { endpoint: endpointOf(place), rest, where });
}

/** A pod's certificate is its own affair: nobody here knows who signed it (as upstream). */
function endpointOf({ scheme, host, port }: Place): Endpoint {
  return { url: `${scheme}://${hostText(host)}:${port}`, insecureSkipTlsVerify: true };
}

function hostText(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

async function nodeReply(
  deps: Deps,
  call: Call,
  request: ApiRequest,
  rest: string,
): Promise<Reply> {
  const { name } = nameParts(request.name);
  if (!deps.database.objects.view().get(`${request.kind.path}/${name}`)) {
    throw notFound({ group: "", resource: "nodes" }, name);
  }
  return await pageOfNode(deps, call, name, rest);
}

/** Answers with what a node says at a path. */
export async function pageOfNode(
  deps: Deps,
  call: Call,
  name: string,
  path = call.path,
): Promise<Reply> {
  if (!deps.dialer) throw unavailable(`node ${name} cannot be reached from here`);
  const node = await deps.dialer(name);
  const url = `http://${name}${path || "/"}${call.query ? `?${call.query}` : ""}`;
  return await passToNode(call, url, node, `node ${JSON.stringify(name)}`);
}

/** Where clients see the place that they asked: all of the path that they used before what the place was asked. */
function shownAt(call: Call, rest: string): string {
  return call.shownAt ??
    `${call.under ?? ""}${call.path.slice(0, call.path.length - rest.length)}`;
}

async function bodyOf(call: Call): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (call.method === "GET" || call.method === "HEAD") return undefined;
  const body = await call.body(PROXY_BODY_BYTES_MAX);
  return body.length ? body as Uint8Array<ArrayBuffer> : undefined;
}

function notReached(where: string, error: unknown): ApiError {
  const why = error instanceof Error ? error.message : String(error);
  return unavailable(`error trying to reach ${where}: ${why}`);
}

/** Passes a call on to a pod. */
async function passOut(
  deps: Deps,
  call: Call,
  { endpoint, rest, where }: { endpoint: Endpoint; rest: string; where: string },
): Promise<Reply> {
  const body = await bodyOf(call);
  const prefix = shownAt(call, rest);
  try {
    const answer = await deps.outbound.open(endpoint, {
      method: call.method,
      path: rest || "/",
      query: call.query,
      headers: {
        ...passedHeaders(call, isSecret),
        ...forwardedFor(call),
        "x-forwarded-uri": call.path,
      },
      ...(body && { body }),
      timeoutMs: PROXY_TIMEOUT_MS,
      signal: call.signal,
    });
    const headers = answeredHeaders(call, answer.headers);
    delete headers["content-length"];
    const proxied = { prefix, host: new URL(endpoint.url!).host, asked: call.header("host") ?? "" };
    if (headers.location) headers.location = moved(String(headers.location), proxied);
    if (!isPage(headers)) return { status: answer.status, headers, body: answer.body };
    const encoding = String(headers["content-encoding"] ?? "");
    delete headers["content-encoding"];
    return { status: answer.status, headers, body: movedPage(answer.body, encoding, proxied) };
  } catch (error) {
    throw notReached(where, error);
  }
}

/** Passes a call on to a node. */
async function passToNode(call: Call, url: string, node: NodeApi, where: string): Promise<Reply> {
  const headers = new Headers();
  for (const [name, value] of Object.entries(passedHeaders(call, isSecret))) {
    headers.set(name, typeof value === "string" ? value : value.join(", "));
  }
  const body = await bodyOf(call);
  const { method, signal } = call;
  let response: Response;
  try {
    response = await node.fetch(new Request(url, { method, headers, body, signal }));
  } catch (error) {
    throw notReached(where, error);
  }
  const answered = answeredHeaders(call, Object.fromEntries(response.headers));
  delete answered["content-length"];
  return {
    status: response.status,
    headers: answered,
    body: response.body ? piecesOf(response.body) : undefined,
  };
}

type Item = DeepReadonly<KubeObject>;

/**
 * False for an address of this machine itself: whoever may write a pod's status would reach what listens here for
 * others. Pods' own ranges may lie there, where nothing else could be made local.
 */
export function addressAllowed(view: View<KubeObject>, host: string): boolean {
  const ip = parseIp(host);
  if (!ip) return false;
  const plain = unmapped(ip);
  if (!OWN.some((range) => cidrContains(range, plain))) return true;
  for (const item of view.scan("/registry/minions/")) {
    const spec = item.value.spec ?? {};
    for (const text of (spec.podCIDRs ?? [spec.podCIDR]) as (string | undefined)[]) {
      const range = text ? parseCidr(text) : undefined;
      if (range && cidrContains(range, plain)) return true;
    }
  }
  return false;
}

function checkAddress(view: View<KubeObject>, host: string): void {
  if (!addressAllowed(view, host)) throw badRequest("address not allowed");
}

/** The ready endpoints of a Service's port, by the port's name. */
export function endpointsOf(
  view: View<KubeObject>,
  service: { namespace: string; name: string },
  portName: string,
): { host: string; port: number }[] {
  const places: { host: string; port: number }[] = [];
  for (const { value } of view.scan(`/registry/endpointslices/${service.namespace}/`)) {
    if (value.metadata.labels?.["kubernetes.io/service-name"] !== service.name) continue;
    for (const one of (value.ports ?? []) as { name?: string; port?: number }[]) {
      if ((one.name ?? "") !== portName || !one.port) continue;
      for (const endpoint of (value.endpoints ?? []) as Item[]) {
        if (endpoint.conditions?.ready === false) continue;
        for (const host of (endpoint.addresses ?? []) as string[]) {
          places.push({ host, port: one.port });
        }
      }
    }
  }
  return places;
}

async function placeOf(deps: Deps, request: ApiRequest): Promise<Place> {
  const { scheme, name, port } = nameParts(request.name);
  const view = await deps.database.objects.fresh();
  const found = view.get(`${request.kind.path}/${request.namespace}/${name}`)?.value;
  if (!found) throw notFound({ group: "", resource: request.kind.plural }, name);
  if (request.kind.plural === "pods") {
    const place = podPlace(found, scheme, port);
    checkAddress(view, place.host);
    return place;
  }
  const place = servicePlace(found, view, { scheme, port, random: deps.clock.random() });
  checkAddress(view, place.host);
  return place;
}

function podPlace(pod: Item, scheme: string, port: string): Place {
  const host = pod.status?.podIP;
  if (!host) throw badRequest(`address not allowed: pod ${pod.metadata.name} has no address`);
  let number = Number(port);
  if (port === "") {
    for (const container of (pod.spec?.containers ?? []) as Item[]) {
      number ||= container.ports?.[0]?.containerPort ?? 0;
    }
    number ||= 80;
  } else if (!Number.isInteger(number)) {
    number = 0;
    for (const container of (pod.spec?.containers ?? []) as Item[]) {
      for (const one of container.ports ?? []) if (one.name === port) number = one.containerPort;
    }
  }
  if (!number || number > 65535) {
    throw badRequest(`pod ${pod.metadata.name} has no port ${JSON.stringify(port)}`);
  }
  return { scheme: scheme || "http", host, port: number };
}

function servicePlace(
  service: Item,
  view: View<KubeObject>,
  { scheme, port, random }: { scheme: string; port: string; random: number },
): Place {
  const name = service.metadata.name;
  const ports = (service.spec?.ports ?? []) as { name?: string; port: number }[];
  const asked = port === ""
    ? ports[0]
    : ports.find((p) => p.name === port || String(p.port) === port);
  if (!asked) {
    throw unavailable(
      `no service port ${JSON.stringify(port)} found for service ${JSON.stringify(name)}`,
    );
  }
  const { namespace = "" } = service.metadata;
  const places = endpointsOf(view, { namespace, name }, asked.name ?? "");
  if (places.length === 0) {
    throw unavailable(`no endpoints available for service ${JSON.stringify(name)}`);
  }
  return { scheme: scheme || "http", ...places[Math.floor(random * places.length)] };
}

/** Joins a client's upgraded connection with one to the place it asked for, until they end. */
export async function proxyWebSocket(
  deps: Deps,
  call: Call,
  request: ApiRequest,
  door: { socket: Socket; head: Buffer; switchTo(): void },
): Promise<void> {
  const place = await placeOf(deps, request);
  const { host, port } = place;
  let far: Socket;
  try {
    far = await deps.outbound.connect(endpointOf(place));
  } catch (error) {
    throw unavailable(`error trying to reach ${request.name}: ${(error as Error).message}`);
  }
  door.switchTo();
  const upgraded = {
    host: `${hostText(host)}:${port}`,
    path: request.rest || "/",
    withheld: isSecret,
  };
  await passUpgrade(call, door, far, upgraded);
}
