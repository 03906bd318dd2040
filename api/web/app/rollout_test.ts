import { assertEquals } from "@std/assert";
import { familyOf, type Relative } from "./family.ts";
import { progressOf, revisionsOf, undoPatch } from "./rollout.ts";
import { selectorText } from "./selectors.ts";

const owner = {
  metadata: {
    uid: "d",
    generation: 2,
    annotations: { "deployment.kubernetes.io/revision": "2", mine: "goes" },
  },
};
const set = (revision: number, image: string, uid = "d") => ({
  metadata: {
    name: `web-${revision}`,
    creationTimestamp: "2026-01-01T00:00:00Z",
    annotations: { "deployment.kubernetes.io/revision": String(revision), kept: "comes" },
    ownerReferences: [{ uid, controller: true }],
  },
  spec: {
    replicas: 1,
    template: {
      metadata: { labels: { app: "web", "pod-template-hash": "x" } },
      spec: { containers: [{ name: "c", image }] },
    },
  },
  status: { readyReplicas: 1 },
});

Deno.test("revisionsOf() are the owner's own, the newest first", () => {
  const found = revisionsOf(owner, [set(1, "a:1"), set(10, "a:10"), set(9, "b", "other")]);
  assertEquals(found.map(({ revision, images, ready }) => [revision, images, ready]), [
    [10, ["a:10"], 1],
    [1, ["a:1"], 1],
  ]);
});

Deno.test("undoPatch() of a Deployment is what kubectl sends", () => {
  const [revision] = revisionsOf(owner, [set(1, "a:1")]);
  assertEquals(undoPatch(owner, revision), {
    type: "json",
    body: [
      {
        op: "replace",
        path: "/spec/template",
        value: {
          metadata: { labels: { app: "web" } },
          spec: { containers: [{ name: "c", image: "a:1" }] },
        },
      },
      {
        op: "replace",
        path: "/metadata/annotations",
        value: { "deployment.kubernetes.io/revision": "2", kept: "comes" },
      },
    ],
  });
});

Deno.test("undoPatch() of others is the patch that their revision holds", () => {
  const data = { spec: { template: { $patch: "replace", spec: {} } } };
  const metadata = { name: "r", ownerReferences: [{ uid: "d", controller: true }] };
  const [revision] = revisionsOf(owner, [{ metadata, data, revision: 3 }]);
  assertEquals(revision.revision, 3);
  assertEquals(undoPatch(owner, revision), { type: "strategic", body: data });
});

Deno.test("progressOf() is done when everything wanted is new, there, and seen", () => {
  const status = { observedGeneration: 2, replicas: 3, updatedReplicas: 3, availableReplicas: 3 };
  const done = (changed: object) =>
    progressOf({ ...owner, spec: { replicas: 3 }, status: { ...status, ...changed } }).done;
  assertEquals(done({}), true);
  assertEquals(done({ observedGeneration: 1 }), false);
  assertEquals(done({ updatedReplicas: 2 }), false);
  assertEquals(done({ replicas: 4 }), false);
  assertEquals(done({ availableReplicas: 2 }), false);
});

Deno.test("selectorText() writes every kind of selector", () => {
  const text = (selector: unknown) => selectorText({ spec: { selector } });
  assertEquals(text({ app: "web", tier: "a" }), "app=web,tier=a");
  assertEquals(
    text({
      matchLabels: { app: "web" },
      matchExpressions: [
        { key: "a", operator: "In", values: ["x", "y"] },
        { key: "b", operator: "DoesNotExist" },
      ],
    }),
    "app=web,a in (x,y),!b",
  );
  assertEquals(text({}), undefined);
  assertEquals(text(undefined), undefined);
});

Deno.test("familyOf() begins at the farthest owner, and ends where owners go in a circle", () => {
  const one = (uid: string, ...owners: string[]): Relative => ({
    kind: { group: "", plural: "x", kind: "X" },
    metadata: {
      name: uid,
      uid,
      ownerReferences: owners.map((owner) => ({ uid: owner, kind: "X", name: owner })),
    },
  });
  const shape = (branches: readonly any[]): string =>
    branches.map(({ relative, children }) =>
      relative.metadata.uid + (children.length ? `(${shape(children)})` : "")
    ).join(" ");
  const all = [one("d"), one("r", "d"), one("p", "r"), one("q", "r"), one("z"), one("lost", "no")];
  assertEquals(shape(familyOf("p", all)), "d(r(p q))");
  assertEquals(shape(familyOf("lost", all)), "lost");
  assertEquals(shape(familyOf("two", [one("a"), one("b"), one("two", "a", "b")])), "a(two) b(two)");
  assertEquals(shape(familyOf("x", [one("x", "y"), one("y", "x")])), "y(x)");
});
