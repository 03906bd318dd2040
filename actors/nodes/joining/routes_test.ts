import { assertEquals } from "@std/assert";
import type { KubeObject } from "../../../api/machinery/types.ts";
import { wantedRoutes } from "./routes.ts";

function node(
  name: string,
  podCIDR: string | undefined,
  address: string,
  six: { podCIDR?: string; address?: string } = {},
): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name },
    spec: { podCIDR, podCIDRs: [podCIDR, six.podCIDR].filter(Boolean) },
    status: {
      addresses: [address, six.address].filter(Boolean)
        .map((one) => ({ type: "InternalIP", address: one })),
    },
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
const podRanges = ["10.244.0.0/16"];

Deno.test("wantedRoutes() leads to other nodes by their addresses, on the server's machine", () => {
  const wanted = wantedRoutes(nodes, { podRanges, own: new Set(["plesio-0"]) });
  assertEquals([...wanted], [["10.244.1.0/24", "172.30.0.2"], ["10.244.2.0/24", "172.30.0.3"]]);
});

Deno.test("wantedRoutes() leads to the nodes of the server's machine by the server's address", () => {
  const wanted = wantedRoutes(nodes, {
    podRanges,
    own: new Set(["b"]),
    server: () => "172.30.0.1",
  });
  assertEquals(Object.fromEntries(wanted), {
    "10.244.255.0/24": "172.30.0.1",
    "10.244.0.0/24": "172.30.0.1",
    "10.244.2.0/24": "172.30.0.3",
  });
});

Deno.test("wantedRoutes() leads to each range of a node by its address of that family, if it has one", () => {
  const both = [
    node("plesio-0", "10.244.0.0/24", "10.244.255.1", {
      podCIDR: "fd00:10:244::/64",
      address: "fd00:10:244:ff::1",
    }),
    node("b", "10.244.1.0/24", "172.30.0.2", {
      podCIDR: "fd00:10:244:1::/64",
      address: "fd00:30::2",
    }),
    node("c", "10.244.2.0/24", "172.30.0.3", { podCIDR: "fd00:10:244:2::/64" }),
  ];
  const ranges = ["10.244.0.0/16", "fd00:10:244::/56"];
  const of = (server: string | undefined, own: string) =>
    Object.fromEntries(
      wantedRoutes(both, { podRanges: ranges, own: new Set([own]), server: () => server }),
    );
  assertEquals(of(undefined, "plesio-0"), {
    "10.244.1.0/24": "172.30.0.2",
    "fd00:10:244:1::/64": "fd00:30::2",
    "10.244.2.0/24": "172.30.0.3",
  });
  assertEquals(of("fd00:30::1", "b"), {
    "10.244.2.0/24": "172.30.0.3",
    "fd00:10:244:ff:0:0:0:0/64": "fd00:30::1",
    "fd00:10:244::/64": "fd00:30::1",
  });
});
