import { assertEquals } from "@std/assert";
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
