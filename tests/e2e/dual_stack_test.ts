/** A cluster of two address families on a machine of its own: what pods and services answer at, by packets. */
import { assertEquals, assertMatch } from "@std/assert";
import { type Machines, testWithMachines } from "./machines.ts";

const PODS_SIX = "fd00:10:244::/56", SERVICES_SIX = "fd00:10:96::/112";

const container = {
  name: "c",
  image: "denoland/deno:2.9.6",
  args: [
    "eval",
    `Deno.serve({ port: 8080, hostname: "::" }, (_, { remoteAddr }) => new Response(remoteAddr.hostname))`,
  ],
};
const pod = (name: string) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: name } },
  spec: { containers: [container], terminationGracePeriodSeconds: 1 },
});
const service = (name: string, spec: object) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name },
  spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }], ...spec },
});

for (const mode of ["nftables", "userspace"]) {
  await testWithMachines(`two address families, ${mode}`, 2, async (m) => {
    const ranges = [
      ...["--cluster-cidr", `10.244.0.0/16,${PODS_SIX}`],
      ...["--service-cluster-ip-range", `10.96.0.0/12,${SERVICES_SIX}`],
    ];
    await m.serve("--proxy-mode", mode, ...ranges);
    await m.accountIsThere();
    await m.apply(
      pod("web"),
      pod("client"),
      service("both", { ipFamilyPolicy: "RequireDualStack" }),
      service("six", { ipFamilies: ["IPv6"], type: "NodePort" }),
    );
    await m.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s");
    await seen(m, mode);
    if (mode === "nftables") await joined(m);
  });
}

async function seen(m: Machines, mode: string): Promise<void> {
  const read = (...args: string[]) => m.kubectl("get", ...args);
  const ips = async (name: string) =>
    (await read("pod", name, "-o", "jsonpath={.status.podIPs[*].ip}")).split(" ");
  const [web, client] = [await ips("web"), await ips("client")];
  assertMatch(web[0], /^10\.244\.0\./);
  assertMatch(web[1], /^fd00:10:244::/);
  assertEquals(
    await read("node", "plesio-0", "-o", "jsonpath={.spec.podCIDRs}"),
    '["10.244.0.0/24","fd00:10:244::/64"]',
  );
  assertMatch(
    await read("pod", "web", "-o", "jsonpath={.status.hostIPs[*].ip}"),
    /^10\.244\.255\.1 fd00:10:244:ff::1$/,
  );
  const types = ["endpointslices", "-l", "kubernetes.io/service-name=both", "-o"];
  await m.until(
    "there is a slice of each family",
    async () =>
      (await read(...types, "jsonpath={.items[*].addressType}")).split(" ").sort().join() ===
        "IPv4,IPv6",
  );
  const [four, six] = (await read("service", "both", "-o", "jsonpath={.spec.clusterIPs[*]}")).split(
    " ",
  );
  assertMatch(six, /^fd00:10:96::/);
  const curl = (host: string, port = 80) =>
    m.on(1, "curl", "-s", "-m", "5", `http://${host}:${port}/`).catch(() => "");
  for (
    const [host, port] of [[web[0], 8080], [`[${web[1]}]`, 8080], [four, 80], [`[${six}]`, 80]]
  ) {
    await m.until(
      `${host} answers`,
      async () => await curl(String(host), Number(port)) !== "",
      20_000,
    );
  }
  const nodePort = await read("service", "six", "-o", "jsonpath={.spec.ports[0].nodePort}");
  await m.until(
    "the node's port answers at its IPv6 address",
    async () => await curl("[fd00:10:244:ff::1]", Number(nodePort)) !== "",
    20_000,
  );
  // By name, and with it AAAA
  const ask = (name: string) =>
    m.kubectl(
      "exec",
      "client",
      "--",
      "deno",
      "eval",
      `console.log(await Deno.resolveDns("${name}.default.svc.cluster.local", "AAAA"),` +
        ` await (await fetch("http://${name}.default.svc.cluster.local")).text())`,
    );
  assertMatch(await ask("six"), /fd00:10:96::/);
  if (mode !== "nftables") return;
  await m.apply({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "web" },
    spec: {
      podSelector: { matchLabels: { app: "web" } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app: "client" } } }] }],
    },
  });
  const direct = (from: string) =>
    m.kubectl(
      "exec",
      from,
      "--",
      "deno",
      "eval",
      `console.log(await fetch("http://[${web[1]}]:8080", { signal: AbortSignal.timeout(1500) })` +
        `.then((r) => r.text(), () => "none"))`,
    );
  await m.until(
    "the one that may is known by its own address of IPv6",
    async () => (await direct("client")).trim() === client[1],
  );
  await m.apply(pod("other"));
  await m.kubectl("wait", "--for=condition=Ready", "pod/other", "--timeout=30s");
  await m.until("another is kept off", async () => (await direct("other")).trim() === "none");
}

/** A machine that joins with an address of each family: its pods are reached at both of theirs. */
async function joined(m: Machines): Promise<void> {
  const six = (i: number) => `fd00:30::${i}`;
  for (const i of [1, 2]) {
    await m.on(i, "ip", "addr", "add", `${six(i)}/64`, "dev", "eth0", "nodad");
  }
  await m.join(await m.joinCommand(), 2, "b", "--node-ip", `${m.address(2)},${six(2)}`);
  await m.apply({ ...pod("far"), spec: { ...pod("far").spec, nodeName: "b" } });
  await m.kubectl("wait", "--for=condition=Ready", "pod/far", "--timeout=60s");
  const path = "jsonpath={.status.podIPs[*].ip} {.status.hostIPs[*].ip}";
  const [four, far, ...hosts] = (await m.kubectl("get", "pod", "far", "-o", path)).split(" ");
  assertEquals(hosts, [m.address(2), six(2)]);
  for (const [host, asker] of [[four, m.address(1)], [`[${far}]`, six(1)]]) {
    await m.until(
      `${host} of the other machine answers`,
      async () => (await m.on(1, "curl", "-s", "-m", "5", `http://${host}:8080/`)).includes(asker),
      20_000,
    );
  }
}
