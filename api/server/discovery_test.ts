import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { createKinds } from "../kinds/mod.ts";
import { schemas } from "../kinds/schemas.ts";
import { fromProtobuf, unwrapUnknown } from "../machinery/protobuf.ts";
import { ApiError } from "../machinery/types.ts";
import { Discovery } from "./discovery.ts";
import { ADMIN, openApi } from "./fixture_test.ts";

const discovery = new Discovery(createKinds());
const AGGREGATED = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const PROTOBUF = "application/vnd.kubernetes.protobuf";
const text = new TextDecoder();

Deno.test("discovery is written in what is accepted, and says so", () => {
  const types: [string | undefined, string][] = [
    [undefined, "application/json"],
    ["*/*", "application/json"],
    ["application/yaml", "application/yaml"],
    [PROTOBUF, PROTOBUF],
    [`application/json${AGGREGATED},application/json`, `application/json${AGGREGATED}`],
    [`${PROTOBUF}${AGGREGATED}`, `${PROTOBUF}${AGGREGATED}`],
    [`application/json;q=0.9,application/yaml${AGGREGATED}`, `application/yaml${AGGREGATED}`],
    ["application/json;g=other;v=v2;as=Other,application/json", "application/json"],
  ];
  for (const [accept, type] of types) {
    assertEquals(discovery.document("/apis", accept)?.contentType, type, accept);
  }
  // A group-version has no aggregated document
  assertEquals(
    discovery.document("/apis/apps/v1", `application/json${AGGREGATED},application/json`)
      ?.contentType,
    "application/json",
  );
  const error = assertThrows(() => discovery.document("/apis", "text/html"), ApiError);
  assertEquals(error.code, 406);
});

Deno.test("discovery says in protobuf and in YAML what it says in JSON", () => {
  const json = discovery.document("/apis/apps/v1", "application/json")!;
  const list = JSON.parse(text.decode(json.bytes));
  const { raw, kind, apiVersion } = unwrapUnknown(
    discovery.document("/apis/apps/v1", PROTOBUF)!.bytes,
  );
  assertEquals([apiVersion, kind], ["v1", "APIResourceList"]);
  const name = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";
  // deno-lint-ignore no-explicit-any -- a decoded message
  const read: any = fromProtobuf(schemas, name, raw);
  assertEquals(read.groupVersion, list.groupVersion);
  assertEquals(
    read.resources.map((r: { name: string; verbs: string[] }) => [r.name, r.verbs]),
    list.resources.map((r: { name: string; verbs: string[] }) => [r.name, r.verbs]),
  );
  const yaml = text.decode(discovery.document("/apis/apps/v1", "application/yaml")!.bytes);
  assertStringIncludes(yaml, "groupVersion: apps/v1");
  const whole = unwrapUnknown(discovery.document("/apis", PROTOBUF + AGGREGATED)!.bytes);
  assertEquals(whole.kind, "APIGroupDiscoveryList");
});

Deno.test("a document of OpenAPI 3 comes in protobuf for who asks for it first, and has one ETag in both forms", async () => {
  await using f = await openApi();
  const ask = async (accept?: string, more: Record<string, string> = {}) => {
    const headers = { ...(accept && { accept }), ...more };
    const request = new Request("https://x/openapi/v3/apis/apps/v1", { headers });
    const response = await f.api.fetch(request, { user: ADMIN });
    const { headers: answered } = response;
    const bytes = new Uint8Array(await response.arrayBuffer());
    return { bytes, type: answered.get("content-type"), etag: answered.get("etag"), response };
  };
  const json = await ask();
  assertEquals([json.type, json.bytes[0]], ["application/json", "{".charCodeAt(0)]);
  for (const version of ["@v1.0", ".v1.0"]) {
    const asked = `application/com.github.proto-openapi.spec.v3${version}+protobuf`;
    const found = await ask(`${asked}, application/json`);
    assertEquals(found.type, "application/com.github.proto-openapi.spec.v3.v1.0+protobuf");
    // The field `openapi`, with five characters
    assertEquals([...found.bytes.subarray(0, 7)], [10, 5, ...new TextEncoder().encode("3.0.0")]);
    assertEquals(found.etag, json.etag);
    assertEquals((await ask(`application/json, ${asked}`)).type, "application/json");
    assertEquals((await ask(asked, { "if-none-match": found.etag! })).response.status, 304);
  }
});
