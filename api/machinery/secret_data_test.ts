import { assertEquals } from "@std/assert";
import { secretTexts } from "./secret_data.ts";

Deno.test("secretTexts() reads what a Secret holds as UTF-8", () => {
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "s", uid: "u", resourceVersion: "1", creationTimestamp: "" },
  };
  assertEquals(secretTexts(secret), {});
  const data = { a: "7ZWc6riA", empty: "", bare: "YQ==" };
  assertEquals(secretTexts({ ...secret, data }), { a: "한글", empty: "", bare: "a" });
});
