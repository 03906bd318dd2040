import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CONFIG_MAPS, NAMESPACES, NODES, PODS, SECRETS, SERVICE_ACCOUNTS } from "../runtime/mod.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { namespaceController } from "./namespace.ts";
import { ControllerMetrics } from "./metrics.ts";
import { nodeIpamController, partsOf } from "./node_ipam.ts";
import { conditionOf } from "./objects.ts";
import { POD_GC_MS, podGarbageCollector } from "./pod_gc.ts";
import { rootCaPublisher } from "./root_ca_publisher.ts";
import { serviceAccountController } from "./serviceaccount.ts";
import { serviceAccountTokenController } from "./serviceaccount_token.ts";
import { openWorld } from "./world_test.ts";

const spec = { containers: [{ name: "c", image: "nginx" }], terminationGracePeriodSeconds: 6 };

Deno.test("namespace deletes its content, pods first, and tells what is left", async () => {
  await using world = await openWorld((ports) => [
    namespaceController(ports),
    serviceAccountController,
  ]);
  await world.client.create({ resource: NAMESPACES }, { metadata: { name: "doomed" } });
  await world.settle();
  const pod = await world.create(PODS, { metadata: { name: "p" }, spec }, "doomed");
  await world.podIs(pod, "Running");
  await world.create(CONFIG_MAPS, {
    metadata: { name: "held", finalizers: ["example.com/hold"] },
  }, "doomed");
  await world.client.delete({ resource: NAMESPACES, name: "doomed" });
  await world.settle(100);
  let namespace = await world.client.get<KubeObject>({ resource: NAMESPACES, name: "doomed" });
  assertEquals(namespace.status.phase, "Terminating");
  assertEquals(
    conditionOf(namespace.status, "NamespaceContentRemaining")?.message,
    "Some resources are remaining: pods. has 1 resource instances",
  );
  const held = await world.get(CONFIG_MAPS, "held", "doomed");
  assertEquals(held.metadata.deletionTimestamp, undefined, "pods go first");
  await world.finishDeletions();
  await world.settle(10_000);
  namespace = await world.client.get<KubeObject>({ resource: NAMESPACES, name: "doomed" });
  assertEquals(
    conditionOf(namespace.status, "NamespaceFinalizersRemaining")?.message,
    "Some content in the namespace has finalizers remaining: " +
      "example.com/hold in 1 resource instances",
  );
  await world.client.patch({ resource: CONFIG_MAPS, namespace: "doomed", name: "held" }, {
    type: "merge",
    body: { metadata: { finalizers: null } },
  });
  await world.settle(20_000);
  await assertRejects(() => world.client.get<KubeObject>({ resource: NAMESPACES, name: "doomed" }));
  assertEquals(await world.list(SERVICE_ACCOUNTS, "doomed"), []);
});

Deno.test("namespaces get a default account and the root certificate, again when those are lost", async () => {
  await using world = await openWorld((
    ports,
  ) => [serviceAccountController, rootCaPublisher(ports)]);
  await world.client.create({ resource: NAMESPACES }, { metadata: { name: "fresh" } });
  await world.settle();
  for (const round of ["first", "second"]) {
    await world.get(SERVICE_ACCOUNTS, "default", "fresh");
    const ca = await world.get(CONFIG_MAPS, "kube-root-ca.crt", "fresh");
    assertEquals(ca.data, { "ca.crt": "PEM" }, round);
    await world.client.delete({
      resource: SERVICE_ACCOUNTS,
      namespace: "fresh",
      name: "default",
    });
    await world.client.delete({
      resource: CONFIG_MAPS,
      namespace: "fresh",
      name: "kube-root-ca.crt",
    });
    await world.settle();
  }
  assertEquals(world.log, []);
});

