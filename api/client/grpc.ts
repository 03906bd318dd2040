/**
 * A gRPC client over a unix socket, for the programs of the machine that a kubelet asks, container
 * runtimes (CRI) and storage drivers (CSI), and those that keep the keys of keys (KMS). Messages are encoded
 * by our own protobuf from tables of facts (`grpc_messages.ts`); `@grpc/grpc-js` does the transport, and is
 * loaded with the first connection: a cluster without such programs never loads it.
 *
 * A call that fails rejects with an `RpcError`, worded as Go's clients word it, which is what people know
 * from Events. A connection that broke is made again with the next call.
 */
import type { Clock } from "../../kv/clock.ts";
import type { Client as Channel, ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import { Buffer } from "node:buffer";
import { fromProtobuf, toProtobuf } from "../machinery/protobuf.ts";
import { guardHttp2Clients } from "../../kv/http2_client.ts";
import { type MessageFacts, type MessageOf, schemasOf } from "./grpc_messages.ts";

/** What a call is made of when it is not `<Method>Request` to `<Method>Response`. */
export interface RpcNames {
  request: string;
  response: string;
}

/** What a program offers. */
export interface RpcFacts<M extends MessageFacts> {
  messages: M;
  /** The methods of each service, by its full name: `runtime.v1.RuntimeService`. */
  services: Readonly<Record<string, readonly string[]>>;
  /** Methods whose messages are called otherwise. */
  names?: Readonly<Record<string, RpcNames>>;
}

/** How a call is made. */
export interface CallOptions {
  /** Rejects with DeadlineExceeded after so long (two minutes, as a kubelet). */
  timeoutMs?: number;
  /** Cancels the call. */
  signal?: AbortSignal;
}

/** A connection to a program. */
export interface RpcClient<M extends MessageFacts> {
  /** Calls a method by its name; rejects with an RpcError. */
  call<N extends string>(
    method: N,
    request: `${N}Request` extends keyof M ? MessageOf<M, `${N}Request`> : object,
    options?: CallOptions,
  ): Promise<`${N}Response` extends keyof M ? MessageOf<M, `${N}Response`> : object>;
  /** Calls a method that answers with a stream; ends with it, or when the signal says so. */
  stream<N extends string>(
    method: N,
    request: object,
    signal: AbortSignal,
  ): AsyncIterable<object>;
  close(): void;
}

const TIMEOUT_MS = 120_000;
/** Of one message; a kubelet's own bound for answers of container runtimes. */
export const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
/** How long a lost connection waits at most before it is tried again. */
const RECONNECT_MS_MAX = 3_000;

/** Codes of gRPC, in order of their numbers, as Go prints them. */
const CODES = [
  "OK",
  "Canceled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
];

/** The name of a code. */
export function codeOf(code: number): string {
  return CODES[code] ?? `Code(${code})`;
}

/** How a call failed. */
export class RpcError extends Error {
  override name = "RpcError";
  /** `NotFound`, `Unavailable`, … */
  readonly code: string;
  /** What the program said. */
  readonly details: string;
  constructor(code: string, details: string) {
    super(`rpc error: code = ${code} desc = ${details}`);
    this.code = code;
    this.details = details;
  }
}

/** Whether a call failed with this code. */
export function failedWith(error: unknown, code: string): boolean {
  return error instanceof RpcError && error.code === code;
}

/** Connects to `unix:///path` (or a path). The program need not be there yet: calls say so. */
export async function connectRpc<M extends MessageFacts>(
  endpoint: string,
  facts: RpcFacts<M>,
  clock: Pick<Clock, "now">,
): Promise<RpcClient<M>> {
  guardHttp2Clients();
  const grpc = await import("@grpc/grpc-js");
  const schemas = schemasOf(facts.messages);
  const paths = pathsOf(facts);
  const channel: Channel = new grpc.Client(
    targetOf(endpoint),
    grpc.credentials.createInsecure(),
    {
      "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
      "grpc.max_reconnect_backoff_ms": RECONNECT_MS_MAX,
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.enable_http_proxy": 0,
    },
  );
  const codecOf = (method: string) => {
    const path = paths.get(method);
    if (!path) throw new Error(`${endpoint} has no method ${method}`);
    const { request, response } = facts.names?.[method] ??
      { request: `${method}Request`, response: `${method}Response` };
    return {
      path,
      encode: (message: object) => bufferOf(toProtobuf(schemas, request, message)),
      decode: (bytes: Uint8Array) => fromProtobuf(schemas, response, bytes),
    };
  };
  const call = (method: string, request: object, options: CallOptions = {}) => {
    const { path, encode, decode } = codecOf(method);
    const { timeoutMs = TIMEOUT_MS, signal } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const sent = channel.makeUnaryRequest(
        path,
        encode,
        decode,
        request,
        { deadline: clock.now() + timeoutMs },
        (error, answer) => {
          signal?.removeEventListener("abort", cancel);
          if (error) reject(signal?.aborted ? signal.reason : errorOf(error));
          else resolve(answer!);
        },
      );
      const cancel = () => sent.cancel();
      signal?.addEventListener("abort", cancel, { once: true });
    });
  };
  return {
    call: call as RpcClient<M>["call"],
    stream: (method, request, signal) => {
      const { path, encode, decode } = codecOf(method);
      const sent = channel.makeServerStreamRequest(path, encode, decode, request);
      return messagesOf(sent, signal);
    },
    close: () => channel.close(),
  };
}

/** The library wants Node's own kind of bytes. */
export function bufferOf({ buffer, byteOffset, length }: Uint8Array<ArrayBuffer>): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}

/** The full path of each method. */
function pathsOf(facts: RpcFacts<MessageFacts>): Map<string, string> {
  const paths = new Map<string, string>();
  for (const [service, methods] of Object.entries(facts.services)) {
    for (const method of methods) paths.set(method, `/${service}/${method}`);
  }
  return paths;
}

function targetOf(endpoint: string): string {
  if (endpoint.startsWith("unix://")) return endpoint;
  if (endpoint.startsWith("/")) return `unix://${endpoint}`;
  throw new Error(
    `Cannot connect to "${endpoint}": it must be a path, or begin with unix:///`,
  );
}

function errorOf({ code, details, message }: ServiceError): RpcError {
  return new RpcError(codeOf(code), details || message);
}

async function* messagesOf(
  sent: ClientReadableStream<object>,
  signal: AbortSignal,
): AsyncGenerator<object, void> {
  const cancel = () => sent.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  if (signal.aborted) cancel();
  try {
    for await (const message of sent) yield message;
  } catch (error) {
    if (signal.aborted) return;
    throw errorOf(error as ServiceError);
  } finally {
    signal.removeEventListener("abort", cancel);
    sent.cancel();
  }
}
