import { assertEquals, assertThrows } from "@std/assert";
import { ApiError } from "../../machinery/types.ts";
import { admission, admit, messageOf, namespace, State, stored } from "../state_fixture.ts";
import { PLUGIN_NAMES } from "./mod.ts";
import { pod, run, setup } from "./plugin_fixture.ts";

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;

Deno.test("createPlugins() keeps upstream's order and defaults", () => {
  const { plugins } = setup();
  assertEquals(plugins.map((p) => p.name), [
    "NamespaceLifecycle",
    "LimitRanger",
    "ServiceAccount",
    "NodeRestriction",
    "TaintNodesByCondition",
    "PodSecurity",
    "Priority",
    "DefaultTolerationSeconds",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "PodGroupProtection",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "ClusterTrustBundleAttest",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "PodTopologyLabels",
    "PodGroupWorkloadExists",
    "JobValidation",
    "PodResizeValidator",
    "ClusterRoleAggregation",
    "RBACEscalation",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
  ]);
  const all = setup(["DenyServiceExternalIPs", "EventRateLimit"]).plugins.map((p) => p.name);
  const switched = all.filter((name) => PLUGIN_NAMES.includes(name));
  assertEquals(switched, PLUGIN_NAMES.filter((name) => all.includes(name)));
  assertThrows(() => setup(["Nonsense"]), TypeError, 'unknown admission plugin "Nonsense"');
});

Deno.test("NamespaceLifecycle refuses creates where they cannot live", async () => {
  const { state, plugin } = setup();
  const lifecycle = plugin("NamespaceLifecycle");
  assertEquals(await run(state, lifecycle, { resource: "pods", object: pod() }), "");
  assertEquals(
    await run(state, lifecycle, { resource: "pods", object: pod(), namespace: "none" }),
    'namespaces "none" not found',
  );
  state.put("/registry/namespaces/ns", { ...namespace("ns"), status: { phase: "Terminating" } });
  const a = admission(state, { resource: "pods", namespace: "ns", object: pod() });
  const error = assertThrows(() => lifecycle.commit!(a, state.view()), ApiError);
  assertEquals(
    error.message,
    'pods "web" is forbidden: unable to create new content in namespace ns because it is being ' +
      "terminated",
  );
  assertEquals(error.status.details?.causes, [{
    reason: "NamespaceTerminating",
    message: "namespace ns is being terminated",
    field: "metadata.namespace",
  }]);
  const update = { operation: "UPDATE" as const, object: pod(), old: pod() };
  assertEquals(await run(state, lifecycle, { resource: "pods", ...update }), "");
  assertEquals(await run(state, lifecycle, { resource: "localsubjectaccessreviews" }), "");
  const remove = { resource: "namespaces", operation: "DELETE" as const, namespace: "" };
  for (const name of ["default", "kube-system", "kube-public"]) {
    assertEquals(
      await run(state, lifecycle, { ...remove, name }),
      `namespaces "${name}" is forbidden: this namespace may not be deleted`,
    );
  }
  assertEquals(await run(state, lifecycle, { ...remove, name: "kube-node-lease" }), "");
});

