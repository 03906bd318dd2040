/**
 * A node's API through a tunnel: `nodeThrough(tunnel)` is what the API server calls, `answerFor(node)` what the node
 * answers with. Both sides of every call are here, so that who changes one sees the other.
 *
 * Channel 0 goes to the node (standard input, a forwarded connection, a request's body), 1 and 2 come from it (logs,
 * output and errors of a process, an answer's body). A process's size and end are words.
 */
import { badRequest } from "../machinery/errors.ts";
import type { Json } from "../machinery/types.ts";
import type { Duplex, ExecQuery, LogQuery, NodeApi, PodRef, ProcessEnd } from "./node_api.ts";
import type { RemoteProcess } from "./node_api.ts";
import type { Call, Tunnel } from "./tunnel.ts";

const IN = 0;
const OUT = 1;
const ERRORS = 2;

type Question =
  | { ask: "logs"; query: LogQuery }
  | { ask: "exec"; query: ExecQuery }
  | { ask: "attach"; query: Omit<ExecQuery, "command"> }
  | { ask: "portForward"; pod: PodRef; port: number }
  | { ask: "fetch"; url: string; method: string; headers: [string, string][]; body: boolean };

/** Which of a process's streams there are. */
interface Streams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

/** What is said of a process beside its streams. */
type Word = { resize: { width: number; height: number } } | { ended: ProcessEnd };

interface Head {
  status: number;
  statusText: string;
  headers: [string, string][];
  body: boolean;
}

// --- The side that asks -------------------------------------------------------------------------------------

/** The API of the node at the other end. */
export function nodeThrough(tunnel: Tunnel): NodeApi {
  const begin = (question: Question) => tunnel.ask(question as unknown as Json);
  const ask = async (question: Question) => {
    const { call, answer } = begin(question);
    return { call, answer: await answer };
  };
  return {
    logs: async (query) => {
      const { call } = await ask({ ask: "logs", query });
      return closing(call, call.readable(OUT));
    },
    exec: async (query) => processOf(await ask({ ask: "exec", query })),
    attach: async (query) => processOf(await ask({ ask: "attach", query })),
    portForward: async (pod, port) => {
      const { call } = await ask({ ask: "portForward", pod, port });
      return {
        readable: call.readable(OUT),
        writable: call.writable(IN),
        close: () => call.close(),
      };
    },
    fetch: async (request) => {
      const { url, method, headers, body } = request;
      const { call, answer } = begin({
        ask: "fetch",
        url,
        method,
        headers: [...headers],
        body: body !== null,
      });
      if (body) void pour(body, call.writable(IN), call);
      const head = await answer as unknown as Head;
      const content = head.body ? closing(call, call.readable(OUT)) : null;
      if (!content) call.close();
      return new Response(content as BodyInit | null, head);
    },
  };
}

function processOf({ answer, call }: { answer: Json; call: Call }): RemoteProcess {
  const { stdin, stdout, stderr } = answer as unknown as Streams;
  const ended = Promise.withResolvers<ProcessEnd>();
  call.hear((word) => {
    const said = word as unknown as Word;
    if ("ended" in said) ended.resolve(said.ended);
  });
  void call.over.then(() => ended.resolve({ error: "the connection to the node was lost" }));
  return {
    ...(stdin && { stdin: call.writable(IN) }),
    ...(stdout && { stdout: call.readable(OUT) }),
    ...(stderr && { stderr: call.readable(ERRORS) }),
    resize: (resize) => call.tell({ resize }),
    ended: ended.promise,
    close: () => call.close(),
  };
}

/** A stream with whose cancelling the call ends. */
function closing(call: Call, from: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = from.getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: () => call.close(),
  }, { highWaterMark: 0 });
}

// --- The side that answers ----------------------------------------------------------------------------------

/** Answers a tunnel's questions for a node. */
export function answerFor(node: NodeApi): (question: Json, call: Call) => Promise<Json> {
  return async (question, call) => {
    const asked = question as unknown as Question;
    switch (asked.ask) {
      case "logs":
        return serveLogs(await node.logs(asked.query), call);
      case "exec":
        return serveProcess(await node.exec(asked.query), call);
      case "attach":
        return serveProcess(await node.attach(asked.query), call);
      case "portForward":
        return serveConnection(await node.portForward(asked.pod, asked.port), call);
      case "fetch":
        return await serveFetch(node, asked, call);
      default:
        throw badRequest("the node does not know this question: is it older than the server?");
    }
  };
}

function serveLogs(log: ReadableStream<Uint8Array>, call: Call): Json {
  void pour(log, call.writable(OUT), call).then(() => call.close());
  return {};
}

function serveProcess(process: RemoteProcess, call: Call): Json {
  const { stdin, stdout, stderr } = process;
  if (stdin) pour(call.readable(IN), stdin);
  const outputs = [
    stdout && pour(stdout, call.writable(OUT), call),
    stderr && pour(stderr, call.writable(ERRORS), call),
  ];
  call.hear((word) => {
    const said = word as unknown as Word;
    if ("resize" in said) process.resize(said.resize);
  });
  let over = false;
  void call.over.then(() => {
    if (!over) process.close();
  });
  const finish = (ended: ProcessEnd) => {
    over = true;
    call.tell({ ended } as unknown as Json);
    // What it wrote is to arrive before the end of the call
    void Promise.all(outputs).then(() => call.close());
  };
  process.ended.then(finish, (error) => finish({ error: String(error?.message ?? error) }));
  return { stdin: !!stdin, stdout: !!stdout, stderr: !!stderr };
}

function serveConnection(connection: Duplex, call: Call): Json {
  const both = [
    pour(call.readable(IN), connection.writable),
    pour(connection.readable, call.writable(OUT), call),
  ];
  void call.over.then(() => connection.close());
  void Promise.all(both).then(() => call.close());
  return {};
}

async function serveFetch(
  node: NodeApi,
  { url, method, headers, body }: Question & { ask: "fetch" },
  call: Call,
): Promise<Json> {
  const content = body ? call.readable(IN) as ReadableStream<Uint8Array<ArrayBuffer>> : undefined;
  const response = await node.fetch(new Request(url, { method, headers, body: content }));
  const head: Head = {
    status: response.status,
    statusText: response.statusText,
    headers: [...response.headers],
    body: response.body !== null,
  };
  if (response.body) serveLogs(response.body, call);
  return head as unknown as Json;
}

/** Carries a stream over to its end, or to that of the call; an end before its time ends the call too. */
async function pour(
  from: ReadableStream<Uint8Array>,
  to: WritableStream<Uint8Array>,
  call?: Call,
): Promise<void> {
  const over = new AbortController();
  void call?.over.then(() => over.abort());
  try {
    await from.pipeTo(to, { signal: over.signal });
  } catch (error) {
    call?.close(error);
  }
}
