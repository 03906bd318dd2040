/** Identity through the HTTP door: what authenticators and authorizers decide reaches the client as it should. */
import { assertEquals } from "@std/assert";
import type { Authorizer } from "../auth/contract.ts";
import type { Client, User } from "../client/contract.ts";
import { ADMIN, type Fixture, openApi } from "./fixture_test.ts";

const SECRETS = "/api/v1/namespaces/default/secrets";
const RBAC = { group: "rbac.authorization.k8s.io", version: "v1" };
const eve: User = { name: "eve", groups: ["system:authenticated"] };

async function status(f: Fixture, path: string, user: User, headers: Record<string, string> = {}) {
  const response = await f.api.fetch(new Request(`http://x${path}`, { headers }), { user });
  const body = await response.json();
  return [response.status, response.status === 200 ? body.kind : body.message];
}

async function grant(client: Client, name: string, ...rules: unknown[]): Promise<void> {
  await client.create({ resource: { ...RBAC, plural: "clusterroles" } }, {
    metadata: { name },
    rules,
  });
  await client.create({ resource: { ...RBAC, plural: "clusterrolebindings" } }, {
    metadata: { name },
    roleRef: { apiGroup: RBAC.group, kind: "ClusterRole", name },
    subjects: [{ apiGroup: RBAC.group, kind: "User", name }],
  });
}

Deno.test("a right to one name is enough for a list and a watch that select it", async () => {
  await using f = await openApi();
  await grant(f.client, "eve", {
    verbs: ["list"],
    apiGroups: [""],
    resources: ["secrets"],
    resourceNames: ["mine"],
  });
  assertEquals(await status(f, `${SECRETS}?fieldSelector=metadata.name%3Dmine`, eve), [
    200,
    "SecretList",
  ]);
  for (
    const query of ["", "?fieldSelector=metadata.name%3Dyours", "?fieldSelector=metadata.name!%3Dx"]
  ) {
    assertEquals((await status(f, SECRETS + query, eve))[0], 403, query);
  }
});

Deno.test("constrained impersonation counts for the request that it allows and no other", async () => {
  await using f = await openApi();
  await grant(f.client, "bob", { verbs: ["get", "list"], apiGroups: [""], resources: ["secrets"] });
  await grant(
    f.client,
    "eve",
    { verbs: ["impersonate-on:user-info:list"], apiGroups: [""], resources: ["secrets"] },
    {
      verbs: ["impersonate:user-info"],
      apiGroups: ["authentication.k8s.io"],
      resources: ["users"],
    },
  );
  const as = { "impersonate-user": "bob" };
  assertEquals(await status(f, SECRETS, eve, as), [200, "SecretList"]);
  assertEquals(await status(f, `${SECRETS}/x`, eve, as), [
    403,
    'secrets "x" is forbidden: User "eve" cannot impersonate-on:user-info:get resource "secrets" ' +
    'in API group "" in the namespace "default"',
  ]);
  assertEquals((await status(f, "/metrics", eve, as))[0], 403);
});

Deno.test("an authorizer that answers late is waited for; its denial and its failure are told", async () => {
  const late: Authorizer = {
    authorize: ({ user, resource }) =>
      Promise.resolve(
        user === ADMIN || resource === "secrets"
          ? { allowed: true }
          : resource === "pods"
          ? { allowed: false, denied: true, reason: "not you" }
          : { allowed: false, error: "nobody answers" },
      ),
    rules: () => ({ rules: [], errors: [] }),
  };
  await using f = await openApi({ authorizer: late });
  assertEquals((await status(f, SECRETS, eve))[0], 200);
  assertEquals(await status(f, "/api/v1/namespaces/default/pods", eve), [
    403,
    'pods is forbidden: User "eve" cannot list resource "pods" in API group "" in the namespace ' +
    '"default": not you',
  ]);
  assertEquals(await status(f, "/api/v1/namespaces/default/configmaps", eve), [
    500,
    "Internal error occurred: nobody answers",
  ]);
  assertEquals(await status(f, "/metrics", eve), [500, "Internal error occurred: nobody answers"]);
});

Deno.test("who may update or patch does not therefore create what is not there", async () => {
  await using f = await openApi();
  await grant(
    f.client,
    "eve",
    { verbs: ["patch"], apiGroups: [""], resources: ["configmaps"] },
    { verbs: ["update"], apiGroups: ["rbac.authorization.k8s.io"], resources: ["roles"] },
  );
  const send = async (method: string, path: string, type: string, body: unknown) => {
    const response = await f.api.fetch(
      new Request(`http://x${path}`, {
        method,
        headers: { "content-type": type },
        body: JSON.stringify(body),
      }),
      { user: eve },
    );
    return [response.status, (await response.json()).message];
  };
  const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "new" }, data: { a: "1" } };
  assertEquals(
    await send(
      "PATCH",
      "/api/v1/namespaces/default/configmaps/new?fieldManager=eve",
      "application/apply-patch+yaml",
      map,
    ),
    [
      403,
      'configmaps "new" is forbidden: User "eve" cannot create resource "configmaps" in API group ' +
      '"" in the namespace "default"',
    ],
  );
  const role = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { name: "new" },
    rules: [],
  };
  const path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/new";
  assertEquals((await send("PUT", path, "application/json", role))[0], 403);
});
