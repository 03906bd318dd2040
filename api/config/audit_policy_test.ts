import { assertEquals, assertThrows } from "@std/assert";
import { AuditRules } from "../auth/audit_policy.ts";
import { parseAuditPolicy } from "./audit_policy.ts";

const POLICY = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    nonResourceURLs: ["/healthz*", "/version"]
  - level: RequestResponse
    users: [tim]
    userGroups: [testers, developers]
    verbs: [patch, delete, create]
    resources:
      - group: ""
      - group: rbac.authorization.k8s.io
        resources: [clusterroles, clusterrolebindings]
    namespaces: [default, kube-system]
    omitManagedFields: true
    omitStages: [Panic]
  - level: Request
    resources:
      - {group: "", resources: ["pods/log", "*/status", "services/*"]}
      - {group: apps, resources: [deployments], resourceNames: [web]}
  - level: Metadata
`;

const asked = (over: object) => ({
  user: { name: "tim", groups: ["testers"] },
  verb: "create",
  resourceRequest: true,
  group: "",
  version: "v1",
  resource: "pods",
  subresource: "",
  namespace: "default",
  name: "",
  path: "",
  ...over,
});

Deno.test("AuditRules.of() lets the first rule that matches decide", async (t) => {
  const rules = new AuditRules(parseAuditPolicy(POLICY));
  const cases: [string, object, string][] = [
    ["all of a rule matches", {}, "RequestResponse"],
    ["the user does not", { user: { name: "ann", groups: ["testers"] } }, "Metadata"],
    ["the groups do not", { user: { name: "tim", groups: [] } }, "Metadata"],
    ["nobody is there", { user: undefined }, "Metadata"],
    ["the verb does not", { verb: "get" }, "Metadata"],
    ["the namespace does not", { namespace: "x" }, "Metadata"],
    ["a subresource by name", { subresource: "log", verb: "get" }, "Request"],
    ["a subresource of anything", { subresource: "status", verb: "get" }, "Request"],
    ["any subresource, and the resource", { resource: "services", verb: "get" }, "Request"],
    [
      "an object's name",
      { group: "apps", resource: "deployments", name: "web", verb: "get" },
      "Request",
    ],
    [
      "another name",
      { group: "apps", resource: "deployments", name: "db", verb: "get" },
      "Metadata",
    ],
    ["a path by its beginning", { resourceRequest: false, path: "/healthz/ping" }, "None"],
    ["a whole path", { resourceRequest: false, path: "/version" }, "None"],
    ["another path", { resourceRequest: false, path: "/versions" }, "Metadata"],
  ];
  for (const [name, over, level] of cases) {
    await t.step(name, () => assertEquals(rules.of(asked(over)).level, level));
  }
  const verdict = rules.of(asked({}));
  assertEquals([...verdict.omitStages], ["RequestReceived", "Panic"]);
  assertEquals(verdict.omitManagedFields, true);
  assertEquals(rules.of(asked({ verb: "get" })).omitManagedFields, false);
});

Deno.test("parseAuditPolicy() refuses what is wrong in upstream's words", async (t) => {
  const head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
  const cases: [string, string, string][] = [
    ["no version", "rules: [{level: None}]", "unknown group version field /, Kind= in policy"],
    ["no rules", head, "loaded illegal policy with 0 rules"],
    ["no level", `${head}rules: [{verbs: [get]}]`, "rules[0].level: Required value"],
    [
      "an unknown level",
      `${head}rules: [{level: All}]`,
      'rules[0].level: Unsupported value: "All": supported values: ' +
      '"None", "Metadata", "Request", "RequestResponse"',
    ],
    [
      "a stage that is none",
      `${head}omitStages: [Never]\nrules: [{level: None}]`,
      'omitStages[0]: Invalid value: "Never": allowed stages are ' +
      "RequestReceived,ResponseStarted,ResponseComplete,Panic",
    ],
    [
      "paths and resources",
      `${head}rules: [{level: None, nonResourceURLs: [healthz, "/a*b"], namespaces: [x]}]`,
      `[rules[0].nonResourceURLs[0]: Invalid value: "healthz": non-resource URL rules must ` +
      `begin with a '/' character, rules[0].nonResourceURLs[1]: Invalid value: "/a*b": ` +
      `non-resource URL wildcards '*' must be the final character of the rule, ` +
      `rules[0].nonResourceURLs: Invalid value: ["healthz","/a*b"]: rules cannot apply to both ` +
      `regular resources and non-resource URLs]`,
    ],
    [
      "names without resources",
      `${head}rules: [{level: None, resources: [{group: "", resourceNames: [a]}]}]`,
      'rules[0].resources.resourceNames: Invalid value: ["a"]: using resourceNames requires ' +
      "at least one resource",
    ],
    [
      "a wrong type",
      `${head}rules: [{level: None, users: tim}]`,
      "failed decoding: rules[0].users must be a list of strings",
    ],
  ];
  for (const [name, text, message] of cases) {
    await t.step(name, () => {
      const error = assertThrows(() => parseAuditPolicy(text), Error);
      assertEquals(error.message, message);
    });
  }
});

Deno.test("parseAuditPolicy() warns of fields that nobody knows, and goes on", () => {
  const warned: string[] = [];
  parseAuditPolicy(
    `apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  resources:
  - group: coordination.k8s.io
    resources: [leases]
    verbs: [watch]
`,
    (text) => warned.push(text),
  );
  assertEquals(warned, ['unknown field "rules[0].resources[0].verbs"']);
});
