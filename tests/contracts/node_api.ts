/**
 * What every way to a node's API promises the server, as one suite: in process, and through a tunnel. An
 * implementation hands in how it reaches the node that the suite gives it.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { ExecQuery, NodeApi, RemoteProcess } from "../../api/client/node_api.ts";
import { badRequest } from "../../api/machinery/errors.ts";
import { ApiError } from "../../api/machinery/types.ts";

/** One implementation. */
export interface NodeApiUnderTest {
  name: string;
  /** Reaches a node's own API. `close` lets go of everything. */
  open(node: NodeApi): Promise<{ api: NodeApi; close(): Promise<void> }>;
}

/** What a reader who does not read may cost, at most. */
const HELD_BYTES_MAX = 1024 * 1024;
const FLOOD_BYTES = 8 * 1024 * 1024;
const pod = { namespace: "ns", name: "p", uid: "1-2" };
const encoder = new TextEncoder();
const asked = { pod, container: "c", stdin: true, stdout: true, stderr: true, tty: false };

const textOf = (stream: ReadableStream<Uint8Array>) =>
  new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).text();
const streamOf = (text: string) => new Response(text).body!;

/** A node that does what its commands say, and notes what it was told. */
class TestNode implements NodeApi {
  readonly events: string[] = [];
  #waiting: (() => void) | undefined;
  written = 0;

  note(event: string): void {
    this.events.push(event);
    this.#waiting?.();
  }

  async noted(event: string): Promise<void> {
    while (!this.events.includes(event)) {
      await new Promise<void>((resolve) => this.#waiting = resolve);
    }
  }

  logs: NodeApi["logs"] = (query) => {
    if (query.container === "none") return Promise.reject(badRequest("no such container"));
    if (!query.follow) return Promise.resolve(streamOf(`of ${query.pod.uid}\ntwo\n`));
    return Promise.resolve(
      new ReadableStream({
        start: (controller) => controller.enqueue(encoder.encode("first\n")),
        cancel: () => this.note("log let go"),
      }),
    );
  };

  exec: NodeApi["exec"] = ({ command }) => {
    if (command[0] === "shout") return Promise.resolve(this.#shout());
    if (command[0] === "flood") return Promise.resolve(this.#flood());
    return Promise.reject(badRequest(`no command ${command[0]}`));
  };

  attach: NodeApi["attach"] = () => Promise.resolve(this.#shout());

  portForward: NodeApi["portForward"] = (_pod, port) => {
    if (port === 1) return Promise.reject(badRequest("nothing listens"));
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    return Promise.resolve({ readable, writable, close: () => this.note("connection closed") });
  };

  fetch: NodeApi["fetch"] = async (request) => {
    const { pathname, search } = new URL(request.url);
    if (pathname === "/empty") return new Response(null, { status: 204 });
    const said = `${request.method} ${pathname}${search} ${await request.text()}`;
    return new Response(said, {
      status: 418,
      headers: { "x-said": request.headers.get("x-say")! },
    });
  };

  /** Says in capitals what it reads, and something on the side; ends with 3. */
  #shout(): RemoteProcess {
    const ended = Promise.withResolvers<{ exitCode: number }>();
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>({
      transform: (data, controller) =>
        controller.enqueue(encoder.encode(new TextDecoder().decode(data).toUpperCase())),
      flush: () => ended.resolve({ exitCode: 3 }),
    });
    return {
      stdin: writable,
      stdout: readable,
      stderr: streamOf("aside"),
      resize: ({ width, height }) => this.note(`size ${width}x${height}`),
      ended: ended.promise,
      close: () => this.note("process closed"),
    };
  }

  /** Writes more than anybody holds. */
  #flood(): RemoteProcess {
    const ended = Promise.withResolvers<{ exitCode: number }>();
    const stdout = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        if (this.written >= FLOOD_BYTES) {
          controller.close();
          return ended.resolve({ exitCode: 0 });
        }
        controller.enqueue(new Uint8Array(64 * 1024).fill(this.written >>> 16));
        this.written += 64 * 1024;
      },
    }, { highWaterMark: 0 });
    return { stdout, resize() {}, ended: ended.promise, close: () => this.note("flood closed") };
  }
}

type Case = [name: string, run: (api: NodeApi, node: TestNode) => Promise<void>];

