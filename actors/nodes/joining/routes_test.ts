import { assertEquals } from "@std/assert";
import type { KubeObject } from "../../../api/machinery/types.ts";
import { wantedRoutes } from "./routes.ts";

function node(name: string, podCIDR: string | undefined, address: string): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name },
    spec: { podCIDR },
    status: { addresses: [{ type: "InternalIP", address }] },
  } as unknown as KubeObject;
}

const nodes = [
  node("plesio-0", "10.244.0.0/24", "10.244.255.1"),
  node("b", "10.244.1.0/24", "172.30.0.2"),
  node("c", "10.244.2.0/24", "172.30.0.3"),
  node("new", undefined, "172.30.0.4"),
  node("loop", "10.244.4.0/24", "127.0.0.1"),
  node("far", "192.168.7.0/24", "172.30.0.5"),
];
const podRange = "10.244.0.0/16";

Deno.test("wantedRoutes() leads to other nodes by their addresses, on the server's machine", () => {
  const wanted = wantedRoutes(nodes, { podRange, own: new Set(["plesio-0"]) });
  assertEquals([...wanted], [["10.244.1.0/24", "172.30.0.2"], ["10.244.2.0/24", "172.30.0.3"]]);
});

Deno.test("wantedRoutes() leads to the nodes of the server's machine by the server's address", () => {
  const wanted = wantedRoutes(nodes, {
    podRange,
    own: new Set(["b"]),
    server: () => "172.30.0.1",
  });
  assertEquals(Object.fromEntries(wanted), {
    "10.244.255.0/24": "172.30.0.1",
    "10.244.0.0/24": "172.30.0.1",
    "10.244.2.0/24": "172.30.0.3",
  });
});
