import { assert, assertEquals } from "@std/assert";
import type { KubeObject } from "../../../api/machinery/types.ts";
import { type PolicyTable, policyTable } from "./policy_rules.ts";
import { policyScript } from "./policy_script.ts";

function pod(
  name: string,
  ip: string,
  labels: object,
  rest: Record<string, unknown> = {},
): KubeObject {
  const { node = "here", namespace = "default", ports = [], phase = "Running", ...spec } = rest;
  return {
    metadata: { name, namespace, labels },
    spec: { nodeName: node, containers: [{ ports }], ...spec },
    status: { phase, podIPs: [{ ip }, { ip: "fd00:244::9" }] },
  } as unknown as KubeObject;
}

const PODS = [
  pod("web", "10.244.0.1", { app: "web" }, { ports: [{ name: "http", containerPort: 8080 }] }),
  pod("web-2", "10.244.0.2", { app: "web" }, { ports: [{ name: "http", containerPort: 9090 }] }),
  pod("client", "10.244.1.1", { app: "client" }, { node: "there" }),
  pod("monitor", "10.244.1.2", { app: "prometheus" }, { node: "there", namespace: "ops" }),
  pod("done", "10.244.0.3", { app: "client" }, { phase: "Succeeded" }),
  pod("host", "192.168.7.1", { app: "client" }, { hostNetwork: true }),
];

const NAMESPACES = ["default", "ops"].map((name) => ({
  metadata: { name, labels: { "kubernetes.io/metadata.name": name } },
})) as unknown as KubeObject[];

function policy(name: string, spec: object): KubeObject {
  return { metadata: { name, namespace: "default" }, spec } as unknown as KubeObject;
}

function tableOf(
  policies: KubeObject[],
  pods = PODS,
  groupOf?: (uid: string) => string | undefined,
): PolicyTable {
  const nodes = new Set(["here"]);
  return policyTable({ pods, namespaces: NAMESPACES, policies, nodes, family: 4, groupOf });
}

const web = { podSelector: { matchLabels: { app: "web" } } };

/** The lines of a policy's chain and the elements of its sets. */
function written(spec: object, chain = "ingress/default/p") {
  const { chains, elements } = tableOf([policy("p", { ...web, ...spec })]);
  const sets = [...elements.keys()].filter((id) => id.startsWith(`${chain}/`)).sort();
  return { lines: chains.get(chain), sets };
}

const client = { podSelector: { matchLabels: { app: "client" } } };

Deno.test("policyTable() lets pass what a policy says", async (t) => {
  const at = "ingress/default/p/0";
  const cases: { name: string; spec: object; chain?: string; lines?: string[]; sets?: string[] }[] =
    [
      { name: "nothing without rules", spec: {}, lines: [] },
      { name: "everything by an empty rule", spec: { ingress: [{}] }, lines: ["accept"] },
      {
        name: "pods of its namespace, those that are done or use the machine's network left out",
        spec: { ingress: [{ from: [client] }] },
        lines: [`ip saddr @${at} accept`],
        sets: [`${at} 10.244.1.1`],
      },
      {
        name: "pods of namespaces, and ports with their ends",
        spec: {
          ingress: [{
            from: [{
              namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "ops" } },
              podSelector: { matchLabels: { app: "prometheus" } },
            }],
            ports: [{ port: 80 }, { port: 8000, endPort: 8010 }, { port: 8005, endPort: 8020 }, {
              protocol: "UDP",
            }],
          }],
        },
        lines: [
          `ip saddr @${at} tcp dport { 80, 8000-8020 } accept`,
          `ip saddr @${at} meta l4proto udp accept`,
        ],
        sets: [`${at} 10.244.1.2`],
      },
      {
        name: "all pods of all namespaces by an empty selector",
        spec: { ingress: [{ from: [{ namespaceSelector: {} }] }] },
        lines: [`ip saddr @${at} accept`],
        sets: ["10.244.0.1", "10.244.0.2", "10.244.1.1", "10.244.1.2"].map((ip) => `${at} ${ip}`),
      },
      {
        name: "ranges without their exceptions, those of another family left out",
        spec: {
          ingress: [{
            from: [
              { ipBlock: { cidr: "10.0.0.0/24", except: ["10.0.0.0/25"] } },
              { ipBlock: { cidr: "fd00::/8" } },
            ],
          }],
        },
        lines: ["ip saddr { 10.0.0.128-10.0.0.255 } accept"],
      },
      {
        name: "nothing where only another family is meant",
        spec: { ingress: [{ from: [{ ipBlock: { cidr: "fd00::/8" } }] }] },
        lines: [],
      },
      {
        name: "a port by its name: the number is the reached pod's own",
        spec: { ingress: [{ from: [client], ports: [{ port: "http" }] }] },
        lines: [`ip saddr @${at} meta l4proto tcp ip daddr . th dport @${at}/tcp/http accept`],
        sets: [
          `${at} 10.244.1.1`,
          `${at}/tcp/http 10.244.0.1 . 8080`,
          `${at}/tcp/http 10.244.0.2 . 9090`,
        ],
      },
      {
        name: "egress to pods, and to a port by name",
        chain: "egress/default/p",
        spec: {
          policyTypes: ["Egress"],
          egress: [{ to: [web], ports: [{ port: 53, protocol: "UDP" }, { port: "http" }] }],
        },
        lines: [
          "ip daddr @egress/default/p/0 udp dport { 53 } accept",
          "meta l4proto tcp ip daddr . th dport @egress/default/p/0/tcp/http accept",
        ],
        sets: [
          "egress/default/p/0 10.244.0.1",
          "egress/default/p/0 10.244.0.2",
          "egress/default/p/0/tcp/http 10.244.0.1 . 8080",
          "egress/default/p/0/tcp/http 10.244.0.2 . 9090",
        ],
      },
      { name: "no word of egress where it is not named", chain: "egress/default/p", spec: {} },
      {
        name: "both where egress has rules",
        chain: "ingress/default/p",
        spec: { egress: [{}] },
        lines: [],
      },
    ];
  for (const { name, spec, chain, lines, sets = [] } of cases) {
    await t.step(name, () => assertEquals(written(spec, chain), { lines, sets }));
  }
});

