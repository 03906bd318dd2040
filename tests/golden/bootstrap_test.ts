/**
 * What a cluster has before anybody asks: roles, bindings, priority classes, flow control, as kube-apiserver 1.36 makes
 * them (recorded facts), but for the differences that are listed here with their reasons; and what is mended at the next
 * start.
 */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../../mod.ts";
import { FOLDER } from "./recorded.ts";

// deno-lint-ignore no-explicit-any -- objects of several kinds
type Any = any;

const RBAC = "/apis/rbac.authorization.k8s.io/v1";
const LISTS: Record<string, string> = {
  clusterroles: `${RBAC}/clusterroles`,
  clusterrolebindings: `${RBAC}/clusterrolebindings`,
  roles: `${RBAC}/roles`,
  rolebindings: `${RBAC}/rolebindings`,
  priorityclasses: "/apis/scheduling.k8s.io/v1/priorityclasses",
  flowschemas: "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
  prioritylevelconfigurations: "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
};

/** Ours alone: who makes volumes in folders, and who reads metrics by aggregation. */
const OWN = new Set([
  "clusterroles/system:controller:local-path-provisioner",
  "clusterrolebindings/system:controller:local-path-provisioner",
  "clusterroles/system:controller:csi-controller",
  "clusterrolebindings/system:controller:csi-controller",
  "clusterroles/system:aggregated-metrics-reader",
]);
/** These controllers patch what upstream's update: the same right to the same things. */
const PATCHES = new Set([
  "clusterroles/system:controller:disruption-controller",
  "clusterroles/system:controller:persistent-volume-binder",
  "clusterroles/system:controller:pv-protection-controller",
  "clusterroles/system:controller:pvc-protection-controller",
]);

const PARTS = ["rules", "aggregationRule", "roleRef", "subjects", "spec", "value", "globalDefault", "preemptionPolicy"];

function shownOf(plural: string, object: Any): Any {
  const shown: Any = { annotations: object.metadata.annotations };
  if (plural.includes("role")) shown.labels = object.metadata.labels;
  for (const part of PARTS) {
    if (object[part] === undefined || part === "rules" && object.aggregationRule) continue;
    shown[part] = object[part];
  }
  return shown;
}

/** Rules whose verbs say no more than update where they say patch too. */
const withoutPatch = (rules: Any[]) =>
  rules.map((rule) => ({
    ...rule,
    verbs: rule.verbs.includes("update") && !rule.resources?.some((r: string) => /^(pods|events)/.test(r))
      ? rule.verbs.filter((verb: string) => verb !== "patch")
      : rule.verbs,
  }));

async function objectsOf(cluster: Cluster): Promise<Record<string, Any>> {
  const found: Record<string, Any> = {};
  for (const [plural, path] of Object.entries(LISTS)) {
    const { items } = await (await cluster.fetch(path)).json();
    for (const item of items) {
      const { namespace, name } = item.metadata;
      found[`${plural}/${namespace ? `${namespace}/` : ""}${name}`] = shownOf(plural, item);
    }
  }
  return found;
}

/** In one order of keys. */
const ordered = (value: Any): Any =>
  Array.isArray(value)
    ? value.map(ordered)
    : typeof value === "object" && value !== null
    ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, ordered(value[key])]))
    : value;

Deno.test("a new cluster's own objects are upstream's", async () => {
  const wanted: Record<string, Any> = JSON.parse(
    await Deno.readTextFile(new URL("bootstrap/objects.json", FOLDER)),
  );
  await using cluster = await Cluster.start({ components: ["api"] });
  const found = await objectsOf(cluster);
  assertEquals(Object.keys(found).filter((key) => !OWN.has(key)).sort(), Object.keys(wanted).sort());
  for (const [key, object] of Object.entries(wanted)) {
    const [ours, theirs] = [ordered(found[key]), ordered(object)];
    if (PATCHES.has(key)) {
      ours.rules = withoutPatch(ours.rules);
      theirs.rules = withoutPatch(theirs.rules);
    }
    for (const part of Object.keys(theirs)) {
      if (theirs[part] === null) continue;
      assertEquals(ours[part], theirs[part], `${key} ${part}`);
    }
  }
});

Deno.test("a start gives back what was taken from the bootstrap roles, unless they say otherwise", async () => {
  const role = (name: string) => ({
    resource: { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterroles" },
    name,
  });
  const binding = (name: string) => ({
    resource: { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterrolebindings" },
    name,
  });
  const SCHEDULER = "system:kube-scheduler";
  const BASIC = "system:basic-user";
  await using cluster = await Cluster.start({ components: ["api"] });
  const { client } = cluster;
  const rules = (await client.get<Any>(role(SCHEDULER))).rules;
  const own = { apiGroups: ["example.com"], resources: ["things"], verbs: ["get"] };
  const merge = (target: Any, body: Any) => client.patch(target, { type: "merge", body });
  await merge(role(SCHEDULER), { rules: [...rules.slice(2), own] });
  await merge(role(BASIC), {
    metadata: { annotations: { "rbac.authorization.kubernetes.io/autoupdate": "false" } },
    rules: [],
  });
  await merge(binding(SCHEDULER), { subjects: [] });
  await client.delete(role("system:discovery"));
  const snapshot = await cluster.snapshot();
  await using again = await Cluster.start({ components: ["api"], snapshot });
  const mended = (await again.client.get<Any>(role(SCHEDULER))).rules;
  assert(rules.slice(0, 2).every((rule: Any) => mended.some((one: Any) => JSON.stringify(one) === JSON.stringify(rule))));
  assert(mended.some((one: Any) => one.resources?.includes("things")), "what was added stays");
  assertEquals((await again.client.get<Any>(role(BASIC))).rules ?? [], []);
  assertEquals((await again.client.get<Any>(binding(SCHEDULER))).subjects.length, 1);
  assert((await again.client.get<Any>(role("system:discovery"))).rules.length > 0);
});
