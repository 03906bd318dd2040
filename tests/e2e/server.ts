/**
 * A cluster as a process of its own, as `deno task start` begins it, for benchmarks and end-to-end tests.
 */
import { parse } from "@std/yaml";
import type { Access } from "./raw_http.ts";

const ROOT = new URL("../../", import.meta.url);

export interface ServerOptions {
  /** Flags besides `--data`, `--port` and `--kubeconfig`. */
  flags?: readonly string[];
  /** Keeps this folder instead of a temporary one. */
  folder?: string;
  port?: number;
  env?: Record<string, string>;
}

/** See the module's text. */
export class Server {
  readonly folder: string;
  readonly kubeconfig: string;
  readonly access: Access;
  /** From the start of the process to its line "Plesio is ready", in ms. */
  readonly readyMs: number;
  readonly process: Deno.ChildProcess;
  readonly #output: string[];
  readonly #kept: boolean;
  readonly #drained: Promise<void>;

  private constructor(
    parts: {
      folder: string;
      kubeconfig: string;
      access: Access;
      readyMs: number;
      process: Deno.ChildProcess;
      output: string[];
      kept: boolean;
      drained: Promise<void>;
    },
  ) {
    this.folder = parts.folder;
    this.kubeconfig = parts.kubeconfig;
    this.access = parts.access;
    this.readyMs = parts.readyMs;
    this.process = parts.process;
    this.#output = parts.output;
    this.#kept = parts.kept;
    this.#drained = parts.drained;
  }

  /** Starts one and waits until it says that it is ready; throws with its output when it ends before. */
  static async start(options: ServerOptions = {}): Promise<Server> {
    const folder = options.folder ?? await Deno.makeTempDir({ prefix: "plesio-" });
    const port = options.port ?? freePort();
    const kubeconfig = `${folder}/kubeconfig.test`;
    const since = performance.now();
    const process = new Deno.Command(Deno.execPath(), {
      args: [
        "task",
        "start",
        "--data",
        `${folder}/data`,
        "--port",
        String(port),
        "--kubeconfig",
        kubeconfig,
        ...options.flags ?? [],
      ],
      cwd: ROOT,
      env: options.env,
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const output: string[] = [];
    const ready = Promise.withResolvers<void>();
    const drain = async (stream: ReadableStream<Uint8Array>) => {
      for await (const text of stream.pipeThrough(new TextDecoderStream())) {
        output.push(text);
        if (output.join("").includes("Plesio is ready")) ready.resolve();
      }
    };
    const drained = Promise.all([drain(process.stdout), drain(process.stderr)]).then(() =>
      undefined
    );
    const ended = drained.then(() => {
      throw new Error(`the server ended before it was ready:\n${output.join("")}`);
    });
    ended.catch(() => undefined);
    await Promise.race([ready.promise, ended]);
    const readyMs = performance.now() - since;
    const access = accessOf(await Deno.readTextFile(kubeconfig));
    return new Server({
      folder,
      kubeconfig,
      access,
      readyMs,
      process,
      output,
      kept: options.folder !== undefined,
      drained,
    });
  }

  /** Everything it has printed. */
  get output(): string {
    return this.#output.join("");
  }

  /** Processes that serve this cluster: the task runner and what it started. */
  async pids(): Promise<number[]> {
    const listed = await new Deno.Command("ps", { args: ["-eo", "pid=,ppid="], stdout: "piped" })
      .output();
    const rows = new TextDecoder().decode(listed.stdout).trim().split("\n")
      .map((line) => line.trim().split(/\s+/).map(Number));
    const family = [this.process.pid];
    for (const pid of family) {
      for (const [child, parent] of rows) if (parent === pid) family.push(child);
    }
    return family;
  }

  /** Resident memory of the server's own process, in bytes (Linux). */
  async memory(): Promise<number> {
    let most = 0;
    for (const pid of await this.pids()) {
      const status = await Deno.readTextFile(`/proc/${pid}/status`).catch(() => "");
      most = Math.max(most, Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024);
    }
    return most;
  }

  /**
   * Ends it, waits, and removes its temporary folder. Returns how long that took, in ms. Throws when it had crashed:
   * what a test saw before may have been right all the same.
   */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<number> {
    const since = performance.now();
    try {
      this.process.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended already
    }
    const { code, signal: by } = await this.process.status;
    const took = performance.now() - since;
    await this.#drained;
    if (!this.#kept) await Deno.remove(this.folder, { recursive: true });
    const crash = CRASHES.get(code) ?? [...CRASHES.values()].find((name) => name === by);
    if (crash) throw new Error(`the server crashed by ${crash}:\n${this.output.slice(-2000)}`);
    return took;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** How a shell tells of a process that its own mistake ended. */
const CRASHES = new Map([[128 + 6, "SIGABRT"], [128 + 7, "SIGBUS"], [128 + 11, "SIGSEGV"]]);

/** A port nobody listens on now. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

/** What a kubeconfig says of its current cluster and user. */
export function accessOf(kubeconfig: string): Access {
  const config = parse(kubeconfig) as {
    clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
    users: { user: { "client-certificate-data": string; "client-key-data": string } }[];
  };
  const { cluster } = config.clusters[0];
  const { user } = config.users[0];
  const url = new URL(cluster.server);
  return {
    hostname: url.hostname,
    port: Number(url.port),
    caPem: atob(cluster["certificate-authority-data"]),
    certificatePem: atob(user["client-certificate-data"]),
    keyPem: atob(user["client-key-data"]),
  };
}
