/**
 * A real Prometheus scrapes every component of a cluster, and its recorded queries say what was done.
 */
import { assert, assertEquals } from "@std/assert";
import { kubectl as run } from "./kubectl.ts";
import { freePort, Server } from "./server.ts";
import { waiting } from "./until.ts";

const PROMETHEUS = "/usr/bin/prometheus";
const missing = (() => {
  try {
    Deno.statSync(PROMETHEUS);
    return false;
  } catch {
    return true;
  }
})();
if (missing) console.log("prometheus_test: skipped, Debian's prometheus is not installed");

const CREATED = 40;
const REPLICAS = 4;
const HELD_BYTES = 64 * 1024 * 1024;

const RIGHTS = `
apiVersion: v1
kind: ServiceAccount
metadata: { name: prometheus, namespace: default }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: prometheus }
rules:
- { apiGroups: [""], resources: [nodes, nodes/metrics, nodes/proxy], verbs: [get, list, watch] }
- { nonResourceURLs: [/metrics], verbs: [get] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: prometheus }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus }
subjects: [{ kind: ServiceAccount, name: prometheus, namespace: default }]
`;

/** A Deployment that is simulated, its Service, and an isolate that holds memory and says nothing. */
const WORK = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: ${REPLICAS}
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: c, image: nginx }] }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: holder }
spec:
  containers:
  - name: c
    image: denoland/deno
    args: [eval, "globalThis.held = new Uint8Array(${HELD_BYTES}).fill(1); setInterval(() => {}, 1000)"]
`;

Deno.test({
  name: "Prometheus scrapes every component, and its recorded queries agree with what was done",
  ignore: missing,
  async fn() {
    await using server = await Server.start({ flags: ["--nodes", "2"] });
    const kubectl = (args: string[], input?: string) => run(server.kubeconfig, args, input);
    await kubectl(["apply", "-f", "-"], RIGHTS);
    const token = (await kubectl(["create", "token", "prometheus"])).trim();
    await using prometheus = await startPrometheus(server, token);
    await kubectl(["apply", "-f", "-"], WORK);
    const maps = Array.from(
      { length: CREATED },
      (_, i) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: m${i}, namespace: default }\n`,
    );
    await kubectl(["create", "-f", "-"], maps.join("---\n"));
    await kubectl(["rollout", "status", "deployment/web", "--timeout=60s"]);
    await kubectl(["wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s"]);
    const { value, until } = prometheus;
    // The root certificates of four namespaces are created by a controller
    await until("creates", async () => await value("apiserver:creates:total") >= CREATED);
    const others = await value(
      'sum(apiserver_request_total{verb="POST", resource="configmaps", code="201"})',
    );
    assert(others - CREATED <= 5, `${others} creates of config maps`);
    await until("pods", async () => await value("scheduler:scheduled:total") === REPLICAS + 1);
    await until("starts", async () => await value("kubelet:started_pods:total") === REPLICAS + 1);
    assert(await value("controllers:adds:total") > 1);
    assert(await value("kubeproxy:service_changes:total") >= 1);
    const memory = 'cadvisor:pod_memory:bytes{pod="holder"}';
    await until("memory", async () => await value(memory) > HELD_BYTES);
    await until("kubectl top to agree", async () => {
      const top = await kubectl(["top", "pod", "holder", "--no-headers"]);
      const shown = Number(/(\d+)Mi\s*$/.exec(top.trim())?.[1]) * 1024 * 1024;
      const scraped = await value(memory);
      return Math.abs(shown - scraped) < scraped * 0.2;
    });
    assertEquals(await value("sum(up)"), 5, "the API server, and two pages of two nodes");
  },
});

/** One that listens on this machine alone, in a folder of its own. */
async function startPrometheus({ access }: Server, token: string) {
  const folder = await Deno.makeTempDir({ prefix: "prometheus-" });
  const here = (name: string) => new URL(name, import.meta.url);
  const config = await Deno.readTextFile(here("prometheus.yaml"));
  const target = `${access.hostname}:${access.port}`;
  await Deno.writeTextFile(`${folder}/prometheus.yaml`, config.replaceAll("SERVER", target));
  await Deno.copyFile(here("prometheus_rules.yaml"), `${folder}/rules.yaml`);
  await Deno.writeTextFile(`${folder}/ca.crt`, access.caPem);
  await Deno.writeTextFile(`${folder}/token`, token);
  const address = `127.0.0.1:${freePort()}`;
  const process = new Deno.Command(PROMETHEUS, {
    args: [
      `--config.file=${folder}/prometheus.yaml`,
      `--storage.tsdb.path=${folder}/data`,
      `--web.listen-address=${address}`,
    ],
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const output = new Response(process.stderr).text();
  /** The value of a query that has one series; NaN while it has none. */
  const value = async (query: string): Promise<number> => {
    const url = `http://${address}/api/v1/query?query=${encodeURIComponent(query)}`;
    const answer = await (await fetch(url)).json();
    return Number(answer.data?.result[0]?.value[1] ?? NaN);
  };
  const ended = process.status.then(async () => {
    throw new Error(`Prometheus has ended: ${await output}`);
  });
  ended.catch(() => undefined);
  const seen = waiting({ withinMs: 60_000, everyMs: 300, patient: true });
  const until = (what: string, holds: () => Promise<boolean>) =>
    Promise.race([ended, seen(`Prometheus sees ${what}`, holds)]);
  await until("itself", async () => {
    const ready = await fetch(`http://${address}/-/ready`);
    await ready.body?.cancel();
    return ready.ok;
  });
  return {
    value,
    until,
    async [Symbol.asyncDispose]() {
      process.kill("SIGTERM");
      await process.status;
      await output;
      await Deno.remove(folder, { recursive: true });
    },
  };
}
