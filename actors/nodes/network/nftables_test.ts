import { assert, assertEquals } from "@std/assert";
import type { KubeObject } from "../../../api/machinery/types.ts";
import { serviceRules, type TablePlace } from "./nftables.ts";
import { chainRules, ENDPOINTS_MAX, Table, type TableOptions } from "./nftables_table.ts";

const place: TablePlace = {
  family: 4,
  nodes: new Set(["here"]),
  zone: "a",
  nodeAddresses: ["192.168.7.1"],
};

const options: TableOptions = {
  family: 4,
  name: "t",
  podRanges: ["10.244.0.0/16", "fd00:244::/64"],
  nodePortAddresses: ["192.168.7.1"],
  bridged: true,
};

function service(spec: object, status: object = {}, labels = {}): KubeObject {
  return {
    metadata: { name: "web", namespace: "default", labels },
    spec: { clusterIP: "10.96.0.7", ports: [{ port: 80 }], ...spec },
    status,
  } as unknown as KubeObject;
}

interface Known {
  ip: string;
  node?: string;
  state?: "ready" | "leaving" | "gone";
  zones?: string[];
  nodes?: string[];
}

function slice(endpoints: Known[], labels = {}, type = "IPv4"): KubeObject {
  const states = {
    ready: { ready: true },
    leaving: { ready: false, serving: true, terminating: true },
    gone: { ready: false },
  };
  return {
    metadata: { name: "web-1", namespace: "default", labels },
    addressType: type,
    ports: [{ port: 8080 }],
    endpoints: endpoints.map(({ ip, node = "here", state = "ready", zones, nodes }) => ({
      addresses: [ip],
      nodeName: node,
      conditions: states[state],
      hints: {
        forZones: zones?.map((name) => ({ name })),
        forNodes: nodes?.map((name) => ({ name })),
      },
    })),
  } as unknown as KubeObject;
}

function lines(of: KubeObject, slices: KubeObject[], at = place): string[] {
  return [...serviceRules(of, slices, at).elements].map(([id, value]) =>
    value ? `${id} : ${value}` : id
  ).sort();
}

const two = [slice([{ ip: "10.244.0.1" }, { ip: "10.244.1.1", node: "there" }])];

const KEY = "10.96.0.7 . tcp . 80";
const OWN = ["cluster-ips 10.96.0.7"];

function reached(key: string, endpoints: string[], verdict: string, map = "service"): string[] {
  const dispatch = map === "service" ? "service-ips" : "service-nodeports";
  return [
    ...endpoints.map((ip, i) =>
      `${map}-endpoints-tcp ${key.replace("tcp . ", "")} . ${i} : ${ip} . 8080`
    ),
    `${dispatch} ${key} : goto ${verdict}`,
  ];
}

const HAIRPIN = "hairpin-connections 10.244.0.1 . 10.244.0.1 . tcp . 8080";
const BOTH = ["10.244.0.1", "10.244.1.1"];

