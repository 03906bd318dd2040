/**
 * The network of a node whose container runtime makes pods' networks by CNI plugins: a bridge of this
 * machine that all pods of the node are on, with addresses of the node's podCIDR. Who has a CNI
 * configuration keeps it; else one is written for the plugins `bridge` and `host-local`.
 *
 * The machine has made the cluster's whole pod range local, so that isolates can bind to it (`network.ts`).
 * What lies on the bridge is not local: a route of the node's own range in the same table, which is longer
 * and therefore wins, says so.
 */
import type { Pod } from "../types.ts";
import { type Network, type NetworkNode, noRangeYet, type Ranges } from "./network.ts";
import { addressAt } from "./pool.ts";

export interface CniOptions {
  /** Where the runtime looks for network configurations. */
  folder: string;
  /** Where `host-local` notes which addresses are given. */
  state: string;
  ranges: Ranges;
  /** What nodes of this machine without a container runtime have: addresses of nodes come from it. */
  machine: Network;
  /** Whether the runtime has read its configuration. */
  ready(): Promise<boolean>;
}

/** The configuration that is written when there is none. */
const OWN_FILE = "10-plesio.conflist";
/** How long a runtime may take to read a new configuration, and how often it is asked. */
const READY_MS_MAX = 10_000;
const READY_LOOK_MS = 100;

/** A list of plugins, as far as it is read here. */
export interface ConfList {
  cniVersion: string;
  name: string;
  plugins: { type: string; bridge?: string; [option: string]: unknown }[];
}

/** See the module's text. */
export class CniNetwork implements Network {
  readonly #options: CniOptions;
  #configured: { ranges: string; done: Promise<void> } | undefined;
  #bridge: string | undefined;

  constructor(options: CniOptions) {
    this.#options = options;
  }

  /** Addresses are the runtime's to give: only a pod on the host's network has them before. */
  async setupPod(pod: Pod, node: NetworkNode): Promise<{ ips: string[] }> {
    if (pod.spec.hostNetwork) return { ips: [...node.addresses] };
    if (!node.podCIDRs?.length) throw noRangeYet(node.name);
    await this.prepare(node.podCIDRs);
    return { ips: [] };
  }