Deno.test("storage plugins default classes, protect what is used, let the right claims grow", async () => {
  const { state, plugin } = setup();
  const put = (name: string, created: string, more = {}) =>
    state.put(`/registry/storageclasses/${name}`, {
      metadata: {
        name,
        creationTimestamp: created,
        annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
      },
      ...more,
    });
  const claim = (spec = {}, status = {}): Any => ({
    metadata: { name: "data" },
    spec,
    status,
  });
  const resource = "persistentvolumeclaims";
  const none = claim();
  await run(state, plugin("DefaultStorageClass"), { resource, object: none });
  assertEquals(none.spec, {});
  put("old", "2026-01-01T00:00:00Z");
  put("b-new", "2026-01-02T00:00:00Z");
  put("a-new", "2026-01-02T00:00:00Z", { allowVolumeExpansion: true });
  const fresh = claim();
  await run(state, plugin("DefaultStorageClass"), { resource, object: fresh });
  assertEquals(fresh.spec.storageClassName, "a-new");
  const empty = claim({ storageClassName: "" });
  await run(state, plugin("DefaultStorageClass"), { resource, object: empty });
  assertEquals(empty.spec.storageClassName, "");
  await run(state, plugin("StorageObjectInUseProtection"), { resource, object: fresh });
  assertEquals(fresh.metadata.finalizers, ["kubernetes.io/pvc-protection"]);

  const sized = (storage: string, storageClassName = "a-new", phase = "Bound") =>
    claim({ storageClassName, resources: { requests: { storage } } }, { phase });
  const grow = (object: Any, old: Any) =>
    run(state, plugin("PersistentVolumeClaimResize"), {
      resource,
      operation: "UPDATE",
      object,
      old,
    });
  assertEquals(await grow(sized("2Gi"), sized("1Gi")), "");
  assertEquals(await grow(sized("1Gi"), sized("1Gi", "b-new", "Pending")), "");
  assertEquals(
    await grow(sized("2Gi"), sized("1Gi", "a-new", "Pending")),
    'persistentvolumeclaims "data" is forbidden: Only bound persistent volume claims can be expanded',
  );
  assertEquals(
    await grow(sized("2Gi", "b-new"), sized("1Gi", "b-new")),
    'persistentvolumeclaims "data" is forbidden: only dynamically provisioned pvc can be resized ' +
      "and the storageclass that provisions the pvc must support resize",
  );
});

Deno.test("DefaultIngressClass and DenyServiceExternalIPs", async () => {
  const { state, plugin } = setup(["DenyServiceExternalIPs"]);
  const annotations = { "ingressclass.kubernetes.io/is-default-class": "true" };
  const metadata = { name: "front", annotations };
  state.put("/registry/ingressclasses/front", stored({ metadata }));
  const ingress: Any = { metadata: { name: "i" }, spec: {} };
  const create = { resource: "ingresses", group: "networking.k8s.io" };
  await run(state, plugin("DefaultIngressClass"), { ...create, object: ingress } as never);
  assertEquals(ingress.spec.ingressClassName, "front");
  const service = (...externalIPs: string[]): Any => ({
    metadata: { name: "s" },
    spec: { externalIPs },
  });
  const deny = (object: Any, old?: Any) =>
    run(state, plugin("DenyServiceExternalIPs"), {
      resource: "services",
      operation: old ? "UPDATE" : "CREATE",
      object,
      old,
    });
  assertEquals(
    await deny(service("1.1.1.1")),
    'services "s" is forbidden: Use of external IPs is denied by admission control',
  );
  assertEquals(await deny(service("1.1.1.1"), service("1.1.1.1", "2.2.2.2")), "");
});

Deno.test("EventRateLimit lets a burst through and then a rate", async () => {
  const state = new State();
  const { eventRateLimit } = await import("./event_rate_limit.ts");
  const plugin = eventRateLimit([{ type: "Namespace", qps: 1, burst: 2 }]);
  const write = (namespace: string, now: number) =>
    messageOf(() => {
      const a = admission(state, { resource: "events", namespace, now });
      return admit(plugin, { ...a, kind: { ...a.kind, kind: "Event" } }, state);
    });
  assertEquals([await write("a", 0), await write("a", 0)], ["", ""]);
  assertEquals(await write("a", 0), "limit reached on type Namespace for key a");
  assertEquals(await write("b", 0), "");
  assertEquals(await write("a", 1000), "");
});

Deno.test("OwnerReferencesPermissionEnforcement asks for the right to delete", async () => {
  const { state, plugin } = setup(["OwnerReferencesPermissionEnforcement"]);
  const owned = pod({}, {
    ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "n", uid: "u" }],
  });
  const enforce = plugin("OwnerReferencesPermissionEnforcement");
  assertEquals(await run(state, enforce, { resource: "pods", object: owned }), "");
  assertEquals(
    await run(state, enforce, {
      resource: "pods",
      operation: "UPDATE",
      name: "web",
      object: owned,
      old: pod(),
    }),
    'pods "web" is forbidden: cannot set an ownerRef on a resource you can\'t delete: , <nil>',
  );
});
