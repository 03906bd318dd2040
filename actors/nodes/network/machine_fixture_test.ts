/**
 * A machine in network namespaces of its own, for tests of what really happens to packets: a bridge as containerd's CNI
 * makes it, pods on it, a neighbour outside, and the ranges that Plesio makes local. Needs root and `ip`.
 */
import { podGroup, ROOT, unified } from "../runtimes/cgroup.ts";
import { type Netfilter, netfilter } from "./nft.ts";

/** Why such tests are skipped here; undefined: they are not. */
export const skipped: string | undefined = why();

function why(): string | undefined {
  if (Deno.build.os !== "linux") return "network namespaces are Linux's";
  if (Deno.uid() !== 0) return "network namespaces need root";
  try {
    const trial = `plesio-trial-${crypto.randomUUID().slice(0, 8)}`;
    const add = new Deno.Command("ip", { args: ["netns", "add", trial] }).outputSync();
    if (!add.success) return new TextDecoder().decode(add.stderr).trim();
    new Deno.Command("ip", { args: ["netns", "del", trial] }).outputSync();
    new Deno.Command("nft", { args: ["--version"] }).outputSync();
  } catch (error) {
    return String(error);
  }
}

/** A test of packets: skipped, with its reason in the name, where there can be none. */
export function packetTest(name: string, run: () => Promise<void>): void {
  Deno.test({
    name: skipped ? `${name} (skipped: ${skipped})` : name,
    ignore: skipped !== undefined,
    fn: run,
  });
}

/** Something that runs in a namespace until it is ended. */
export interface Served {
  stop(): Promise<void>;
}

/** A host of the test: the machine itself, a pod, a neighbour; an isolate is a group of processes on the machine. */
export class Host {
  readonly #children: Deno.ChildProcess[] = [];
  readonly namespace: string;
  readonly ip: string;
  readonly #group?: string;

  constructor(namespace: string, ip: string, group?: string) {
    this.namespace = namespace;
    this.ip = ip;
    this.#group = group;
  }

  /** Runs a shell command in it. */
  async sh(command: string): Promise<string> {
    const { success, stdout, stderr } = await new Deno.Command("ip", {
      args: ["netns", "exec", this.namespace, "sh", "-ec", command],
    }).output();
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    if (!success) throw new Error(`${command}: ${err}`);
    return out;
  }

  /** Runs a program of TypeScript in it, whose last line of output is JSON. */
  async run<T>(source: string): Promise<T> {
    const text = await this.#deno(source).output();
    const out = new TextDecoder().decode(text.stdout).trim();
    if (!text.success) throw new Error(new TextDecoder().decode(text.stderr));
    return JSON.parse(out.slice(out.lastIndexOf("\n") + 1)) as T;
  }

