import { assert, assertEquals } from "@std/assert";
import type { Admission } from "../contract.ts";
import { stored } from "../state_fixture.ts";
import { pod, run, setup } from "./plugin_fixture.ts";

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;

Deno.test("NodeRestriction keeps a node to itself", async () => {
  const { state, plugin } = setup();
  const user = { name: "system:node:n1", groups: ["system:nodes"] };
  const node = (labels = {}, spec = {}, name = "n1"): Any => ({ metadata: { name, labels }, spec });
  state.put("/registry/minions/n1", stored({ metadata: { name: "n1" } }));
  state.put("/registry/pods/ns/mine", stored(pod({ nodeName: "n1" }, { name: "mine" })));
  state.put("/registry/pods/ns/other", stored(pod({ nodeName: "n2" }, { name: "other" })));
  const restrict = (given: Partial<Admission> & { resource: string; group?: string }) =>
    run(state, plugin("NodeRestriction"), { user, ...given });
  const cases: [string, Parameters<typeof restrict>[0], string][] = [
    ["its own node", { resource: "nodes", name: "n1", object: node({ "a.b/c": "d" }) }, ""],
    [
      "another node",
      { resource: "nodes", name: "n2", object: node({}, {}, "n2") },
      'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"',
    ],
    [
      "trusted labels",
      {
        resource: "nodes",
        name: "n1",
        object: node({ "node-restriction.kubernetes.io/x": "1", "kubernetes.io/hostname": "h" }),
      },
      'nodes "n1" is forbidden: node "n1" is not allowed to set the following labels: ' +
      "node-restriction.kubernetes.io/x",
    ],
    [
      "taints",
      {
        resource: "nodes",
        name: "n1",
        operation: "UPDATE",
        old: node({}, { taints: [{ key: "a" }] }),
        object: node(),
      },
      'nodes "n1" is forbidden: node "n1" is not allowed to modify taints',
    ],
    [
      "a plain pod",
      { resource: "pods", object: pod({ nodeName: "n1" }) },
      'pods "web" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node ' +
      '"n1" can only create mirror pods',
    ],
    [
      "status of another's pod",
      {
        resource: "pods",
        subresource: "status",
        operation: "UPDATE",
        name: "other",
        old: pod({ nodeName: "n2" }),
        object: pod({ nodeName: "n2" }),
      },
      'pods "other" is forbidden: node "n1" can only update pod status for pods with ' +
      "spec.nodeName set to itself",
    ],
    [
      "a token without a pod",
      {
        resource: "serviceaccounts",
        subresource: "token",
        name: "sa",
        object: { metadata: {}, spec: {} } as never,
      },
      'serviceaccounts "sa" is forbidden: node requested token not bound to a pod',
    ],
    [
      "a token for another's pod",
      {
        resource: "serviceaccounts",
        subresource: "token",
        name: "sa",
        object: {
          metadata: {},
          spec: {
            boundObjectRef: { apiVersion: "v1", kind: "Pod", name: "other", uid: "uid-other" },
          },
        } as never,
      },
      'serviceaccounts "sa" is forbidden: node requested token bound to a pod scheduled on a ' +
      "different node",
    ],
    [
      "another's lease",
      {
        resource: "leases",
        group: "coordination.k8s.io",
        namespace: "kube-node-lease",
        object: { metadata: { name: "n2" } } as never,
      },
      'leases.coordination.k8s.io "n2" is forbidden: can only access node lease with the same ' +
      "name as the requesting node",
    ],
  ];
  for (const [name, given, message] of cases) assertEquals(await restrict(given), message, name);
  const mirror = pod({ nodeName: "n1" }, {
    annotations: { "kubernetes.io/config.mirror": "x" },
    ownerReferences: [{
      apiVersion: "v1",
      kind: "Node",
      name: "n1",
      uid: "uid-n1",
      controller: true,
    }],
  });
  assertEquals(await restrict({ resource: "pods", object: mirror }), "");
  mirror.spec.volumes = [{ name: "v", secret: { secretName: "s" } }];
  assertEquals(
    await restrict({ resource: "pods", object: mirror }),
    'pods "web" is forbidden: node "n1" can not create pods that reference secrets',
  );
});

Deno.test("CertificateApproval asks for the right on the signer", async () => {
  const { state, plugin } = setup();
  const old = { metadata: { name: "csr" }, spec: { signerName: "acme.com/web" } } as never;
  const approve = () =>
    run(state, plugin("CertificateApproval"), {
      resource: "certificatesigningrequests",
      group: "certificates.k8s.io",
      subresource: "approval",
      operation: "UPDATE",
      name: "csr",
      namespace: "",
      old,
      object: old,
    } as never);
  assertEquals(
    await approve(),
    'certificatesigningrequests.certificates.k8s.io "csr" is forbidden: user not permitted to ' +
      'approve requests with signerName "acme.com/web"',
  );
  state.put("/registry/clusterroles/a", {
    metadata: { name: "a" },
    rules: [{
      verbs: ["approve"],
      apiGroups: ["certificates.k8s.io"],
      resources: ["signers"],
      resourceNames: ["acme.com/*"],
    }],
  });
  state.put("/registry/clusterrolebindings/a", {
    metadata: { name: "a" },
    roleRef: { kind: "ClusterRole", name: "a" },
    subjects: [{ kind: "User", name: "alice" }],
  });
  assertEquals(await approve(), "");
});

