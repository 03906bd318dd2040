/**
 * Runs first in every isolate, before the program. It makes the process live at its pod's address:
 * listening on all addresses, or on localhost, means the pod's own; so does connecting to localhost.
 * Where the process has no root of its own it also maps the paths of the container to the host's, and
 * asks the cluster's DNS for the cluster's names. And it ends the process when its node has died.
 *
 * Mapped: `Deno.listen`, `listenTls`, `serve`, `connect`, `connectTls`, `listenDatagram`; `node:net` and
 * what is built on it; `fetch`, `WebSocket`; and, by path, the functions of `Deno` named in `ONE_PATH`
 * and `TWO_PATHS`. Named imports of `node:fs` cannot be mapped; `node:fs` as an object can.
 */
import net from "node:net";

/** What the node says of the container: the variable `PLESIO_ISOLATE`, JSON. */
export interface Inside {
  /** The pod's address; absent with hostNetwork. */
  ip?: string;
  /** Its IPv6 address, where it has two: what listens at all addresses of both families answers there too. */
  six?: string;
  /** The node's pid. */
  parent: number;
  /** Container path → host path, when there is no root of its own; else the few that lead elsewhere. */
  paths?: [string, string][];
  /** Variables whose names no shell hands on. */
  env?: [string, string][];
  /** What every other absolute path lies under. */
  root?: string;
  /** The cluster's DNS, when resolv.conf is not the pod's. */
  dns?: { server: string; port: number; searches: string[] };
  /** Where services' ports below 1024 answer higher: addresses that begin so, and how much higher. */
  shifted?: { prefix: string; by: number };
}

const text = Deno.env.get("PLESIO_ISOLATE");
Deno.env.delete("PLESIO_ISOLATE");
/** Read by `commands.ts`, which starts further processes. */
export const inside: Inside & { grants?: unknown } = text ? JSON.parse(text) : { parent: 0 };
export const insideText: string | undefined = text;
for (const [name, value] of inside.env ?? []) Deno.env.set(name, value);

// deno-lint-ignore no-explicit-any
type Any = any;
const deno = Deno as Any;

const WILDCARDS = new Set(["0.0.0.0", "::", "[::]", "", "*"]);
const LOCAL = new Set(["localhost", "127.0.0.1", "::1", "[::1]", "ip6-localhost"]);

function mapHost(host: string | undefined): string {
  if (host === undefined || WILDCARDS.has(host) || LOCAL.has(host)) return inside.ip!;
  return host;
}

/** Whether a host stands for all addresses of both families, and the pod has both. */
function isBoth(host: string | undefined): boolean {
  return inside.six !== undefined && (host === "::" || host === "[::]");
}

/** A server that ends with another. */
function alsoServe(server: Any, twin: Any): void {
  const shutdown = server.shutdown.bind(server);
  server.shutdown = async () => void await Promise.all([twin.shutdown(), shutdown()]);
  for (const name of ["ref", "unref"]) {
    const original = server[name].bind(server);
    server[name] = () => {
      twin[name]();
      original();
    };
  }
}

function mapNetwork(): void {
  for (const name of ["listen", "listenTls", "listenDatagram"]) {
    const original = deno[name];
    if (!original) continue;
    deno[name] = (options: Any) =>
      original(options?.path ? options : { ...options, hostname: mapHost(options?.hostname) });
  }
  for (const name of ["connect", "connectTls"]) {
    const original = deno[name];
    deno[name] = (options: Any) =>
      original(options?.path ? options : { ...options, hostname: mapHost(options?.hostname) });
  }
  const serve = deno.serve;
  const served = (...all: Any[]) => {
    // (handler) | (options) | (options, handler)
    const options = typeof all[0] === "function" ? {} : all[0];
    const handler = typeof all[0] === "function" ? all[0] : all[1];
    const where = options.path ? options : { ...options, hostname: mapHost(options.hostname) };
    const server = handler ? serve(where, handler) : serve(where);
    if (!options.path && isBoth(options.hostname)) {
      const twin = { ...where, hostname: inside.six, port: server.addr.port, onListen: () => {} };
      alsoServe(server, serve(twin, handler ?? options.handler));
    }
    return server;
  };
  Object.defineProperty(deno, "serve", { value: served, configurable: true, enumerable: true });
  mapNodeNet();
  const fetched = globalThis.fetch;
  globalThis.fetch = ((input: Any, init?: Any) => {
    const url = mapUrl(input instanceof Request ? input.url : String(input));
    if (!url) return fetched(input, init);
    return fetched(input instanceof Request ? new Request(url, input) : url, init);
  }) as typeof fetch;
  const Socket = globalThis.WebSocket;
  globalThis.WebSocket = class extends Socket {
    constructor(url: Any, protocols?: Any) {
      super(mapUrl(String(url)) ?? url, protocols);
    }
  } as typeof WebSocket;
}