  #deno(source: string): Deno.ChildProcess {
    const deno = [Deno.execPath(), "eval", "--unstable-net", "--ext=ts", source];
    const join = this.#group ? `echo $$ > ${this.#group}/cgroup.procs; ` : "";
    const inside = ["ip", "netns", "exec", this.namespace, ...deno];
    const child = new Deno.Command("sh", {
      args: ["-ec", `${join}exec "$@"`, "sh", ...inside],
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return child;
  }

  /** Answers TCP and UDP with `name client-address`, at an address of its own. */
  async serve(port: number, name: string, hostname = "0.0.0.0"): Promise<Served> {
    const child = this.#deno(server(hostname, port, name));
    this.#children.push(child);
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    if (!value) {
      throw new Error(`no server: ${new TextDecoder().decode((await child.output()).stderr)}`);
    }
    return { stop: () => this.#end(child) };
  }

  async #end(child: Deno.ChildProcess): Promise<void> {
    const at = this.#children.indexOf(child);
    if (at < 0) return;
    this.#children.splice(at, 1);
    try {
      child.kill("SIGKILL");
    } catch {
      // It ended by itself.
    }
    await child.output().catch(() => undefined);
  }

  /** Who answers, by how often: names, and errors by their kind. */
  async ask(address: string, port: number, options: { times?: number; from?: string } = {}) {
    return await this.run<Record<string, number>>(client(address, port, options.times ?? 1));
  }

  async askDatagram(
    address: string,
    port: number,
    options: { times?: number; source?: number } = {},
  ) {
    return await this.run<Record<string, number>>(datagrams(address, port, options));
  }

  async end(): Promise<void> {
    for (const child of [...this.#children]) await this.#end(child);
    if (this.#group) return await Deno.remove(this.#group).catch(() => undefined);
    await new Deno.Command("ip", { args: ["netns", "del", this.namespace] }).output();
  }
}

function server(hostname: string, port: number, name: string): string {
  return `
    const say = (address) => new TextEncoder().encode(${JSON.stringify(name)} + " " + address);
    const listener = Deno.listen({ hostname: "${hostname}", port: ${port} });
    const socket = Deno.listenDatagram({ transport: "udp", hostname: "${hostname}", port: ${port} });
    (async () => {
      for await (const [, from] of socket) await socket.send(say(from.hostname), from);
    })();
    console.log("up");
    for await (const conn of listener) {
      conn.write(say(conn.remoteAddr.hostname)).then(() => conn.close(), () => conn.close());
    }`;
}

/** How long an answer is waited for before it counts as none. */
const ANSWER_MS_MAX = 700;

function client(address: string, port: number, times: number): string {
  return `
    const tally = {};
    for (let i = 0; i < ${times}; i++) {
      const signal = AbortSignal.timeout(${ANSWER_MS_MAX});
      let got;
      try {
        const conn = await Promise.race([
          Deno.connect({ hostname: "${address}", port: ${port} }),
          new Promise((_, no) => signal.addEventListener("abort", () => no(new Error("timeout")))),
        ]);
        got = await new Response(conn.readable).text();
      } catch (error) {
        got = /refused/i.test(error.message) ? "refused" : /timeout/.test(error.message) ? "timeout" : error.message;
      }
      tally[got] = (tally[got] ?? 0) + 1;
    }
    console.log(JSON.stringify(tally));
    Deno.exit(0);`;
}

function datagrams(
  address: string,
  port: number,
  { times = 1, source = 0 }: { times?: number; source?: number },
): string {
  return `
    const tally = {};
    const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: ${source} });
    for (let i = 0; i < ${times}; i++) {
      await socket.send(new Uint8Array([1]), { transport: "udp", hostname: "${address}", port: ${port} });
      const got = await Promise.race([
        socket.receive().then(([data]) => new TextDecoder().decode(data), (e) => "refused"),
        new Promise((yes) => setTimeout(() => yes("timeout"), ${ANSWER_MS_MAX})),
      ]);
      tally[got] = (tally[got] ?? 0) + 1;
    }
    console.log(JSON.stringify(tally));
    Deno.exit(0);`;
}

/** The machine of a test; see the module's text. */
export class Machine implements AsyncDisposable {
  readonly #pods: Host[] = [];
  readonly #prefix: string;
  readonly netfilter: Netfilter;
  readonly host: Host;
  readonly neighbour: Host;

  private constructor(prefix: string, host: Host, neighbour: Host) {
    this.#prefix = prefix;
    this.host = host;
    this.neighbour = neighbour;
    this.netfilter = netfilter(host.namespace);
  }

  /** Addresses: the machine is 192.168.7.1 outside, its neighbour .2; its bridge is 10.244.0.1/24. */
  static async open(): Promise<Machine> {
    // Files of tests run side by side in one process, each with its own modules.
    const prefix = `plesio-${crypto.randomUUID().slice(0, 8)}`;
    const [host, neighbour] = [
      new Host(prefix, "192.168.7.1"),
      new Host(`${prefix}-out`, "192.168.7.2"),
    ];
    await sh(`ip netns add ${prefix}; ip netns add ${prefix}-out`);
    await host.sh(`
      ip link set lo up
      ip link add cni0 type bridge; ip link set cni0 up; ip addr add 10.244.0.1/24 dev cni0
      ip route add local 10.244.0.0/16 dev lo; ip route add local 10.96.0.0/12 dev lo
      ip route add 10.244.0.0/24 dev cni0 table local
      ip link add eth0 type veth peer name out0 netns ${prefix}-out
      ip link set eth0 up; ip addr add 192.168.7.1/24 dev eth0
      echo 1 > /proc/sys/net/ipv4/ip_forward
      echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables || true`);
    await neighbour.sh(`
      ip link set lo up; ip link set out0 up; ip addr add 192.168.7.2/24 dev out0
      ip route add default via 192.168.7.1`);
    return new Machine(prefix, host, neighbour);
  }

  /** A pod on the bridge, with hairpin mode as CNI's bridge sets it. */
  async pod(ip: string): Promise<Host> {
    const number = ip.split(".").slice(2).join("");
    const pod = new Host(`${this.#prefix}-${number}`, ip);
    await sh(`ip netns add ${pod.namespace}`);
    await this.host.sh(`
      ip link add veth${number} type veth peer name eth0 netns ${pod.namespace}
      ip link set veth${number} master cni0; ip link set veth${number} up
      bridge link set dev veth${number} hairpin on`);
    await pod.sh(`
      ip link set lo up; ip link set eth0 up; ip addr add ${ip}/24 dev eth0
      ip route add default via 10.244.0.1`);
    this.#pods.push(pod);
    return pod;
  }

  /** An isolate: processes of the machine that are known by their group, with a local address to listen at. */
  async isolate(ip: string, uid: string): Promise<Host> {
    await Deno.mkdir(`${ROOT}/${unified()}plesio/${uid}`, { recursive: true });
    const isolate = new Host(this.#prefix, ip, `${ROOT}/${podGroup(uid)}`);
    this.#pods.push(isolate);
    return isolate;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of [...this.#pods, this.neighbour, this.host]) await host.end();
  }
}

async function sh(command: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("sh", { args: ["-ec", command] }).output();
  if (!success) throw new Error(`${command}: ${new TextDecoder().decode(stderr)}`);
}