  /** Configures the runtime's network for a node's ranges, once. */
  async prepare(ranges: readonly string[]): Promise<void> {
    if (this.#configured?.ranges !== String(ranges)) {
      const done = this.#configure(ranges);
      this.#configured = { ranges: String(ranges), done };
      done.catch(() => this.#configured = undefined);
    }
    await this.#configured!.done;
  }

  teardownPod(): void {}

  endpoint(ip: string, port: number): { hostname: string; port: number } {
    return { hostname: ip, port };
  }

  nodeAddresses(index: number): string[] {
    return this.#options.machine.nodeAddresses(index);
  }

  /** Leaves the bridge where it is: pods may run on it longer than this process. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Removes what was made, when no pod is left. */
  async remove(): Promise<void> {
    const { folder, state, ranges } = this.#options;
    if (!this.#bridge) return;
    await run("ip", "link", "delete", this.#bridge);
    for (const family of ranges.second ? ["ip", "ip6"] : ["ip"]) {
      await run("nft", "delete", "table", family, masqueradeTable(ranges));
    }
    await Deno.remove(`${folder}/${OWN_FILE}`).catch(() => undefined);
    await Deno.remove(state, { recursive: true }).catch(() => undefined);
  }

  async #configure(podCIDRs: readonly string[]): Promise<void> {
    const { folder, state, ranges, ready } = this.#options;
    const found = await foreignBridge(folder);
    const bridge = found ?? bridgeOf(ranges);
    if (found === undefined) {
      await Deno.mkdir(folder, { recursive: true });
      const text = JSON.stringify(confList({ bridge, podCIDRs, state }), null, 2);
      // Moved into place: the runtime reads whatever it finds there at any moment.
      await Deno.writeTextFile(`${folder}/.${OWN_FILE}`, text);
      await Deno.rename(`${folder}/.${OWN_FILE}`, `${folder}/${OWN_FILE}`);
      this.#bridge = bridge;
    }
    if (bridge) {
      await this.#makeBridge(bridge, podCIDRs);
      await masquerade(ranges, bridge);
    }
    const end = performance.now() + READY_MS_MAX;
    while (!await ready()) {
      if (performance.now() > end) throw new Error("the container runtime's network is not ready");
      await new Promise((resolve) => setTimeout(resolve, READY_LOOK_MS));
    }
  }

  /** The plugin would make it with the first pod; its route must be there before. */
  async #makeBridge(bridge: string, ranges: readonly string[]): Promise<void> {
    // Else it takes the lowest of its ports': pods would send to one that it had before a pod came or went.
    const address = hardwareAddress(addressAt(ranges[0], 1));
    await run("ip", "link", "add", bridge, "address", address, "type", "bridge");
    for (const range of ranges) {
      const gateway = `${addressAt(range, 1)}/${range.split("/")[1]}`;
      // Nobody else has the address: it need not be asked for whether it is free
      const six = range.includes(":") ? ["nodad"] : [];
      await run("ip", "addr", "add", gateway, "dev", bridge, ...six);
    }
    await run("ip", "link", "set", bridge, "up");
    for (const range of ranges) {
      const family = range.includes(":") ? "-6" : "-4";
      const route = [family, "route", "replace", range, "dev", bridge, "table", "local"];
      const { success, text } = await run("ip", ...route);
      if (!success) throw new Error(`cannot route ${range} to ${bridge}: ${text}`);
    }
  }
}

/** The hardware address that goes with an IP address, as people know it from Kubernetes' bridges: `0a:58` and its bytes. */
export function hardwareAddress(ip: string): string {
  const bytes = ip.split(".").map((byte) => Number(byte).toString(16).padStart(2, "0"));
  return ["0a", "58", ...bytes].join(":");
}

/** A bridge for each cluster of a machine: they have pod ranges of their own. */
export function bridgeOf({ podRange }: Ranges): string {
  const [, second] = podRange.split(".").map(Number);
  return second === 244 ? "cni0" : `cni${second}`;
}

/** The configuration of a node's pods. Ports of the host are the proxy's affair (`host_ports.ts`), not `portmap`'s. */
export function confList(
  { bridge, podCIDRs, state }: { bridge: string; podCIDRs: readonly string[]; state: string },
): ConfList {
  const plugins: ConfList["plugins"] = [{
    type: "bridge",
    bridge,
    isGateway: true,
    hairpinMode: true,
    ipMasq: false,
    ipam: {
      type: "host-local",
      dataDir: state,
      ranges: podCIDRs.map((subnet) => [{ subnet }]),
      routes: podCIDRs.map((range) => ({ dst: range.includes(":") ? "::/0" : "0.0.0.0/0" })),
    },
  }];
  return { cniVersion: "0.4.0", name: `plesio-${bridge}`, plugins };
}

/**
 * The bridge of the configuration that somebody else has put there: the first by name counts, as it does for the
 * runtime. Undefined: there is none; empty: it has no bridge.
 */
async function foreignBridge(folder: string): Promise<string | undefined> {
  const names: string[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (/\.(conf|conflist|json)$/.test(name) && !name.startsWith(".")) names.push(name);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const [first] = names.sort();
  if (first === undefined || first === OWN_FILE) return undefined;
  const conf = JSON.parse(await Deno.readTextFile(`${folder}/${first}`));
  const plugins: ConfList["plugins"] = conf.plugins ?? [conf];
  return plugins.find((plugin) => plugin.type === "bridge")?.bridge ?? "";
}

const masqueradeTable = (ranges: Ranges) => `plesio-out-${bridgeOf(ranges)}`;

/** Pods that leave the cluster do so under the machine's address. */
async function masquerade(ranges: Ranges, bridge: string): Promise<void> {
  const rules = [ranges, ranges.second].flatMap((one) => {
    if (!one) return [];
    const { podRange, serviceRange } = one;
    const ip = podRange.includes(":") ? "ip6" : "ip";
    const table = `${ip} ${masqueradeTable(ranges)}`;
    return [
      `add table ${table}`,
      `delete table ${table}`,
      `table ${table} {`,
      "  chain out {",
      "    type nat hook postrouting priority 100;",
      `    ${ip} saddr ${podRange} ${ip} daddr != { ${podRange}, ${serviceRange} } oifname != "${bridge}" masquerade`,
      "  }",
      "}",
    ];
  });
  // Without nftables pods reach the cluster alone.
  await run("nft", rules.join("\n") + "\n");
}

/** Runs a program of the machine; `nft` reads its one argument as a script. */
async function run(
  program: string,
  ...args: string[]
): Promise<{ success: boolean; text: string }> {
  const script = program === "nft" && args.length === 1 && args[0].includes("\n");
  try {
    const command = new Deno.Command(program, {
      args: script ? ["-f", "-"] : args,
      stdin: script ? "piped" : "null",
      stdout: "null",
      stderr: "piped",
    });
    const process = command.spawn();
    if (script) {
      const writer = process.stdin.getWriter();
      await writer.write(new TextEncoder().encode(args[0]));
      await writer.close();
    }
    const { success, stderr } = await process.output();
    return { success, text: new TextDecoder().decode(stderr).trim() };
  } catch {
    return { success: false, text: `no ${program} on this machine` };
  }
}
