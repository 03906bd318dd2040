/**
 * Pages of a hostile pod, opened through the proxy in Chromium: in the tab where somebody has logged in at the dashboard, in
 * a frame, by the dashboard's own button, with a client certificate that the browser adds to everything. Such a page
 * can neither read the token nor ask the API as whoever looks at it; and it works, as far as a page without an origin can.
 */
import { Buffer } from "node:buffer";
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Frame, Page } from "playwright-core";
import { Cluster } from "../../mod.ts";
import {
  assertNoFaults,
  go,
  logIn,
  noBrowser,
  openPage,
  picture,
  startBrowser,
  type World,
} from "./dashboard_fixture.ts";
import { waiting } from "./until.ts";

const reason = noBrowser();
if (reason) console.log(`dashboard_proxy_test: skipped, ${reason}`);

const pods = { resource: { group: "", version: "v1", plural: "pods" }, namespace: "default" };
const PROXY = "/api/v1/namespaces/default/pods/hostile:8080/proxy/";

/** Tries everything, and keeps what it got. */
const ATTACKS = `
const results = {};
const attempt = async (name, what) => {
  try {
    results[name] = String(await what());
  } catch (error) {
    results[name] = "refused";
  }
};
const asks = (path, init) => async () => {
  const answer = await fetch(path, { credentials: "include", ...init });
  return answer.type === "opaque" ? "refused" : answer.status;
};
const opens = (path) => () => new Promise((open, refuse) => {
  const socket = new WebSocket("wss://" + location.host + path);
  socket.onopen = open;
  socket.onerror = refuse;
});
const simple = { method: "POST", mode: "no-cors", body: '{"name":"hacked","metadata":{"name":"hacked"}}' };
globalThis.attacked = Promise.all([
  attempt("session", () => sessionStorage.getItem("token")),
  attempt("local", () => localStorage.getItem("namespace")),
  attempt("cookie", () => document.cookie),
  attempt("database", () => new Promise((done, refuse) => {
    const asked = indexedDB.open("x");
    asked.onsuccess = done;
    asked.onerror = refuse;
  })),
  attempt("worker", () => navigator.serviceWorker.register("worker.js")),
  attempt("parent", () => parent === self ? Promise.reject() : parent.sessionStorage.getItem("token")),
  attempt("top", () => top === self ? Promise.reject() : top.document.title),
  attempt("opener", () => opener.sessionStorage.getItem("token")),
  attempt("popup", () => open("/version").document.title),
  attempt("secrets", asks("/api/v1/secrets")),
  attempt("dashboard", asks("/dashboard/index.html")),
  attempt("namespace", asks("/api/v1/namespaces", simple)),
  attempt("fork", asks("/plesio/v1/forks", simple)),
  attempt("logs", opens("/api/v1/namespaces/default/pods/hostile/log")),
]).then(() => results);
`;
const PAGE = `<!doctype html><title>hostile</title><link rel="stylesheet" href="/style.css">` +
  `<h1>Hello</h1><a href="/next">next</a><script>${ATTACKS}</script>`;
const FILES: Record<string, [type: string, text: string]> = {
  "/": ["text/html", PAGE],
  "/next": ["text/html", "<!doctype html><h1>Next</h1>"],
  "/worker.js": ["text/javascript", ""],
  "/style.css": ["text/css", "h1 { color: rgb(1, 2, 3) }"],
  "/data": ["application/json", `{"answer":42}`],
};
const SERVER = `
const files = ${JSON.stringify(FILES)};
Deno.serve({ port: 8080 }, (request) => {
  const { pathname } = new URL(request.url);
  if (pathname === "/told") return Response.json(Object.fromEntries(request.headers));
  const [type, text] = files[pathname] ?? ["text/plain", "none"];
  const headers = { "content-type": type, "set-cookie": "mine=1; path=/", "clear-site-data": '"storage"' };
  if (request.headers.get("upgrade") === "websocket") {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onopen = () => socket.send("hello");
    return response;
  }
  return new Response(text, { headers });
});
`;
const HOSTILE = {
  metadata: { name: "hostile" },
  spec: {
    containers: [{
      name: "c",
      image: "denoland/deno:2.9.6",
      args: ["eval", SERVER],
      ports: [{ containerPort: 8080, name: "http" }],
    }],
  },
};

/** What every attack came to. */
async function attacked(place: Page | Frame): Promise<Record<string, string>> {
  await place.waitForLoadState("load");
  return await place.evaluate("globalThis.attacked") as Record<string, string>;
}

