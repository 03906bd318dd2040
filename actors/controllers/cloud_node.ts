/**
 * Nodes and their machines: a node that registers is told which machine it is (provider id, type, zone, region,
 * addresses) before anything is scheduled to it; one whose machine is gone is deleted, one whose machine is shut
 * down is tainted.
 *
 * Behaviour matched: k8s.io/cloud-provider/controllers/{node,nodelifecycle}, v1.36.
 */
import { sameJson } from "../../api/machinery/json_value.ts";
import type { Json } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  allAtOnce,
  type Controller,
  every,
  isGone,
  keyOf,
  NODES,
  targetOf,
} from "../runtime/mod.ts";
import { type CloudProvider, type Instance, type NodeAddress, UNINITIALIZED } from "./cloud.ts";
import { conditionOf, type Obj } from "./objects.ts";
import { textOf } from "./pods.ts";
import type { FreeController } from "./ports.ts";

/** How often addresses are asked for anew, and machines of silent nodes looked for. */
export const ADDRESSES_MS = 5 * 60_000;
export const MONITOR_MS = 5_000;

const ALL = "*";
const PROVIDED_IP = "alpha.kubernetes.io/provided-node-ip";
const SHUTDOWN = { key: "node.cloudprovider.kubernetes.io/shutdown", effect: "NoSchedule" };
/** Labels of these names are not a provider's to give. */
const KUBERNETES_OWN = /(^|\.)(kubernetes|k8s)\.io\//;

interface Taint {
  key: string;
  value?: string;
  effect: string;
}

const taintsOf = (node: Obj): readonly Taint[] => node.spec?.taints ?? [];
const isNew = (node: Obj) => taintsOf(node).some(({ key }) => key === UNINITIALIZED.key);

/** Tells nodes who they are. */
export function cloudNodeController(cloud: CloudProvider): Controller<void> {
  return {
    name: "cloud-node",
    account: "node-controller",
    component: "cloud-node-controller",
    for: NODES,
    selects: isNew,
    // Addresses change without a sign: all nodes are asked about now and then.
    start: (context) => every(context, ADDRESSES_MS, ALL),
    async reconcile(key, context) {
      if (key === ALL) {
        for (const node of context.informers.for(NODES).list()) {
          context.send(context.address, keyOf(node));
        }
        return;
      }
      const node = context.informers.for(NODES).get(key);
      if (!node) return;
      const instance = await cloud.instance(node);
      if (!instance) return;
      const addresses = addressesFor(node, instance);
      if (isNew(node)) await initialize(node, instance, context);
      await putAddresses(node, addresses, context);
      if (isNew(node)) {
        context.recorder.event(node, "Normal", "Synced", "Node synced successfully");
      }
    },
  };
}

async function initialize(node: Obj, instance: Instance, { client }: ActorContext): Promise<void> {
  const { uid, resourceVersion } = node.metadata;
  const taints = taintsOf(node).filter(({ key }) => key !== UNINITIALIZED.key);
  const { providerID = instance.providerID } = node.spec ?? {};
  await client.patch(targetOf(NODES, node), {
    type: "merge",
    body: {
      metadata: { uid, resourceVersion, labels: labelsFor(node, instance) },
      spec: { providerID, taints: taints.length ? taints as unknown as Json[] : null },
    },
  });
}

/** The labels that a machine gives its node. Pure. */
export function labelsFor(node: Obj, instance: Instance): Record<string, string> {
  const { instanceType, zone, region, labels = {} } = instance;
  const own = node.metadata.labels ?? {};
  const given: Record<string, string> = {};
  for (const [name, value] of Object.entries(labels)) {
    if (!KUBERNETES_OWN.test(name) && own[name] === undefined) given[name] = value;
  }
  const pairs: [string | undefined, string, string][] = [
    [instanceType, "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"],
    [zone, "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"],
    [region, "failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"],
  ];
  for (const [value, before, now] of pairs) if (value) given[before] = given[now] = value;
  return given;
}

/** The addresses a node is to show: the machine's, the one that its kubelet was told first. Pure. */
export function addressesFor(node: Obj, { addresses }: Instance): readonly NodeAddress[] {
  if (addresses.length === 0) return [];
  const known: readonly NodeAddress[] = node.status?.addresses ?? [];
  const all = [...addresses];
  if (!all.some(({ type }) => type === "Hostname")) {
    all.push(...known.filter(({ type }) => type === "Hostname"));
  }
  const wanted = node.metadata.annotations?.[PROVIDED_IP];
  if (wanted === undefined) return all;
  const isWanted = ({ address }: NodeAddress) => address === wanted;
  if (!all.some(isWanted)) {
    throw new Error(
      `failed to get node address from cloud provider that matches ip: ${wanted}`,
    );
  }
  return [...all.filter(isWanted), ...all.filter((one) => !isWanted(one))];
}

async function putAddresses(
  node: Obj,
  addresses: readonly NodeAddress[],
  { client }: ActorContext,
): Promise<void> {
  if (addresses.length === 0) return;
  const body = addresses.map(({ type, address }) => ({ type, address }));
  if (sameJson(body, node.status?.addresses ?? [])) return;
  try {
    await client.patch(targetOf(NODES, node, "status"), {
      type: "merge",
      body: { metadata: { uid: node.metadata.uid }, status: { addresses: body } },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** Looks for the machines of nodes that are not ready. */
export function cloudNodeLifecycleController(cloud: CloudProvider): FreeController {
  return {
    name: "cloud-node-lifecycle",
    account: "node-controller",
    component: "cloud-node-lifecycle-controller",
    workers: 1,
    behaviour: {
      start(context) {
        context.informers.for(NODES);
        every(context, MONITOR_MS, ALL);
      },
      handle: (_key, _state, context) =>
        allAtOnce(
          [...context.informers.for(NODES).list()],
          (node) => lookAfter(node, cloud, context),
        ),
    },
  };
}

async function lookAfter(node: Obj, cloud: CloudProvider, context: ActorContext): Promise<void> {
  const shut = taintsOf(node).some(({ key }) => key === SHUTDOWN.key);
  if (conditionOf(node.status, "Ready")?.status === "True") {
    if (shut) await putShutdown(node, false, context);
    return;
  }
  if (await cloud.instance(node)) {
    if (!shut && await cloud.isShutDown(node)) await putShutdown(node, true, context);
    return;
  }
  const { name, uid } = node.metadata;
  const say = (type: "Normal" | "Warning", reason: string, text: string) =>
    context.recorder.event(node, type, reason, text);
  const text = `Deleting node ${name} because it does not exist in the cloud provider`;
  say("Normal", "DeletingNode", text);
  try {
    await context.client.delete(targetOf(NODES, node), { preconditions: { uid } });
  } catch (error) {
    if (isGone(error)) return;
    say("Warning", "DeletingNodeFailed", `Failed deleting node ${name}: ${textOf(error)}`);
  }
}

async function putShutdown(node: Obj, shut: boolean, { client }: ActorContext): Promise<void> {
  const { uid, resourceVersion } = node.metadata;
  const others = taintsOf(node).filter(({ key }) => key !== SHUTDOWN.key);
  const taints = shut ? [...others, SHUTDOWN] : others;
  try {
    await client.patch(targetOf(NODES, node), {
      type: "merge",
      body: { metadata: { uid, resourceVersion }, spec: { taints: taints as unknown as Json[] } },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
