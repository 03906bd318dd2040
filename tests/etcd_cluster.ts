/** Members of etcd on this machine's loopback, for tests that need a real one. */

/** Whether etcd is installed here (Debian: `etcd-server`). */
export const hasEtcd: boolean = (() => {
  try {
    return new Deno.Command("etcd", { args: ["--version"], stdout: "null", stderr: "null" })
      .outputSync().success;
  } catch {
    return false;
  }
})();

interface Member {
  readonly name: string;
  readonly client: number;
  readonly peer: number;
  process?: Deno.ChildProcess;
}

/** How members are reached over TLS: files in PEM. */
export interface ClusterTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** A cluster of etcd that lives as long as a test. */
export class EtcdCluster {
  readonly #folder: string;
  readonly #members: readonly Member[];
  readonly #tls: ClusterTls | undefined;

  private constructor(folder: string, members: readonly Member[], tls: ClusterTls | undefined) {
    this.#folder = folder;
    this.#members = members;
    this.#tls = tls;
  }

  /** Starts so many members and waits until they answer. */
  static async start(count: number, tls?: ClusterTls): Promise<EtcdCluster> {
    const folder = await Deno.makeTempDir({ prefix: "plesio-etcd-" });
    const ports = freePorts(count * 2);
    const members = Array.from({ length: count }, (_, i) => ({
      name: `m${i}`,
      client: ports[i * 2],
      peer: ports[i * 2 + 1],
    }));
    const cluster = new EtcdCluster(folder, members, tls);
    for (let i = 0; i < count; i++) cluster.startMember(i);
    await Promise.all(members.map((_, i) => cluster.healthy(i)));
    return cluster;
  }

  /** For `openDatabase`; each prefix is a database of its own. */
  url(prefix = ""): string {
    const hosts = this.#members.map(({ client }) => `127.0.0.1:${client}`).join(",");
    return `${this.#tls ? "etcds" : "etcd"}://${hosts}${prefix}`;
  }

  /** Where one member's own HTTP interface is. */
  address(index: number): string {
    return `http${this.#tls ? "s" : ""}://127.0.0.1:${this.#members[index].client}`;
  }

  startMember(index: number): void {
    const member = this.#members[index];
    const { name, peer } = member;
    const peers = this.#members.map((one) => `${one.name}=http://127.0.0.1:${one.peer}`).join(",");
    const flags: Record<string, string> = {
      "name": name,
      "data-dir": `${this.#folder}/${name}`,
      "listen-client-urls": this.address(index),
      "advertise-client-urls": this.address(index),
      "listen-peer-urls": `http://127.0.0.1:${peer}`,
      "initial-advertise-peer-urls": `http://127.0.0.1:${peer}`,
      "initial-cluster": peers,
      "logger": "zap",
      "log-outputs": `${this.#folder}/${name}.log`,
    };
    if (this.#tls) {
      flags["cert-file"] = this.#tls.cert;
      flags["key-file"] = this.#tls.key;
      flags["trusted-ca-file"] = this.#tls.ca;
      flags["client-cert-auth"] = "true";
    }
    member.process = new Deno.Command("etcd", {
      args: Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`),
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  }

  /** Ends a member as a power cut would. */
  kill(index: number): Promise<void> {
    return this.#end(index, "SIGKILL");
  }

  /** Ends a member in peace. */
  stop(index: number): Promise<void> {
    return this.#end(index, "SIGTERM");
  }

  async #end(index: number, signal: Deno.Signal): Promise<void> {
    const member = this.#members[index];
    const { process } = member;
    member.process = undefined;
    process?.kill(signal);
    await process?.status;
  }

  /** Waits until a member serves. */
  async healthy(index: number): Promise<void> {
    const { client } = this.#members[index];
    const until = performance.now() + 30_000;
    for (;;) {
      try {
        if (this.#tls) (await Deno.connect({ hostname: "127.0.0.1", port: client })).close();
        else {
          const answer = await fetch(`${this.address(index)}/health`);
          if ((await answer.json()).health !== "true") throw new Error("it is not healthy");
        }
        return;
      } catch (error) {
        if (performance.now() > until) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#members.map((_, i) => this.kill(i)));
    await Deno.remove(this.#folder, { recursive: true });
  }
}

function freePorts(count: number): number[] {
  const listeners = Array.from(
    { length: count },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  const ports = listeners.map(({ addr }) => (addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return ports;
}
