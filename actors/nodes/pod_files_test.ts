import { assertEquals } from "@std/assert";
import {
  hostnameOf,
  hostsFile,
  NAMESERVERS_MAX,
  resolvFile,
  SEARCH_CHARS_MAX,
  SEARCHES_MAX,
} from "./pod_files.ts";
import type { NodeFacts } from "./ports.ts";
import type { Pod, PodSpec } from "./types.ts";

const node: NodeFacts = {
  name: "n",
  addresses: ["10.0.0.1"],
  podCIDRs: [],
  allocatable: {},
  dnsIP: "10.96.0.10",
  domain: "cluster.local",
  resolv: "nameserver 8.8.8.8\nsearch corp.example\noptions timeout:1\n",
};
const pod = (spec: Partial<PodSpec>) =>
  ({
    metadata: { name: "web-0", namespace: "ns" },
    spec: { containers: [], ...spec },
  }) as unknown as Pod;

Deno.test("resolvFile() follows the pod's DNS policy", () => {
  assertEquals(
    resolvFile(pod({}), node, node.resolv),
    "search ns.svc.cluster.local svc.cluster.local cluster.local corp.example\n" +
      "nameserver 10.96.0.10\noptions ndots:5\n",
  );
  const own = "search corp.example\nnameserver 8.8.8.8\noptions timeout:1\n";
  assertEquals(resolvFile(pod({ dnsPolicy: "Default" }), node, node.resolv), own);
  assertEquals(resolvFile(pod({ hostNetwork: true }), node, node.resolv), own);
  const dnsConfig = {
    nameservers: ["1.1.1.1"],
    searches: ["x"],
    options: [{ name: "ndots", value: "2" }],
  };
  assertEquals(
    resolvFile(pod({ dnsPolicy: "None", dnsConfig }), node, node.resolv),
    "search x\nnameserver 1.1.1.1\noptions ndots:2\n",
  );
});

Deno.test("resolvFile() names no more servers and domains than resolvers read", () => {
  const nameservers = ["1.1.1.1", "1.1.1.2", "1.1.1.3"];
  const lines = (searches: string[]) =>
    resolvFile(pod({ dnsConfig: { nameservers, searches } }), node, node.resolv).split("\n");
  const few = Array.from({ length: 40 }, (_, i) => `d${i}`);
  const [search, ...rest] = lines(few);
  assertEquals(search.split(" ").length, 1 + SEARCHES_MAX);
  assertEquals(rest.filter((line) => line.startsWith("nameserver ")).length, NAMESERVERS_MAX);
  const long = Array.from({ length: 20 }, (_, i) => `${"x".repeat(200)}${i}`);
  const [cut] = lines([`${"y".repeat(254)}`, ...long]);
  assertEquals(cut.length <= "search ".length + SEARCH_CHARS_MAX, true);
  assertEquals(cut.includes("yy"), false);
});

Deno.test("hostsFile() names the pod, its subdomain and its aliases", () => {
  const text = hostsFile(
    pod({ subdomain: "db", hostAliases: [{ ip: "9.9.9.9", hostnames: ["a", "b"] }] }),
    ["10.244.0.5"],
    "cluster.local",
  );
  const lines = text.split("\n");
  assertEquals(lines[1], "10.244.0.5\tlocalhost");
  assertEquals(lines[6], "10.244.0.5\tweb-0.db.ns.svc.cluster.local\tweb-0");
  assertEquals(lines[9], "9.9.9.9\ta\tb");
});

Deno.test("hostnameOf() is a label, or the whole name when asked", () => {
  assertEquals(hostnameOf(pod({ hostname: "x".repeat(70) }), "cluster.local").length, 63);
  assertEquals(
    hostnameOf(pod({ subdomain: "db", setHostnameAsFQDN: true }), "cluster.local"),
    "web-0.db.ns.svc.cluster.local",
  );
});