Deno.test("serviceRules() writes what leads to a service", async (t) => {
  const cases: [string, KubeObject, KubeObject[], string[]][] = [
    ["all its endpoints", service({}), two, [
      ...OWN,
      HAIRPIN,
      ...reached(KEY, BOTH, "service-cluster/2"),
    ]],
    ["nothing but a refusal without endpoints", service({}), [], [
      ...OWN,
      `no-endpoint-services ${KEY} : goto reject-chain`,
    ]],
    ["those that leave where none is ready", service({}), [
      slice([{ ip: "10.244.1.1", state: "leaving", node: "there" }, {
        ip: "10.244.1.2",
        state: "gone",
      }]),
    ], [...OWN, ...reached(KEY, ["10.244.1.1"], "service-cluster/1")]],
    ["those of its zone where each has a zone", service({}), [
      slice([{ ip: "10.244.0.1", zones: ["b"] }, {
        ip: "10.244.1.1",
        node: "there",
        zones: ["a"],
      }]),
    ], [...OWN, ...reached(KEY, ["10.244.1.1"], "service-cluster/1")]],
    ["all where one has no zone", service({}), [
      slice([{ ip: "10.244.0.1" }, { ip: "10.244.1.1", node: "there", zones: ["a"] }]),
    ], [...OWN, HAIRPIN, ...reached(KEY, BOTH, "service-cluster/2")]],
    ["those of its node before those of its zone", service({}), [
      slice([
        { ip: "10.244.0.1", zones: ["a"], nodes: ["here"] },
        { ip: "10.244.1.1", node: "there", zones: ["a"], nodes: ["there"] },
      ]),
    ], [...OWN, HAIRPIN, ...reached(KEY, ["10.244.0.1"], "service-cluster/1")]],
    ["its own endpoints under policy Local", service({ internalTrafficPolicy: "Local" }), two, [
      ...OWN,
      HAIRPIN,
      `service-endpoints-tcp 10.96.0.7 . 80 . ${ENDPOINTS_MAX} : 10.244.0.1 . 8080`,
      `service-ips ${KEY} : goto service-local/1`,
    ]],
    ["a drop under policy Local without one here", service({ internalTrafficPolicy: "Local" }), [
      slice([{ ip: "10.244.1.1", node: "there" }]),
    ], [...OWN, `no-endpoint-services ${KEY} : drop`]],
    ["affinity", service({ sessionAffinity: "ClientIP" }), two, [
      `affinity-services ${KEY} : goto remember/10800`,
      ...OWN,
      HAIRPIN,
      ...reached(KEY, BOTH, "service-cluster-sticky/2"),
    ]],
    [
      "nothing for another proxy's",
      service({}, {}, { "service.kubernetes.io/service-proxy-name": "x" }),
      two,
      [],
    ],
    ["nothing for a headless one", service({ clusterIP: "None" }), two, []],
    [
      "nothing for one that is labelled headless",
      service({}, {}, { "service.kubernetes.io/headless": "" }),
      two,
      [],
    ],
  ];
  for (const [name, of, slices, wanted] of cases) {
    await t.step(name, () => assertEquals(lines(of, slices), wanted.sort()));
  }
  await t.step(
    "nothing where a process of the machine answers itself, until it has endpoints",
    () => {
      const answered = { ...place, answered: new Set(["10.96.0.7"]) };
      assertEquals(lines(service({}), [], answered), []);
      assertEquals(lines(service({}), two, answered), cases[0][3].sort());
    },
  );
});

Deno.test("serviceRules() writes what leads to a service from outside", async (t) => {
  const ports = [{ port: 80, nodePort: 30080 }];
  const type = "LoadBalancer";
  const balancer = {
    loadBalancer: { ingress: [{ ip: "10.111.255.1" }, { ip: "10.111.255.2", ipMode: "Proxy" }] },
  };
  const LB = "10.111.255.1 . tcp . 80";
  const NODE = "tcp . 30080";
  await t.step("masqueraded, to all endpoints", () => {
    assertEquals(
      lines(service({ type, ports }, balancer), two),
      [
        ...OWN,
        HAIRPIN,
        ...reached(NODE, BOTH, "masquerade/nodeport-cluster/2", "nodeport"),
        ...reached(LB, BOTH, "masquerade/service-cluster/2"),
        ...reached(KEY, BOTH, "service-cluster/2"),
      ].sort(),
    );
  });
  await t.step("under policy Local to those of here, dropped where there is none", () => {
    const local = service({ type, ports, externalTrafficPolicy: "Local" });
    const away = [slice([{ ip: "10.244.1.1", node: "there" }])];
    assertEquals(
      lines(local, away),
      [
        ...OWN,
        ...reached(NODE, ["10.244.1.1"], "external/nodeport/1/0", "nodeport"),
        `no-endpoint-nodeports ${NODE} : drop`,
        ...reached(KEY, ["10.244.1.1"], "service-cluster/1"),
      ].sort(),
    );
    assert(lines(local, two).includes(`service-nodeports ${NODE} : goto external/nodeport/2/1`));
  });
  await t.step(
    "from source ranges only, this machine's own address among them if it is in one",
    () => {
      const from = (loadBalancerSourceRanges: string[]) =>
        lines(service({ type, loadBalancerSourceRanges }, balancer), two).filter((line) =>
          /^(firewall|source)/.test(line)
        );
      assertEquals(from(["10.0.0.0/9", "10.1.0.0/16", "fd00::/8"]), [
        `firewall-ips ${LB}`,
        `source-ranges ${LB} . 10.0.0.0-10.127.255.255`,
      ]);
      assertEquals(from(["192.168.0.0/16"]), [
        `firewall-ips ${LB}`,
        `source-ranges ${LB} . 10.111.255.1`,
        `source-ranges ${LB} . 192.168.0.0-192.168.255.255`,
      ]);
      assertEquals(from(["0.0.0.0/0"]), []);
    },
  );
});

