/** The kernel's rules of 10,000 services, in a network namespace of their own: needs root and nft. */
import { type Netfilter, netfilter } from "../../actors/nodes/network/nft.ts";
import { serviceRules, type TablePlace } from "../../actors/nodes/network/nftables.ts";
import { Table } from "../../actors/nodes/network/nftables_table.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { median } from "./median.ts";

export const SERVICES = 10_000;
const ENDPOINTS = 3;
const TIMES = 21;

const place: TablePlace = { family: 4, nodes: new Set(["n"]), nodeAddresses: [] };

function rulesOf(i: number, endpoints = ENDPOINTS) {
  const service = {
    metadata: { name: `s${i}`, namespace: "default" },
    spec: { clusterIP: `10.${96 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`, ports: [{ port: 80 }] },
  };
  const slice = {
    metadata: {},
    addressType: "IPv4",
    ports: [{ port: 8080 }],
    endpoints: Array.from({ length: endpoints }, (_, j) => ({
      addresses: [`10.244.${i % 250}.${(i * ENDPOINTS + j) % 250 + 2}`],
    })),
  };
  return serviceRules(service as unknown as KubeObject, [slice as unknown as KubeObject], place)
    .elements;
}

/** How long all take to be written, and one more: the median, in ms. Undefined where rules cannot be written. */
export async function serviceRulesMs(): Promise<{ all: number; one: number } | undefined> {
  const namespace = `plesio-bench-${Deno.pid}`;
  const ip = async (...args: string[]) => {
    const { success } = await new Deno.Command("ip", { args, stderr: "null" }).output();
    return success;
  };
  if (!await ip("netns", "add", namespace).catch(() => false)) return undefined;
  try {
    return await measured(netfilter(namespace));
  } finally {
    await ip("netns", "del", namespace);
  }
}

async function measured(rules: Netfilter): Promise<{ all: number; one: number }> {
  const podRanges = ["10.244.0.0/16"];
  const table = new Table({
    family: 4,
    name: "bench",
    podRanges,
    nodePortAddresses: [],
    bridged: true,
  });
  const timed = async (change: () => void) => {
    const since = performance.now();
    change();
    await rules.apply(table.script());
    return performance.now() - since;
  };
  const all = await timed(() => {
    for (let i = 0; i < SERVICES; i++) table.set(`default/s${i}`, rulesOf(i));
  });
  const each: number[] = [];
  for (let i = 0; i < TIMES; i++) {
    each.push(await timed(() => table.set(`default/s${SERVICES + i}`, rulesOf(SERVICES + i))));
  }
  return { all, one: median(each) };
}
