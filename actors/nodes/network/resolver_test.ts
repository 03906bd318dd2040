import { assertEquals } from "@std/assert";
import type { Informer } from "../../../api/client/contract.ts";
import type { KubeObject } from "../../../api/machinery/types.ts";
import { type Caches, indexed, resolve } from "./resolver.ts";

function cache(objects: KubeObject[]): Informer {
  const key = (o: KubeObject) =>
    o.metadata.namespace ? `${o.metadata.namespace}/${o.metadata.name}` : o.metadata.name;
  const indexes = new Map<string, (object: KubeObject) => readonly string[]>();
  return {
    get: (k: string) => objects.find((o) => key(o) === k),
    list: () => objects,
    index: (name: string, values: (object: KubeObject) => readonly string[]) =>
      indexes.set(name, values),
    byIndex: (name: string, value: string) =>
      objects.filter((o) => indexes.get(name)!(o).includes(value)),
  } as unknown as Informer;
}

function service(name: string, spec: Record<string, unknown>): KubeObject {
  return { metadata: { name, namespace: "default" }, spec } as unknown as KubeObject;
}

function slice(of: string, endpoints: unknown[], ports: unknown[], family = 4): KubeObject {
  return {
    metadata: {
      name: `${of}-${family}`,
      namespace: "default",
      labels: { "kubernetes.io/service-name": of },
    },
    addressType: `IPv${family}`,
    endpoints,
    ports,
  } as unknown as KubeObject;
}

const caches: Caches = indexed({
  zone: "cluster.local",
  namespaces: cache([{ metadata: { name: "default" } } as unknown as KubeObject]),
  services: cache([
    service("web", {
      clusterIP: "10.96.0.7",
      ports: [{ name: "http", port: 80, protocol: "TCP" }],
    }),
    service("db", { clusterIP: "None", ports: [{ name: "sql", port: 5432, protocol: "TCP" }] }),
    service("dual", { clusterIP: "10.96.0.8", clusterIPs: ["10.96.0.8", "fd00:96::8"] }),
    service("six", { clusterIP: "None", ports: [{ name: "sql", port: 5432, protocol: "TCP" }] }),
    service("empty", { clusterIP: "None" }),
    service("out", { type: "ExternalName", externalName: "example.com" }),
  ]),
  slices: cache([
    slice("db", [
      { addresses: ["10.244.0.3"], hostname: "db-0", conditions: { ready: true } },
      { addresses: ["10.244.0.4"], conditions: { ready: true } },
      { addresses: ["10.244.0.5"], hostname: "db-2", conditions: { ready: false } },
    ], [{ name: "sql", port: 5432, protocol: "TCP" }]),
    slice(
      "six",
      [{ addresses: ["fd00:244::5"], hostname: "six-0", conditions: { ready: true } }],
      [{ name: "sql", port: 5432, protocol: "TCP" }],
      6,
    ),
  ]),
});

Deno.test("resolve() answers as the Kubernetes DNS specification says", async (t) => {
  const cases: { name: string; type?: string; answers?: unknown[]; exists?: boolean }[] = [
    { name: "web.default.svc.cluster.local", answers: ["10.96.0.7"] },
    { name: "WEB.default.svc.cluster.local.", answers: ["10.96.0.7"] },
    { name: "web.default.svc.cluster.local", type: "AAAA", answers: [] },
    { name: "db.default.svc.cluster.local", answers: ["10.244.0.3", "10.244.0.4"] },
    { name: "db-0.db.default.svc.cluster.local", answers: ["10.244.0.3"] },
    { name: "db-2.db.default.svc.cluster.local", exists: false },
    { name: "10-244-0-4.db.default.svc.cluster.local", answers: ["10.244.0.4"] },
    { name: "empty.default.svc.cluster.local", exists: false },
    { name: "out.default.svc.cluster.local", answers: ["example.com"] },
    { name: "nobody.default.svc.cluster.local", exists: false },
    { name: "default.svc.cluster.local", answers: [] },
    { name: "10-244-0-9.default.pod.cluster.local", answers: ["10.244.0.9"] },
    { name: "10-244-0-9.nowhere.pod.cluster.local", exists: false },
    { name: "7.0.96.10.in-addr.arpa", type: "PTR", answers: ["web.default.svc.cluster.local"] },
    {
      name: "3.0.244.10.in-addr.arpa",
      type: "PTR",
      answers: ["db-0.db.default.svc.cluster.local"],
    },
    { name: "dual.default.svc.cluster.local", answers: ["10.96.0.8"] },
    { name: "dual.default.svc.cluster.local", type: "AAAA", answers: ["fd00:96::8"] },
    { name: "six.default.svc.cluster.local", type: "AAAA", answers: ["fd00:244::5"] },
    { name: "six.default.svc.cluster.local", answers: [] },
    { name: "six-0.six.default.svc.cluster.local", type: "AAAA", answers: ["fd00:244::5"] },
    {
      name: `8.${"0.".repeat(23)}6.9.0.0.0.0.d.f.ip6.arpa`,
      type: "PTR",
      answers: ["dual.default.svc.cluster.local"],
    },
    {
      name: `5.${"0.".repeat(23)}4.4.2.0.0.0.d.f.ip6.arpa`,
      type: "PTR",
      answers: ["six-0.six.default.svc.cluster.local"],
    },
    { name: "fd00-244--5.default.pod.cluster.local", type: "AAAA", answers: ["fd00:244::5"] },
    { name: "1-2-3.default.pod.cluster.local", exists: false },
    { name: "cluster.local", type: "NS", answers: ["ns.dns.cluster.local"] },
    { name: "dns-version.cluster.local", type: "TXT", answers: [["1.1.0"]] },
    {
      name: "_http._tcp.web.default.svc.cluster.local",
      type: "SRV",
      answers: [{ priority: 0, weight: 100, port: 80, target: "web.default.svc.cluster.local" }],
    },
    {
      name: "_sql._tcp.db.default.svc.cluster.local",
      type: "SRV",
      answers: [
        { priority: 0, weight: 50, port: 5432, target: "db-0.db.default.svc.cluster.local" },
        { priority: 0, weight: 50, port: 5432, target: "10-244-0-4.db.default.svc.cluster.local" },
      ],
    },
    { name: "_none._tcp.web.default.svc.cluster.local", type: "SRV", exists: false },
  ];
  for (const { name, type = "A", answers = [], exists = true } of cases) {
    await t.step(`${type} ${name}`, () => {
      const answer = resolve({ name, type }, caches)!;
      assertEquals([answer.exists, answer.answers.map((r) => r.data)] as unknown[], [
        exists,
        answers,
      ]);
    });
  }
});

Deno.test("resolve() leaves the rest of the world to others", () => {
  assertEquals(resolve({ name: "example.com", type: "A" }, caches), undefined);
  assertEquals(resolve({ name: "1.2.3.4.in-addr.arpa", type: "PTR" }, caches), undefined);
});
