import { assert, assertEquals, assertMatch } from "@std/assert";
import { ADMIN, Cluster } from "../../mod.ts";

const start = () => Cluster.start({ nodes: 0, components: ["api"] });

Deno.test("the dashboard's files are for everybody, under a strict policy, and nothing else is", async () => {
  await using cluster = await start();
  const ask = (path: string, init?: RequestInit) =>
    cluster.api.fetch(new Request(`https://plesio${path}`, init));
  const page = await ask("/dashboard/");
  assertEquals(page.status, 200);
  const policy = page.headers.get("content-security-policy")!;
  assertMatch(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
  assert(!policy.includes("unsafe"));
  const html = await page.text();
  assert(
    !/<script>|<style|style=|https?:\/\//.test(html),
    "nothing inline, nothing from elsewhere",
  );
  for (const [, name] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
    const file = await ask(`/dashboard/${name}`);
    assertEquals([name, file.status], [name, 200]);
    await file.body?.cancel();
    const etag = file.headers.get("etag")!;
    const again = await ask(`/dashboard/${name}`, { headers: { "if-none-match": etag } });
    assertEquals([name, again.status], [name, 304]);
  }
  assertEquals((await ask("/dashboard")).headers.get("location"), "/dashboard/");
  assertEquals((await ask("/dashboard/nothing")).status, 404);
  assertEquals((await ask("/dashboard/../api/v1/secrets")).status, 401);
  assertEquals((await ask("/dashboard/", { method: "PUT" })).status, 405);
  // Wrong credentials do not matter here, and open nothing elsewhere
  const headers = { authorization: "Bearer wrong" };
  assertEquals((await ask("/dashboard/", { headers })).status, 200);
  assertEquals((await ask("/api/v1/pods", { headers })).status, 401);
});

Deno.test("a log-in code is exchanged once for a token of whoever made it", async () => {
  await using cluster = await start();
  const made = await cluster.fetch("/plesio/v1/login", { method: "POST" });
  assertEquals(made.status, 201);
  const { code } = await made.json();
  const ask = (path: string, init?: RequestInit) =>
    cluster.api.fetch(new Request(`https://plesio${path}`, init));
  const exchange = (body: string) => ask("/dashboard/login", { method: "POST", body });
  assertEquals((await exchange(JSON.stringify({ code: "guess" }))).status, 401);
  assertEquals((await exchange("code")).status, 400);
  assertEquals((await exchange(JSON.stringify({ code: "x".repeat(2_000) }))).status, 413);
  const given = await exchange(JSON.stringify({ code }));
  assertEquals(given.status, 201);
  const { token } = await given.json();
  assertEquals((await exchange(JSON.stringify({ code }))).status, 401);
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const body = JSON.stringify({
    apiVersion: "authentication.k8s.io/v1",
    kind: "SelfSubjectReview",
  });
  const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const review = await (await ask(path, { method: "POST", headers, body })).json();
  assertEquals(review.status.userInfo.username, ADMIN.name);
  assertEquals((await ask("/dashboard/login", { method: "DELETE", headers })).status, 204);
  assertEquals((await ask("/api/v1/pods", { headers })).status, 401);
});

Deno.test("codes are made by those only who may", async () => {
  await using cluster = await start();
  const anonymous = new Request("https://plesio/plesio/v1/login", { method: "POST" });
  assertEquals((await cluster.api.fetch(anonymous)).status, 401);
  const user = { name: "carol", groups: ["system:authenticated"] };
  const carols = new Request("https://plesio/plesio/v1/login", { method: "POST" });
  assertEquals((await cluster.api.fetch(carols, { user })).status, 403);
});