Deno.test("token secrets are filled, and go with their account", async () => {
  await using world = await openWorld((ports) => [serviceAccountTokenController(ports)]);
  await world.create(SERVICE_ACCOUNTS, { metadata: { name: "bot" } });
  await world.create(SECRETS, {
    type: "kubernetes.io/service-account-token",
    metadata: { name: "bot-token", annotations: { "kubernetes.io/service-account.name": "bot" } },
  });
  await world.settle();
  const secret = await world.get(SECRETS, "bot-token");
  assertEquals(atob(secret.data.token), "token of default/bot");
  assertEquals(atob(secret.data.namespace), "default");
  assert(secret.metadata.annotations!["kubernetes.io/service-account.uid"]);
  await world.client.delete({ resource: SERVICE_ACCOUNTS, namespace: "default", name: "bot" });
  await world.settle();
  await assertRejects(() => world.get(SECRETS, "bot-token"));
});

Deno.test("partsOf() divides ranges of both families", () => {
  const parts = partsOf("10.244.0.0/16", 24);
  assertEquals([parts.count, parts.at(0), parts.at(255)], [
    256,
    "10.244.0.0/24",
    "10.244.255.0/24",
  ]);
  assertEquals(partsOf("fd00::/48", 64).at(257), "fd00:0:0:101::/64");
});

Deno.test("nodes get parts of the pod range, each its own", async () => {
  await using world = await openWorld([nodeIpamController({ clusterCidr: "10.0.0.0/22" })]);
  for (const name of ["a", "b", "c"]) {
    await world.client.create({ resource: NODES }, { metadata: { name } });
  }
  await world.settle();
  const parts = (await world.list(NODES)).map((node) => node.spec.podCIDR);
  assertEquals([...parts].sort(), ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]);
  await world.client.delete({ resource: NODES, name: "b" });
  await world.settle();
  for (const name of ["d", "e", "f"]) {
    await world.client.create({ resource: NODES }, { metadata: { name } });
  }
  await world.settle();
  const taken = (await world.list(NODES)).map((node) => node.spec?.podCIDR).filter(Boolean);
  assertEquals(new Set(taken).size, 4);
  assert((await world.events()).some((event) => event.includes("CIDRNotAvailable")));
  // Who went without gets the part that the next node leaves
  await world.client.delete({ resource: NODES, name: "a" });
  await world.settle();
  const left = (await world.list(NODES)).map((node) => node.spec?.podCIDR);
  assertEquals([left.length, new Set(left.filter(Boolean)).size], [4, 4]);
});

Deno.test("nodes get a part of each family, or none while one family has none left", async () => {
  const clusterCidr = "10.0.0.0/22,fd00:10::/63";
  await using world = await openWorld([nodeIpamController({ clusterCidr })]);
  for (const name of ["a", "b", "c"]) {
    await world.client.create({ resource: NODES }, { metadata: { name } });
    await world.settle(10);
  }
  const nodes = await world.list(NODES);
  assertEquals(nodes.map((node) => node.spec?.podCIDRs), [
    ["10.0.0.0/24", "fd00:10::/64"],
    ["10.0.1.0/24", "fd00:10:0:1::/64"],
    undefined,
  ]);
  assertEquals(nodes[0].spec.podCIDR, "10.0.0.0/24");
});

Deno.test("pod ranges that nobody could divide are refused", () => {
  for (
    const [clusterCidr, text] of [
      ["10.0.0.0/16,10.1.0.0/16", "at most one range of each family"],
      ["fd00::/40", "at most 16 bits longer"],
      ["10.0.0.0/25", "they are larger than it"],
      ["10.0.0.0", "it is no CIDR"],
    ]
  ) assertThrows(() => nodeIpamController({ clusterCidr }), Error, text);
});

Deno.test("podgc takes pods of nodes that are gone, after a quarantine", async () => {
  await using world = await openWorld([podGarbageCollector({})]);
  await world.client.create({ resource: NODES }, { metadata: { name: "here" } });
  for (const [name, node] of [["stays", "here"], ["goes", "gone"]]) {
    const pod = await world.create(PODS, { metadata: { name }, spec });
    await world.podIs(pod, "Running", { node });
  }
  await world.advance(59_000);
  assertEquals((await world.list(PODS)).length, 2);
  await world.advance(21_000);
  assertEquals((await world.list(PODS)).map((pod) => pod.metadata.name), ["stays"]);
});

