import { assertEquals } from "@std/assert";
import { fromProtobuf, unwrapUnknown } from "../machinery/protobuf.ts";
import { schemas } from "../kinds/schemas.ts";
import { ADMIN, CONFIG_MAPS, type Fixture, openApi } from "./fixture_test.ts";

const PROTOBUF = "application/vnd.kubernetes.protobuf";
const META = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const maps = { resource: CONFIG_MAPS, namespace: "default" };

async function watch(f: Fixture, query: string, accept: string): Promise<Response> {
  const url = `http://x/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=5&${query}`;
  return await f.api.fetch(new Request(url, { headers: { accept } }), { user: ADMIN });
}

/** Reads frames: four bytes of length, then a WatchEvent. */
async function frames(response: Response, count: number) {
  const reader = response.body!.getReader();
  let bytes: number[] = [];
  const out: { type: string; kind: string; object: Record<string, unknown> }[] = [];
  while (out.length < count) {
    const length = bytes.length < 4
      ? Infinity
      : new DataView(new Uint8Array(bytes.slice(0, 4)).buffer).getUint32(0);
    if (bytes.length < 4 + length) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes = [...bytes, ...value];
      continue;
    }
    const frame = new Uint8Array(bytes.slice(4, 4 + length));
    bytes = bytes.slice(4 + length);
    // WatchEvent: type is field 1, the object (a RawExtension whose raw is field 1) field 2
    const type = new TextDecoder().decode(frame.subarray(2, 2 + frame[1]));
    const start = frame.indexOf(0x6b, 2 + frame[1]);
    const { kind, raw } = unwrapUnknown(frame.subarray(start));
    const name = kind === "ConfigMap" ? "io.k8s.api.core.v1.ConfigMap" : META + kind;
    out.push({ type, kind, object: fromProtobuf(schemas, name, raw) });
  }
  await reader.cancel();
  return out;
}

Deno.test("a watch in protobuf: framed events, the bookmark of the initial ones, ERROR", async () => {
  await using f = await openApi();
  await f.client.create(maps, { metadata: { name: "a" }, data: { k: "v" } });
  const initial =
    "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
  const response = await watch(f, initial, PROTOBUF);
  assertEquals(response.headers.get("content-type"), `${PROTOBUF};stream=watch`);
  const [added, bookmark] = await frames(response, 2);
  assertEquals([added.type, added.kind, added.object.data], ["ADDED", "ConfigMap", { k: "v" }]);
  const { annotations } = bookmark.object.metadata as { annotations: unknown };
  assertEquals([bookmark.type, annotations], ["BOOKMARK", { "k8s.io/initial-events-end": "true" }]);
  for (let i = 0; i < 5; i++) {
    await f.client.patch({ ...maps, name: "a" }, { type: "merge", body: { data: { i: `${i}` } } });
  }
  await f.database.objects.compact({ keepRevisions: 1, keepMs: 0 });
  const [error] = await frames(await watch(f, "resourceVersion=1", PROTOBUF), 1);
  assertEquals([error.type, error.kind, error.object.code], ["ERROR", "Status", 410]);
});

Deno.test("a watch of metadata, in protobuf and in JSON", async () => {
  await using f = await openApi();
  await f.client.create(maps, { metadata: { name: "a" }, data: { k: "v" } });
  const as = ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
  const [event] = await frames(await watch(f, "", PROTOBUF + as), 1);
  assertEquals([event.kind, (event.object.metadata as { name: string }).name], [
    "PartialObjectMetadata",
    "a",
  ]);
  const response = await watch(f, "", `application/json${as}`);
  const reader = response.body!.getReader();
  const { value } = await reader.read();
  const { object } = JSON.parse(new TextDecoder().decode(value));
  assertEquals([object.kind, object.apiVersion, object.data], [
    "PartialObjectMetadata",
    "meta.k8s.io/v1",
    undefined,
  ]);
  await reader.cancel();
});