function mapUrl(text: string): string | undefined {
  if (!/^(https?|wss?):/i.test(text)) return undefined;
  const url = new URL(text);
  if (!LOCAL.has(url.hostname) && url.hostname !== "0.0.0.0") return undefined;
  url.hostname = inside.ip!;
  return url.href;
}

function mapNodeNet(): void {
  const server = net.Server.prototype as Any;
  const listen = server.listen;
  server.listen = function (...all: Any[]) {
    const [first, second] = all;
    const host = first && typeof first === "object" ? first.host : second;
    const named = typeof host === "string";
    if (inside.six && !first?.path && !first?._handle && (!named || isBoth(host))) {
      listenTwice(this);
    }
    if (first === null || first === undefined || typeof first === "function") {
      all.unshift({ port: 0, host: inside.ip });
      if (typeof all[1] !== "function") all.splice(1, 1);
    } else if (typeof first === "object") {
      if (first.path === undefined && first.fd === undefined && !first._handle) {
        all[0] = { ...first, host: mapHost(first.host) };
      }
    } else if (typeof first === "number" || /^\d+$/.test(first)) {
      if (typeof second === "string") all[1] = mapHost(second);
      else all.splice(1, second === undefined || second === null ? 1 : 0, inside.ip!);
    }
    return listen.apply(this, all);
  };
  const socket = net.Socket.prototype as Any;
  const connect = socket.connect;
  socket.connect = function (...all: Any[]) {
    // Node hands its own normalised arguments on as one array: they are [options, callback].
    const first = all[0];
    if (Array.isArray(first)) mapOptions(first[0]);
    else if (first && typeof first === "object") mapOptions(first);
    else if (typeof first === "number" || /^\d+$/.test(String(first))) {
      const named = typeof all[1] === "string";
      const options = { port: Number(first), host: named ? all[1] : undefined };
      all.splice(0, named ? 2 : 1, mapOptions(options));
    }
    return connect.apply(this, all);
  };
}

/** Connections to the pod's IPv6 address come to a server as those to the other do. */
function listenTwice(server: Any): void {
  server.once("listening", () => {
    const twin = net.createServer({ allowHalfOpen: server.allowHalfOpen });
    twin.on("connection", (socket) => server.emit("connection", socket));
    twin.listen({ port: server.address().port, host: inside.six });
    twin.unref(); // the first one keeps the process
    server.once("close", () => twin.close());
  });
}

function mapOptions(options: Any): Any {
  if (!options || options.path !== undefined || options.fd) return options;
  options.host = mapHost(options.host);
  options.port = mapPort(options.host, Number(options.port));
  if (inside.dns && !options.lookup && isClusterName(options.host)) {
    options.lookup = (host: string, how: Any, done: Any) => {
      lookup(host).then((address) => {
        if (!address) done(new Error(`getaddrinfo ENOTFOUND ${host}`));
        else if (how?.all) done(null, [{ address, family: 4 }]);
        else done(null, address, 4);
      });
    };
  }
  return options;
}

function mapPort(host: string, port: number): number {
  const { shifted } = inside;
  return shifted && port < 1024 && host.startsWith(shifted.prefix) ? port + shifted.by : port;
}

// --- paths ----------------------------------------------------------------------------------------------

const ONE_PATH =
  ("readTextFile readFile writeTextFile writeFile open create mkdir readDir remove stat " +
    "lstat chmod chown truncate utime chdir").split(" ");
const TWO_PATHS = ["rename", "copyFile", "link"];
const NODE_ONE_PATH =
  ("readFile writeFile appendFile open mkdir readdir rm rmdir unlink stat lstat exists " +
    "access chmod chown truncate utimes createReadStream createWriteStream opendir mkdtemp").split(
      " ",
    );

/** The host's path of a container's path. */
export function hostPath(path: string): string {
  if (!path.startsWith("/")) return path; // relative to the working folder, which is the host's already
  let best: [string, string] | undefined;
  for (const pair of inside.paths ?? []) {
    const [at] = pair;
    const under = path === at || path.startsWith(at.endsWith("/") ? at : `${at}/`);
    if (under && at.length > (best?.[0].length ?? -1)) best = pair;
  }
  if (best) return best[1] + path.slice(best[0].length);
  if (!inside.root || path.startsWith(inside.root)) return path;
  if (inside.paths?.some(([, host]) => path === host || path.startsWith(`${host}/`))) return path;
  return inside.root + path;
}

