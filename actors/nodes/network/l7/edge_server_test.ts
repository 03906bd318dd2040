import { createServer } from "node:http";
import { createServer as createHttp2, type ServerHttp2Stream } from "node:http2";
import { connect } from "node:net";
import { createSecureContext } from "node:tls";
import { assert, assertEquals } from "@std/assert";
import { RealClock } from "../../../../kv/clock.ts";
import {
  EdgeServer,
  type EdgeServerOptions,
  type EdgeSetup,
  type Upstream,
} from "./edge_server.ts";
import { endLater } from "../../../../kv/http2_client.ts";
import { type Filter, inOrder, type Route } from "./routes.ts";

/** An endpoint that tells what it got. */
async function endpoint() {
  const server = createServer((req, res) => {
    let body = "";
    req.on("data", (chunk) => body += chunk);
    req.on("end", () => {
      const { method, url, headers } = req;
      res.writeHead(200, { "content-type": "application/json", "x-own": "1", "x-gone": "1" });
      res.end(JSON.stringify({ method, url, headers, body }));
    });
  });
  server.on("upgrade", (req, socket) => {
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: ${req.headers.upgrade}\r\nconnection: Upgrade\r\n\r\n`,
    );
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

async function edge(
  setup: EdgeSetup,
  upstream: (service: string) => Upstream | undefined,
  options: Partial<EdgeServerOptions> = {},
) {
  const port = freePort();
  const server = new EdgeServer({
    hostname: "127.0.0.1",
    port,
    known: 80,
    tls: false,
    clock: new RealClock(),
    upstream: ({ service }) => upstream(service!),
    ...options,
  });
  server.update(setup);
  await server.listen();
  return { port, server, [Symbol.asyncDispose]: () => server.close() };
}

const route = (rest: Partial<Route> = {}): Route => ({
  source: "r",
  created: "",
  host: { type: "Any" },
  path: { type: "Prefix", value: "/" },
  backends: [{ service: "ns/web", port: 80, weight: 1 }],
  ...rest,
});

async function curl(...args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command("curl", { args: ["-s", "-m", "5", ...args] }).output();
  return new TextDecoder().decode(stdout);
}

Deno.test("EdgeServer carries requests with bodies, and says where they come from", async () => {
  await using web = await endpoint();
  const dead = freePort();
  // The first endpoint is gone: the next is tried.
  const places = [{ hostname: "127.0.0.1", port: dead }, { hostname: "127.0.0.1", port: web.port }];
  await using proxy = await edge({ routes: [route()] }, () => ({ places, http2: false }));
  const reply = await fetch(`http://127.0.0.1:${proxy.port}/a?b=c`, {
    method: "POST",
    body: "x".repeat(100_000),
    headers: { "x-forwarded-for": "192.0.2.1", connection: "close" },
  });
  assertEquals([reply.status, reply.headers.get("x-own")], [200, "1"]);
  const { method, url, headers, body } = await reply.json();
  assertEquals([method, url, body.length], ["POST", "/a?b=c", 100_000]);
  assertEquals(headers.host, `127.0.0.1:${proxy.port}`);
  assertEquals(headers["x-forwarded-for"], "192.0.2.1, 127.0.0.1");
  assertEquals([headers["x-forwarded-proto"], headers["x-forwarded-port"]], ["http", "80"]);
  assertEquals(
    await curl("--http2-prior-knowledge", `http://127.0.0.1:${proxy.port}/h2`).then((t) =>
      JSON.parse(t).url
    ),
    "/h2",
  );
});

Deno.test("EdgeServer says what is missing", async () => {
  const answers: Record<string, Upstream | undefined> = {
    "ns/empty": { places: [], http2: false },
  };
  const to = (path: string, service?: string) =>
    route({ path: { type: "Exact", value: path }, backends: [{ service, port: 80, weight: 1 }] });
  const routes = [to("/empty", "ns/empty"), to("/unknown", "ns/unknown"), to("/invalid")];
  await using proxy = await edge({ routes }, (service) => answers[service]);
  const status = async (path: string) => {
    const reply = await fetch(`http://127.0.0.1:${proxy.port}${path}`);
    await reply.body?.cancel();
    return reply.status;
  };
  assertEquals(
    [
      await status("/empty"),
      await status("/unknown"),
      await status("/invalid"),
      await status("/x"),
    ],
    [503, 500, 500, 404],
  );
});

