import { assertEquals } from "@std/assert";
import type { ActorReport } from "../../client/plesio.ts";
import {
  groupsOf,
  homesOf,
  type MapPod,
  nodesOf,
  placeOf,
  shortName,
  STATES_SHOWN_MAX,
} from "./actor_groups.ts";

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

Deno.test("nodesOf() puts pods on their nodes, and counts how they are", () => {
  const pod = (name: string, node: string, status: string): MapPod => ({
    namespace: "default",
    name,
    uid: `u-${name}`,
    node,
    status,
  });
  const statuses = ["Running", "Pending", "Running", "Error", "Completed"];
  const pods = [
    ...statuses.map((status, i) => pod(`p${i}`, "n-10", status)),
    pod("q", "n-2", "Running"),
    pod("r", "<none>", "Pending"),
  ];
  const found = nodesOf(pods).map(({ name, pods, states }) => [
    name,
    pods.length,
    ...states.map(({ status, count }) => `${status} ${count}`),
  ]);
  assertEquals(found, [
    ["", 1, "Pending 1"],
    ["n-2", 1, "Running 1"],
    ["n-10", 5, "Running 2", "Completed 1", "Error 1"],
  ]);
  assertEquals(found[2].length, 2 + STATES_SHOWN_MAX);
  assertEquals([...homesOf(pods.slice(-2))], [
    ["u-q", "n-2"],
    ["default/q", "n-2"],
    ["u-r", ""],
    ["default/r", ""],
  ]);
});
