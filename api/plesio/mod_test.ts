import { assertEquals, assertStringIncludes } from "@std/assert";
import { unsealSnapshot } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";

Deno.test("plesioApi() answers its own paths to those who may, and no others", async () => {
  await using cluster = await Cluster.start({ nodes: 0, components: ["api", "controllers"] });
  const status = async (path: string, init?: RequestInit) => {
    const reply = await cluster.fetch(path, init);
    await reply.body?.cancel();
    return reply.status;
  };
  assertEquals(await status("/plesio/v1/actors"), 200);
  assertEquals(await status("/debug/actors"), 200);
  assertEquals(await status("/plesio/v1/actors", { method: "DELETE" }), 405);
  assertEquals(await status("/plesio/v1/nothing"), 404);
  assertEquals(await status("/debug/actorsx"), 404);
  const anonymous = await cluster.api.fetch(new Request("https://plesio/plesio/v1/actors"));
  assertEquals(anonymous.status, 401);
  const view = await (await cluster.fetch("/debug/registry/namespaces/default")).json();
  assertEquals(view.value.metadata.name, "default");
});

Deno.test("plesioApi() answers 400 to paths that are no text", async () => {
  await using cluster = await Cluster.start({ nodes: 0, components: ["api"], testKit: true });
  const cases = [
    ["GET", "at/%zz/api/v1/pods"],
    ["GET", "faults/%zz"],
    ["POST", "actors/%zz/pause"],
    ["GET", "story/api/v1/namespaces/%zz/pods/a"],
  ];
  for (const [method, path] of cases) {
    const reply = await cluster.fetch(`/plesio/v1/${path}`, { method });
    assertEquals([path, reply.status], [path, 400]);
    assertEquals((await reply.json()).message, 'invalid URL escape "%zz"');
  }
});

Deno.test("/plesio/v1/snapshot seals the whole state by the passphrase it is asked with", async () => {
  await using cluster = await Cluster.start({ nodes: 0, components: ["api"] });
  const refused = await cluster.fetch("/plesio/v1/snapshot");
  assertEquals(refused.status, 400);
  assertStringIncludes((await refused.json()).message, "the header plesio-passphrase must give");
  const passphrase = "correct horse battery staple";
  const headers = { "plesio-passphrase": passphrase };
  const answer = await cluster.fetch("/plesio/v1/snapshot", { headers });
  assertEquals(answer.headers.get("content-type"), "application/octet-stream");
  const snapshot = await unsealSnapshot(await answer.bytes(), passphrase);
  await using again = await Cluster.start({ nodes: 0, components: ["api"], snapshot });
  const uidIn = async ({ client }: Cluster) => {
    const resource = { group: "", version: "v1", plural: "namespaces" };
    return (await client.get({ resource, name: "default" })).metadata.uid;
  };
  assertEquals(await uidIn(again), await uidIn(cluster));
});
