import { assertEquals } from "@std/assert";
import type { ActorReport } from "../../client/plesio.ts";
import { groupsOf, placeOf, shortName } from "./actor_groups.ts";

Deno.test("actors stand in groups by their addresses; pods' actors stand on their nodes", () => {
  const addresses = [
    "controller/deployment",
    "node/plesio-0",
    "node/plesio-0/pod/u1",
    "proxy/health",
    "scheduler/default",
  ];
  const groups = groupsOf(addresses.map((address) => ({ address }) as ActorReport));
  assertEquals(groups.map(({ id, actors }) => [id, ...actors.map(({ address }) => address)]), [
    ["controllers", "controller/deployment"],
    ["scheduler", "scheduler/default"],
    ["nodes", "node/plesio-0"],
    ["others", "proxy/health"],
  ]);
  assertEquals(shortName("node/plesio-0"), "plesio-0");
  assertEquals(shortName("proxy/plesio"), "proxy/plesio");
});

Deno.test("placeOf() finds the pod that a message is about, of a node's own actors and of simulated nodes'", () => {
  assertEquals(placeOf("node/n/pod/u1", "sync"), { pod: "u1", actor: "node/n" });
  assertEquals(placeOf("node/host", "pod/default/web"), { pod: "default/web", actor: "node/host" });
  assertEquals(placeOf("node/host", "lease"), { actor: "node/host" });
  assertEquals(placeOf("controller/job", "pod/a"), { actor: "controller/job" });
});
