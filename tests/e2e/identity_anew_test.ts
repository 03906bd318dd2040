/** Identity is configured otherwise while a cluster runs: what the files say next is taken up, what is wrong is not. */
import { assert, assertEquals } from "@std/assert";
import { fakeOutbound } from "../../api/client/outbound_fixture.ts";
import type { IdentityOptions } from "../../api/config/identity.ts";
import { ManualClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";

const MINUTE = 60_000;

/** A chain with a webhook that lets one user do everything. */
function chain(...types: string[]): IdentityOptions["authorization"] {
  return types.map((type) => ({
    type,
    name: type.toLowerCase(),
    webhook: {
      endpoint: { url: "https://authz.example" },
      version: "v1",
      timeoutMs: 1000,
      authorizedMs: 0,
      unauthorizedMs: 0,
      failurePolicy: "NoOpinion",
    },
  })) as never;
}

async function aMinute(cluster: Cluster): Promise<void> {
  assert(cluster.clock instanceof ManualClock);
  await cluster.clock.advance(MINUTE);
  await cluster.settle();
}

Deno.test("another chain of authorizers is taken up within a minute; one that leaves out RBAC is not", async () => {
  const outbound = fakeOutbound(({ body }) => ({
    json: {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      status: { allowed: body.spec.user === "gwen" },
    },
  }));
  let next: IdentityOptions = { authorization: chain("Node", "RBAC") };
  const told: string[] = [];
  await using cluster = await Cluster.start({
    nodes: 0,
    components: ["api"],
    outbound,
    ...next,
    identityAnew: () => Promise.resolve(next),
    log: (level, message, fields) => {
      if (level === "error") told.push(`${message}: ${fields?.error}`);
    },
  });
  const ask = async () => {
    const user = { name: "gwen", groups: ["system:authenticated"] };
    const response = await cluster.api.fetch(new Request("https://x/api/v1/namespaces"), { user });
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await ask(), 403);
  next = { authorization: chain("Node", "RBAC", "Webhook") };
  await aMinute(cluster);
  assertEquals(await ask(), 200);
  next = { authorization: chain("Webhook") };
  await aMinute(cluster);
  assertEquals(await ask(), 200);
  assert(
    told.some((line) => line.includes("missing required types: [Node RBAC]")),
    told.join("\n"),
  );
  next = { authorization: chain("Node", "RBAC"), authentication: { anonymous: { enabled: true } } };
  await aMinute(cluster);
  assertEquals(await ask(), 200, "what is anonymous stays, and nothing of it is taken up");
  next = { authorization: chain("Node", "RBAC") };
  await aMinute(cluster);
  assertEquals(await ask(), 403);
});

Deno.test("what has not changed keeps what it remembers", async () => {
  const outbound = fakeOutbound(() => ({
    json: {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenReview",
      status: { authenticated: true, user: { username: "gwen" } },
    },
  }));
  const webhook = (cacheMs: number): IdentityOptions => ({
    authentication: {
      webhook: { endpoint: { url: "https://authn.example" }, version: "v1", cacheMs },
    },
  });
  let next = webhook(10 * MINUTE);
  await using cluster = await Cluster.start({
    nodes: 0,
    components: ["api"],
    outbound,
    ...next,
    identityAnew: () => Promise.resolve(next),
  });
  const ask = async () => {
    const headers = { authorization: "Bearer hers" };
    const response = await cluster.api.fetch(new Request("https://x/api", { headers }));
    await response.body?.cancel();
    assertEquals(response.status, 200);
    return outbound.calls.length;
  };
  assertEquals(await ask(), 1);
  await aMinute(cluster);
  await aMinute(cluster);
  assertEquals(await ask(), 1);
  next = webhook(5 * MINUTE);
  await aMinute(cluster);
  assertEquals(await ask(), 2);
});