Deno.test("EdgeServer redirects, rewrites, changes headers, and ends what takes too long", async () => {
  await using web = await endpoint();
  const silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const filters: Filter[] = [
    {
      type: "RequestHeaders",
      change: {
        set: [{ name: "X-Set", value: "s" }],
        add: [{ name: "x-had", value: "b" }],
        remove: ["X-Not"],
      },
    },
    {
      type: "ResponseHeaders",
      change: { set: [{ name: "x-own", value: "2" }], remove: ["x-gone"] },
    },
    { type: "Rewrite", hostname: "inner.test", path: { type: "ReplacePrefixMatch", value: "/v2" } },
  ];
  const redirect: Filter = { type: "Redirect", scheme: "https", statusCode: 301 };
  const routes = inOrder([
    route({ path: { type: "Prefix", value: "/old" }, filters }),
    route({ path: { type: "Prefix", value: "/secure" }, filters: [redirect], backends: [] }),
    route({
      path: { type: "Prefix", value: "/slow" },
      timeoutMs: 50,
      backends: [{ service: "ns/slow", port: 1, weight: 1 }],
    }),
  ]);
  const ports: Record<string, number> = {
    "ns/web": web.port,
    "ns/slow": (silent.addr as Deno.NetAddr).port,
  };
  await using proxy = await edge({ routes }, (service) => ({
    places: [{ hostname: "127.0.0.1", port: ports[service] }],
    http2: false,
  }));
  const at = `http://127.0.0.1:${proxy.port}`;
  const reply = await fetch(`${at}/old/x?y`, { headers: { "x-had": "a", "x-not": "1" } });
  assertEquals([reply.headers.get("x-own"), reply.headers.get("x-gone")], ["2", null]);
  const { url, headers } = await reply.json();
  assertEquals([url, headers.host, headers["x-set"], headers["x-had"], headers["x-not"]], [
    "/v2/x?y",
    "inner.test",
    "s",
    "a, b",
    undefined,
  ]);
  const moved = await fetch(`${at}/secure?q`, { redirect: "manual" });
  await moved.body?.cancel();
  assertEquals([moved.status, moved.headers.get("location")], [301, "https://127.0.0.1/secure?q"]);
  const slow = await fetch(`${at}/slow`);
  assertEquals([slow.status, await slow.text()], [504, "504 the endpoint took too long\n"]);
  silent.close();
});

Deno.test("EdgeServer hands connections over after an upgrade", async () => {
  await using web = await endpoint();
  await using proxy = await edge({ routes: [route()] }, () => ({
    places: [{ hostname: "127.0.0.1", port: web.port }],
    http2: false,
  }));
  const socket = connect(proxy.port, "127.0.0.1");
  const { promise, resolve } = Promise.withResolvers<string>();
  let got = "";
  socket.on("data", (data) => {
    got += data;
    if (got.endsWith("\r\n\r\n")) socket.write("ping");
    if (got.endsWith("ping")) resolve(got);
  });
  socket.write("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n");
  assert((await promise).startsWith("HTTP/1.1 101 Switching Protocols\r\n"));
  socket.destroy();
});

/** A key and a certificate for a name, by openssl. */
async function certificate(name: string) {
  const folder = await Deno.makeTempDir();
  const [key, cert] = [`${folder}/key`, `${folder}/cert`];
  await new Deno.Command("openssl", {
    args: [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-days",
      "2",
    ]
      .concat([
        "-keyout",
        key,
        "-out",
        cert,
        "-subj",
        `/CN=${name}`,
        "-addext",
        `subjectAltName=DNS:${name}`,
      ]),
    stderr: "null",
  }).output();
  return {
    file: cert,
    context: createSecureContext({
      key: Deno.readTextFileSync(key),
      cert: Deno.readTextFileSync(cert),
    }),
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

const tools = await new Deno.Command("openssl", { args: ["version"], stdout: "null" }).output()
  .then(() => new Deno.Command("curl", { args: ["--version"], stdout: "null" }).output())
  .then(() => true, () => false);

Deno.test({
  name:
    "EdgeServer shows the certificate of the name that is asked for, and carries gRPC's trailers",
  ignore: !tools, // needs openssl and curl
  async fn() {
    await using a = await certificate("a.test");
    await using b = await certificate("b.test");
    const grpc = createHttp2();
    grpc.on("session", endLater);
    grpc.on("stream", (stream: ServerHttp2Stream, headers) => {
      stream.respond({ ":status": 200, "content-type": headers["content-type"] }, {
        waitForTrailers: true,
      });
      stream.on(
        "wantTrailers",
        () => stream.sendTrailers({ "grpc-status": "5", "grpc-message": "no" }),
      );
      stream.pipe(stream);
    });
    await new Promise<void>((resolve) => grpc.listen(0, "127.0.0.1", resolve));
    const { port } = grpc.address() as { port: number };
    const secure = (name: string) =>
      name === "a.test" ? a.context : name === "b.test" ? b.context : undefined;
    await using proxy = await edge(
      { routes: [route()], secure },
      () => ({ places: [{ hostname: "127.0.0.1", port }], http2: true }),
      { tls: true, known: 443 },
    );
    const call = (name: string, ca: string) =>
      curl(
        "-i",
        "--cacert",
        ca,
        "--resolve",
        `${name}:${proxy.port}:127.0.0.1`,
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
        "--data",
        "hello",
        `https://${name}:${proxy.port}/svc/Do`,
      );
    for (const [name, { file }] of [["a.test", a], ["b.test", b]] as const) {
      const text = await call(name, file);
      assert(/^HTTP\/2 200/.test(text), text);
      assert(text.includes("hello") && /grpc-status: 5/.test(text), text);
    }
    assertEquals(await call("c.test", a.file), "");
    await new Promise((resolve) => grpc.close(resolve));
  },
});
