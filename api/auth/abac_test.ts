import { assertEquals, assertThrows } from "@std/assert";
import { AbacAuthorizer, abacPolicies } from "./abac.ts";
import type { Attributes } from "./contract.ts";

/** Policies of the current form, by what they say. */
function spec(fields: Record<string, unknown>): string {
  const apiVersion = "abac.authorization.kubernetes.io/v1beta1";
  return JSON.stringify({ apiVersion, kind: "Policy", spec: fields });
}

function may(policies: string, given: Partial<Attributes>, groups: string[] = []): boolean {
  const authorizer = new AbacAuthorizer(abacPolicies(policies, "p"));
  return authorizer.authorize({
    user: { name: "ann", groups: [...groups, "system:authenticated"] },
    verb: "get",
    resourceRequest: given.path === undefined,
    group: "",
    version: "v1",
    resource: "pods",
    subresource: "",
    namespace: "ns",
    name: "",
    path: "",
    ...given,
  }).allowed;
}

Deno.test("AbacAuthorizer allows what one of its policies does", async (t) => {
  const pods = { resource: "pods", namespace: "ns" };
  const cases: [string, string, Partial<Attributes>, boolean][] = [
    ["a user's", spec({ user: "ann", ...pods }), {}, true],
    ["another user's", spec({ user: "bob", ...pods }), {}, false],
    ["nobody's", spec(pods), {}, false],
    ["a group's", spec({ group: "devs", ...pods }), {}, true],
    ["a user's in another group", spec({ user: "ann", group: "ops", ...pods }), {}, false],
    ["anybody's", spec({ user: "*", group: "ops", ...pods }), {}, true],
    ["another namespace", spec({ user: "ann", ...pods }), { namespace: "other" }, false],
    ["another group of kinds", spec({ user: "ann", ...pods }), { group: "apps" }, false],
    ["any", spec({ user: "ann", namespace: "*", resource: "*", apiGroup: "*" }), {}, true],
    ["writing", spec({ user: "ann", ...pods }), { verb: "delete" }, true],
    ["writing what may be read", spec({ user: "ann", readonly: true, ...pods }), {
      verb: "delete",
    }, false],
    ["a path", spec({ user: "ann", nonResourcePath: "/x" }), { path: "/x" }, true],
    ["below a path", spec({ user: "ann", nonResourcePath: "/x/*" }), { path: "/x/y" }, true],
    ["beside a path", spec({ user: "ann", nonResourcePath: "/x/*" }), { path: "/xy" }, false],
    ["a path by kinds", spec({ user: "ann", ...pods }), { path: "/x" }, false],
    ["kinds by a path", spec({ user: "ann", nonResourcePath: "*" }), {}, false],
    ["of old: everything", "{}", {}, true],
    ["of old: every path", '{"user":"ann"}', { path: "/x" }, true],
    ["of old: one kind", '{"user":"ann","resource":"pods"}', { group: "any" }, true],
    ["of old: no paths by kind", '{"user":"ann","resource":"pods"}', { path: "/x" }, false],
    ["a comment", `# what follows\n\n${spec({ user: "ann", ...pods })}\n`, {}, true],
    ["nothing", "", {}, false],
  ];
  for (const [name, policies, given, allowed] of cases) {
    await t.step(name, () => assertEquals(may(policies, given, ["devs"]), allowed));
  }
});

Deno.test("abacPolicies() says which line is wrong", async (t) => {
  const cases: [string, string][] = [
    ["[]", "a policy must be an object"],
    ['{"user":1}', "user must be a string"],
    [spec({ readonly: "yes" }), "readonly must be a boolean"],
    ['{"apiVersion":"v1","kind":"Pod"}', 'no kind "Pod" is registered for version "v1"'],
  ];
  for (const [line, why] of cases) {
    await t.step(why, () => {
      const { message } = assertThrows(() => abacPolicies(`# here\n${line}`, "p"), Error);
      assertEquals(message, `error reading policy file p, line 2: ${line}: ${why}`);
    });
  }
});

Deno.test("AbacAuthorizer lists what a user may do in a namespace", () => {
  const policies = [
    spec({ user: "ann", resource: "pods", namespace: "ns", readonly: true }),
    spec({ user: "ann", resource: "secrets", namespace: "other" }),
    spec({ group: "devs", namespace: "*", nonResourcePath: "/x" }),
  ].join("\n");
  const authorizer = new AbacAuthorizer(abacPolicies(policies, "p"));
  assertEquals(authorizer.rules({ name: "ann", groups: ["devs"] }, "ns"), {
    rules: [
      { verbs: ["get", "list", "watch"], apiGroups: [""], resources: ["pods"] },
      { verbs: ["*"], nonResourceURLs: ["/x"] },
    ],
    errors: [],
  });
});