Deno.test("CertificateSigning lets only those sign who may sign for the signer", async () => {
  const { state, plugin } = setup();
  const csr = (status: Any): Any => ({
    metadata: { name: "csr" },
    spec: { signerName: "acme.com/web" },
    status,
  });
  const sign = (object: Any, user = { name: "alice", groups: ["devs"] }) =>
    run(state, plugin("CertificateSigning"), {
      resource: "certificatesigningrequests",
      group: "certificates.k8s.io",
      subresource: "status",
      operation: "UPDATE",
      namespace: "",
      name: "csr",
      user,
      old: csr({ conditions: [] }),
      object,
    } as never);
  assertEquals(await sign(csr({ conditions: [], other: 1 })), "");
  assertEquals(
    await sign(csr({ certificate: "x" })),
    'certificatesigningrequests.certificates.k8s.io "csr" is forbidden: user not permitted to ' +
      'sign requests with signerName "acme.com/web"',
  );
  const masters = { name: "root", groups: ["system:masters"] };
  assertEquals(await sign(csr({ certificate: "x" }), masters), "");
});

Deno.test("CertificateSubjectRestriction keeps system:masters out of client certificates", async () => {
  const { state, plugin } = setup();
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const request = async (organization: string) => {
    const made = await x509.Pkcs10CertificateRequestGenerator.create({
      name: [{ O: [organization] }, { CN: ["x"] }],
      keys: keys as CryptoKeyPair,
      signingAlgorithm: algorithm,
    });
    return btoa(made.toString("pem"));
  };
  const create = async (spec: Any) =>
    await run(state, plugin("CertificateSubjectRestriction"), {
      resource: "certificatesigningrequests",
      group: "certificates.k8s.io",
      namespace: "",
      object: { metadata: { name: "csr" }, spec } as never,
    } as never);
  const signerName = "kubernetes.io/kube-apiserver-client";
  assertEquals(await create({ signerName, request: await request("ops") }), "");
  assertEquals(await create({ signerName: "a.b/c", request: "nonsense" }), "");
  const head = 'certificatesigningrequests.certificates.k8s.io "csr" is forbidden: ';
  assertEquals(
    await create({ signerName, request: await request("system:masters") }),
    `${head}use of kubernetes.io/kube-apiserver-client signer with system:masters group is not ` +
      "allowed",
  );
  assert((await create({ signerName, request: "bm8=" })).startsWith(`${head}failed to parse CSR`));
});

Deno.test("NodeRestriction gives a node tokens for the audiences that its pods need, and no others", async (t) => {
  const { state, plugin } = setup();
  const user = { name: "system:node:n1", groups: ["system:nodes"] };
  const claim = (name: string) => ({ name, persistentVolumeClaim: { claimName: name } });
  const volumes = [
    { name: "t", projected: { sources: [{ serviceAccountToken: { audience: "vault" } }] } },
    { name: "c", csi: { driver: "inline" } },
    claim("bound"),
    claim("gone"),
  ];
  const mine = stored(pod({ nodeName: "n1", volumes }, { name: "mine" }));
  state.put("/registry/pods/ns/mine", mine);
  state.put("/registry/persistentvolumeclaims/ns/bound", {
    metadata: { name: "bound" },
    spec: { volumeName: "pv" },
  });
  state.put("/registry/persistentvolumes/pv", {
    metadata: { name: "pv" },
    spec: { csi: { driver: "behind" } },
  });
  for (const name of ["inline", "behind"]) {
    state.put(`/registry/csidrivers/${name}`, {
      metadata: { name },
      spec: { tokenRequests: [{ audience: `for ${name}` }] },
    });
  }
  const why = (audiences: string[]) => {
    const boundObjectRef = { apiVersion: "v1", kind: "Pod", name: "mine", uid: mine.metadata.uid };
    const object: Any = { metadata: { name: "robot" }, spec: { audiences, boundObjectRef } };
    const given = { resource: "serviceaccounts", subresource: "token", namespace: "ns" };
    return run(state, plugin("NodeRestriction"), { user, ...given, name: "robot", object });
  };
  const missing = 'serviceaccounts "robot" is forbidden: error validating audience "other": ' +
    'persistentvolumeclaim "gone" not found';
  const cases: [string[], string][] = [
    [["vault"], ""],
    [["for inline"], ""],
    [["for behind"], ""],
    [["other"], missing],
    [
      ["vault", "other"],
      'serviceaccounts "robot" is forbidden: node may only request 0 or 1 audiences',
    ],
  ];
  for (const [audiences, message] of cases) {
    await t.step(audiences.join(" "), async () => assertEquals(await why(audiences), message));
  }
  state.put("/registry/pods/ns/mine", {
    ...mine,
    spec: { ...mine.spec, volumes: volumes.slice(0, 3) },
  });
  assertEquals(
    await why(["other"]),
    'serviceaccounts "robot" is forbidden: audience "other" not found in pod spec volume, ' +
      "system:node:n1 is not authorized to request tokens for this audience",
  );
});