const CASES: readonly Case[] = [
  ["a log comes whole, and ends", async (api) => {
    assertEquals(await textOf(await api.logs({ pod, container: "c" })), "of 1-2\ntwo\n");
  }],
  ["a log that is followed is let go when its reader goes", async (api, node) => {
    const reader = (await api.logs({ pod, container: "c", follow: true })).getReader();
    assertEquals(new TextDecoder().decode((await reader.read()).value), "first\n");
    await reader.cancel();
    await node.noted("log let go");
  }],
  ["a refusal comes with its code and text", async (api) => {
    const query: ExecQuery = { ...asked, command: ["what"] };
    const error = await assertRejects(() => api.exec(query), ApiError, "no command what");
    assertEquals(error.code, 400);
    await assertRejects(() => api.logs({ pod, container: "none" }), ApiError, "no such container");
    await assertRejects(() => api.portForward(pod, 1), ApiError, "nothing listens");
  }],
  ["exec carries input and its end, both outputs, size and exit code", async (api, node) => {
    const process = await api.exec({ ...asked, command: ["shout"] });
    process.resize({ width: 80, height: 24 });
    await node.noted("size 80x24");
    const outputs = Promise.all([textOf(process.stdout!), textOf(process.stderr!)]);
    const writer = process.stdin!.getWriter();
    await writer.write(encoder.encode("hello "));
    await writer.write(encoder.encode("there"));
    await writer.close();
    assertEquals(await outputs, ["HELLO THERE", "aside"]);
    assertEquals(await process.ended, { exitCode: 3 });
  }],
  ["closing a process tells the node", async (api, node) => {
    (await api.attach(asked)).close();
    await node.noted("process closed");
  }],
  ["a slow reader holds the process back, and loses nothing", async (api, node) => {
    const process = await api.exec({ ...asked, command: ["flood"] });
    const reader = process.stdout!.getReader();
    let bytes = (await reader.read()).value!.length;
    // Others are served meanwhile, often enough for everything that may flow to have flowed
    for (let i = 0; i < 50; i++) await textOf(await api.logs({ pod, container: "c" }));
    assert(node.written - bytes <= HELD_BYTES_MAX, `${node.written} bytes were written`);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      assertEquals(value[0], bytes >>> 16);
      bytes += value.length;
    }
    assertEquals(bytes, FLOOD_BYTES);
    assertEquals(await process.ended, { exitCode: 0 });
  }],
  ["an output that nobody reads to its end lets the process end", async (api, node) => {
    const process = await api.exec({ ...asked, command: ["flood"] });
    await process.stdout!.cancel();
    process.close();
    await node.noted("flood closed");
  }],
  ["a forwarded connection carries both ways, and each end of it", async (api, node) => {
    const connection = await api.portForward(pod, 80);
    const back = textOf(connection.readable);
    const writer = connection.writable.getWriter();
    await writer.write(encoder.encode("ping"));
    await writer.close();
    assertEquals(await back, "ping");
    connection.close();
    await node.noted("connection closed");
  }],
  ["a request has method, path, headers and body; so has its answer", async (api) => {
    const init = { method: "POST", body: "hi", headers: { "x-say": "this" } };
    const response = await api.fetch(new Request("http://n/a/b?c=d", init));
    assertEquals([response.status, response.headers.get("x-said")], [418, "this"]);
    assertEquals(await response.text(), "POST /a/b?c=d hi");
    const empty = await api.fetch(new Request("http://n/empty"));
    assertEquals([empty.status, await empty.text()], [204, ""]);
  }],
  ["many calls at once do not mix", async (api) => {
    await Promise.all(Array.from({ length: 100 }, async (_, i) => {
      const log = await api.logs({ pod: { ...pod, uid: String(i) }, container: "c" });
      assertEquals(await textOf(log), `of ${i}\ntwo\n`);
    }));
  }],
];

/** Runs the suite over an implementation. */
export function nodeApiContract(implementation: NodeApiUnderTest): void {
  Deno.test(`a node's API, ${implementation.name}`, async (t) => {
    for (const [name, run] of CASES) {
      await t.step(name, async () => {
        const node = new TestNode();
        const { api, close } = await implementation.open(node);
        try {
          await run(api, node);
        } finally {
          await close();
        }
      });
    }
  });
}
