/** What seeds of the simulation have found, as scripts: see the track record in README.md. */
import { assertEquals } from "@std/assert";
import { PODS } from "../../actors/runtime/mod.ts";
import { CALM } from "./sim_kv.ts";
import { clientOf, Stage } from "./stage.ts";

const POD = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "a" },
  spec: { nodeName: "n", containers: [{ name: "c", image: "app" }] },
};
const at = { resource: PODS, namespace: "default" };

Deno.test("a write that was done, but not heard of, and written over says which version it is", async () => {
  using stage = await Stage.make({ shared: true });
  const [one, other] = [await stage.open(), await stage.open()];
  const made = await stage.until(clientOf(one).create(at, POD));
  const target = { ...at, name: "a" };
  const status = { ...made.status as object, message: "told by its node" };
  stage.trouble = { ...CALM, unsure: 1 };
  const telling = clientOf(one).update({ ...target, subresource: "status" }, { ...made, status });
  await stage.pass(0);
  one.pause();
  stage.trouble = CALM;
  await stage.until(clientOf(other).delete(target, { gracePeriodSeconds: 30 }));
  one.resume();
  const told = await stage.until(telling);
  const next = Number(made.metadata.resourceVersion) + 1;
  assertEquals(told.metadata.resourceVersion, `${next}`);
});
