import { assertEquals, assertRejects } from "@std/assert";
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { endLater } from "../../../kv/http2_client.ts";
import { hostDialer } from "./dial.ts";

type Answer = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** A program that is asked by gRPC; what it heard, farewells too. */
async function program(answer: Answer) {
  const heard: string[] = [];
  const server = createServer();
  const closed = Promise.withResolvers<void>();
  server.on("session", (session) => {
    endLater(session);
    session.on("goaway", () => heard.push("farewell"));
    session.on("close", closed.resolve);
  });
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    heard.push(String(headers[":path"]));
    answer(stream, headers);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    port,
    /** All that it heard of a client that has gone. */
    async end() {
      await closed.promise;
      await new Promise((resolve) => server.close(resolve));
      return heard;
    },
  };
}

const GRPC = { ":status": 200, "content-type": "application/grpc" };

/** Answers with a message's bytes, and a code of gRPC. */
const says = (bytes: readonly number[], code = "0", message = ""): Answer => (stream) => {
  stream.respond(GRPC, { waitForTrailers: true });
  stream.on(
    "wantTrailers",
    () => stream.sendTrailers({ "grpc-status": code, "grpc-message": message }),
  );
  stream.end(new Uint8Array([0, 0, 0, 0, bytes.length, ...bytes]));
};

Deno.test("a probe by gRPC tells what a program says, and goes without a farewell", async () => {
  const cases: [Answer, string][] = [
    [says([8, 1]), "SERVING"],
    [says([8, 2]), "NOT_SERVING"],
    [says([]), "UNKNOWN"],
    [says([8, 3]), "SERVICE_UNKNOWN"],
  ];
  for (const [answer, status] of cases) {
    const asked = await program(answer);
    assertEquals(await hostDialer.grpc("127.0.0.1", asked.port, "web", 5_000), status);
    assertEquals(await asked.end(), ["/grpc.health.v1.Health/Check"]);
  }
});

Deno.test("a probe by gRPC fails in words, whatever a program does", async () => {
  const fails = (port: number, words: string, timeoutMs = 5_000) =>
    assertRejects(() => hostDialer.grpc("127.0.0.1", port, "", timeoutMs), Error, words);
  const failed = "error: health rpc probe failed: rpc error: code = ";
  const cases: [Answer, string][] = [
    [
      says([], "12", "unknown service grpc.health.v1.Health"),
      "error: this server does not implement the grpc health protocol " +
      "(grpc.health.v1.Health): unknown service grpc.health.v1.Health",
    ],
    [says([], "5", "no%20such 100%"), `${failed}NotFound desc = no%20such 100%`],
    [says([], "14", "not%20yet"), `${failed}Unavailable desc = not yet`],
  ];
  for (const [answer, words] of cases) {
    const asked = await program(answer);
    await fails(asked.port, words);
    assertEquals(await asked.end(), ["/grpc.health.v1.Health/Check"]);
  }
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const broken = fails(
    (listener.addr as Deno.NetAddr).port,
    `${failed}Unavailable desc = error reading from server: EOF`,
  );
  const connection = await listener.accept();
  await connection.closeWrite();
  await connection.readable.pipeTo(new WritableStream());
  await broken;
  const silent = await program(() => {});
  const place = `127.0.0.1:${silent.port}`;
  const late = `timeout: failed to connect service "${place}" within 0.05s`;
  await fails(silent.port, `${late}: context deadline exceeded`, 50);
  assertEquals(await silent.end(), ["/grpc.health.v1.Health/Check"]);
  const refused = `dial tcp ${place}: connect: connection refused`;
  await fails(silent.port, `error: failed to connect service at "${place}": ${refused}`);
});
