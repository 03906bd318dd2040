/**
 * Machines of their own for tests: network namespaces with an address each, on one switch, which is a namespace too, so
 * that nothing of the real machine's network is touched. Plesio's own commands run in them, and kubectl.
 */

const ROOT = new URL("../../", import.meta.url).pathname;
const NETWORK = "172.30.0";

/** A Deployment, and the Service that leads to its pods: `main.ts` of the ConfigMap `site`, at port 8080. */
export function site(main: string, deployment: { template: object } & Record<string, unknown>) {
  const metadata = { name: "site" };
  const labels = { app: "site" };
  return [
    { apiVersion: "v1", kind: "ConfigMap", metadata, data: { "main.ts": main } },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata,
      spec: { selector: { matchLabels: labels }, ...deployment },
    },
  ];
}

/** Registers a test with so many machines where there can be any; in CI it is an error where there cannot. */
export async function testWithMachines(
  name: string,
  count: number,
  test: (m: Machines, t: Deno.TestContext) => Promise<void>,
): Promise<void> {
  const reason = await reasonAgainst();
  Deno.test({
    name: `${name}${reason ? ` (skipped: ${reason})` : ""}`,
    ignore: reason !== undefined && Deno.env.get("CI") !== "true",
    sanitizeResources: false,
    sanitizeOps: false,
    fn: async (t) => {
      if (reason) throw new Error(reason);
      const m = await Machines.open(count);
      try {
        await test(m, t);
      } finally {
        await m.close();
      }
    },
  });
}

/** Why there can be no machines here; undefined where there can. */
async function reasonAgainst(): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "only Linux has network namespaces";
  if (Deno.uid() !== 0) return "only root may make network namespaces";
  for (const program of ["ip", "kubectl", "curl"]) {
    try {
      await new Deno.Command(program, { args: ["--help"], stdout: "null", stderr: "null" })
        .output();
    } catch {
      return `${program} is not installed`;
    }
  }
  const probe = `plesio-${crypto.randomUUID().slice(0, 8)}`;
  try {
    await run("ip", ["netns", "add", probe]);
    await run("ip", ["netns", "del", probe]);
  } catch (error) {
    return `no network namespaces can be made: ${(error as Error).message}`;
  }
  return undefined;
}

async function run(program: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args, cwd: ROOT }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (!success) throw new Error(`${program} ${args.join(" ")}: ${err || out}`);
  return out;
}

/** What tests look at of a pod. */
export interface PodSeen {
  metadata: { name: string; uid: string; deletionTimestamp?: string };
  spec: { nodeName: string };
  status: { podIP: string; conditions?: { type: string; status: string }[] };
}

/** A program of ours in a machine. */
interface Running {
  process: Deno.ChildProcess;
  said: () => string;
}

/** See the module's text. The first machine is the API server's. */
export class Machines {
  readonly folder: string;
  readonly kubeconfig: string;
  readonly #id = `plesio-${crypto.randomUUID().slice(0, 8)}`;
  readonly #count: number;
  readonly #running = new Map<string, Running>();

  private constructor(folder: string, count: number) {
    this.folder = folder;
    this.kubeconfig = `${folder}/kubeconfig`;
    this.#count = count;
  }

  static async open(count: number): Promise<Machines> {
    const machines = new Machines(await Deno.makeTempDir({ prefix: "plesio-machines-" }), count);
    try {
      await machines.#wire();
    } catch (error) {
      await machines.close();
      throw error;
    }
    return machines;
  }

  /** The i-th machine's namespace and address. */
  namespace = (i: number) => `${this.#id}-${i}`;
  address = (i: number) => `${NETWORK}.${i}`;
  /** For nsenter: `ip netns exec` would hide the machine's cgroups, by which isolates are known. */
  #inside = (i: number) => `--net=/run/netns/${this.namespace(i)}`;

