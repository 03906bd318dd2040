/**
 * exec and attach: a process of a node tied to a client's streams, over WebSocket channels or SPDY streams.
 * Both ways end with a Status that carries the exit code.
 */
import type { ProcessEnd, RemoteProcess } from "../client/node_api.ts";
import type { Deps } from "./deps.ts";
import { type SpdySession, type SpdyStream, utf8 } from "../client/spdy.ts";
import { Channels, type Socketed } from "./web_socket.ts";

/** Subprotocols of exec and attach over WebSocket. */
export const EXEC_PROTOCOLS = [
  "v5.channel.k8s.io",
  "v4.channel.k8s.io",
  "v3.channel.k8s.io",
  "v2.channel.k8s.io",
  "channel.k8s.io",
  "v4.base64.channel.k8s.io",
  "base64.channel.k8s.io",
];
/** The same over SPDY. */
export const EXEC_SPDY_PROTOCOLS = [
  "v4.channel.k8s.io",
  "v3.channel.k8s.io",
  "v2.channel.k8s.io",
  "channel.k8s.io",
];
/** How long a SPDY client may take to open its streams. */
const STREAMS_WAIT_MS = 30_000;

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;
const CLOSE = 255;
/** Bytes of standard input held for a slow process. */
const STDIN_BYTES_MAX = 256 * 1024;

/** Which streams a client wants. */
export interface Wanted {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** A client's streams. */
interface Ends {
  stdin?: ReadableStream<Uint8Array>;
  stdout?: (data: Uint8Array) => Promise<void>;
  stderr?: (data: Uint8Array) => Promise<void>;
  /** Says how the process ended, and closes. */
  finish(end: ProcessEnd): Promise<void>;
  closed: Promise<void>;
}

/** How a process ended, as the Status that clients read the exit code from. */
function statusOfEnd(end: ProcessEnd): Record<string, unknown> {
  if (end.error !== undefined) {
    return {
      metadata: {},
      status: "Failure",
      reason: "InternalError",
      message: `Internal error occurred: ${end.error}`,
      details: { causes: [{ message: end.error }] },
      code: 500,
    };
  }
  if (!end.exitCode) return { metadata: {}, status: "Success" };
  return {
    metadata: {},
    status: "Failure",
    reason: "NonZeroExitCode",
    message: textOfEnd(end),
    details: { causes: [{ reason: "ExitCode", message: String(end.exitCode) }] },
  };
}

function textOfEnd(end: ProcessEnd): string {
  if (end.error !== undefined) return end.error;
  return end.exitCode
    ? `command terminated with non-zero exit code: exit status ${end.exitCode}`
    : "";
}

/** Ties a process to a client until either is gone. */
async function tie(process: RemoteProcess, ends: Ends): Promise<void> {
  let over = false;
  void ends.closed.then(() => {
    if (!over) process.close();
  });
  if (ends.stdin && process.stdin) void feed(ends.stdin, process.stdin);
  const outputs = [drain(process.stdout, ends.stdout), drain(process.stderr, ends.stderr)];
  let end: ProcessEnd;
  try {
    end = await process.ended;
    await Promise.all(outputs);
  } catch (error) {
    end = { error: error instanceof Error ? error.message : String(error) };
  }
  over = true;
  await ends.finish(end);
}

async function feed(
  from: ReadableStream<Uint8Array>,
  to: WritableStream<Uint8Array>,
): Promise<void> {
  const writer = to.getWriter();
  try {
    for await (const data of from) {
      await writer.ready;
      await writer.write(data);
    }
    await writer.close();
  } catch {
    // The process no longer reads: what is typed goes nowhere, as in a shell
    await writer.abort().catch(() => {});
  }
}

async function drain(
  from: ReadableStream<Uint8Array> | undefined,
  to: ((data: Uint8Array) => Promise<void>) | undefined,
): Promise<void> {
  if (!from) return;
  try {
    for await (const data of from) await to?.(data);
  } catch {
    // An output that breaks off has been shown as far as it went
  }
}

/** A stream that is filled by calls; `push` waits while the reader is behind. */
function pushed(): {
  readable: ReadableStream<Uint8Array>;
  push(data: Uint8Array): Promise<void> | void;
  end(): void;
} {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  let wake: (() => void) | undefined;
  let ended = false;
  const readable = new ReadableStream<Uint8Array>({
    start: (c) => {
      controller = c;
    },
    pull: () => wake?.(),
    cancel: () => {
      ended = true;
      wake?.();
    },
  }, new ByteLengthQueuingStrategy({ highWaterMark: STDIN_BYTES_MAX }));
  return {
    readable,
    push(data) {
      if (ended || data.length === 0) return;
      controller.enqueue(data.slice());
      if ((controller.desiredSize ?? 1) > 0) return;
      return new Promise<void>((resolve) => wake = resolve);
    },
    end() {
      if (ended) return;
      ended = true;
      controller.close();
      wake?.();
    },
  };
}

function resizeTo(process: RemoteProcess, text: string): void {
  try {
    const { Width, Height } = JSON.parse(text);
    if (Width > 0 && Height > 0) process.resize({ width: Width, height: Height });
  } catch {
    // A size that cannot be read changes nothing
  }
}

/** Serves a process over a WebSocket. */
export async function serveProcess(
  socket: Socketed,
  process: RemoteProcess,
  wanted: Wanted,
): Promise<void> {
  const { protocol } = socket;
  const channels = new Channels(socket, protocol.includes("base64"));
  const withStatus = protocol.startsWith("v4") || protocol.startsWith("v5");
  const stdin = wanted.stdin ? pushed() : undefined;
  const decoder = new TextDecoder();
  channels.receive((channel, data) => {
    if (channel === STDIN) return stdin?.push(data);
    if (channel === RESIZE) resizeTo(process, decoder.decode(data));
    else if (channel === CLOSE && data[0] === STDIN) stdin?.end();
  });
  void socket.closed.then(() => stdin?.end());
  // An empty message tells the client that the streams are there
  await channels.send(wanted.stdout ? STDOUT : wanted.stderr ? STDERR : ERROR, new Uint8Array());
  await tie(process, {
    stdin: stdin?.readable,
    stdout: wanted.stdout ? (data) => channels.send(STDOUT, data) : undefined,
    stderr: wanted.stderr ? (data) => channels.send(STDERR, data) : undefined,
    closed: socket.closed,
    async finish(end) {
      const text = withStatus ? JSON.stringify(statusOfEnd(end)) : textOfEnd(end);
      if (text) await channels.send(ERROR, utf8(text));
      socket.close(1000);
    },
  });
}

/** Collects the streams a SPDY client opens for one process. */
export class SpdyStreams {
  readonly #found = new Map<string, SpdyStream>();
  readonly #needed: number;
  readonly #complete = Promise.withResolvers<void>();