Deno.test("podgc takes ended pods beyond the threshold, evicted and old ones first, and tells how many", async () => {
  const metrics = new ControllerMetrics();
  await using world = await openWorld([
    podGarbageCollector({ metrics, settings: { terminatedPodGcThreshold: 2 } }),
  ]);
  await world.client.create({ resource: NODES }, { metadata: { name: "here" } });
  for (const name of ["a", "b", "c", "d"]) {
    const pod = await world.create(PODS, { metadata: { name }, spec });
    await world.podIs(pod, "Failed", { node: "here" });
    await world.advance(2_000);
  }
  await world.client.patch({
    resource: PODS,
    namespace: "default",
    name: "d",
    subresource: "status",
  }, {
    type: "merge",
    body: { status: { reason: "Evicted" } },
  });
  await world.advance(POD_GC_MS);
  assertEquals((await world.list(PODS)).map((pod) => pod.metadata.name), ["b", "c"]);
  assert(
    metrics.text().includes(
      'pod_gc_collector_force_delete_pods_total{namespace="default",reason="terminated"} 2',
    ),
  );
});

Deno.test("podgc leaves all ended pods where the threshold is none", async () => {
  const settings = { terminatedPodGcThreshold: 0 };
  await using world = await openWorld([podGarbageCollector({ settings })]);
  await world.client.create({ resource: NODES }, { metadata: { name: "here" } });
  const pod = await world.create(PODS, { metadata: { name: "a" }, spec });
  await world.podIs(pod, "Failed", { node: "here" });
  await world.advance(2 * POD_GC_MS);
  assertEquals((await world.list(PODS)).length, 1);
});

Deno.test("podgc lets go of pods that nobody will: those without a node, those of a node out of service", async () => {
  await using world = await openWorld([podGarbageCollector({})]);
  const taints = [{ key: "node.kubernetes.io/out-of-service", effect: "NoExecute" }];
  for (const name of ["off", "well"]) {
    await world.client.create({ resource: NODES }, { metadata: { name }, spec: { taints } });
  }
  const conditions = [{ type: "Ready", status: "True" }];
  await world.client.patch({ resource: NODES, name: "well", subresource: "status" }, {
    type: "merge",
    body: { status: { conditions } },
  });
  const finalizers = ["example.com/hold"];
  await world.create(PODS, { metadata: { name: "unplaced", finalizers }, spec });
  for (const node of ["off", "well"]) {
    const pod = await world.create(PODS, { metadata: { name: `on-${node}` }, spec });
    await world.podIs(pod, "Running", { node });
  }
  for (const name of ["unplaced", "on-off", "on-well"]) {
    await world.client.delete({ resource: PODS, namespace: "default", name });
  }
  await world.advance(POD_GC_MS);
  const left = (await world.list(PODS)).map((pod) => `${pod.metadata.name} ${pod.status.phase}`);
  assertEquals(left, ["on-well Running", "unplaced Failed"]);
});

Deno.test("a namespace takes what other servers serve with it, and waits while nobody knows what that is", async () => {
  const flunders = { group: "wardle.example.com", version: "v1", plural: "flunders" };
  let stale = ["wardle.example.com/v1"];
  await using world = await openWorld((ports) => [
    namespaceController({
      ...ports,
      remoteKinds: () => ({
        kinds: [{ ...flunders, kind: "Flunder", namespaced: true, verbs: ["list", "delete"] }],
        stale,
      }),
    }),
  ]);
  await world.client.create({ resource: NAMESPACES }, { metadata: { name: "doomed" } });
  await world.client.delete({ resource: NAMESPACES, name: "doomed" });
  await world.settle(100);
  const namespace = await world.client.get<KubeObject>({ resource: NAMESPACES, name: "doomed" });
  const { status, reason, message } = conditionOf(
    namespace.status,
    "NamespaceDeletionDiscoveryFailure",
  )!;
  assertEquals([status, reason, message], [
    "True",
    "DiscoveryFailed",
    "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: " +
    "wardle.example.com/v1: stale GroupVersion discovery: wardle.example.com/v1",
  ]);
  stale = [];
  await world.settle(600_000);
  await assertRejects(() => world.client.get({ resource: NAMESPACES, name: "doomed" }));
});
