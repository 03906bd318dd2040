import { assertEquals, assertStringIncludes } from "@std/assert";
import { edit } from "../../machinery/edit.ts";
import type { KindContext, KubeObject, Right } from "../../machinery/types.ts";
import { contextOf, decoded, kindOf, lines } from "./fixture.ts";

// deno-lint-ignore no-explicit-any -- tests write objects as they come
type Obj = any;

const KIND = "resource.k8s.io/v1/ResourceClaim";
const GATE = "DRAResourceClaimGranularStatusAuthorization";
const [A, B] = ["a.example.com", "b.example.com"];
const told = (driver: string, more: Obj = {}) => ({ driver, pool: "p", device: "d", ...more });
const onNode = (name: string) => ({
  nodeSelectorTerms: [{
    matchFields: [{ key: "metadata.name", operator: "In", values: [name] }],
  }],
});
const ALLOCATION = {
  devices: { results: [A, B].map((driver) => ({ request: "r", ...told(driver) })) },
  nodeSelector: onNode("n1"),
};
const BIND = (verb: string) =>
  "status.allocation: Forbidden: changing status.allocation or status.reservedFor requires " +
  `resource="resourceclaims/binding", verb="${verb}" permission: no ${verb} binding in "" ""`;
const tell = (driver: string, verbs: string[]) =>
  'status.devices: Forbidden: changing status.devices requires resource="resourceclaims/driver", ' +
  `verb="[${verbs.join(" ")}]" permission: no ${verbs[0]} driver in here "${driver}"`;

/** What changes of a claim's status come to for somebody who has `rights`, each `verb subresource name`. */
function change(
  before: Obj,
  after: Obj,
  rights: readonly string[],
  context: Partial<KindContext> = {},
): { status: Obj; problems: string[] } {
  const { hooks } = kindOf(KIND);
  const spec = {
    devices: { requests: [{ name: "r", exactly: { deviceClassName: "c", count: 2 } }] },
  };
  const old = decoded(KIND, { metadata: { name: "x" }, spec, status: before });
  const claim = edit(old) as KubeObject;
  claim.status = after;
  const refused = ({ verb, subresource, namespace, name }: Right) =>
    rights.includes(`${verb} ${subresource} ${name}`.trim())
      ? undefined
      : `no ${verb} ${subresource} in ${JSON.stringify(namespace) ?? "here"} "${name}"`;
  const all = { ...contextOf("status"), refused, ...context };
  hooks.prepareUpdate!(claim, old, all);
  return { status: claim.status, problems: lines(hooks.validateUpdate!(claim, old, all)) };
}

Deno.test("allocating, reserving and letting go of a claim take the right to bind by the verb of the request", () => {
  const user = { resource: "pods", name: "p", uid: "u" };
  const cases: [before: Obj, after: Obj][] = [
    [{}, { allocation: ALLOCATION }],
    [{ allocation: ALLOCATION }, {}],
    [{ allocation: ALLOCATION }, { allocation: ALLOCATION, reservedFor: [user] }],
    [{ allocation: ALLOCATION, reservedFor: [user] }, { allocation: ALLOCATION }],
  ];
  for (const [before, after] of cases) {
    for (const verb of ["update", "patch"]) {
      const other = verb === "update" ? "patch" : "update";
      const problems = (right: string) =>
        change(before, after, [`${right} binding`], { verb }).problems;
      assertEquals(problems(verb), []);
      assertEquals(problems(other), [BIND(verb)]);
    }
  }
  const same = { allocation: ALLOCATION };
  assertEquals(change(same, { ...same, reservedFor: [] }, []).problems, []);
});

Deno.test("what is told of devices takes a right on every driver whose devices are concerned", () => {
  const allocation = ALLOCATION;
  const before = { allocation, devices: [told(A), told(B)] };
  const data = { x: 1 };
  const cases: [devices: Obj[] | undefined, drivers: string[]][] = [
    [[told(A, { data }), told(B)], [A]],
    [[told(B, { data }), told(A, { data })], [A, B]],
    [[told(B)], [A]],
    [undefined, [A, B]],
    [[told(B), told(A)], []],
  ];
  for (const [devices, drivers] of cases) {
    const problems = (rights: string[], context?: Partial<KindContext>) =>
      change(before, { allocation, devices }, rights, context).problems;
    assertEquals(problems([]), drivers.map((driver) => tell(driver, ["arbitrary-node:update"])));
    assertEquals(problems(drivers.map((driver) => `arbitrary-node:update driver ${driver}`)), []);
    assertEquals(
      problems([`arbitrary-node:patch driver ${A}`], { verb: "patch" }),
      drivers.filter((driver) => driver !== A).map((driver) =>
        tell(driver, ["arbitrary-node:patch"])
      ),
    );
    // Who may bind may not therefore tell
    const bound = problems(["update binding", `associated-node:update driver ${A}`]);
    assertEquals(bound, drivers.map((driver) => tell(driver, ["arbitrary-node:update"])));
  }
});