async function assertHarmless({ cluster }: World, place: Page | Frame): Promise<void> {
  const results = await attacked(place);
  assertEquals(results, Object.fromEntries(Object.keys(results).map((name) => [name, "refused"])));
  assertEquals(Object.keys(results).length, 14);
  const namespaces = await cluster.client.list({
    resource: { group: "", version: "v1", plural: "namespaces" },
  });
  assert(!namespaces.items.some(({ metadata }) => metadata.name === "hacked"));
  const forks = await (await cluster.fetch("/plesio/v1/forks")).json();
  assertEquals(forks.forks, []);
}

/** In the tab in which the dashboard was open a moment ago, and whose browser has a certificate. */
async function inTheSameTab(world: World, page: Page): Promise<void> {
  const { origin } = new URL(world.base);
  await page.goto(origin + PROXY);
  await page.getByRole("heading", { name: "Hello" }).waitFor();
  await assertHarmless(world, page);
}

/** In a frame of a page that has the dashboard's origin, its storage and no policy of its own. */
async function inAFrame(world: World, page: Page): Promise<void> {
  const { origin } = new URL(world.base);
  await page.goto(`${origin}/version`);
  assertMatch(await page.evaluate("sessionStorage.getItem('token')") as string, /^[\w-]{43}$/);
  assertMatch(
    await page.evaluate("fetch('/api/v1/secrets').then(({ status }) => status + '')") as string,
    /200/,
  );
  await page.evaluate(`new Promise((drawn) => {
    const frame = document.createElement("iframe");
    frame.onload = drawn;
    frame.src = "${PROXY}";
    document.body.append(frame);
  })`);
  const frame = page.frames().find((one) => one.url().endsWith(PROXY))!;
  await assertHarmless(world, frame);
}

/** By the dashboard's button: no certificate, no token, and yet the page works. */
async function inATab(world: World): Promise<void> {
  const looked = await openPage(world.browser, new URL(world.base).origin);
  const { page } = looked;
  await logIn(world, page);
  await go(world, page, "object/core/pods/default/hostile?tab=proxy");
  const opening = page.context().waitForEvent("page");
  await page.getByRole("button", { name: "Open in a new tab" }).click();
  const tab = await opening;
  await tab.getByRole("heading", { name: "Hello" }).waitFor();
  assertMatch(new URL(tab.url()).pathname, /^\/plesio\/v1\/tickets\/[\w-]+\/$/);
  await assertHarmless(world, tab);
  const colour = "getComputedStyle(document.querySelector('h1')).color";
  assertEquals(await tab.evaluate(colour), "rgb(1, 2, 3)", "its styles are there");
  const data = "fetch('data', { headers: { 'x-own': '1' } }).then((answer) => answer.json())";
  assertEquals(await tab.evaluate(data), { answer: 42 });
  assertEquals(
    await tab.evaluate(`new Promise((told) => {
      const at = new URL("socket", location.href.replace("https:", "wss:"));
      new WebSocket(at).onmessage = ({ data }) => told(data);
    })`),
    "hello",
  );
  const told = await tab.evaluate("fetch('told').then((answer) => answer.text())") as string;
  const ticket = new URL(tab.url()).pathname.split("/")[4];
  for (const secret of [ticket, "cookie", "authorization"]) assert(!told.includes(secret), told);
  await tab.getByRole("link", { name: "next" }).click();
  await tab.getByRole("heading", { name: "Next" }).waitFor();
  // What is drawn here needs nothing but the dashboard's own policy
  await page.getByRole("button", { name: "GET" }).click();
  await page.frameLocator("iframe").getByRole("heading", { name: "Hello" }).waitFor();
  await picture(page, "proxy-answered");
  const address = tab.url();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  assertEquals((await tab.goto(address))?.status(), 401, "it ends with the log-in");
  assertNoFaults(looked);
}

Deno.test({
  name: "a hostile pod's page through the proxy, in Chromium",
  ignore: reason !== undefined && Deno.env.get("CI") !== "true",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using cluster = await Cluster.start({ clock: "real", runtime: "auto", nodes: 1 });
    const { url } = await cluster.listen({ port: 0 });
    await cluster.client.create(pods, HOSTILE);
    const browser = await startBrowser();
    const world: World = { cluster, browser, base: `${url}/dashboard/` };
    const until = waiting({ withinMs: 60_000 });
    await until("the pod answers", async () => {
      const { status, body } = await cluster.fetch(PROXY);
      await body?.cancel();
      return status === 200;
    });
    try {
      const { certificatePem, keyPem } = await cluster.access();
      const [cert, key] = [certificatePem!, keyPem!].map((pem) => Buffer.from(pem));
      const { page } = await openPage(browser, url, {
        clientCertificates: [{ origin: url, cert, key }],
      });
      await logIn(world, page);
      await t.step("in the dashboard's own tab", () => inTheSameTab(world, page));
      await t.step("in a frame", () => inAFrame(world, page));
      await t.step("in a tab that the dashboard opens", () => inATab(world));
    } finally {
      await browser.close();
    }
  },
});
