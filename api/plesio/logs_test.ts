import { assertEquals } from "@std/assert";
import type { Call } from "../server/http.ts";
import { LINES_MAX, logs } from "./logs.ts";
import type { PlesioPorts } from "./ports.ts";

Deno.test("logs() answers the newest lines of all nodes in order, however many each has", async () => {
  const nodes = 5;
  const time = (at: number) => new Date(at).toISOString();
  const fetch = (request: Request) => {
    const node = /\/nodes\/(\d+)\/proxy/.exec(request.url)?.[1];
    const items = Array.from({ length: nodes }, (_, i) => ({ metadata: { name: `${i}` } }));
    if (node === undefined) return Promise.resolve(Response.json({ items }));
    const lines = Array.from({ length: LINES_MAX }, (_, i) => ({
      time: time(i * nodes + Number(node)),
      namespace: "default",
      pod: node,
      container: "c",
      text: "",
    }));
    return Promise.resolve(Response.json({ lines }));
  };
  const { body } = await logs({
    call: {
      method: "GET",
      path: "/plesio/v1/logs",
      query: "",
      header: () => undefined,
    } as unknown as Call,
    user: { name: "u", groups: [] },
    authorize() {},
    rest: "",
    ports: { api: () => ({ fetch }) } as unknown as PlesioPorts,
  });
  const { lines } = JSON.parse(new TextDecoder().decode(body as Uint8Array));
  const first = (nodes - 1) * LINES_MAX;
  assertEquals(
    lines.map((line: { time: string }) => Date.parse(line.time)),
    Array.from({ length: LINES_MAX }, (_, i) => first + i),
  );
});
