/** `deno task kv-server` as a process of its own, for tests that kill it and for benchmarks. */

/** The environment is that of all tests that run beside this one: the same everywhere. */
export const TOKEN = "a token of tests";

/** How a server is started. */
export interface KvServerOptions {
  /** The database file, or `:memory:`. */
  data: string;
  /** Default: a free one. */
  port?: number;
  /** Default: TOKEN. */
  token?: string;
}

/** A server that said where it is. */
export class KvServer {
  readonly url: string;
  readonly #process: Deno.ChildProcess;
  readonly #drained: Promise<unknown>;

  private constructor(url: string, process: Deno.ChildProcess, drained: Promise<unknown>) {
    this.url = url;
    this.#process = process;
    this.#drained = drained;
  }

  /** Starts one; throws with what it says when it ends instead of serving. */
  static async start({ data, port = 0, token = TOKEN }: KvServerOptions): Promise<KvServer> {
    const program = new URL("../kv/connect_server.ts", import.meta.url).pathname;
    const process = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-check",
        "--unstable-kv",
        program,
        "--data",
        data,
        "--port",
        `${port}`,
      ],
      env: { DENO_KV_ACCESS_TOKEN: token },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const errors = new Response(process.stderr).text();
    const [first, rest] = process.stdout.tee();
    const drained = Promise.all([errors, rest.pipeTo(new WritableStream())]);
    let text = "";
    for await (const part of first.pipeThrough(new TextDecoderStream())) {
      text += part;
      const found = /is served at (\S+)\n/.exec(text);
      if (found) return new KvServer(found[1], process, drained);
    }
    throw new Error(await errors);
  }

  /** Ends it at once, or by the signal given. */
  async stop(signal: Deno.Signal = "SIGKILL"): Promise<Deno.CommandStatus> {
    this.#process.kill(signal);
    const status = await this.#process.status;
    await this.#drained;
    return status;
  }
}
