import { assertEquals } from "@std/assert";
import { authorized } from "./authorized_fixture.ts";
import type { Attributes } from "./contract.ts";
import { stored } from "./state_fixture.ts";

Deno.test("NodeAuthorizer() gives a node its own and what its pods need", async (t) => {
  const { state, authorizer } = authorized();
  const node = { name: "system:node:n1", groups: ["system:nodes", "system:authenticated"] };
  const pod = (name: string, nodeName: string, spec: Record<string, unknown> = {}) =>
    state.put(
      `/registry/pods/ns/${name}`,
      stored({ metadata: { name, namespace: "ns" }, spec: { nodeName, ...spec } }),
    );
  pod("mine", "n1", {
    serviceAccountName: "sa",
    containers: [{ name: "c", envFrom: [{ secretRef: { name: "s-env" } }] }],
    volumes: [
      { name: "a", projected: { sources: [{ configMap: { name: "cm" } }] } },
      { name: "b", persistentVolumeClaim: { claimName: "data" } },
      { name: "c", ephemeral: {} },
    ],
  });
  pod("other", "n2", { containers: [{ name: "c", envFrom: [{ secretRef: { name: "s2" } }] }] });
  state.put("/registry/pods/ns/mirror", {
    metadata: { name: "mirror", annotations: { "kubernetes.io/config.mirror": "x" } },
    spec: { nodeName: "n1", imagePullSecrets: [{ name: "s-mirror" }] },
  });
  state.put("/registry/persistentvolumes/pv", {
    metadata: { name: "pv" },
    spec: {
      claimRef: { namespace: "ns", name: "data" },
      csi: { nodePublishSecretRef: { namespace: "ns", name: "s-volume" } },
    },
  });
  const ask = (verb: string, what: string, more: Partial<Attributes> = {}) => {
    const [resource, subresource = ""] = what.split("/");
    return authorizer.authorize({
      user: node,
      verb,
      resourceRequest: true,
      group: "",
      version: "v1",
      resource,
      subresource,
      namespace: "ns",
      name: "",
      path: "",
      ...more,
    });
  };
  const none = "no relationship found between node 'n1' and this object";
  type Case = [string, ReturnType<typeof ask>, true | string];
  const lease = { group: "coordination.k8s.io", namespace: "kube-node-lease" };
  const cases: Case[] = [
    ["secret of its pod", ask("get", "secrets", { name: "s-env" }), true],
    ["secret of its pod's volume", ask("get", "secrets", { name: "s-volume" }), true],
    ["secret of another's pod", ask("get", "secrets", { name: "s2" }), none],
    ["secret of a mirror pod", ask("get", "secrets", { name: "s-mirror" }), none],
    ["all secrets", ask("list", "secrets"), "No Object name found"],
    [
      "writing secrets",
      ask("delete", "secrets", { name: "s-env" }),
      "can only read resources of this type",
    ],
    ["configmap", ask("watch", "configmaps", { name: "cm" }), true],
    ["claim", ask("get", "persistentvolumeclaims", { name: "data" }), true],
    ["claim made for the pod", ask("get", "persistentvolumeclaims", { name: "mine-c" }), true],
    ["volume", ask("get", "persistentvolumes", { name: "pv", namespace: "" }), true],
    ["token", ask("create", "serviceaccounts/token", { name: "sa" }), true],
    ["another's token", ask("create", "serviceaccounts/token", { name: "sb" }), none],
    ["its pods", ask("list", "pods", { fieldSelector: "spec.nodeName=n1" }), true],
    [
      "all pods",
      ask("list", "pods"),
      "can only list/watch pods with spec.nodeName field selector",
    ],
    ["its pod", ask("get", "pods", { name: "mine" }), true],
    ["another's pod", ask("get", "pods", { name: "other" }), none],
    ["its node", ask("get", "nodes", { name: "n1", namespace: "" }), true],
    [
      "another node",
      ask("get", "nodes", { name: "n2", namespace: "" }),
      "node 'n1' cannot read 'n2', only its own Node object",
    ],
    ["its lease", ask("update", "leases", { ...lease, name: "n1" }), true],
    [
      "another's lease",
      ask("update", "leases", { ...lease, name: "n2" }),
      "can only access node lease with the same name as the requesting node",
    ],
    ["services", ask("list", "services"), true],
    ["deployments", ask("list", "deployments", { group: "apps" }), ""],
  ];
  for (const [name, decision, expected] of cases) {
    await t.step(name, () => {
      assertEquals(decision.allowed, expected === true);
      if (expected !== true) assertEquals(decision.reason ?? "", expected);
    });
  }
});

Deno.test("NodeAuthorizer() says that a node's rights cannot be listed", () => {
  const { authorizer } = authorized();
  assertEquals(authorizer.rules({ name: "system:node:n1", groups: ["system:nodes"] }, "ns"), {
    rules: [],
    errors: ["node authorizer does not support user rule resolution"],
    incomplete: true,
  });
});
