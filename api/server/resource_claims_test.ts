/** Who may write what of a ResourceClaim's status, through the door: by roles, tokens' nodes and verbs. */
import { assertEquals } from "@std/assert";
import type { Authorizer } from "../auth/contract.ts";
import type { User } from "../client/contract.ts";
import { ADMIN, type Fixture, openApi } from "./fixture_test.ts";

// deno-lint-ignore no-explicit-any -- claims as they come
type Obj = any;

const GROUP = "resource.k8s.io";
const RBAC = { group: "rbac.authorization.k8s.io", version: "v1" };
const CLAIMS = { group: GROUP, version: "v1", plural: "resourceclaims" };
const AT = `https://k/apis/${GROUP}/v1/namespaces/default/resourceclaims/c/status`;
const DRIVER = "gpu.example.com";
const DEVICE = { driver: DRIVER, pool: "p", device: "d" };
const ALLOCATION = {
  devices: { results: [{ request: "r", ...DEVICE }] },
  nodeSelector: {
    nodeSelectorTerms: [{
      matchFields: [{ key: "metadata.name", operator: "In", values: ["n1"] }],
    }],
  },
};
const agent = (...nodes: string[]): User => ({
  name: "system:serviceaccount:gpu:agent",
  groups: ["system:serviceaccounts", "system:serviceaccounts:gpu", "system:authenticated"],
  extra: { "authentication.kubernetes.io/node-name": nodes },
});
const eve: User = { name: "eve", groups: ["system:authenticated"] };
const STATUS = right(["get", "update", "patch"], "status");

function right(verbs: string[], subresource: string, ...resourceNames: string[]) {
  return {
    verbs,
    apiGroups: [GROUP],
    resources: [`resourceclaims/${subresource}`],
    ...(resourceNames.length > 0 && { resourceNames }),
  };
}

async function grant(f: Fixture, user: User, namespace: string, rules: unknown[]): Promise<void> {
  const name = `r${f.database.objects.view().revision}`;
  const kind = namespace ? "Role" : "ClusterRole";
  const plural = kind.toLowerCase();
  await f.client.create({ resource: { ...RBAC, plural: `${plural}s` }, namespace }, {
    metadata: { name },
    rules,
  });
  await f.client.create({ resource: { ...RBAC, plural: `${plural}bindings` }, namespace }, {
    metadata: { name },
    roleRef: { apiGroup: RBAC.group, kind, name },
    subjects: [{ apiGroup: RBAC.group, kind: "User", name: user.name }],
  });
}

/** Makes the claim `c` with a status. */
async function claim(f: Fixture, status?: Obj): Promise<void> {
  const target = { resource: CLAIMS, namespace: "default" };
  const made = await f.client.create<Obj>(target, {
    metadata: { name: "c" },
    spec: { devices: { requests: [{ name: "r", exactly: { deviceClassName: "gpu" } }] } },
  });
  if (!status) return;
  await f.client.update({ ...target, name: "c", subresource: "status" }, { ...made, status });
}

/** Writes the status as somebody; what was answered, with the message of a refusal. */
async function write(
  f: Fixture,
  user: User,
  status: Obj,
  type?: "merge-patch+json" | "apply-patch+yaml",
): Promise<[number, string?]> {
  const target = { resource: CLAIMS, namespace: "default", name: "c" };
  const stored = await f.client.get<Obj>(target);
  const named = { apiVersion: `${GROUP}/v1`, kind: "ResourceClaim", metadata: { name: "c" } };
  const body = type ? { ...type.startsWith("apply") && named, status } : { ...stored, status };
  const query = type?.startsWith("apply") ? "&fieldManager=m&force=true" : "";
  const response = await f.api.fetch(
    new Request(`${AT}?dryRun=All${query}`, {
      method: type ? "PATCH" : "PUT",
      headers: { "content-type": `application/${type ?? "json"}` },
      body: JSON.stringify(body),
    }),
    { user },
  );
  const { message } = await response.json();
  return response.status === 200 ? [200] : [response.status, message];
}

const invalid = (field: string, what: string, why: string) =>
  `ResourceClaim.${GROUP} "c" is invalid: status.${field}: Forbidden: changing ${what} permission: ` +
  why;
const bindRefused = (user: string, verb: string) =>
  invalid(
    "allocation",
    `status.allocation or status.reservedFor requires resource="resourceclaims/binding", ` +
      `verb="${verb}"`,
    `resourceclaims.${GROUP} is forbidden: User "${user}" cannot ${verb} resource ` +
      `"resourceclaims/binding" in API group "${GROUP}" at the cluster scope`,
  );
const tellRefused = (user: string, ...verbs: string[]) =>
  invalid(
    "devices",
    `status.devices requires resource="resourceclaims/driver", verb="[${verbs.join(" ")}]"`,
    `resourceclaims.${GROUP} "${DRIVER}" is forbidden: User "${user}" cannot ${
      verbs[0]
    } resource ` +
      `"resourceclaims/driver" in API group "${GROUP}" in the namespace "default"`,
  );

