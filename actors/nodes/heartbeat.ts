/**
 * How a node tells the API that it is there: the Node object at start, a Lease that is renewed, a status
 * now and then. Shared by real nodes (a lease each) and the host of simulated ones (one for all).
 */
import type { Client } from "../../api/client/contract.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../api/machinery/types.ts";
import { leaseObject, microTime, type NodeDescription } from "./node_status.ts";
import { nodeLabels, nodeObject, nodeStatus } from "./node_status.ts";
import { LEASES, NODES } from "./types.ts";

function codeOf(error: unknown): number {
  return error instanceof ApiError ? error.code : 0;
}

/** Creates the Node, or brings the one of a former life up to date. Resolves with it. */
export async function registerNode(
  client: Client,
  description: NodeDescription,
  now: number,
): Promise<DeepReadonly<KubeObject>> {
  const target = { resource: NODES, name: description.name };
  let node: DeepReadonly<KubeObject>;
  try {
    node = await client.create<KubeObject>({ resource: NODES }, nodeObject(description, now));
    if (node.status?.conditions?.length) return node;
  } catch (error) {
    if (codeOf(error) !== 409) throw error;
    const labels = nodeLabels(description);
    node = await client.get<KubeObject>(target);
    const known = node.metadata.labels ?? {};
    if (Object.keys(labels).some((key) => known[key] !== labels[key])) {
      node = await client.patch<KubeObject>(target, {
        type: "merge",
        body: { metadata: { labels } },
      });
    }
  }
  return await reportNode(client, description, node, now);
}

/** Writes the node's status. */
export async function reportNode(
  client: Client,
  description: NodeDescription,
  node: DeepReadonly<KubeObject> | undefined,
  now: number,
): Promise<DeepReadonly<KubeObject>> {
  const target = { resource: NODES, name: description.name, subresource: "status" };
  const told = nodeStatus(description, node?.status, now)!;
  // They would be merged by their type, and a node of two families has two of one
  const status = { ...told, addresses: [...told.addresses, { $patch: "replace" }] };
  return await client.patch<KubeObject>(target, { type: "strategic", body: { status } });
}

/** Renews a lease, or makes it. `owner` is the Node whose lease it is, when it is one node's. */
export async function renewLease(
  client: Client,
  name: string,
  now: number,
  owner?: DeepReadonly<KubeObject>,
): Promise<void> {
  const target = { resource: LEASES, namespace: "kube-node-lease" };
  const body = { spec: { renewTime: microTime(now), holderIdentity: name } };
  try {
    await client.patch({ ...target, name }, { type: "merge", body });
  } catch (error) {
    if (codeOf(error) !== 404) throw error;
    await client.create(target, leaseObject(name, name, now, owner as KubeObject | undefined));
  }
}
