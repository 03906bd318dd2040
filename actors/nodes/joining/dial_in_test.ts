import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../../kv/clock.ts";
import type { Client, Informers } from "../../../api/client/contract.ts";
import type { NodeApi } from "../../../api/client/node_api.ts";
import { SILENCE_MS_MAX } from "../../../api/client/tunnel.ts";
import { carrierPair, type TestCarrier } from "../../../api/client/tunnel_fixture.ts";
import { Tunnels } from "../../../api/server/tunnels.ts";
import { createSystem } from "../../runtime/mod.ts";
import { DIAL_MS_MAX, DIAL_MS_MIN, dialIn, pauseMs } from "./dial_in.ts";

/** A node that dials a server over a network that can be away. */
function world() {
  const clock = new ManualClock({ seed: 1 });
  const tunnels = new Tunnels(clock);
  const net = { up: true, dials: 0, carriers: [] as TestCarrier[], lost: [] as string[] };
  const no = () => Promise.reject(new Error("not asked"));
  const api: NodeApi = {
    logs: no,
    exec: no,
    attach: no,
    portForward: no,
    fetch: () => Promise.resolve(new Response("here")),
  };
  const system = createSystem({
    client: { because: () => ({}) } as unknown as Client,
    informers: { busy: () => [] } as unknown as Informers,
    clock,
    log: () => {},
  });
  const handle = system.spawn(
    "tunnel/far",
    dialIn({
      api,
      dial() {
        net.dials++;
        if (!net.up) return Promise.reject(new Error("no route to host"));
        const [here, there] = carrierPair();
        net.carriers.push(here);
        void tunnels.serve("far", there);
        return Promise.resolve(here);
      },
      lost: (why) => void net.lost.push(why),
    }),
  );
  const ask = async () =>
    await (await tunnels.find("far")!.fetch(new Request("http://far/"))).text();
  /** Lets time pass in small steps, so that what happens meanwhile is done. */
  const pass = async (ms: number, step = 1_000) => {
    for (let at = 0; at < ms; at += step) {
      await clock.advance(step);
      for (let i = 0; i < 50; i++) await Promise.resolve();
    }
  };
  return { clock, tunnels, net, system, handle, ask, pass };
}

Deno.test("a node is reached again within the longest pause after hours offline (come-again)", async () => {
  const w = world();
  await w.pass(1_000);
  assertEquals(await w.ask(), "here");
  w.net.up = false;
  w.net.carriers[0].cut();
  await w.pass(SILENCE_MS_MAX + 20_000);
  assertEquals(w.net.lost, ["the other side is silent"]);
  assertEquals(w.tunnels.find("far"), undefined);
  const before = w.net.dials;
  await w.pass(6 * 3_600_000, 10_000);
  const dials = w.net.dials - before;
  assert(dials >= 360 && dials <= 760, `${dials} dials in six hours`);
  w.net.up = true;
  await w.pass(DIAL_MS_MAX);
  assertEquals(await w.ask(), "here");
  await w.system.stop();
});

Deno.test("a change of address is noticed by the node's silence, and costs the requests under way (heard)", async () => {
  const w = world();
  await w.pass(1_000);
  w.net.carriers[0].cut(); // the old address is gone: nobody is told
  await w.pass(SILENCE_MS_MAX + 20_000);
  assertEquals(w.net.carriers.length, 2);
  assertEquals(await w.ask(), "here");
  assertEquals(w.net.lost.length, 1);
  await w.system.stop();
});

Deno.test("a renewed certificate opens another connection, and leaves none without an answer", async () => {
  const w = world();
  await w.pass(1_000);
  w.handle.send("anew");
  await w.pass(1_000);
  assertEquals(w.net.carriers.length, 2);
  assertEquals(w.net.lost, []);
  assertEquals(await w.ask(), "here");
  await w.pass(120_000);
  assertEquals(w.net.carriers.length, 2);
  await w.system.stop();
});

Deno.test("a node that stops closes its connection and dials no more", async () => {
  const w = world();
  await w.pass(1_000);
  await w.system.stop();
  await w.pass(120_000);
  assertEquals([w.net.dials, w.tunnels.names()], [1, []]);
});

Deno.test("pauseMs() doubles to its bound, by chance half of it", () => {
  assertEquals([1, 2, 3].map((n) => pauseMs(n, 1)), [1_000, 2_000, 4_000]);
  assertEquals([pauseMs(50, 1), pauseMs(50, 0)], [DIAL_MS_MAX, DIAL_MS_MAX / 2]);
  assertEquals(pauseMs(0, 0), DIAL_MS_MIN / 2);
});