Deno.test("policyTable() leads each pod of this machine to its policies, and only those", () => {
  const { chains, elements } = tableOf([
    policy("b", { ...web, ingress: [{}] }),
    policy("a", { podSelector: {}, policyTypes: ["Ingress", "Egress"] }),
    policy("elsewhere", { podSelector: { matchLabels: { app: "client" } } }),
  ]);
  const [first, second] = ["10.244.0.1", "10.244.0.2"].map((ip) =>
    elements.get(`ingress-pods ${ip}`)
  );
  assertEquals(first, second);
  assertEquals(chains.get(first!.slice("goto ".length)), [
    "jump ingress/default/a",
    "jump ingress/default/b",
    "drop",
  ]);
  const out = elements.get("egress-pods 10.244.0.1")!.slice("goto ".length);
  assertEquals(chains.get(out), ["jump egress/default/a", "drop"]);
  assertEquals([...chains.keys()].filter((name) => name.includes("elsewhere")), []);
  assertEquals(elements.get("ingress-pods 10.244.1.1"), undefined);
});

Deno.test("policyScript() changes elements in place, and makes the table anew for all else", () => {
  const options = { family: 4 as const, name: "t", podRanges: ["10.244.0.0/16"] };
  const policies = [policy("p", { ...web, ingress: [{ from: [client] }] })];
  const before = tableOf(policies);
  assert(
    policyScript(undefined, before, options).startsWith("add table ip t\ndelete table ip t\n"),
  );
  assertEquals(policyScript(before, before, options), "");
  const other = pod("client-2", "10.244.1.7", { app: "client" }, { node: "there" });
  const after = tableOf(policies, [
    ...PODS.filter(({ metadata }) => metadata.name !== "client"),
    other,
  ]);
  assertEquals(policyScript(before, after, options).split("\n"), [
    "delete element ip t ingress/default/p/0 { 10.244.1.1 }",
    "add element ip t ingress/default/p/0 { 10.244.1.7 }",
  ]);
  const none = tableOf([]);
  assertEquals(policyScript(before, none, options), "add table ip t\ndelete table ip t\n");
  assertEquals(policyScript(none, none, options), "");
  assert(policyScript(none, before, options).includes("chain ingress-forward"));
});

Deno.test("policyTable() knows isolates of this machine by their groups, those nobody selects too", () => {
  const pods = PODS.map((one) => ({
    ...one,
    metadata: { ...one.metadata, uid: one.metadata.name },
  }));
  const groups = new Set(["web", "done", "client"]);
  const table = tableOf(
    [policy("p", { ...web, policyTypes: ["Egress"] })],
    pods as KubeObject[],
    (uid) => groups.has(uid) ? `plesio/${uid}` : undefined,
  );
  const { elements } = table;
  const of = (map: string) => [...elements].filter(([id]) => id.startsWith(`${map} `));
  const mark = "0x50f40001";
  assertEquals(of("senders"), [['senders "plesio/web"', mark]]);
  assertEquals(of("sources"), [[`sources ${mark}`, "10.244.0.1"]]);
  assertEquals(of("themselves-sent"), [[`themselves-sent ${mark} . 10.244.0.1`, ""]]);
  assertEquals(elements.get(`senders-egress ${mark}`), elements.get("egress-pods 10.244.0.1"));
  const none = tableOf([policy("p", client)], pods as KubeObject[], (uid) => `plesio/${uid}`);
  assertEquals([none.chains.size, none.elements.size], [0, 6]);

  const options = { family: 4 as const, name: "t", podRanges: ["10.244.0.0/16"] };
  assert(
    policyScript(tableOf([]), none, options).startsWith("add table ip t\ndelete table ip t\n"),
  );
  const fewer = tableOf(
    [policy("p", client)],
    pods as KubeObject[],
    (uid) => uid === "web-2" ? "plesio/web-2" : undefined,
  );
  assertEquals(policyScript(none, fewer, options).split("\n"), [
    "delete element ip t sources { 0x50f40001 }",
    "delete element ip t themselves-sent { 0x50f40001 . 10.244.0.1 }",
    "flush map ip t senders",
    'add element ip t senders { "plesio/web-2" : 0x50f40002 }',
  ]);
});