Deno.test("serviceRules() gives each family its own addresses and endpoints", () => {
  const dual = service({ clusterIPs: ["10.96.0.7", "fd00:96::7"] });
  const six = { ...place, family: 6 as const };
  assertEquals(
    lines(dual, [...two, slice([{ ip: "fd00:244::1", node: "there" }], {}, "IPv6")], six),
    [
      "cluster-ips fd00:96::7",
      "service-endpoints-tcp fd00:96::7 . 80 . 0 : fd00:244::1 . 8080",
      "service-ips fd00:96::7 . tcp . 80 : goto service-cluster/1",
    ],
  );
});

Deno.test("serviceRules() takes no more endpoints than there are numbers for", () => {
  const many = Array.from(
    { length: ENDPOINTS_MAX + 1 },
    (_, i) => ({ ip: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` }),
  );
  const found = lines(service({}), [slice(many)]);
  assert(found.includes(`service-ips ${KEY} : goto service-cluster/${ENDPOINTS_MAX}`));
});

Deno.test("chainRules() says what a shared chain does", () => {
  const dnat = "dnat ip addr . port to";
  const cases: [string, string[]][] = [
    ["service-cluster/3", [
      `meta l4proto tcp ${dnat} ip daddr . tcp dport . numgen random mod 3 map @service-endpoints-tcp`,
      `meta l4proto udp ${dnat} ip daddr . udp dport . numgen random mod 3 map @service-endpoints-udp`,
      `meta l4proto sctp ${dnat} ip daddr . sctp dport . numgen random mod 3 map @service-endpoints-sctp`,
    ]],
    ["service-cluster-sticky/3", [
      `${dnat} ip saddr . ip daddr . meta l4proto . th dport map @affinity`,
      "goto service-cluster/3",
    ]],
    ["masquerade/service-cluster/3", [
      "meta mark set meta mark or 0x4000",
      "goto service-cluster/3",
    ]],
    ["external/service-sticky/3/0", [
      "ip saddr { 10.244.0.0/16 } goto service-cluster-sticky/3",
      "fib saddr type local meta mark set meta mark or 0x4000",
      "fib saddr type local goto service-cluster-sticky/3",
    ]],
  ];
  for (const [name, wanted] of cases) assertEquals(chainRules(name, options), wanted, name);
  const six = chainRules("service-local-sticky/2", { ...options, family: 6 });
  assertEquals(
    six[0],
    "meta l4proto tcp dnat ip6 addr . port to ip6 daddr . tcp dport . " +
      "jhash ip6 saddr mod 2 seed 0x1 offset 32768 map @service-endpoints-tcp",
  );
  assertEquals(
    chainRules("nodeport-local/2", options)[1],
    `meta l4proto udp ${dnat} udp dport . numgen random mod 2 offset 32768 map @nodeport-endpoints-udp`,
  );
});

Deno.test("Table.script() holds only what changed, and an element has one owner at a time", () => {
  const table = new Table(options);
  const elements = (verdict: string) =>
    new Map([["service-ips k", `goto ${verdict}`], ["cluster-ips a", ""]]);
  table.set("a", elements("service-cluster/1"));
  assert(table.script().startsWith("add table ip t\ndelete table ip t\ntable ip t {"));
  assertEquals(table.script(), "");
  table.set("a", elements("masquerade/service-cluster/1"));
  assertEquals(table.script().split("\n"), [
    "add chain ip t masquerade/service-cluster/1",
    "add rule ip t masquerade/service-cluster/1 meta mark set meta mark or 0x4000",
    "add rule ip t masquerade/service-cluster/1 goto service-cluster/1",
    "delete element ip t service-ips { k }",
    "add element ip t service-ips { k : goto masquerade/service-cluster/1 }",
  ]);
  // Another one wants the same address: it gets it when the first lets go.
  table.set("b", elements("service-cluster/1"));
  assertEquals(table.script(), "");
  table.set("a", new Map());
  assertEquals(table.script().split("\n"), [
    "delete element ip t service-ips { k }",
    "add element ip t service-ips { k : goto service-cluster/1 }",
  ]);
  table.set("b", new Map());
  assertEquals(table.script().split("\n"), [
    "delete element ip t service-ips { k }",
    "delete element ip t cluster-ips { a }",
  ]);
  table.set("b", elements("service-cluster/1"));
  table.reset();
  assert(table.script().includes("add element ip t service-ips { k : goto service-cluster/1 }"));
});
