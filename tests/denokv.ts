/**
 * Deno's own self-hosted server of KV Connect, for tests that need a real one: `cargo install denokv` builds it by its name
 * in Rust's registry (it needs no protoc; half an hour on one core). It lies on the PATH, or the tests that want it are left out.
 */
import { freePort } from "./e2e/server.ts";
import { TOKEN } from "./kv_server.ts";

/** Whether it is installed here. */
export const hasDenokv: boolean = (() => {
  try {
    return new Deno.Command("denokv", { args: ["--help"], stdout: "null", stderr: "null" })
      .outputSync().success;
  } catch {
    return false;
  }
})();

/** A server over a file in a folder that goes with it. */
export class Denokv {
  readonly url: string;
  readonly env = { DENO_KV_ACCESS_TOKEN: TOKEN };
  readonly #folder: string;
  readonly #port: number;
  #process: Deno.ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.#port = port;
    this.url = `http://127.0.0.1:${port}/`;
  }

  static async start(): Promise<Denokv> {
    const folder = await Deno.makeTempDir({ prefix: "plesio-denokv-" });
    const server = new Denokv(folder, freePort());
    await server.begin();
    return server;
  }

  /** Begins, or begins again where it was. Resolves when it answers; rejects with what it says when it ends instead. */
  async begin(): Promise<void> {
    const process = this.#process = new Deno.Command("denokv", {
      args: [
        "--sqlite-path",
        `${this.#folder}/kv.db`,
        "serve",
        "--addr",
        `127.0.0.1:${this.#port}`,
      ],
      env: this.env,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const ready = Promise.withResolvers<void>();
    this.#ended = (async () => {
      let said = "";
      for await (const text of process.stderr.pipeThrough(new TextDecoderStream())) {
        said = (said + text).slice(-4_000);
        if (said.includes("Listening on")) ready.resolve();
      }
      ready.reject(new Error(`denokv ended: ${said}`));
    })();
    await ready.promise;
  }

  /** Ends it without a word. */
  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#process?.status;
    await this.#ended;
    this.#process = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.#folder, { recursive: true });
  }
}