  async #wire(): Promise<void> {
    const hub = `${this.#id}-hub`;
    await run("ip", ["netns", "add", hub]);
    await run("ip", ["-n", hub, "link", "add", "br0", "type", "bridge"]);
    await run("ip", ["-n", hub, "link", "set", "br0", "up"]);
    for (let i = 1; i <= this.#count; i++) {
      const machine = this.namespace(i);
      await run("ip", ["netns", "add", machine]);
      await run("ip", ["-n", machine, "link", "set", "lo", "up"]);
      await run(
        "ip",
        ["link", "add", `p${i}`, "netns", hub, "type", "veth"].concat(
          ["peer", "name", "eth0", "netns", machine],
        ),
      );
      await run("ip", ["-n", hub, "link", "set", `p${i}`, "master", "br0", "up"]);
      await run("ip", ["-n", machine, "addr", "add", `${this.address(i)}/24`, "dev", "eth0"]);
      await run("ip", ["-n", machine, "link", "set", "eth0", "up"]);
    }
  }

  /** Pulls a machine's cable, or puts it back. */
  async cable(i: number, state: "up" | "down"): Promise<void> {
    await run("ip", ["-n", `${this.#id}-hub`, "link", "set", `p${i}`, state]);
  }

  /** Runs a program in a machine to its end. */
  on(i: number, program: string, ...args: string[]): Promise<string> {
    return run("nsenter", [this.#inside(i), program, ...args]);
  }

  /** kubectl on the API server's machine. */
  kubectl(...args: string[]): Promise<string> {
    return this.on(1, "kubectl", "--kubeconfig", this.kubeconfig, ...args);
  }

  /** kubectl, with an object on its standard input. */
  async apply(...objects: object[]): Promise<void> {
    const file = `${this.folder}/apply-${crypto.randomUUID()}.json`;
    const list = { apiVersion: "v1", kind: "List", items: objects };
    await Deno.writeTextFile(file, JSON.stringify(list));
    await this.kubectl("apply", "-f", file);
  }

  /** Waits until pods can be made in `default`. */
  async accountIsThere(): Promise<void> {
    await this.until("there is an account", () => this.kubectl("get", "sa", "default"));
  }

  /** The pods, or those of an app. */
  async pods(app?: string): Promise<PodSeen[]> {
    const which = app === undefined ? [] : ["-l", `app=${app}`];
    return JSON.parse(await this.kubectl("get", "pods", ...which, "-o", "json")).items;
  }

  /** Starts one of Plesio's tasks in a machine, and waits until it says `ready`. */
  start(i: number, name: string, args: string[], ready: RegExp): Promise<void> {
    return this.deno(
      i,
      name,
      { args: ["run", "-A", "--no-check", `${ROOT}mod.ts`, ...args] },
      ready,
    );
  }

  /** The same of any program that Deno runs. */
  async deno(
    i: number,
    name: string,
    { args, env }: { args: string[]; env?: Record<string, string> },
    ready: RegExp,
  ): Promise<void> {
    const process = new Deno.Command("nsenter", {
      args: [this.#inside(i), Deno.execPath(), ...args],
      cwd: this.folder,
      env,
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let said = "";
    for (const stream of [process.stdout, process.stderr]) {
      void (async () => {
        for await (const piece of stream) said += new TextDecoder().decode(piece);
      })();
    }
    this.#running.set(name, { process, said: () => said });
    let ended = false;
    void process.status.then(() => ended = true);
    await this.until(`${name} says ${ready}`, () => {
      if (ended) throw new Error(`${name} ended: ${said}`);
      return Promise.resolve(ready.test(said));
    });
  }

  /** Starts the API server with one node on the first machine. */
  async serve(...flags: string[]): Promise<void> {
    // 0.0.0.0 with the default port: pods reach the server at that port of an address of their own, too
    const own = ["--data", `${this.folder}/server`, "--host", "0.0.0.0", "--nodes", "1"];
    const args = ["start", ...own, "--kubeconfig", this.kubeconfig, ...flags];
    await this.start(1, "server", args, /is ready at/);
  }

  /** What joins a machine, as the command prints it. */
  joinCommand(): Promise<string> {
    return this.on(
      1,
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      "mod.ts",
      ...["token", "create", "--print-join-command", "--kubeconfig", this.kubeconfig],
    );
  }

  /** Runs the printed command on a machine, which becomes the node of that name. */
  async join(command: string, i: number, name: string, ...flags: string[]): Promise<void> {
    const own = ["--node-name", name, "--data", `${this.folder}/${name}`, "--log-level", "info"];
    const args = [...command.trim().split(" ").slice(2), ...own, ...flags];
    await this.start(i, name, args, /dialled in/);
    await this.until(`${name} is ready`, async () => await this.nodeReady(name) === "True");
  }

  /** Whether a node is Ready: True, False or Unknown. */
  nodeReady(node: string): Promise<string> {
    const path = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}';
    return this.kubectl("get", "node", node, "-o", path);
  }

  /** Starts a program of TypeScript in a machine; told to end, it says something of JSON in its last line. */
  ask(i: number, source: string): { end(): Promise<{ asked: number; lost: string[] }> } {
    const child = new Deno.Command("nsenter", {
      args: [this.#inside(i), Deno.execPath(), "eval", "--ext=ts", source],
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const output = child.output();
    return {
      end: async () => {
        child.kill("SIGTERM");
        const { stdout } = await output;
        return JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
      },
    };
  }

  /** What a task has said. */
  said(name: string): string {
    return this.#running.get(name)?.said() ?? "";
  }

  /** Ends a task, with a signal that lets it tidy up unless another is named. */
  async end(name: string, signal: Deno.Signal = "SIGTERM"): Promise<void> {
    const { process } = this.#running.get(name)!;
    this.#running.delete(name);
    try {
      process.kill(signal);
    } catch {
      // It has ended by itself
    }
    await process.status;
  }

  /** On which machines processes of a pod run now: found at the processes themselves. */
  async whereRuns(pod: string): Promise<number[]> {
    const machines = new Map<string, number>();
    for (let i = 1; i <= this.#count; i++) {
      const { ino } = await Deno.stat(`/run/netns/${this.namespace(i)}`);
      machines.set(`net:[${ino}]`, i);
    }
    const found = new Set<number>();
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const machine = machines.get(await Deno.readLink(`/proc/${name}/ns/net`));
        if (machine === undefined) continue;
        const environment = (await Deno.readTextFile(`/proc/${name}/environ`)).split("\0");
        if (!environment.some((one) => one.startsWith("PLESIO_ISOLATE="))) continue;
        if (environment.includes(`HOSTNAME=${pod}`)) found.add(machine);
      } catch {
        // It has ended meanwhile
      }
    }
    return [...found].sort();
  }

  /** Waits until something holds. */
  async until(what: string, holds: () => Promise<unknown>, ms = 120_000): Promise<void> {
    const end = Date.now() + ms;
    let why: unknown;
    for (;;) {
      try {
        if (await holds()) return;
      } catch (error) {
        why = error;
        if (/ ended: /.test(String(error))) throw error;
      }
      if (Date.now() > end) throw new Error(`did not come: ${what} (${why ?? "it did not hold"})`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  async close(): Promise<void> {
    for (const name of [...this.#running.keys()].reverse()) await this.end(name);
    const names = [...Array.from({ length: this.#count }, (_, i) => this.namespace(i + 1))];
    for (const name of [...names, `${this.#id}-hub`]) {
      await run("ip", ["netns", "del", name]).catch(() => "");
    }
    await Deno.remove(this.folder, { recursive: true }).catch(() => {});
  }
}
