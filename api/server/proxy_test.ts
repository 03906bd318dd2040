import { assertEquals } from "@std/assert";
import { fakeOutbound } from "../client/outbound_fixture.ts";
import { SANDBOX } from "./browsers.ts";
import { ADMIN, core, type Fixture, openApi, pod, PODS } from "./fixture_test.ts";

const at = { resource: PODS, namespace: "default" };

async function withPod(ip: string) {
  const asked: string[] = [];
  const f = await openApi({
    outbound: fakeOutbound(({ endpoint, request, body }) => {
      const { method, path, query, headers } = request;
      const url = `${endpoint.url}${path}${query ? `?${query}` : ""}`;
      asked.push(`${method} ${url} ${headers?.authorization ?? null} ${body}`);
      return { status: 201, headers: { "x-far": "1" }, text: "far away" };
    }),
  });
  await f.client.create(at, pod("p"));
  await f.client.patch({ ...at, name: "p", subresource: "status" }, {
    type: "merge",
    body: { status: { podIP: ip, podIPs: [{ ip }] } },
  });
  return { f, asked };
}

async function ask(f: Fixture, path: string, init: RequestInit = {}): Promise<[number, string]> {
  const response = await f.api.fetch(new Request(`http://x${path}`, init), { user: ADMIN });
  return [response.status, await response.text()];
}

const POD = "/api/v1/namespaces/default/pods/p:8080/proxy";

Deno.test("proxy: a request to a pod goes to its address, without the caller's credentials", async () => {
  const { f, asked } = await withPod("10.244.0.5");
  const init = { method: "POST", body: "hello", headers: { authorization: "Bearer x" } };
  assertEquals(await ask(f, `${POD}/a/b?c=d`, init), [201, "far away"]);
  assertEquals(asked, ["POST http://10.244.0.5:8080/a/b?c=d null hello"]);
  assertEquals((await ask(f, POD))[0], 301);
  asked.length = 0;
  assertEquals((await ask(f, POD, { method: "OPTIONS" }))[0], 201);
  assertEquals((await ask(f, POD.replace("p:8080", "https:p:443") + "/x"))[0], 201);
  assertEquals(asked, [
    "OPTIONS http://10.244.0.5:8080/ null ",
    "GET https://10.244.0.5:443/x null ",
  ]);
  await f[Symbol.asyncDispose]();
});

Deno.test("proxy: this machine's own addresses are refused, unless they are a node's", async () => {
  const { f } = await withPod("127.0.0.1");
  const [status, text] = await ask(f, `${POD}/`);
  assertEquals([status, JSON.parse(text).message], [400, "address not allowed"]);
  await f.client.create({ resource: core("nodes") }, {
    metadata: { name: "n" },
    spec: { podCIDR: "127.0.0.0/24", podCIDRs: ["127.0.0.0/24"] },
  });
  assertEquals((await ask(f, `${POD}/`))[0], 201);
  await f[Symbol.asyncDispose]();
});

Deno.test("proxy: a Service's request goes to a ready endpoint, or nowhere", async () => {
  const { f, asked } = await withPod("10.244.0.5");
  await f.client.create({ resource: core("services"), namespace: "default" }, {
    metadata: { name: "s" },
    spec: { ports: [{ name: "web", port: 80 }] },
  });
  const path = "/api/v1/namespaces/default/services/s:web/proxy/x";
  const [status, text] = await ask(f, path);
  assertEquals([status, JSON.parse(text).message], [503, `no endpoints available for service "s"`]);
  await f.client.create({
    resource: { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" },
    namespace: "default",
  }, {
    metadata: { name: "s-1", labels: { "kubernetes.io/service-name": "s" } },
    addressType: "IPv4",
    ports: [{ name: "web", port: 8080, protocol: "TCP" }],
    endpoints: [{ addresses: ["10.244.0.9"] }, {
      addresses: ["10.244.0.8"],
      conditions: { ready: false },
    }],
  });
  assertEquals((await ask(f, path))[0], 201);
  assertEquals(asked, ["GET http://10.244.0.9:8080/x null "]);
  await f[Symbol.asyncDispose]();
});

const NAVIGATES = { "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
/** What a place may say that would be of the whole origin. */
const TAKING_OVER = {
  "set-cookie": "a=b; path=/",
  "clear-site-data": '"*"',
  "strict-transport-security": "max-age=1",
  "service-worker-allowed": "/",
  "content-security-policy": "default-src 'self'",
  "x-far": "1",
};

Deno.test("proxy: a browser is given pages without an origin, other clients what was answered", async () => {
  const cookies: unknown[] = [];
  await using f = await openApi({
    outbound: fakeOutbound(({ request }) => {
      cookies.push(request.headers?.cookie);
      return { headers: { ...TAKING_OVER, "content-type": "text/plain" }, text: "far away" };
    }),
  });
  await f.client.create(at, pod("p"));
  await f.client.patch({ ...at, name: "p", subresource: "status" }, {
    type: "merge",
    body: { status: { podIP: "10.244.0.5", podIPs: [{ ip: "10.244.0.5" }] } },
  });
  const answered = async (sent: Record<string, string>) => {
    const headers = { cookie: "of=all", ...sent };
    const request = new Request(`http://x${POD}/`, { headers });
    const said = await f.api.fetch(request, { user: ADMIN });
    assertEquals(await said.text(), "far away");
    return Object.fromEntries(said.headers);
  };
  const { "service-worker-allowed": _, ...unchanged } = TAKING_OVER;
  const { date: __, "audit-id": ___, ...plain } = await answered({});
  assertEquals(plain, {
    ...unchanged,
    "content-type": "text/plain",
    "cache-control": "no-cache, private",
  });
  const confined = { "content-security-policy": `default-src 'self', ${SANDBOX}`, "x-far": "1" };
  const old = { accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" };
  // However a page comes to be: in a tab, a frame, an object, or for one that cannot say it
  const frame = { "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe" };
  const worker = { "sec-fetch-mode": "same-origin", "sec-fetch-dest": "serviceworker" };
  for (const browser of [NAVIGATES, frame, worker, old] as Record<string, string>[]) {
    const headers = await answered(browser);
    const found = Object.keys(TAKING_OVER).map((name) => [name, headers[name]])
      .filter(([, value]) => value);
    assertEquals(Object.fromEntries(found), confined);
  }
  assertEquals(cookies, ["of=all", undefined, undefined, undefined, undefined]);
});
