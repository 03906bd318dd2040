import { assert, assertEquals } from "@std/assert";
import { inOrder, refusedRequest } from "./authorize.ts";
import type { Attributes, Authorizer, Decision } from "./contract.ts";

const attributes: Attributes = {
  user: { name: "alice", groups: [] },
  verb: "get",
  resourceRequest: true,
  group: "",
  version: "v1",
  resource: "pods",
  subresource: "",
  namespace: "ns",
  name: "p",
  path: "",
};

function saying(decision: Decision, late = false): Authorizer & { asked: number } {
  return {
    asked: 0,
    authorize() {
      this.asked++;
      return late ? Promise.resolve(decision) : decision;
    },
    rules: () => ({ rules: [], errors: [] }),
  };
}

const NO = { allowed: false };
const YES = { allowed: true, reason: "yes" };

Deno.test("inOrder() takes the first that allows or denies, at once or late", async (t) => {
  const cases: [string, Decision[], Decision, number][] = [
    ["nobody", [], NO, 0],
    ["the first allows", [YES, NO], YES, 1],
    ["a firm no ends it", [{ allowed: false, denied: true, reason: "no" }, YES], {
      allowed: false,
      denied: true,
      reason: "no",
    }, 1],
    ["reasons are joined", [{ ...NO, reason: "a" }, NO, { ...NO, reason: "b" }], {
      ...NO,
      reason: "a\nb",
    }, 3],
    ["errors are summed up", [{ ...NO, error: "x" }, { ...NO, error: "y" }], {
      ...NO,
      error: "[x, y]",
    }, 2],
    ["an error is forgotten when the next allows", [{ ...NO, error: "x" }, YES], YES, 2],
  ];
  for (const [name, decisions, wanted, asked] of cases) {
    for (const late of [[], [0], [1], [0, 1, 2]]) {
      await t.step(`${name}, late: ${late}`, async () => {
        const authorizers = decisions.map((d, i) => saying(d, late.includes(i)));
        const decision = inOrder(authorizers).authorize(attributes);
        const mustWait = authorizers.some((a, i) => a.asked > 0 && late.includes(i));
        assertEquals(decision instanceof Promise, mustWait);
        assertEquals(await decision, wanted);
        assertEquals(authorizers.reduce((sum, a) => sum + a.asked, 0), asked);
      });
    }
  }
});

Deno.test("inOrder() lets system:masters pass whatever the others say", () => {
  const never = saying({ allowed: false, denied: true });
  const user = { name: "root", groups: ["system:masters"] };
  const decision = inOrder([never]).authorize({ ...attributes, user });
  assert(!(decision instanceof Promise) && decision.allowed);
  assertEquals(never.asked, 0);
});

Deno.test("refusedRequest() is 403, or 500 where nothing could be decided", () => {
  assertEquals(refusedRequest(attributes, NO).code, 403);
  const failed = refusedRequest(attributes, { ...NO, error: "the webhook is <away>" });
  assertEquals([failed.code, failed.message], [
    500,
    "Internal error occurred: the webhook is &lt;away&gt;",
  ]);
});
