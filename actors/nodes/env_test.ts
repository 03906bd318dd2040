import { assertEquals, assertRejects } from "@std/assert";
import { environmentOf, type EnvSources, expand, serviceVariables } from "./env.ts";
import { RuntimeError } from "./runtimes/runtime.ts";
import type { Container, Pod } from "./types.ts";

const object = (kind: string, name: string, rest: object) =>
  ({ apiVersion: "v1", kind, metadata: { name }, ...rest }) as never;

const service = (name: string, clusterIP: string, ports: object[]) =>
  object("Service", name, { spec: { clusterIP, ports } });

const sources: EnvSources = {
  configMap: (_namespace, name) =>
    name === "cm" ? object("ConfigMap", name, { data: { b: "2", a: "1" } }) : undefined,
  secret: (_namespace, name) =>
    name === "s" ? object("Secret", name, { data: { pw: btoa("geheim") } }) : undefined,
  services: (namespace) =>
    namespace === "default"
      ? [service("kubernetes", "10.96.0.1", [{ name: "https", port: 443 }])]
      : [
        service("my-db", "10.96.0.7", [{ port: 80 }, { port: 53, protocol: "UDP" }]),
        service("h", "None", [{ port: 1 }]),
      ],
};

const pod = {
  metadata: { name: "p", namespace: "ns", uid: "u", labels: { l: "v" }, annotations: { a: "w" } },
  spec: { nodeName: "n", serviceAccountName: "sa", containers: [], enableServiceLinks: false },
} as unknown as Pod;

const facts = {
  hostIPs: ["1.2.3.4"],
  podIPs: ["10.0.0.9"],
  allocatable: { cpu: "4", memory: "8Gi" },
};

const env = async (container: Partial<Container>) =>
  Object.fromEntries(
    await environmentOf(pod, { name: "c", ...container }, facts, {
      ...sources,
      services: () => [],
    }),
  );

Deno.test("expand() follows upstream's rules for $", () => {
  const lookup = (name: string) => ({ A: "x", B: "" } as Record<string, string>)[name];
  const cases = [
    ["$(A)", "x"],
    ["$(A)$(B)-", "x-"],
    ["$(C)", "$(C)"],
    ["$$(A)", "$(A)"],
    ["$$$(A)", "$x"],
    ["$A ${A}", "$A ${A}"],
    ["$(A", "$(A"],
    ["end$", "end$"],
  ];
  for (const [text, expected] of cases) assertEquals(expand(text, lookup), expected, text);
});

Deno.test("environmentOf() reads every source, later entries first seen by expansion", async () => {
  assertEquals(
    await env({
      envFrom: [{ prefix: "CM_", configMapRef: { name: "cm" } }, { secretRef: { name: "s" } }],
      env: [
        { name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
        { name: "LABEL", valueFrom: { fieldRef: { fieldPath: "metadata.labels['l']" } } },
        { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
        { name: "KEY", valueFrom: { configMapKeyRef: { name: "cm", key: "a" } } },
        { name: "PW", valueFrom: { secretKeyRef: { name: "s", key: "pw" } } },
        { name: "CPU", valueFrom: { resourceFieldRef: { resource: "limits.cpu" } } },
        {
          name: "MEM",
          valueFrom: { resourceFieldRef: { resource: "requests.memory", divisor: "1Mi" } },
        },
        { name: "ALL", value: "$(NAME)/$(CM_b)/$(LATER)" },
        { name: "LATER", value: "no" },
        { name: "GONE", valueFrom: { configMapKeyRef: { name: "x", key: "a", optional: true } } },
      ],
      resources: { requests: { memory: "64Mi" } },
    }),
    {
      CM_a: "1",
      CM_b: "2",
      pw: "geheim",
      NAME: "p",
      LABEL: "v",
      IP: "10.0.0.9",
      KEY: "1",
      PW: "geheim",
      CPU: "4",
      MEM: "64",
      ALL: "p/2/$(LATER)",
      LATER: "no",
    },
  );
});

Deno.test("environmentOf() says what is missing", async () => {
  const cases: [Partial<Container>, string][] = [
    [{ envFrom: [{ secretRef: { name: "x" } }] }, 'secret "x" not found'],
    [
      { env: [{ name: "A", valueFrom: { configMapKeyRef: { name: "cm", key: "z" } } }] },
      "couldn't find key z in ConfigMap ns/cm",
    ],
    [
      { env: [{ name: "A", valueFrom: { secretKeyRef: { name: "q", key: "z" } } }] },
      'secret "q" not found',
    ],
  ];
  for (const [container, message] of cases) {
    const error = await assertRejects(() => env(container), RuntimeError);
    assertEquals([error.reason, error.message], ["CreateContainerConfigError", message]);
  }
});

Deno.test("serviceVariables() names services as Docker links did; headless ones have none", () => {
  const all = Object.fromEntries(serviceVariables("ns", sources, true));
  assertEquals(all.KUBERNETES_SERVICE_PORT_HTTPS, "443");
  assertEquals(all.MY_DB_SERVICE_HOST, "10.96.0.7");
  assertEquals(all.MY_DB_PORT, "tcp://10.96.0.7:80");
  assertEquals(all.MY_DB_PORT_53_UDP_PROTO, "udp");
  assertEquals(all.H_SERVICE_HOST, undefined);
  const few = Object.keys(Object.fromEntries(serviceVariables("ns", sources, false)));
  assertEquals(few.every((name) => name.startsWith("KUBERNETES_")), true);
});
