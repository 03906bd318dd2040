import { assertEquals } from "@std/assert";
import { createKinds } from "../kinds/mod.ts";
import type { Fixture } from "./fixture_test.ts";
import { openApi } from "./fixture_test.ts";
import { bootstrap } from "./bootstrap.ts";

const of = (group: string, plural: string) => ({ resource: { group, version: "v1", plural } });
const SERVICES = of("apiregistration.k8s.io", "apiservices");
const FLOW = "flowcontrol.apiserver.k8s.io";

async function start(f: Fixture): Promise<void> {
  await bootstrap({
    ...f,
    kinds: createKinds(),
    serviceRange: "10.96.0.0/12",
    apiIP: "10.96.0.1",
  });
}

async function names(f: Fixture, target: typeof SERVICES): Promise<string[]> {
  return (await f.client.list(target)).items.map((item) => item.metadata.name);
}

Deno.test("bootstrap() writes what upstream's API server writes, and takes it as its own rules do", async () => {
  await using f = await openApi();
  await start(f);
  const levels = await f.client.list(of(FLOW, "prioritylevelconfigurations"));
  assertEquals(levels.items.length, 8);
  const schemas = await f.client.list(of(FLOW, "flowschemas"));
  assertEquals(schemas.items.length, 11);
  // An update runs defaults and validation over them, and finds nothing to change
  for (
    const [plural, { items }] of [["flowschemas", schemas], [
      "prioritylevelconfigurations",
      levels,
    ]] as const
  ) {
    for (const item of items) {
      const { name, resourceVersion } = item.metadata;
      const after = await f.client.update({ ...of(FLOW, plural), name }, item);
      assertEquals(after.metadata.resourceVersion, resourceVersion, name);
    }
  }
  const services = await f.client.list(SERVICES);
  for (const item of services.items) {
    const { name, resourceVersion } = item.metadata;
    const after = await f.client.update({ ...SERVICES, name }, item);
    assertEquals(after.metadata.resourceVersion, resourceVersion, name);
  }
  const found = await names(f, SERVICES);
  assertEquals(["v1.", "v1.apps", "v2.autoscaling"].every((name) => found.includes(name)), true);
  await f.client.delete({ ...of(FLOW, "flowschemas"), name: "probes" });
  await start(f);
  assertEquals((await names(f, SERVICES)).length, found.length);
  assertEquals((await names(f, of(FLOW, "flowschemas"))).length, 11);
});

Deno.test("custom kinds have an APIService for as long as they are defined", async () => {
  await using f = await openApi();
  const crds = of("apiextensions.k8s.io", "customresourcedefinitions");
  const define = async (plural: string, kind: string, versions: string[]) => {
    await f.client.create(crds, {
      metadata: { name: `${plural}.example.com` },
      spec: {
        group: "example.com",
        scope: "Cluster",
        names: { plural, kind },
        versions: versions.map((name, i) => ({
          name,
          served: true,
          storage: i === 0,
          schema: { openAPIV3Schema: { type: "object" } },
        })),
      },
    });
  };
  const until = async (wanted: string[]) => {
    const deadline = performance.now() + 30_000;
    let found = await names(f, SERVICES);
    while (found.join() !== wanted.join() && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      found = await names(f, SERVICES);
    }
    assertEquals(found, wanted);
  };
  await define("as", "A", ["v1", "v2"]);
  await until(["v1.example.com", "v2.example.com"]);
  await define("bs", "B", ["v1"]);
  await f.client.delete({ ...crds, name: "as.example.com" });
  await until(["v1.example.com"]);
  await f.client.delete({ ...crds, name: "bs.example.com" });
  await until([]);
});
