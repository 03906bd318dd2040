/**
 * Several processes of one cluster on one store, as `deno task start --kv` begins them, with a balancer before them:
 * what a person would put there, a plain TCP one, which goes to the next process when one is not there.
 */
import { KvServer, TOKEN } from "../kv_server.ts";
import { freePort, Server } from "./server.ts";

/** Where the processes keep what is common. */
export interface SharedStore {
  readonly url: string;
  readonly env: Record<string, string>;
  /** Makes trouble of its own in each round. */
  trouble?(round: number): Promise<void>;
}

/** A KV Connect server as a process of its own, over a file in a folder that goes with it. */
export async function kvConnect(): Promise<SharedStore & AsyncDisposable & { folder: string }> {
  const folder = await Deno.makeTempDir({ prefix: "plesio-kv-" });
  const server = await KvServer.start({ data: `${folder}/shared.db` });
  return {
    folder,
    url: server.url,
    env: { DENO_KV_ACCESS_TOKEN: TOKEN },
    async [Symbol.asyncDispose]() {
      await server.stop("SIGTERM");
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** A connection younger than this may be that of one command. */
const YOUNG_MS = 3_000;

/** See the module's text. */
export class Processes {
  readonly kubeconfig: string;
  readonly #folder: string;
  readonly #store: SharedStore;
  readonly #flags: (index: number) => readonly string[];
  readonly #ports: readonly number[];
  readonly #servers: (Server | undefined)[] = [];
  readonly #listener: Deno.Listener;
  /** Connections that are open, with where they lead and since when. */
  readonly #open = new Set<{ index: number; at: number }>();
  /** Where new connections do not go. */
  #avoided: number | undefined;
  #next = 0;
  #closed = false;

  private constructor(
    folder: string,
    store: SharedStore,
    options: { count: number; flags: (index: number) => readonly string[] },
  ) {
    this.#folder = folder;
    this.#store = store;
    this.#flags = options.flags;
    this.#ports = Array.from({ length: options.count }, freePort);
    this.kubeconfig = `${folder}/kubeconfig`;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  }

  static async start(
    store: SharedStore,
    { count = 3, flags = () => [] }: {
      count?: number;
      flags?: (index: number) => readonly string[];
    } = {},
  ): Promise<Processes> {
    const folder = await Deno.makeTempDir({ prefix: "plesio-processes-" });
    const all = new Processes(folder, store, { count, flags });
    await Promise.all(all.#ports.map((_, index) => all.start(index)));
    void all.#balance();
    const text = await Deno.readTextFile(all.servers[0].kubeconfig);
    const { port } = all.#listener.addr as Deno.NetAddr;
    const balanced = text.replace(/server: .*/, `server: https://127.0.0.1:${port}`);
    await Deno.writeTextFile(all.kubeconfig, balanced);
    return all;
  }

  /** Those that are up. */
  get servers(): Server[] {
    return this.#servers.filter((server) => server !== undefined);
  }

  /** The one with this number. */
  at(index: number): Server {
    return this.#servers[index]!;
  }

  /** Begins a process, or begins it again in its folder. */
  async start(index: number): Promise<void> {
    const folder = `${this.#folder}/${index}`;
    await Deno.mkdir(folder, { recursive: true });
    this.#servers[index] = await Server.start({
      folder,
      port: this.#ports[index],
      flags: ["--kv", this.#store.url, ...this.#flags(index)],
      env: this.#store.env,
    });
  }

  /**
   * Ends one without a word. `between`: in a moment in which it has no young connection, as those of one command are:
   * what was asked for once and done, and whose answer is cut, cannot be asked for again by who does not expect that.
   */
  async kill(index: number, { between = false } = {}): Promise<void> {
    const server = this.#servers[index];
    if (!server) return;
    this.#avoided = index;
    for (const until = performance.now() + YOUNG_MS; between && performance.now() < until;) {
      const since = performance.now() - YOUNG_MS;
      if (![...this.#open].some((one) => one.index === index && one.at > since)) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    this.#avoided = undefined;
    this.#servers[index] = undefined;
    for (const pid of await server.pids()) Deno.kill(pid, "SIGKILL");
    await server.process.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#listener.close();
    await Promise.all(this.servers.map((server) => server.stop()));
    await Deno.remove(this.#folder, { recursive: true });
  }

  async #balance(): Promise<void> {
    try {
      for await (const client of this.#listener) void this.#carry(client);
    } catch (error) {
      if (!this.#closed) throw error;
    }
  }

  async #carry(client: Deno.Conn): Promise<void> {
    const dialled = await this.#dial();
    if (!dialled) return client.close();
    const { server, ...open } = dialled;
    this.#open.add(open);
    const end = () => {
      for (const side of [client, server]) {
        try {
          side.close();
        } catch {
          continue; // it has closed already
        }
      }
    };
    await Promise.all([
      client.readable.pipeTo(server.writable).catch(end),
      server.readable.pipeTo(client.writable).catch(end),
    ]);
    this.#open.delete(open);
  }

  /** One after the other, until one answers. */
  async #dial(): Promise<{ server: Deno.TcpConn; index: number; at: number } | undefined> {
    for (let i = 0; i < this.#ports.length * 20 && !this.#closed; i++) {
      const index = this.#next++ % this.#ports.length;
      if (index === this.#avoided) continue;
      try {
        const server = await Deno.connect({ hostname: "127.0.0.1", port: this.#ports[index] });
        return { server, index, at: performance.now() };
      } catch {
        if (i % this.#ports.length === this.#ports.length - 1) {
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }
    }
  }
}
