/**
 * Discovery against what Kubernetes 1.36 answers: `discovery.json` holds, of its kube-apiserver, the order of
 * group-versions and a line for each resource (scope, kind, singular, verbs, short names, categories, storage hash).
 */
import { assertEquals } from "@std/assert";
import { createKinds } from "../../api/kinds/mod.ts";
import { Discovery, type DiscoveredResource } from "../../api/server/discovery.ts";

interface Facts {
  default: string[];
  beta: string[];
  resources: Record<string, Record<string, string>>;
}

interface Resource {
  name: string;
  namespaced: boolean;
  group?: string;
  version?: string;
  kind: string;
  singularName: string;
  verbs: string[];
  shortNames?: string[];
  categories?: string[];
  storageVersionHash?: string;
}

/** Ours alone, on purpose: served natively; and kinds behind gates that upstream keeps off when it serves beta kinds. */
const OURS = ["metrics.k8s.io/v1beta1", "certificates.k8s.io/v1beta1", "storagemigration.k8s.io/v1beta1"];
const V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const facts: Facts = JSON.parse(await Deno.readTextFile(new URL("./discovery.json", import.meta.url)));

function lineOf(r: Resource): string {
  return [
    r.namespaced ? "namespaced" : "cluster",
    (r.group === undefined ? "" : `${r.group}/${r.version}/`) + r.kind,
    r.singularName,
    r.verbs.join(","),
    (r.shortNames ?? []).join(","),
    (r.categories ?? []).join(","),
    r.storageVersionHash ?? "",
  ].join(" | ");
}

const bodyOf = <T>(discovery: Discovery, path: string, accept?: string) =>
  discovery.document(path, accept)?.body as T;

function groupVersions(discovery: Discovery): string[] {
  const { groups } = bodyOf<{ groups: { versions: { groupVersion: string }[] }[] }>(discovery, "/apis");
  const all = groups.flatMap((g) => g.versions.map((v) => v.groupVersion));
  return ["v1", ...all].filter((gv) => !OURS.includes(gv));
}

for (const beta of [false, true]) {
  const discovery = new Discovery(createKinds({ beta }));
  const expected = beta ? facts.beta : facts.default;

  Deno.test(`discovery has upstream's group-versions in upstream's order, ${beta ? "beta too" : "by default"}`, () => {
    assertEquals(groupVersions(discovery), expected);
  });

  Deno.test(`discovery has upstream's resources, ${beta ? "beta too" : "by default"}`, () => {
    for (const gv of expected) {
      const { resources } = bodyOf<{ resources: Resource[] }>(discovery, gv === "v1" ? "/api/v1" : `/apis/${gv}`);
      const lines = Object.fromEntries(resources.map((r) => [r.name, lineOf(r)]));
      assertEquals(lines, facts.resources[gv], gv);
      assertEquals(Object.keys(lines), Object.keys(facts.resources[gv]), gv);
    }
  });
}

Deno.test("aggregated discovery says what the documents of group-versions say", () => {
  const discovery = new Discovery(createKinds());
  interface List {
    items: { metadata: { name?: string }; versions: { version: string; resources: DiscoveredResource[] }[] }[];
  }
  const found: Record<string, Record<string, string>> = {};
  const items = [
    ...bodyOf<List>(discovery, "/api", V2).items,
    ...bodyOf<List>(discovery, "/apis", V2).items,
  ];
  for (const { metadata, versions } of items) {
    for (const { version, resources } of versions) {
      const gv = metadata.name ? `${metadata.name}/${version}` : version;
      if (OURS.includes(gv)) continue;
      const lines: Record<string, string> = found[gv] = {};
      for (const { resource, scope, responseKind, singularResource, verbs, shortNames, categories, subresources } of resources) {
        const prefix = ({ group, version }: { group: string; version: string }) => version && `${group}/${version}/`;
        lines[resource] = [
          scope === "Namespaced" ? "namespaced" : "cluster",
          prefix(responseKind) + responseKind.kind,
          singularResource,
          verbs.join(","),
          (shortNames ?? []).join(","),
          (categories ?? []).join(","),
        ].join(" | ");
        for (const sub of subresources ?? []) {
          lines[`${resource}/${sub.subresource}`] = [
            scope === "Namespaced" ? "namespaced" : "cluster",
            prefix(sub.responseKind) + sub.responseKind.kind,
            "",
            sub.verbs.join(","),
            "",
            "",
          ].join(" | ");
        }
      }
    }
  }
  assertEquals(Object.keys(found), facts.default);
  for (const gv of facts.default) {
    const wanted = Object.entries(facts.resources[gv]).map(([name, line]) => [name, line.slice(0, line.lastIndexOf(" | "))]);
    assertEquals(found[gv], Object.fromEntries(wanted), gv);
  }
});
