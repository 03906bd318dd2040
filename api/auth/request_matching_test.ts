import { assertEquals, assertThrows } from "@std/assert";
import type { Kind, Kinds, KubeObject } from "../machinery/types.ts";
import type { Admission } from "./contract.ts";
import {
  isAdmissionConfiguration,
  matchResources,
  matchRules,
  placeOf,
  type Rule,
} from "./request_matching.ts";
import { State } from "./state_fixture.ts";

function row(group: string, version: string, plural: string, rest: Partial<Kind> = {}): Kind {
  const path = `/registry/${plural}`;
  return {
    group,
    version,
    plural,
    kind: plural,
    path,
    subresources: [],
    ...rest,
  } as unknown as Kind;
}

const pods = row("", "v1", "pods");
const jobs = row("batch", "v1", "jobs");
const oldJobs = row("batch", "v1beta1", "jobs", {
  storage: {
    version: "batch/v1",
    toStorage: (object) => ({ ...object, apiVersion: "batch/v1" }),
    fromStorage: (object) => ({ ...object, apiVersion: "batch/v1beta1" } as KubeObject),
  },
});
const namespaces = row("", "v1", "namespaces");
const kinds = { version: 1, all: () => [pods, jobs, oldJobs, namespaces] } as unknown as Kinds;

const state = new State();
state.put("/registry/namespaces/shop", {
  metadata: { name: "shop", labels: { team: "a" } },
} as unknown as KubeObject);

function write(kind: Kind, rest: Partial<Admission> = {}): Admission {
  return {
    kind,
    operation: "CREATE",
    subresource: "",
    namespace: "shop",
    name: "x",
    view: state.view(),
    object: { metadata: { name: "x", labels: { app: "web" } } },
    ...rest,
  } as unknown as Admission;
}

const rule: Rule = {
  operations: ["CREATE", "UPDATE"],
  apiGroups: [""],
  apiVersions: ["v1"],
  resources: ["pods"],
};

Deno.test("matchRules() tells which writes a rule means", () => {
  const matches = (change: Rule, a = write(pods)) =>
    matchRules([{ ...rule, ...change }], "Exact", a, kinds) !== undefined;
  const cases: [Rule, Partial<Admission>, boolean][] = [
    [{}, {}, true],
    [{}, { operation: "DELETE" }, false],
    [{ operations: ["*"] }, { operation: "CONNECT" }, true],
    [{ apiGroups: ["apps"] }, {}, false],
    [{ apiGroups: ["*"], apiVersions: ["*"], resources: ["*"] }, {}, true],
    [{ apiVersions: ["v2"] }, {}, false],
    [{ resources: ["*"] }, { subresource: "status" }, false],
    [{ resources: ["*/*"] }, { subresource: "status" }, true],
    [{ resources: ["*/*"] }, {}, true],
    [{ resources: ["pods/*"] }, { subresource: "exec" }, true],
    [{ resources: ["*/exec"] }, { subresource: "exec" }, true],
    [{ resources: ["pods/log"] }, { subresource: "exec" }, false],
    [{ scope: "Namespaced" }, {}, true],
    [{ scope: "Cluster" }, {}, false],
    [{ scope: "Cluster" }, { namespace: "" }, true],
    [{ scope: "*" }, { namespace: "" }, true],
    [{ resourceNames: ["x"] }, {}, true],
    [{ resourceNames: ["y"] }, {}, false],
  ];
  for (const [change, asked, want] of cases) {
    const text = JSON.stringify([change, asked]);
    assertEquals(matches(change, write(pods, asked)), want, text);
  }
});

Deno.test("a Namespace lies in itself and is cluster-scoped", () => {
  const a = write(namespaces, {
    namespace: "",
    name: "",
    object: { metadata: { name: "n" } } as KubeObject,
  });
  assertEquals(placeOf(a), { namespace: "n", name: "n" });
  const cluster = { ...rule, resources: ["namespaces"], scope: "Cluster" };
  assertEquals(matchRules([cluster], "Exact", a, kinds), namespaces);
  assertEquals(matchRules([{ ...cluster, scope: "Namespaced" }], "Exact", a, kinds), undefined);
});

Deno.test("Equivalent rules match by another version", () => {
  const rules = [{ ...rule, apiGroups: ["batch"], apiVersions: ["v1beta1"], resources: ["jobs"] }];
  const a = write(jobs);
  assertEquals(matchRules(rules, "Exact", a, kinds), undefined);
  assertEquals(matchRules(rules, "Equivalent", a, kinds), oldJobs);
});

Deno.test("matchResources() looks at the labels of namespace and object, and at what is excluded", () => {
  const matches = (change: Parameters<typeof matchResources>[0], a = write(pods)) =>
    matchResources({ resourceRules: [rule], ...change }, a, kinds) !== undefined;
  assertEquals(matches({}), true);
  assertEquals(matches({ namespaceSelector: { matchLabels: { team: "a" } } }), true);
  assertEquals(matches({ namespaceSelector: { matchLabels: { team: "b" } } }), false);
  assertEquals(matches({ objectSelector: { matchLabels: { app: "web" } } }), true);
  assertEquals(matches({ objectSelector: { matchLabels: { app: "db" } } }), false);
  const old = { metadata: { labels: { app: "db" } } } as unknown as KubeObject;
  assertEquals(
    matches({ objectSelector: { matchLabels: { app: "db" } } }, write(pods, { old })),
    true,
  );
  assertEquals(matches({ excludeResourceRules: [rule] }), false);
  assertEquals(matches({ excludeResourceRules: [{ ...rule, resourceNames: ["y"] }] }), true);
  assertEquals(matches({ resourceRules: [] }), true);
  // What is wrong with a selector is said only of writes that are meant.
  const lost = { namespaceSelector: { matchLabels: { team: "a" } } };
  assertThrows(
    () => matches(lost, write(pods, { namespace: "gone" })),
    Error,
    'namespaces "gone" not found',
  );
  assertEquals(matches({ ...lost, resourceRules: [] }, write(pods, { namespace: "shop" })), true);
  assertEquals(matches(lost, write(jobs, { namespace: "gone" })), false);
});

Deno.test("isAdmissionConfiguration() names what judges never see", () => {
  const group = "admissionregistration.k8s.io";
  assertEquals(
    isAdmissionConfiguration(write(row(group, "v1", "mutatingadmissionpolicies"))),
    true,
  );
  assertEquals(isAdmissionConfiguration(write(row("x", "v1", "mutatingadmissionpolicies"))), false);
});