  constructor(wanted: Wanted, protocol: string) {
    const sizes = wanted.tty && /^v[34]/.test(protocol) ? 1 : 0;
    this.#needed = 1 + Number(wanted.stdin) + Number(wanted.stdout) + Number(wanted.stderr) + sizes;
  }

  add(stream: SpdyStream): void {
    const type = stream.headers.get("streamtype") ?? "";
    if (this.#found.has(type)) return void stream.reset();
    this.#found.set(type, stream);
    if (this.#found.size === this.#needed) this.#complete.resolve();
  }

  get(type: string): SpdyStream | undefined {
    return this.#found.get(type);
  }

  /** Resolves when all are there; rejects when they take too long. */
  async complete(deps: Deps): Promise<void> {
    const timer = deps.clock.timer("work", STREAMS_WAIT_MS, () => {
      this.#complete.reject(new Error("timed out waiting for client to create streams"));
    });
    try {
      await this.#complete.promise;
    } finally {
      timer.cancel();
    }
  }
}

/** Serves a process over a SPDY session whose streams are complete. */
export async function serveProcessSpdy(
  session: SpdySession,
  streams: SpdyStreams,
  process: RemoteProcess,
  protocol: string,
): Promise<void> {
  const resizes = streams.get("resize");
  // Sizes that cannot be read any more change nothing
  if (resizes) takeSizes(resizes, process).catch(() => {});
  const stdout = streams.get("stdout");
  const stderr = streams.get("stderr");
  await tie(process, {
    stdin: streams.get("stdin")?.readable,
    stdout: stdout && ((data) => stdout.write(data)),
    stderr: stderr && ((data) => stderr.write(data)),
    closed: session.closed,
    async finish(end) {
      const error = streams.get("error");
      const text = protocol === "v4.channel.k8s.io"
        ? JSON.stringify(statusOfEnd(end))
        : textOfEnd(end);
      if (text) await error?.write(utf8(text));
      for (const stream of [stdout, stderr, streams.get("stdin"), resizes, error]) {
        await stream?.end();
      }
      // The client closes once it has read it all
    },
  });
}

async function takeSizes(stream: SpdyStream, process: RemoteProcess): Promise<void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const data of stream.readable) {
    text += decoder.decode(data, { stream: true });
    const end = text.lastIndexOf("}");
    if (end < 0) continue;
    const start = text.lastIndexOf("{", end);
    resizeTo(process, text.slice(start, end + 1));
    text = text.slice(end + 1);
  }
}
