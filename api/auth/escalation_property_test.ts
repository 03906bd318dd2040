/**
 * The property that matters: whatever somebody who may edit roles and bindings does, in whatever order, nobody gets
 * a permission that the editor lacks. Random edits of roles, bindings, aggregation labels and deletes, in the
 * cluster and in a namespace, against what the editor held at the start.
 */
import { assert, assertEquals } from "@std/assert";
import type { Admission } from "./contract.ts";
import { clusterRoleAggregation } from "./aggregation.ts";
import { authorized } from "./authorized_fixture.ts";
import { rbacEscalation } from "./rbac_escalation.ts";
import { admission, admit, messageOf, type State } from "./state_fixture.ts";

const GROUP = "rbac.authorization.k8s.io";
const VERBS = ["get", "list", "create"];
const RESOURCES = ["pods", "secrets", "deployments"];
const EDITS = {
  verbs: ["create", "update", "delete"],
  apiGroups: [GROUP],
  resources: ["clusterroles", "clusterrolebindings", "roles", "rolebindings"],
};
const PROBES = VERBS.flatMap((verb) =>
  RESOURCES.flatMap((resource) => ["", "ns"].map((namespace) => ({ verb, resource, namespace })))
);

/** A small generator of numbers, so that a failure can be repeated. */
function sequence(seed: number): () => number {
  return () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
}

/** Writes as the pipeline does: both plugins, then the object; the message of a refusal. */
async function write(state: State, given: Partial<Admission> & { resource: string }, key: string) {
  const old = state.view().get(key)?.value;
  const operation = given.object ? (old ? "UPDATE" : "CREATE") : "DELETE";
  const a = admission(state, {
    group: GROUP,
    user: { name: "alice", groups: ["devs"] },
    operation,
    old,
    ...given,
  } as never);
  return await messageOf(async () => {
    if (operation === "DELETE") state.delete(key);
    await admit(rbacEscalation, a, state);
    await admit(clusterRoleAggregation, a, state);
    if (a.object) state.put(key, a.object);
  });
}

Deno.test("rbacEscalation() lets no sequence of edits escalate", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = sequence(seed);
    const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)];
    const rule = () => ({ verbs: [pick(VERBS)], apiGroups: [""], resources: [pick(RESOURCES)] });
    const { state, authorizer, grant } = authorized();
    grant("alice", EDITS, rule(), rule());
    // Somebody mightier leaves strong roles about, one of them gathering others, bound to nobody.
    state.put("/registry/clusterroles/r0", {
      metadata: { name: "r0" },
      rules: [rule(), rule(), rule()],
    });
    state.put("/registry/clusterroles/sum", {
      metadata: { name: "sum" },
      aggregationRule: { clusterRoleSelectors: [{ matchLabels: { into: "sum" } }] },
      rules: [],
    });
    const may = (name: string, probe: typeof PROBES[number]) =>
      authorizer.authorize({
        user: { name, groups: [] },
        resourceRequest: true,
        group: "",
        version: "v1",
        subresource: "",
        name: "",
        path: "",
        ...probe,
      }).allowed;
    const held = new Set(PROBES.filter((probe) => may("alice", probe)));
    let accepted = 0;
    for (let step = 0; step < 50; step++) {
      const namespace = pick(["", "ns"]);
      const kind = namespace ? "Role" : "ClusterRole";
      const plural = `${kind.toLowerCase()}s`;
      const name = pick(["r0", "r1", "r2", "sum"]);
      const what = random();
      const at = namespace ? `${namespace}/` : "";
      const common = { namespace, name };
      let refused: string;
      if (what < 0.5) {
        const labels = random() < 0.4 ? { into: "sum" } : {};
        const rules = random() < 0.5 ? [rule()] : [rule(), rule()];
        const object = { kind, metadata: { name, labels }, rules } as never;
        const key = `/registry/${plural}/${at}${name}`;
        refused = await write(state, { ...common, resource: plural, object }, key);
      } else if (what < 0.6) {
        const key = `/registry/${plural}/${at}${name}`;
        if (!state.items.has(key)) continue;
        refused = await write(state, { ...common, resource: plural }, key);
      } else {
        const subject = { kind: "User", name: pick(["mallory", "alice"]) };
        const roleRef = {
          apiGroup: GROUP,
          kind: namespace ? pick(["Role", "ClusterRole"]) : kind,
          name,
        };
        const object = { metadata: { name: `b${step}` }, roleRef, subjects: [subject] } as never;
        const bindings = `${kind.toLowerCase()}bindings`;
        const key = `/registry/${bindings}/${at}b${step}`;
        refused = await write(state, { ...common, resource: bindings, object }, key);
      }
      if (!refused) accepted++;
      for (const probe of PROBES) {
        const where = `seed ${seed}, step ${step}: ${JSON.stringify(probe)}`;
        assert(held.has(probe) || !may("mallory", probe), where);
        assertEquals(may("alice", probe), held.has(probe), where);
      }
    }
    assert(accepted > 0, `seed ${seed}: every edit was refused, nothing was tried`);
  }
});