Deno.test("a driver's agent may tell of its devices where it runs itself and nowhere else", () => {
  const verbs = ["associated-node:update", "arbitrary-node:update"];
  const rights = [`associated-node:update driver ${A}`];
  const problems = (nodeSelector: Obj, accountNode?: string, held = rights) => {
    const allocation = { ...ALLOCATION, nodeSelector };
    return change({ allocation }, { allocation, devices: [told(A)] }, held, { accountNode })
      .problems;
  };
  assertEquals(problems(onNode("n1"), "n1"), []);
  assertEquals(problems(onNode("n1"), "n1", [`arbitrary-node:update driver ${A}`]), []);
  assertEquals(problems(onNode("n1"), "n1", []), [tell(A, verbs)]);
  const [term] = onNode("n1").nodeSelectorTerms;
  const [field] = term.matchFields;
  const expression = { key: "a", operator: "Exists" };
  const elsewhere: [Obj, string | undefined][] = [
    [onNode("n1"), undefined],
    [onNode("n1"), "n2"],
    [undefined, "n1"],
    [{ nodeSelectorTerms: [term, term] }, "n1"],
    [{ nodeSelectorTerms: [{ ...term, matchExpressions: [expression] }] }, "n1"],
    [{ nodeSelectorTerms: [{ matchFields: [field, field] }] }, "n1"],
    [{ nodeSelectorTerms: [{ matchFields: [{ ...field, operator: "NotIn" }] }] }, "n1"],
    [{ nodeSelectorTerms: [{ matchExpressions: [{ ...field, key: "n" }] }] }, "n1"],
  ];
  for (const [selector, node] of elsewhere) {
    const hint = JSON.stringify([selector, node]);
    assertEquals(problems(selector, node), [tell(A, verbs.slice(1))], hint);
  }
});

Deno.test("with its gate off, a claim's status takes no other right", () => {
  const features = new Map([[GATE, false]]);
  const after = { allocation: ALLOCATION, devices: [told(A)] };
  assertEquals(change({}, after, [], { features }).problems, []);
  assertEquals(change({}, after, []).problems, [
    BIND("update"),
    tell(A, ["arbitrary-node:update"]),
  ]);
});

Deno.test("what is told of devices goes with them, whoever takes them", () => {
  const before = { allocation: ALLOCATION, devices: [told(A), told(B)] };
  const { devices } = before;
  assertEquals(change(before, { devices }, ["update binding"]), { status: {}, problems: [] });
  const [, result] = ALLOCATION.devices.results;
  const allocation = { devices: { results: [result] } };
  assertEquals(change(before, { allocation, devices }, []).status, {
    allocation,
    devices: [told(B)],
  });
  // Of devices that it never had nothing is dropped: that is refused
  const { status, problems } = change({}, { allocation, devices }, ["update binding"]);
  assertEquals(status.devices, devices);
  assertStringIncludes(problems.at(-1)!, "must be an allocated device in the claim");
});

Deno.test("a claim's status loses what belongs to gates that are off, unless it has had such", () => {
  const rights = ["update binding", `arbitrary-node:update driver ${A}`];
  const [result] = ALLOCATION.devices.results;
  const given = (more: Obj = {}) => ({ devices: { results: [{ ...result, ...more }] } });
  const binding = { bindingConditions: ["there"], bindingFailureConditions: ["broken"] };
  const off = (gate: string) => ({ features: new Map([[gate, false], [GATE, false]]) });
  const status = { allocation: given(binding), devices: [told(A, { conditions: [] })] };

  const mute = off("DRAResourceClaimDeviceStatus");
  assertEquals(change({}, status, rights, mute).status, { allocation: given(binding) });
  const before = { allocation: given(binding), devices: [told(A)] };
  assertEquals(change(before, status, rights, mute).status, status);

  const unbound = off("DRADeviceBindingConditions");
  assertEquals(change({}, structuredClone(status), rights, unbound).status, {
    ...status,
    allocation: given(),
  });
  assertEquals(change(before, status, rights, unbound).status, status);
});
