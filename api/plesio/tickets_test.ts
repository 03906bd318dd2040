import { assert, assertEquals, assertMatch } from "@std/assert";
import type { ManualClock } from "../../kv/mod.ts";
import { Cluster, type ClusterOptions } from "../../mod.ts";
import { TICKET_MS } from "../auth/logins.ts";
import { fakeOutbound } from "../client/outbound_fixture.ts";
import { SANDBOX } from "../server/browsers.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const at = { resource: core("pods"), namespace: "default" };
const PROXY = "/api/v1/namespaces/default/pods/web:8080/proxy";
const TICKETS = "/plesio/v1/tickets";
const PAGE = `<a href="/x">x</a>`;
const NAVIGATES = { "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };

/** A cluster with a pod that answers pages, and somebody with a token who may see it through the proxy. */
async function place(options: ClusterOptions = {}) {
  const outbound = fakeOutbound(() => ({
    headers: { "content-type": "text/html", "access-control-allow-origin": "http://pod" },
    text: PAGE,
  }));
  const cluster = await Cluster.start({ nodes: 0, outbound, ...options });
  await cluster.settle();
  await cluster.client.create(at, {
    metadata: { name: "web" },
    spec: { containers: [{ name: "c", image: "nginx" }] },
  });
  await cluster.client.patch({ ...at, name: "web", subresource: "status" }, {
    type: "merge",
    body: { status: { podIP: "10.244.0.5", podIPs: [{ ip: "10.244.0.5" }] } },
  });
  const ask = (path: string, init: RequestInit = {}) =>
    cluster.api.fetch(new Request(`https://plesio${path}`, init));
  const code = (await (await cluster.fetch("/plesio/v1/login", { method: "POST" })).json()).code;
  const exchanged = await ask("/dashboard/login", {
    method: "POST",
    body: JSON.stringify({ code }),
  });
  const headers = { authorization: `Bearer ${(await exchanged.json()).token}` };
  const make = (path: string, more: Record<string, string> = {}) =>
    ask(TICKETS + path, { method: "POST", headers: { ...headers, ...more } });
  const status = async (path: string, init?: RequestInit) => {
    const answer = await ask(path, init);
    await answer.body?.cancel();
    return answer.status;
  };
  return {
    cluster,
    outbound,
    ask,
    make,
    headers,
    status,
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

Deno.test("a ticket opens one proxy without a token, and its pages stay behind it", async () => {
  await using f = await place();
  const made = await f.make(`${PROXY}/`);
  assertEquals([made.status, made.headers.get("cache-control")], [201, "no-store"]);
  const { path, seconds } = await made.json();
  assertMatch(path, /^\/plesio\/v1\/tickets\/[\w-]{43,}\/$/);
  assertEquals(seconds, TICKET_MS / 1000);
  const secrets = { cookie: "a=b", origin: "null", referer: `https://plesio${path}` };
  const shown = await f.ask(`${path}a?b=c`, { headers: { ...NAVIGATES, ...secrets } });
  assertEquals(shown.status, 200);
  assertEquals(await shown.text(), `<a href="${path}x">x</a>`);
  assertEquals(shown.headers.get("content-security-policy"), SANDBOX);
  assertEquals(shown.headers.get("referrer-policy"), "no-referrer");
  assertEquals(shown.headers.get("access-control-allow-origin"), "*");
  const { endpoint, request } = f.outbound.calls.at(-1)!;
  assertEquals(`${endpoint.url}${request.path}`, "http://10.244.0.5:8080/a");
  for (const name of ["authorization", ...Object.keys(secrets)]) {
    assertEquals(request.headers?.[name], undefined, name);
  }
  assert(!JSON.stringify(request).includes(path.split("/").at(-2)!), "the place is not told of it");
  const slash = await f.ask(path.slice(0, -1));
  assertEquals([slash.status, slash.headers.get("location")], [301, path]);
  const before = f.outbound.calls.length;
  const asking = {
    "access-control-request-method": "PUT",
    "access-control-request-headers": "x-own",
  };
  const may = await f.ask(`${path}a`, { method: "OPTIONS", headers: asking });
  assertEquals([may.status, may.headers.get("access-control-allow-methods")], [204, "PUT"]);
  assertEquals(may.headers.get("access-control-allow-headers"), "x-own");
  assertEquals(f.outbound.calls.length, before, "the place is not asked");
});

Deno.test("a ticket is good for nothing else, and ends with its token or after an hour", async () => {
  await using f = await place();
  const { path } = await (await f.make(PROXY)).json();
  const ticket = path.split("/").at(-2);
  for (
    const elsewhere of [
      `${TICKETS}/${ticket}x/`,
      `${TICKETS}/`,
      `${TICKETS}/${ticket}/../api/v1/secrets`,
      `${path}../../../../api/v1/secrets`,
    ]
  ) assert([401, 404].includes(await f.status(elsewhere)), elsewhere);
  // What a client does not make shorter is for the pod
  const { calls } = f.outbound;
  const raw = new Request(`https://plesio${path}%2e%2e%2f%2e%2e/secrets`);
  await (await f.cluster.api.fetch(raw)).body?.cancel();
  assertEquals(calls.at(-1)?.endpoint.url, "http://10.244.0.5:8080");
  assertEquals(
    await f.status("/api/v1/secrets", { headers: { authorization: `Bearer ${ticket}` } }),
    401,
  );
  const clock = f.cluster.clock as ManualClock;
  await clock.advance(TICKET_MS - 1);
  assertEquals(await f.status(path), 200);
  await clock.advance(1);
  assertEquals(await f.status(path), 404);
  const second = (await (await f.make(PROXY)).json()).path;
  assertEquals(await f.status(second), 200);
  await f.ask("/dashboard/login", { method: "DELETE", headers: f.headers });
  assertEquals(await f.status(second), 401);
});

Deno.test("tickets are made by those with a token who may use the proxy, for a proxy", async () => {
  await using f = await place();
  const statusOf = async (path: string, headers: Record<string, string> = {}) => {
    const answer = await f.make(path, headers);
    await answer.body?.cancel();
    return answer.status;
  };
  for (
    const path of ["", "/", "/api/v1/nodes/n/proxy", `${PROXY}/further`, "/api/v1/secrets", "/x"]
  ) assertEquals([path, await statusOf(path)], [path, 404]);
  assertEquals(await statusOf(PROXY, { authorization: "Bearer wrong" }), 401);
  assertEquals(await statusOf(PROXY, { "impersonate-user": "bob" }), 403);
  const post = new Request(`https://plesio${TICKETS}${PROXY}`, { method: "POST" });
  const carol = { name: "carol", groups: ["system:authenticated"] };
  assertEquals((await f.cluster.api.fetch(post.clone(), { user: carol })).status, 403);
  const admin = { name: "admin", groups: ["system:masters"] };
  assertEquals((await f.cluster.api.fetch(post, { user: admin })).status, 400, "without a token");
  assertEquals(await f.status(TICKETS + PROXY, { headers: f.headers }), 405);
});

Deno.test("a ticket's requests are audited as the proxy's, and no record has the ticket", async () => {
  const folder = await Deno.makeTempDir();
  const log = `${folder}/audit`;
  const policy = { rules: [{ level: "RequestResponse" as const }] };
  await using f = await place({ front: { audit: { policy, log: { path: log } } } });
  const { path } = await (await f.make(PROXY)).json();
  await f.status(`${path}a`);
  const metrics = await (await f.cluster.fetch("/metrics")).text();
  const records = await Deno.readTextFile(log);
  await Deno.remove(folder, { recursive: true });
  const uris = records.trim().split("\n").map((line) => JSON.parse(line))
    .filter(({ stage }) => stage === "ResponseComplete").map(({ requestURI }) => requestURI);
  assert(uris.includes(`${PROXY}/a`), uris.join());
  const ticket = path.split("/").at(-2)!;
  assert(!records.includes(ticket) && !metrics.includes(ticket));
});
