/** Section 4: nodes. */
import { type Check, type Facts, none, pass, type Result, shown, warn } from "./contract.ts";

const NO_FILES = "nodes run in the server's process: they have no files of their own";

/** What kubelets serve read-only, where they do. */
const READ_ONLY_PORT = 10_255;
/** Nodes that are tried at most. */
const NODES_TRIED_MAX = 20;

interface Address {
  type: string;
  address: string;
}

/** Nodes here serve nothing; where somebody answers, it is another kubelet, to be looked at on its machine. */
async function servesNothing(facts: Facts): Promise<Result> {
  const nodes = await facts.list("/api/v1/nodes");
  if (nodes.length === 0) return none("there are no nodes");
  const { reaches } = facts;
  if (!reaches) return warn("whether nodes have ports was not tried");
  const serving = await Promise.all(
    nodes.slice(0, NODES_TRIED_MAX).map(async (node) => {
      const port = node.status?.daemonEndpoints?.kubeletEndpoint?.Port;
      const addresses: Address[] = node.status?.addresses ?? [];
      const host = addresses.find(({ type }) => type === "InternalIP")?.address;
      if (!host) return [];
      const tried = [port, READ_ONLY_PORT].filter(Boolean);
      const answers = await Promise.all(tried.map((one) => reaches(host, one)));
      return answers.some(Boolean) ? [node.metadata.name] : [];
    }),
  );
  const names = serving.flat();
  if (names.length) return warn(`somebody answers there: look on the machines of ${shown(names)}`);
  return pass("nobody answers at the nodes' addresses");
}

const FILES: readonly [string, string][] = [
  ["4.1.1", "mode of the kubelet's service file"],
  ["4.1.2", "owner of the kubelet's service file"],
  ["4.1.3", "mode of the proxy's kubeconfig"],
  ["4.1.4", "owner of the proxy's kubeconfig"],
  ["4.1.5", "mode of the kubelet's kubeconfig"],
  ["4.1.6", "owner of the kubelet's kubeconfig"],
  ["4.1.7", "mode of the authority that the kubelet knows clients by"],
  ["4.1.8", "owner of the authority that the kubelet knows clients by"],
  ["4.1.9", "mode of the kubelet's configuration"],
  ["4.1.10", "owner of the kubelet's configuration"],
];

const PORTS: readonly [string, string][] = [
  ["4.2.1", "nodes do not answer who does not say who they are"],
  ["4.2.2", "nodes do not allow everything"],
  ["4.2.3", "nodes know clients by an authority"],
  ["4.2.4", "nodes have no port to read from"],
  ["4.2.5", "idle streams to nodes end"],
  ["4.2.9", "nodes serve over TLS"],
  ["4.2.10", "nodes' client certificates are renewed"],
  ["4.2.11", "nodes' serving certificates are renewed"],
  ["4.2.12", "nodes agree to strong ciphers only"],
];

/** Section 4. */
export const WORKER: readonly Check[] = [
  ...FILES.map(([id, title]) => ({ id, title, run: () => none(NO_FILES) })),
  ...PORTS.map(([id, title]) => ({ id, title, run: servesNothing })),
  {
    id: "4.2.6",
    title: "nodes keep their packet filters in order",
    run: () =>
      none("services are proxied in userspace: there are no rules of the kernel's to keep"),
  },
  {
    id: "4.2.7",
    title: "nodes' names are not overridden",
    run: () => none("nodes here are named by the server"),
  },
  {
    id: "4.2.8",
    title: "events of nodes are not lost",
    run: () => pass("equal events are merged, none is dropped by a rate"),
  },
  {
    id: "4.2.13",
    title: "a pod's processes are limited",
    run: () => none("nodes of this process do not limit numbers of processes"),
  },
  {
    id: "4.2.14",
    title: "pods get the runtime's seccomp profile by default",
    run: () => none("nodes of this process have no container runtime"),
  },
  {
    id: "4.3.1",
    title: "the proxy's metrics are for this machine only",
    run: () => none("the proxy has no port of its own"),
  },
];