Deno.test("a claim is bound by who may bind claims of all namespaces, whichever way they write", async () => {
  await using f = await openApi();
  await claim(f);
  const status = { allocation: ALLOCATION };
  await grant(f, eve, "", [STATUS]);
  // A right in the claim's own namespace is none
  await grant(f, eve, "default", [right(["update", "patch"], "binding")]);
  const refused = (verb: string): [number, string] => [422, bindRefused("eve", verb)];
  assertEquals(await write(f, eve, status), refused("update"));
  assertEquals(await write(f, eve, status, "merge-patch+json"), refused("patch"));
  assertEquals(await write(f, eve, status, "apply-patch+yaml"), refused("patch"));
  await grant(f, eve, "", [right(["patch"], "binding")]);
  assertEquals(await write(f, eve, status), refused("update"));
  assertEquals(await write(f, eve, status, "merge-patch+json"), [200]);
  assertEquals(await write(f, eve, status, "apply-patch+yaml"), [200]);
  assertEquals(await write(f, ADMIN, status), [200]);
});

Deno.test("a driver's devices are told of by who may for that driver, here or everywhere", async () => {
  await using f = await openApi();
  await claim(f, { allocation: ALLOCATION });
  const status = { allocation: ALLOCATION, devices: [{ ...DEVICE, data: { up: true } }] };
  await grant(f, eve, "", [STATUS]);
  const verb = "arbitrary-node:update";
  await grant(f, eve, "", [right([verb], "driver", "other.example.com")]);
  assertEquals(await write(f, eve, status), [422, tellRefused("eve", verb)]);
  await grant(f, eve, "default", [right([verb], "driver", DRIVER)]);
  assertEquals(await write(f, eve, status), [200]);
  const patch = { devices: status.devices };
  assertEquals(await write(f, eve, patch, "merge-patch+json"), [
    422,
    tellRefused("eve", "arbitrary-node:patch"),
  ]);
  const both = { ...status, reservedFor: [{ resource: "pods", name: "p", uid: "u" }] };
  assertEquals(await write(f, eve, both), [422, bindRefused("eve", "update")]);
});

Deno.test("an agent's token says on which node it may tell of devices", async () => {
  await using f = await openApi();
  await claim(f, { allocation: ALLOCATION });
  const status = { allocation: ALLOCATION, devices: [DEVICE] };
  const { name } = agent();
  const verbs = ["associated-node:update", "arbitrary-node:update"];
  await grant(f, agent(), "", [STATUS]);
  assertEquals(await write(f, agent("n1"), status), [422, tellRefused(name, ...verbs)]);
  await grant(f, agent(), "", [right([verbs[0]], "driver", DRIVER)]);
  assertEquals(await write(f, agent("n1"), status), [200]);
  for (const user of [agent("n2"), agent(), agent("n1", "n1"), agent("N1")]) {
    assertEquals(await write(f, user, status), [422, tellRefused(name, verbs[1])]);
  }
  // Only a ServiceAccount is bound to a node
  const posing = { ...eve, extra: agent("n1").extra };
  await grant(f, eve, "", [STATUS, right([verbs[0]], "driver")]);
  assertEquals(await write(f, posing, status), [422, tellRefused("eve", verbs[1])]);
});

Deno.test("authorizers that answer late are waited for, and their errors are told", async () => {
  const asked: string[] = [];
  const late: Authorizer = {
    authorize({ user, verb, subresource, namespace, name }) {
      if (user === ADMIN || subresource === "status") return { allowed: true };
      asked.push(`${verb} ${subresource} ${namespace}/${name}`);
      const allowed = subresource === "binding";
      return Promise.resolve(allowed ? { allowed } : { allowed, error: "broken", reason: "away" });
    },
    rules: () => ({ rules: [], errors: [] }),
  };
  await using f = await openApi({ authorizer: late });
  await claim(f);
  const status = { allocation: ALLOCATION, devices: [DEVICE] };
  const verbs = ["associated-node:update", "arbitrary-node:update"];
  assertEquals(await write(f, agent("n1"), status), [
    422,
    `${tellRefused(agent().name, ...verbs)}: broken: away`,
  ]);
  assertEquals(asked, [
    "update binding /",
    `${verbs[0]} driver default/${DRIVER}`,
    `${verbs[1]} driver default/${DRIVER}`,
  ]);
});

Deno.test("with the gate off, the right to write a claim's status is enough", async () => {
  const features = new Map([["DRAResourceClaimGranularStatusAuthorization", false]]);
  await using f = await openApi({ features });
  await claim(f);
  await grant(f, eve, "", [STATUS]);
  assertEquals(await write(f, eve, { allocation: ALLOCATION, devices: [DEVICE] }), [200]);
});
