import { assertEquals } from "@std/assert";
import { ADMIN_TOKEN, openApi } from "./fixture_test.ts";

Deno.test("patch errors: what is no object of the kind any more is told as upstream tells it", async () => {
  await using f = await openApi();
  const maps = {
    resource: { group: "", version: "v1", plural: "configmaps" },
    namespace: "default",
  };
  await f.client.create(maps, { metadata: { name: "m" } });
  const patch = async (type: string, body: unknown) => {
    const response = await f.api.fetch(
      new Request("http://x/api/v1/namespaces/default/configmaps/m?fieldValidation=Strict", {
        method: "PATCH",
        headers: { "content-type": type, authorization: `Bearer ${ADMIN_TOKEN}` },
        body: JSON.stringify(body),
      }),
    );
    const { code, message } = await response.json();
    return [code, message.replace(/"\{.*\}"/, "OBJECT")];
  };
  const strategic = "application/strategic-merge-patch+json";
  const bad = ` "" is invalid: patch: Invalid value: `;
  assertEquals(await patch(strategic, { metadata: { labels: "invalid" } }), [
    422,
    `${bad}"map[metadata:map[labels:invalid]]": cannot restore map from string`,
  ]);
  assertEquals(await patch(strategic, { immutable: "yes", data: { b: "2", a: "1" } }), [
    422,
    `${bad}"map[data:map[a:1 b:2] immutable:yes]": cannot convert string to bool`,
  ]);
  assertEquals(await patch(strategic, { date: {} }), [
    422,
    `${bad}"map[date:map[]]": strict decoding error: unknown field "date"`,
  ]);
  assertEquals(await patch("application/merge-patch+json", { metadata: { labels: "x" } }), [
    422,
    `${bad}OBJECT: json: cannot unmarshal string into Go struct field ` +
    `ObjectMeta.metadata.labels of type map[string]string`,
  ]);
});
