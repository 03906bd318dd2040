/** The way out over real sockets: names, authorities, Services, bounds. */
import { assertEquals, assertRejects } from "@std/assert";
import { hostOutbound, objectCodec } from "../../api/mod.ts";
import type { Outbound } from "../../api/client/outbound.ts";
import { OutboundError } from "../../api/client/outbound.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { openDatabase, RealClock } from "../../kv/mod.ts";
import { tlsServer } from "../tls_server.ts";

async function withOutbound(
  objects: Record<string, unknown>,
  run: (outbound: Outbound) => Promise<void>,
): Promise<void> {
  const clock = new RealClock();
  const database = await openDatabase<KubeObject>({ codec: objectCodec, clock });
  await database.objects.write((draft) => {
    for (const [key, value] of Object.entries(objects)) draft.put(key, value as KubeObject);
  });
  await run(hostOutbound({ database, clock }));
  await database.close();
}

function cluster(port: number, podCIDR = "127.0.0.0/24", type = "ClusterIP") {
  return {
    "/registry/minions/n": { metadata: { name: "n" }, spec: { podCIDR } },
    "/registry/services/specs/d/web": {
      metadata: { name: "web", namespace: "d" },
      spec: { type, ports: [{ name: "x", port: 443 }, { name: "y", port: 444 }] },
    },
    "/registry/endpointslices/d/web-1": {
      metadata: {
        name: "web-1",
        namespace: "d",
        labels: { "kubernetes.io/service-name": "web" },
      },
      ports: [{ name: "x", port }],
      endpoints: [
        { addresses: ["127.0.0.1"], conditions: { ready: true } },
        { addresses: ["127.0.0.9"], conditions: { ready: false } },
      ],
    },
  };
}

const text = new TextDecoder();
const POST = { method: "POST", body: new TextEncoder().encode("hello"), timeoutMs: 5_000 };

function fails(promise: Promise<unknown>, message: string) {
  return assertRejects(() => promise, OutboundError, message);
}

Deno.test("outbound: a Service is reached at a ready endpoint, under its own name", async () => {
  await using server = await tlsServer(["web.d.svc"], ({ body }) => ({ body: `${body}!` }));
  await withOutbound(cluster(server.port), async (outbound) => {
    const service = { namespace: "d", name: "web", path: "/hook" };
    const endpoint = { service, caBundle: server.ca, certificate: server.client };
    const answer = await outbound.send(
      { ...endpoint, bearerToken: "t" },
      { ...POST, path: "/more", query: "a=b" },
    );
    assertEquals([answer.status, text.decode(answer.body)], [200, "hello!"]);
    const [{ url, headers, client, method }] = server.heard;
    assertEquals(
      [method, url, headers.host, headers.authorization, client],
      ["POST", "/hook/more?a=b", "web.d.svc:443", "Bearer t", "apiserver"],
    );
    const by = (more: object) => outbound.send({ ...endpoint, ...more }, POST);
    await fails(
      by({ service: { ...service, name: "nosuch" } }),
      'service "nosuch" not found',
    );
    await fails(
      by({ service: { ...service, port: 444 } }),
      'no endpoints available for service "web"',
    );
    await fails(by({ service: { ...service, port: 9 } }), "no service port 9 found");
    await fails(
      by({ caBundle: undefined }),
      'Post "https://web.d.svc:443/hook": tls: failed to verify certificate: x509: certificate ' +
        "signed by unknown authority",
    );
    await fails(
      by({ serverName: "other" }),
      "x509: certificate is valid for web.d.svc, not other",
    );
    const skipped = await by({ caBundle: undefined, insecureSkipTlsVerify: true });
    assertEquals(skipped.status, 200);
    // A connection that is kept is not used again under other conditions
    await fails(by({ caBundle: undefined }), "certificate signed by unknown authority");
    await fails(by({ serverName: "other" }), "not other");
    assertEquals((await by({ certificate: undefined })).status, 200);
    assertEquals(server.heard.at(-1)!.client, undefined);
  });
});

Deno.test("outbound: this machine's own addresses are no endpoints, nor are names elsewhere", async () => {
  const service = { namespace: "d", name: "web" };
  await withOutbound(cluster(1, "10.244.0.0/24"), async (outbound) => {
    await fails(outbound.send({ service }, POST), "address not allowed");
  });
  await withOutbound(cluster(1, "127.0.0.0/24", "ExternalName"), async (outbound) => {
    await fails(outbound.send({ service }, POST), 'unsupported service type "ExternalName"');
  });
});

Deno.test("outbound: a bundle may hold the server's own certificate, and its paths two slashes", async () => {
  await using server = await tlsServer(["localhost"], ({ url }) => ({ body: url }));
  await using other = await tlsServer(["localhost"], () => ({ body: "other" }));
  await withOutbound({}, async (outbound) => {
    const url = `https://localhost:${server.port}//hook`;
    const endpoint = { url, caBundle: server.certificate };
    for (let turn = 0; turn < 2; turn++) {
      assertEquals(text.decode((await outbound.send(endpoint, POST)).body), "/hook");
    }
    (await outbound.connect(endpoint)).destroy();
    await fails(
      outbound.send({ url, caBundle: other.certificate }, POST),
      "x509: certificate signed by unknown authority",
    );
    await fails(
      outbound.send({ ...endpoint, serverName: "elsewhere" }, POST),
      "x509: certificate is valid for localhost, not elsewhere",
    );
    assertEquals(server.heard.length, 2); // nothing was said where the certificate was wrong
  });
});

Deno.test("outbound: a URL is reached; redirects are answers, time and bytes have bounds", async () => {
  const never = Promise.withResolvers<{ body: string }>();
  await using server = await tlsServer(["localhost"], ({ url }) => {
    if (url === "/away") return { status: 302, headers: { location: "/" }, body: "" };
    if (url === "/endless") return { body: "begun", until: never.promise };
    if (url === "/large") return { body: new Uint8Array(3_000) };
    return url === "/slow" ? never.promise : { body: "ok" };
  });
  await withOutbound({}, async (outbound) => {
    const at = (path: string) => ({
      url: `https://localhost:${server.port}${path}`,
      caBundle: server.ca,
    });
    assertEquals((await outbound.send(at("/away"), POST)).status, 302);
    assertEquals(text.decode((await outbound.send(at("/?x=1"), POST)).body), "ok");
    assertEquals(server.heard.at(-1)!.url, "/?x=1");
    await fails(
      outbound.send(at("/large"), { ...POST, bytesMax: 2_999 }),
      "larger than 2999 bytes",
    );
    await fails(
      outbound.send(at("/slow"), { ...POST, timeoutMs: 20 }),
      `Post "https://localhost:${server.port}/slow": context deadline exceeded`,
    );
    await fails(
      outbound.send({ url: "https://127.0.0.1:1/" }, POST),
      "connect: connection refused",
    );
    // Over a kept connection as well, before the answer begins and after
    for (const path of ["/", "/slow", "/", "/endless", "/endless"]) {
      const answer = outbound.send(at(path), { ...POST, timeoutMs: 50 });
      if (path === "/") await answer;
      else await fails(answer, `${path}": context deadline exceeded`);
    }
    await fails(outbound.send({ url: "ftp://localhost" }, POST), "unsupported protocol scheme");
    const reply = await outbound.open(at("/"), { method: "GET" });
    const pieces: string[] = [];
    for await (const piece of reply.body) pieces.push(text.decode(piece));
    assertEquals([reply.status, pieces.join("")], [200, "ok"]);
    const socket = await outbound.connect(at("/"));
    socket.destroy();
    never.resolve({ body: "late" });
  });
});
