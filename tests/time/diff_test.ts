/** What changed between two moments, over HTTP and by `cluster.diff`. */
import { assert, assertEquals } from "@std/assert";
import type { KubeObject, ResourceId } from "../../api/machinery/types.ts";
import { Cluster } from "../../mod.ts";

const core = (plural: string): ResourceId => ({ group: "", version: "v1", plural });
const at = (plural: string, namespace = "default") => ({ resource: core(plural), namespace });

async function story(cluster: Cluster) {
  const { client } = cluster;
  const put = (plural: string, name: string, rest: object) =>
    client.create<KubeObject>(at(plural), { metadata: { name }, ...rest });
  await put("configmaps", "kept", { data: { a: "1", b: "2" } });
  await put("secrets", "keys", { data: { password: btoa("before-value") } });
  const begin = await put("configmaps", "gone", { data: {} });
  await client.patch({ ...at("configmaps"), name: "kept" }, {
    type: "merge",
    body: { data: { a: "3", b: null } },
  });
  await client.patch({ ...at("secrets"), name: "keys" }, {
    type: "merge",
    body: { data: { password: btoa("after-value"), more: btoa("x") } },
  });
  await client.delete({ ...at("configmaps"), name: "gone" });
  const end = await put("configmaps", "came", { data: {} });
  return [begin, end].map(({ metadata }) => Number(metadata.resourceVersion));
}

Deno.test("a diff tells what came, what went, and which fields changed, without secrets", async () => {
  await using cluster = await Cluster.start({ nodes: 0, components: ["api"] });
  const [from, to] = await story(cluster);
  const ask = async (query: string) => {
    const reply = await cluster.fetch(`/plesio/v1/diff?${query}`);
    return { status: reply.status, text: await reply.text() };
  };
  const { text } = await ask(`from=${from}&to=${to}`);
  assert(!text.includes(btoa("before-value")) && !text.includes(btoa("after-value")));
  const diff = JSON.parse(text);
  assertEquals([diff.from.revision, diff.to.revision], [from, to]);
  const names = (list: { kind: string; name: string }[]) => list.map((o) => `${o.kind}/${o.name}`);
  assertEquals(names(diff.added), ["ConfigMap/came"]);
  assertEquals(names(diff.removed), ["ConfigMap/gone"]);
  assertEquals(names(diff.changed), ["ConfigMap/kept", "Secret/keys"]);
  assertEquals(diff.changed[0].changes, [
    { op: "replace", path: "/data/a", was: "1", value: "3" },
    { op: "remove", path: "/data/b", was: "2" },
  ]);
  assertEquals(diff.changed[1].changes, [
    { op: "add", path: "/data/more", value: btoa("redacted") },
  ]);
  assertEquals(
    (await ask(`from=${from}&to=${to}&resource=configmaps&format=text`)).text.split("\n").slice(1),
    [
      "+ ConfigMap default/came",
      "- ConfigMap default/gone",
      "~ ConfigMap default/kept",
      '    ~ /data/a: "1" -> "3"',
      '    - /data/b: "2"',
      "",
    ],
  );
  const back = await cluster.diff(to, from, { resource: "secrets", secrets: true });
  assertEquals(back.changed[0].changes![0], {
    op: "replace",
    path: "/data/password",
    was: btoa("after-value"),
    value: btoa("before-value"),
  });
  assertEquals((await cluster.diff(from, from)).changed, []);
  assertEquals((await cluster.diff(from, to, { namespace: "kube-system" })).changed, []);
});

Deno.test("a diff of what there is not is refused", async () => {
  await using cluster = await Cluster.start({ nodes: 0, components: ["api"] });
  const refused = async (query: string) => {
    const reply = await cluster.fetch(`/plesio/v1/diff?${query}`);
    const { code, message } = await reply.json();
    return `${code} ${message}`;
  };
  assertEquals(await refused(""), "400 from is missing: a revision or a time");
  assertEquals(
    await refused("from=1&since=2"),
    '400 "since" is not known: there are from, to, namespace, resource, format',
  );
  assertEquals(await refused("from=1&resource=wings"), '400 there is no resource "wings"');
  assertEquals(
    await refused("from=1&resource=events"),
    "400 events have a history of their own, of an hour",
  );
  assertEquals((await refused("from=1&to=99999")).slice(0, 4), "504 ");
});
