import { assertEquals } from "@std/assert";
import { ADMIN, openApi } from "./fixture_test.ts";

const WATCH =
  "https://k/api/v1/pods?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

Deno.test("a watch begins with what is there unless the gate WatchList is off", async () => {
  await using fixture = await openApi({ features: new Map([["WatchList", false]]) });
  const response = await fixture.api.fetch(new Request(WATCH), { user: ADMIN });
  assertEquals(response.status, 422);
  const { details } = await response.json();
  assertEquals(details.causes, [{
    reason: "FieldValueForbidden",
    message:
      "Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
    field: "sendInitialEvents",
  }]);
  await using plain = await openApi();
  const begun = await plain.api.fetch(new Request(WATCH), { user: ADMIN });
  assertEquals(begun.status, 200);
  await begun.body?.cancel();
});