function insidePath(path: string): string {
  for (const [at, host] of inside.paths ?? []) {
    if (path === host || path.startsWith(`${host}/`)) return at + path.slice(host.length);
  }
  if (inside.root && path.startsWith(inside.root)) return path.slice(inside.root.length) || "/";
  return path;
}

function mapPath(path: Any): Any {
  if (path instanceof URL && path.protocol === "file:") {
    return hostPath(decodeURIComponent(path.pathname));
  }
  return typeof path === "string" ? hostPath(path) : path;
}

async function mapPaths(): Promise<void> {
  const wrap = (owner: Any, name: string, count: number) => {
    const original = owner[name];
    if (typeof original !== "function") return;
    owner[name] = (...all: Any[]) => {
      for (let i = 0; i < count; i++) all[i] = mapPath(all[i]);
      return original.apply(owner, all);
    };
  };
  for (const name of ONE_PATH) {
    wrap(deno, name, 1);
    wrap(deno, `${name}Sync`, 1);
  }
  for (const name of TWO_PATHS) {
    wrap(deno, name, 2);
    wrap(deno, `${name}Sync`, 2);
  }
  for (const name of ["realPath", "readLink"]) {
    const later = deno[name], now = deno[`${name}Sync`];
    deno[name] = async (path: Any) => insidePath(await later(mapPath(path)));
    deno[`${name}Sync`] = (path: Any) => insidePath(now(mapPath(path)));
  }
  const cwd = deno.cwd;
  deno.cwd = () => insidePath(cwd());
  const fs = (await import("node:fs")).default as Any;
  for (const owner of [fs, fs.promises]) {
    for (const name of NODE_ONE_PATH) {
      wrap(owner, name, 1);
      wrap(owner, `${name}Sync`, 1);
    }
    for (const name of ["rename", "copyFile", "link", "cp"]) {
      wrap(owner, name, 2);
      wrap(owner, `${name}Sync`, 2);
    }
  }
}

// --- names ----------------------------------------------------------------------------------------------

/** Whether a name may be the cluster's: the machine's resolver is asked for all others. */
function isClusterName(host: string): boolean {
  return !/^[\d.]+$|:/.test(host) && (!host.includes(".") || /\.svc(\.|$)|\.local$/.test(host));
}

async function lookup(host: string): Promise<string | undefined> {
  const { server, port, searches } = inside.dns!;
  for (const suffix of ["", ...searches]) {
    const name = suffix ? `${host}.${suffix}` : host;
    try {
      const nameServer = { ipAddr: server, port };
      const [first] = await Deno.resolveDns(name, "A", { nameServer });
      if (first) return first;
    } catch {
      // Not this name: the next suffix.
    }
  }
}

function mapNames(): void {
  const fetched = globalThis.fetch;
  globalThis.fetch = (async (input: Any, init?: Any) => {
    const url = new URL(input instanceof Request ? input.url : String(input), "http://x");
    if (!/^https?:$/.test(url.protocol)) return await fetched(input, init);
    const address = isClusterName(url.hostname) ? await lookup(url.hostname) : undefined;
    const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
    const mapped = mapPort(address ?? url.hostname, port);
    if (!address && mapped === port) return await fetched(input, init);
    const { client } = init ?? {};
    const request = new Request(input, init);
    const headers = new Headers(request.headers);
    headers.set("host", url.host);
    if (address) url.hostname = address;
    url.port = String(mapped);
    return await fetched(new Request(url, request), { headers, client });
  }) as typeof fetch;
  for (const name of ["connect", "connectTls"]) {
    const original = deno[name];
    deno[name] = async (options: Any) => {
      const host = options?.hostname;
      if (!host) return await original(options);
      const hostname = (isClusterName(host) ? await lookup(host) : undefined) ?? host;
      return await original({ ...options, hostname, port: mapPort(hostname, options.port) });
    };
  }
}

// --- the node's death ---------------------------------------------------------------------------------

const WATCH_MS = 1000;

function watchParent(parent: number): void {
  // It may have died before this process had even begun.
  if (Deno.ppid !== parent) Deno.exit(137);
  const timer = setInterval(() => {
    if (Deno.ppid !== parent) Deno.exit(137);
  }, WATCH_MS);
  Deno.unrefTimer(timer);
}

if (inside.ip) mapNetwork();
if (inside.dns) mapNames();
if (inside.root || inside.paths?.length) await mapPaths();
if (inside.parent) watchParent(inside.parent);
