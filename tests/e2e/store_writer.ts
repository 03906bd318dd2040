/** A process that writes to a database, as a test sees it: what it was answered, until it is killed. */

import { assertEquals } from "@std/assert";

/** A write that was answered. */
export interface Ack {
  key: string;
  revision: number;
  /** The name of what was put; "-" for a delete. */
  name: string;
}

/** See `kill_store_writer.ts`. */
export class StoreWriter {
  readonly acks: Ack[] = [];
  /** The database is open. */
  readonly began: Promise<void>;
  readonly #process: Deno.ChildProcess;
  readonly #errors: Promise<string>;
  readonly #read: Promise<void>;

  constructor(path: string, life: string, keepRevisions?: number) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-check",
        "--unstable-kv",
        new URL("kill_store_writer.ts", import.meta.url).pathname,
        path,
        life,
        ...keepRevisions === undefined ? [] : [String(keepRevisions)],
      ],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#errors = new Response(this.#process.stderr).text();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.began = promise;
    // A process that ended says so when it is killed.
    this.#read = this.#readAcks(resolve).finally(resolve);
  }

  /** Ends it at once; returns what it was answered. */
  async kill(): Promise<Ack[]> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It ended before: its status tells.
    }
    const { signal } = await this.#process.status;
    const errors = await this.#errors;
    assertEquals(signal, "SIGKILL", errors);
    await this.#read;
    return this.acks;
  }

  async #readAcks(begin: () => void): Promise<void> {
    let text = "";
    for await (const part of this.#process.stdout.pipeThrough(new TextDecoderStream())) {
      text += part;
      const lines = text.split("\n");
      // What the kill cut off was not answered as far as anybody knows.
      text = lines.pop()!;
      for (const line of lines) {
        const [word, key, revision, name] = line.split(" ");
        if (word === "ack") this.acks.push({ key, revision: Number(revision), name });
        begin();
      }
    }
  }
}
