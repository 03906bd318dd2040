/**
 * The network between two machines by rules of the kernel: NetworkPolicies that hold across machines and among isolates
 * of one, services with endpoints on both, and no connection lost while their endpoints change.
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { type Machines, site, testWithMachines } from "./machines.ts";

const DENO = "denoland/deno:2.9.6";
/** Answers with its name and who has asked. */
const SITE = `
Deno.serve({ port: 8080 }, (_, { remoteAddr }) =>
  new Response(Deno.env.get("HOSTNAME") + " " + remoteAddr.hostname));
`;
/** Asks as often as it can until it is told to end, each time anew, and says how often that failed. */
const ASKER = (url: string) => `
let [asked, lost, over] = [0, [], false];
Deno.addSignalListener("SIGTERM", () => over = true);
console.log("asking");
while (!over) {
  asked++;
  try {
    const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
    await (await fetch("${url}", { client, signal: AbortSignal.timeout(10_000) })).text();
    client.close();
  } catch (error) {
    lost.push(Math.round(performance.now()) + " ms: " + error + ": " + error.cause);
  }
}
console.log(JSON.stringify({ asked, lost }));
Deno.exit(0);
`;

const template = (app: string, more: object = {}) => ({
  metadata: { labels: { app } },
  spec: {
    terminationGracePeriodSeconds: 8,
    containers: [{
      name: "c",
      image: DENO,
      args: ["run", "-A", "/app/main.ts"],
      // Until all machines have heard that it goes, also where their processors are busy with other things
      lifecycle: { preStop: { sleep: { seconds: 6 } } },
      readinessProbe: { httpGet: { port: 8080 }, periodSeconds: 1 },
      volumeMounts: [{ name: "app", mountPath: "/app" }],
    }],
    volumes: [{ name: "app", configMap: { name: "site" } }],
    ...more,
  },
});

const pod = (name: string, nodeName: string) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: name } },
  spec: { ...template(name).spec, nodeName },
});

const policy = (name: string, spec: object) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name },
  spec,
});
const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });

const OBJECTS = [
  ...site(SITE, {
    replicas: 2,
    strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
    template: template("site", {
      topologySpreadConstraints: [{
        maxSkew: 1,
        topologyKey: "kubernetes.io/hostname",
        whenUnsatisfiable: "DoNotSchedule",
        labelSelector: { matchLabels: { app: "site" } },
        matchLabelKeys: ["pod-template-hash"],
      }],
    }),
  }),
  pod("web", "b"),
  pod("client", "plesio-0"),
  pod("other", "plesio-0"),
  pod("near", "b"),
];

await testWithMachines("two machines with rules", 2, async (m, t) => {
  await m.serve("--proxy-mode", "nftables");
  await m.join(await m.joinCommand(), 2, "b");
  await m.accountIsThere();
  await m.apply(...OBJECTS);
  await m.until("there are all pods", async () => (await addresses(m)).size === 6);
  await m.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s");
  await t.step("the joined machine writes rules too", () => rules(m));
  await t.step("services lead to both machines from both", () => services(m));
  await t.step("another node on a machine is refused, and takes no ways away", () => refused(m));
  await t.step("policies hold from machine to machine, and within one", () => policies(m));
  await t.step("no connection is lost while endpoints change", () => update(m));
});

/** The pods' addresses by their names. */
async function addresses(m: Machines): Promise<Map<string, string>> {
  return new Map((await m.pods()).map(({ metadata, status }) => [metadata.name, status.podIP]));
}

/** What a pod is answered; empty where it is not. */
async function ask(m: Machines, from: string, url: string): Promise<string> {
  const code = `try { console.log(await (await fetch("${url}", ` +
    "{ signal: AbortSignal.timeout(1500) })).text()) } catch { /* no answer */ }";
  return (await m.kubectl("exec", from, "--", "deno", "eval", code)).trim();
}

async function rules(m: Machines): Promise<void> {
  for (const i of [1, 2]) {
    assertMatch(await m.on(i, "nft", "list", "tables"), /table ip plesio-proxy/);
    const file = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait";
    assertEquals((await m.on(i, "cat", file)).trim(), "3600");
    assertEquals(await m.on(i, "curl", "-s", "http://127.0.0.1:10249/proxyMode"), "nftables");
    assertMatch(await m.on(i, "curl", "-s", "http://127.0.0.1:10256/healthz"), /"healthy":true/);
  }
}

async function refused(m: Machines): Promise<void> {
  const ways = () => m.on(2, "ip", "route", "show", "table", "local", "proto", "240");
  const before = await ways();
  assertMatch(before, /via /);
  const args = (await m.joinCommand()).trim().split(" ").slice(2);
  const own = ["--node-name", "c", "--data", `${m.folder}/c`];
  const error = await assertRejects(() =>
    m.on(2, Deno.execPath(), "run", "-A", "--no-check", "mod.ts", ...args, ...own)
  );
  assertMatch(String(error), /another cluster of this machine has them/);
  assertEquals(await ways(), before);
}

async function services(m: Machines): Promise<void> {
  const ip = await m.kubectl("get", "service", "site", "-o", "jsonpath={.spec.clusterIP}");
  const names = [...(await addresses(m)).keys()].filter((name) => name.startsWith("site-"));
  for (const from of ["client", "web"]) {
    const seen = new Set<string>();
    await m.until(`${from} is answered by both`, async () => {
      seen.add((await ask(m, from, `http://${ip}/`)).split(" ")[0]);
      return names.every((name) => seen.has(name));
    });
  }
  for (const i of [1, 2]) assertMatch(await m.on(i, "curl", "-s", `http://${ip}/`), /^site-/);
}

async function policies(m: Machines): Promise<void> {
  const ips = await addresses(m);
  const web = `http://${ips.get("web")}:8080/`;
  for (const from of ["client", "other", "near"]) assertMatch(await ask(m, from, web), /^web /);
  await m.apply(policy("web", { ...app("web"), ingress: [{ from: [app("client")] }] }));
  for (const from of ["other", "near"]) {
    await m.until(`${from} is kept off`, async () => await ask(m, from, web) === "");
  }
  await m.until(
    "the one that may is known by its own address",
    async () => await ask(m, "client", web) === `web ${ips.get("client")}`,
  );
  assertMatch(await m.on(2, "curl", "-s", "-m", "5", web), /^web /, "its own machine may");
  const site = "http://site.default.svc.cluster.local/";
  assertMatch(await ask(m, "near", site), /^site-/);
  await m.apply(policy("near", { ...app("near"), policyTypes: ["Egress"], egress: [] }));
  await m.until("near sends nothing any more", async () => await ask(m, "near", site) === "");
  assertMatch(await ask(m, "other", site), /^site-/);
  await m.kubectl("delete", "networkpolicy", "web", "near");
  for (const from of ["other", "near"]) {
    await m.until(`${from} is let in`, async () => /^web /.test(await ask(m, from, web)));
  }
}

async function update(m: Machines): Promise<void> {
  const ip = await m.kubectl("get", "service", "site", "-o", "jsonpath={.spec.clusterIP}");
  const askers = [1, 2].map((i) => m.ask(i, ASKER(`http://${ip}/`)));
  await m.kubectl("rollout", "restart", "deploy/site");
  await m.kubectl("rollout", "status", "deploy/site", "--timeout=90s");
  await m.until("the old ones have gone", async () => (await addresses(m)).size === 6);
  for (const asker of askers) {
    const { asked, lost } = await asker.end();
    assertEquals(lost, []);
    assert(asked > 100, `only ${asked} times`);
  }
}
