import { Buffer } from "node:buffer";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Server } from "@grpc/grpc-js";
import { fromProtobuf, toProtobuf } from "../machinery/protobuf.ts";
import { RealClock } from "../../kv/clock.ts";
import { bufferOf, connectRpc, failedWith, type RpcClient, RpcError } from "./grpc.ts";
import { schemasOf } from "./grpc_messages.ts";
import { listenAt } from "./grpc_server_test.ts";

const MESSAGES = {
  EchoRequest: "text=1 count=2:int32 big=3:int flag=4:bool raw=5:bytes list=6:[] numbers=7:[int]",
  EchoResponse: "text=1 count=2:int32 big=3:int flag=4:bool raw=5:bytes list=6:[] numbers=7:[int]",
  FailRequest: "inner=1:Inner map=2:{} by=3:{Inner}",
  FailResponse: "",
  SleepRequest: "",
  SleepResponse: "",
  CountRequest: "to=1:int32",
  Tick: "n=1:int32",
  Inner: "name=1",
} as const;

const FACTS = {
  messages: MESSAGES,
  services: { "test.v1.Things": ["Echo", "Fail", "Sleep", "Count"] },
  names: { Count: { request: "CountRequest", response: "Tick" } },
};

interface Call {
  request: any;
  write(message: object): void;
  end(): void;
}
type Answer = (error: object | null, answer?: object) => void;

/** A program that answers, at a socket of its own. */
async function serve(): Promise<{ path: string; stop(): Promise<void> }> {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/test.sock`;
  const schemas = schemasOf(MESSAGES);
  const method = (name: string, response: string, responseStream = false) => ({
    path: `/test.v1.Things/${name}`,
    requestStream: false,
    responseStream,
    requestSerialize: () => Buffer.alloc(0),
    requestDeserialize: (bytes: Uint8Array) => fromProtobuf(schemas, `${name}Request`, bytes),
    responseSerialize: (m: object) => bufferOf(toProtobuf(schemas, response, m)),
    responseDeserialize: (bytes: Uint8Array) => bytes,
  });
  const server = new Server();
  server.addService({
    Echo: method("Echo", "EchoResponse"),
    Fail: method("Fail", "FailResponse"),
    Sleep: method("Sleep", "SleepResponse"),
    Count: method("Count", "Tick", true),
  }, {
    Echo: ({ request }: Call, answer: Answer) => answer(null, request),
    Fail: ({ request }: Call, answer: Answer) =>
      answer({ code: 5, details: `no ${request.inner.name} in ${JSON.stringify(request)}` }),
    Sleep: () => {},
    Count: (call: Call) => {
      for (let n = 0; n < call.request.to; n++) call.write({ n });
      call.end();
    },
  } as never);
  await listenAt(path, server);
  return {
    path,
    stop: async () => {
      server.forceShutdown();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

async function withClient(test: (client: RpcClient<typeof MESSAGES>) => Promise<void>) {
  const { path, stop } = await serve();
  const client = await connectRpc(`unix://${path}`, FACTS, new RealClock());
  try {
    await test(client);
  } finally {
    client.close();
    await stop();
  }
}

// The library keeps timers of its own for as long as the process lives.
const loose = { sanitizeOps: false, sanitizeResources: false };

Deno.test("connectRpc() sends and reads every kind of field", loose, async () => {
  await withClient(async (client) => {
    const message = {
      text: "grüße",
      count: -7,
      big: 2 ** 52,
      flag: true,
      raw: btoa("\x00\xff"),
      list: ["a", ""],
      numbers: [1, 70_000, 2 ** 40],
    };
    assertEquals(await client.call("Echo", message), message);
    assertEquals(await client.call("Echo", { text: "only" }), { text: "only" });
  });
});

Deno.test(
  "connectRpc() rejects with the program's code and words, as Go prints them",
  loose,
  async () => {
    await withClient(async (client) => {
      const request = { inner: { name: "pod" }, map: { a: "b" }, by: { x: { name: "y" } } };
      const error = await assertRejects(() => client.call("Fail", request), RpcError);
      assertEquals(
        error.message,
        `rpc error: code = NotFound desc = no pod in ${JSON.stringify(request)}`,
      );
      assertEquals(failedWith(error, "NotFound"), true);
    });
  },
);

Deno.test("connectRpc() gives up at the deadline, and when told to", loose, async () => {
  await withClient(async (client) => {
    const late = await assertRejects(
      () => client.call("Sleep", {}, { timeoutMs: 20 }),
      RpcError,
    );
    assertEquals(late.code, "DeadlineExceeded");
    const abort = new AbortController();
    const asleep = client.call("Sleep", {}, { signal: abort.signal });
    abort.abort(new Error("enough"));
    await assertRejects(() => asleep, Error, "enough");
  });
});

Deno.test(
  "connectRpc() reads streams to their end, or to where its caller stops",
  loose,
  async () => {
    await withClient(async (client) => {
      const all: object[] = [];
      const { signal } = new AbortController();
      for await (const tick of client.stream("Count", { to: 3 }, signal)) all.push(tick);
      assertEquals(all, [{ n: 0 }, { n: 1 }, { n: 2 }]);
      for await (const tick of client.stream("Count", { to: 1000 }, signal)) {
        assertEquals(tick, { n: 0 });
        break;
      }
    });
  },
);

/** Rounds, each of which ended this process now and then before sessions ended in a later turn. */
const ROUNDS = 2;

// Started as a program this file is the server: it says where it listens, and stops politely when it is told to.
if (import.meta.main && Deno.args[0] === "serve") {
  const { path, stop } = await serve();
  Deno.addSignalListener("SIGTERM", async () => {
    await stop();
    // Long enough for its goodbye to be read.
    setTimeout(() => Deno.exit(0), 100);
  });
  console.log(path);
}

Deno.test("a program that stops politely does not take its client with it", loose, async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const program = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "-q", import.meta.url, "serve"],
      stdout: "piped",
    }).spawn();
    const reader = program.stdout.getReader();
    const path = new TextDecoder().decode((await reader.read()).value).trim();
    const client = await connectRpc(path, FACTS, new RealClock());
    for (let n = 0; n < 60; n++) await client.call("Echo", { text: "x" });
    program.kill("SIGTERM");
    await program.status;
    await reader.cancel();
    const error = await assertRejects(() => client.call("Echo", {}, { timeoutMs: 300 }), RpcError);
    assertEquals(["Unavailable", "DeadlineExceeded"].includes(error.code), true);
    client.close();
  }
});

Deno.test("connectRpc() says that nobody listens", loose, async () => {
  const client = await connectRpc("/nowhere/at/all.sock", FACTS, new RealClock());
  const error = await assertRejects(() => client.call("Sleep", {}), RpcError);
  assertEquals(error.code, "Unavailable");
  client.close();
  await assertRejects(
    () => connectRpc("tcp://host:1", FACTS, new RealClock()),
    Error,
    'Cannot connect to "tcp://host:1": it must be a path, or begin with unix:///',
  );
});

Deno.test("schemasOf() refuses words that it cannot read and messages that are not there", () => {
  assertThrows(() => schemasOf({ A: "name" }), Error, 'message A has a field "name"');
  assertThrows(() => schemasOf({ A: "b=1:B" }), Error, 'message A names a message "B": none such');
});
