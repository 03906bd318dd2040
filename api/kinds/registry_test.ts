import { assertEquals } from "@std/assert";
import { createKinds } from "./registry.ts";

const kinds = createKinds({ beta: true }).all();
const name = (k: { group: string; version: string; plural: string }) =>
  `${k.group ? `${k.group}/` : ""}${k.version}/${k.plural}`;

Deno.test("every row has a schema, and a list's", () => {
  for (const kind of kinds) {
    assertEquals(kind.schemas[kind.schema]?.type, "object", name(kind));
    const list = kind.schema.replace(/[^.]+$/, kind.listKind);
    if (kind.verbs.includes("list")) {
      assertEquals(kind.schemas[list]?.properties?.items?.type, "array", list);
    }
  }
});

Deno.test("resources are named once and kinds of one path share a storage version", () => {
  const names = kinds.map(name);
  assertEquals(names.length, new Set(names).size);
  const stored = new Map<string, string>();
  for (const kind of kinds) {
    if (kind.virtual) continue;
    const own = kind.group ? `${kind.group}/${kind.version}` : kind.version;
    const version = kind.storage?.version ?? own;
    assertEquals(stored.get(kind.path) ?? version, version, name(kind));
    stored.set(kind.path, version);
  }
});

Deno.test("beta versions are behind the switch", () => {
  const ga = createKinds();
  assertEquals(ga.byResource("networking.k8s.io", "v1beta1", "ipaddresses"), undefined);
  assertEquals(ga.all().filter((k) => k.level), []);
  assertEquals(kinds.some((k) => k.level === "beta"), true);
});

Deno.test("upstream's storage layout", () => {
  const registry = createKinds();
  const paths: [string, string, string, string][] = [
    ["", "v1", "pods", "/registry/pods"],
    ["", "v1", "nodes", "/registry/minions"],
    ["", "v1", "services", "/registry/services/specs"],
    ["", "v1", "endpoints", "/registry/services/endpoints"],
    ["", "v1", "replicationcontrollers", "/registry/controllers"],
    ["networking.k8s.io", "v1", "ingresses", "/registry/ingress"],
    ["apps", "v1", "deployments", "/registry/deployments"],
    [
      "apiextensions.k8s.io",
      "v1",
      "customresourcedefinitions",
      "/registry/apiextensions.k8s.io/customresourcedefinitions",
    ],
    ["apiregistration.k8s.io", "v1", "apiservices", "/registry/apiregistration.k8s.io/apiservices"],
    ["autoscaling", "v1", "horizontalpodautoscalers", "/registry/horizontalpodautoscalers"],
    ["events.k8s.io", "v1", "events", "/registry/events"],
  ];
  for (const [group, version, plural, path] of paths) {
    assertEquals(registry.byResource(group, version, plural)?.path, path);
  }
});

/** `plural(short names)[categories] verbs subresources`, as upstream's discovery of 1.36 has them. */
const EXPECTED: Record<string, string> = {
  "v1/pods": "po all attach:create+get binding:create ephemeralcontainers eviction:create " +
    "exec:create+get log:get portforward:create+get proxy:create+delete+get+patch+update " +
    "resize status",
  "v1/namespaces": "ns -deletecollection finalize:update status",
  "v1/serviceaccounts": "sa token:create",
  "v1/nodes": "no proxy:create+delete+get+patch+update status",
  "v1/componentstatuses": "cs get+list",
  "apps/v1/deployments": "deploy all scale status",
  "certificates.k8s.io/v1/certificatesigningrequests": "csr approval status",
  "apiextensions.k8s.io/v1/customresourcedefinitions": "crd,crds api-extensions status",
  "authorization.k8s.io/v1/localsubjectaccessreviews": "create",
  "coordination.k8s.io/v1/leases": "",
};

function describe(kind: (typeof kinds)[number]): string {
  const words: string[] = [];
  if (kind.shortNames) words.push(kind.shortNames.join());
  if (kind.categories) words.push(kind.categories.join());
  if (kind.verbs.length === 7) words.push("-deletecollection");
  else if (kind.verbs.length < 7) words.push(kind.verbs.join("+"));
  for (const sub of kind.subresources) {
    const verbs = sub.verbs.toSorted().join("+");
    words.push(verbs === "get+patch+update" ? sub.name : `${sub.name}:${verbs}`);
  }
  return words.join(" ");
}

Deno.test("names, verbs and subresources are upstream's", () => {
  for (const kind of kinds) {
    const expected = EXPECTED[name(kind)];
    if (expected !== undefined) assertEquals(describe(kind), expected, name(kind));
  }
});

Deno.test("custom kinds come and go, and never take a built-in one's place", () => {
  const registry = createKinds();
  const pods = registry.byKind("", "v1", "Pod")!;
  const widget = { ...pods, group: "example.com", kind: "Widget", plural: "widgets", custom: true };
  const before = registry.version;
  registry.setCustom("widgets.example.com", [widget, { ...pods, custom: true }]);
  assertEquals(registry.version, before + 1);
  assertEquals(registry.byResource("example.com", "v1", "widgets")?.kind, "Widget");
  assertEquals(registry.byKind("", "v1", "Pod"), pods);
  registry.setCustom("widgets.example.com", []);
  assertEquals(registry.byResource("example.com", "v1", "widgets"), undefined);
  assertEquals(registry.byKind("", "v1", "Pod"), pods);
  registry.setCustom("widgets.example.com", []);
  assertEquals(registry.version, before + 2);
});

Deno.test("kinds that are going are told in upstream's words, others are not", () => {
  const all = createKinds({ beta: true });
  const said = (group: string, version: string, plural: string) =>
    all.byResource(group, version, plural)!.deprecationWarning;
  assertEquals(
    said("networking.k8s.io", "v1beta1", "servicecidrs"),
    "networking.k8s.io/v1beta1 ServiceCIDR is deprecated in v1.34+, unavailable in v1.37+",
  );
  assertEquals(
    said("storage.k8s.io", "v1beta1", "volumeattributesclasses"),
    "storage.k8s.io/v1beta1 VolumeAttributesClass is deprecated in v1.34+, unavailable in v1.37+; " +
      "use storage.k8s.io/v1 VolumeAttributesClass",
  );
  assertEquals(said("resource.k8s.io", "v1beta2", "devicetaintrules"), undefined);
  assertEquals(said("networking.k8s.io", "v1", "servicecidrs"), undefined);
});
