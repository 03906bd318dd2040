import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import type { Client } from "../../api/client/contract.ts";
import { FakeRuntime } from "./fake_runtime_test.ts";
import { type Box, openBox } from "./fixture_test.ts";
import { type NodeOptions, startNode } from "./node.ts";
import { MIRROR } from "./pod_source.ts";
import { type Manifest, MANIFESTS_READ_MS, type ManifestSource, staticPod } from "./static_pods.ts";
import { NODES, type Pod, PODS } from "./types.ts";

const manifest = (image = "i", more = "") => `
apiVersion: v1
kind: Pod
metadata: { name: web, labels: { app: web } }
spec:
  terminationGracePeriodSeconds: 20
  containers: [{ name: c, image: ${image} }]
${more}`;

/** Files that a test changes. */
class Files implements ManifestSource {
  readonly files = new Map<string, string>();
  changed = () => {};
  read(): Promise<Manifest[]> {
    const all = [...this.files].sort(([a], [b]) => a < b ? -1 : 1);
    return Promise.resolve(all.map(([path, text]) => ({ path, text })));
  }
  watch(changed: () => void) {
    this.changed = changed;
    return () => this.changed = () => {};
  }
  set(path: string, text: string | undefined) {
    if (text === undefined) this.files.delete(path);
    else this.files.set(path, text);
    this.changed();
  }
}

interface World extends Box {
  runtime: FakeRuntime;
  files: Files;
  mirror(look?: (pod: Pod) => unknown): Promise<Pod>;
}

async function withStaticPods(
  use: (world: World) => Promise<void>,
  options: Partial<NodeOptions> & { clientOf?(client: Client): Client } = {},
): Promise<void> {
  await using box = await openBox();
  const runtime = new FakeRuntime(box.clock);
  const files = new Files();
  files.set("/m/web.yaml", manifest());
  const { clientOf, ...more } = options;
  const node = startNode(box.system, {
    name: "n0",
    clock: box.clock,
    runtimes: [runtime],
    manifests: files,
    client: clientOf?.(box.client),
    ...more,
  });
  const mirror = (look: (pod: Pod) => unknown = (pod) => pod.status?.phase === "Running") =>
    box.pass("a mirror", 1000, async () => {
      const pod = await box.get("web-n0").catch(() => undefined);
      return pod && look(pod) ? pod : undefined;
    });
  await use({ ...box, runtime, files, mirror });
  await node.stop();
}

const runs = ({ runtime }: World) => runtime.log.filter((line) => line.startsWith("start")).length;

Deno.test("staticPod() is the pod of a file with the node's name, a hash and its tolerations", () => {
  const pod = staticPod({ path: "/m/a", text: manifest() }, "n0", 0);
  const { name, namespace, uid, annotations } = pod.metadata;
  assertEquals([name, namespace, pod.spec.nodeName], ["web-n0", "default", "n0"]);
  assertMatch(uid, /^[0-9a-f]{32}$/);
  assertEquals(annotations, {
    "kubernetes.io/config.hash": uid,
    "kubernetes.io/config.seen": "1970-01-01T00:00:00.000Z",
    "kubernetes.io/config.source": "file",
  });
  assertEquals(pod.spec.tolerations, [{ operator: "Exists", effect: "NoExecute" }]);
  assertEquals(pod.spec.restartPolicy, "Always");
  const uidOf = (text: string, path = "/m/a", node = "n0") =>
    staticPod({ path, text }, node, 9).metadata.uid;
  assertEquals(uidOf(manifest()), uid);
  assertEquals(
    new Set([uid, uidOf(manifest("j")), uidOf(manifest(), "/b"), uidOf(manifest(), "/m/a", "o")])
      .size,
    4,
  );
  const json = JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "j", uid: "mine" },
    spec: { containers: [{ name: "c", image: "i" }] },
  });
  assertEquals(uidOf(json), "mine");
  // The first document counts.
  assertEquals(uidOf(`${manifest()}\n---\nkind: Nonsense\n`), uid);
});

Deno.test("staticPod() refuses what is no pod, what is wrong, and what needs the API", () => {
  for (
    const [text, why] of [
      ["", "it is no v1 Pod"],
      ["apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }", "it is no v1 Pod"],
      [
        manifest().replace("name: web", "labels: {}").replace(", labels: { app: web }", ""),
        "name is needed",
      ],
      [manifest("i", "  restartPolicy: Sometimes"), "invalid pod: spec.restartPolicy: "],
      [manifest("i", "  serviceAccountName: a"), "static pods may not reference serviceaccounts"],
      [
        manifest("i", "  volumes: [{ name: v, secret: { secretName: s } }]"),
        "static pods may not reference secrets",
      ],
    ]
  ) assertThrows(() => staticPod({ path: "/m/a", text }, "n", 0), Error, why);
});

Deno.test("mirrored: a file's pod runs, and its mirror says who it is and how", () =>
  withStaticPods(async (w) => {
    const pod = await w.mirror();
    const { annotations, ownerReferences, labels } = pod.metadata;
    const [{ spec }] = w.runtime.containers;
    const { uid } = spec.sandbox.pod.metadata;
    assertEquals(annotations?.[MIRROR], uid);
    assertEquals(annotations?.["kubernetes.io/config.source"], "file");
    assert(pod.metadata.uid !== uid);
    const node = await w.client.get({ resource: NODES, name: "n0" });
    assertEquals(ownerReferences, [
      { apiVersion: "v1", kind: "Node", name: "n0", uid: node.metadata.uid, controller: true },
    ]);
    assertEquals(labels, { app: "web" });
    assertEquals(pod.status!.containerStatuses![0].ready, true);
  }));

Deno.test("mirrored: a mirror that is deleted comes back, and nothing stops", () =>
  withStaticPods(async (w) => {
    const first = await w.mirror();
    for (const query of [{}, { gracePeriodSeconds: 0 }]) {
      const before = await w.mirror();
      await w.client.delete({ resource: PODS, namespace: "default", name: "web-n0" }, query);
      await w.mirror((pod) =>
        pod.metadata.uid !== before.metadata.uid && pod.status?.phase === "Running"
      );
    }
    assertEquals(w.runtime.log, ["start c"]);
    assertEquals(
      (await w.mirror()).metadata.annotations?.[MIRROR],
      first.metadata.annotations?.[MIRROR],
    );
  }));

Deno.test("one-name: a file that changes is another pod, which waits for the end of the first", () =>
  withStaticPods(async (w) => {
    const first = await w.mirror();
    w.runtime.obedient = undefined;
    w.files.set("/m/web.yaml", manifest("j"));
    await w.until("the signal", () => w.runtime.log.includes("TERM c 20000"));
    assertEquals(runs(w), 1);
    await w.manual.advance(19_000);
    assertEquals(runs(w), 1);
    const second = await w.mirror((pod) =>
      pod.metadata.annotations?.[MIRROR] !== first.metadata.annotations?.[MIRROR] &&
      pod.status?.phase === "Running"
    );
    assertEquals(second.spec.containers[0].image, "j");
    assertEquals(runs(w), 2);
  }));

Deno.test("a file that goes takes its pod and its mirror with it; one that is wrong runs nothing", () =>
  withStaticPods(async (w) => {
    await w.mirror();
    w.files.set("/m/web.yaml", undefined);
    const none = () => w.get("web-n0").then(() => false, () => true);
    await w.pass("no mirror", 1000, none);
    assertEquals(w.runtime.log, ["start c", "TERM c 20000", "exit c 0"]);
    w.files.set("/m/web.yaml", "{");
    await w.manual.advance(1000);
    // Nobody says that this one has changed: files are read now and then.
    w.files.files.set("/m/web.yaml", manifest());
    await w.manual.advance(MANIFESTS_READ_MS);
    await w.mirror();
  }));

Deno.test("a mirror behind which no file stands is removed", () =>
  withStaticPods(async (w) => {
    const annotations = { [MIRROR]: "abc" };
    await w.pod("orphan", "n0", { containers: [{ name: "c", image: "i" }] }, { annotations });
    await w.pass("its end", 1000, () => w.get("orphan").then(() => false, () => true));
    await w.mirror();
    assertEquals(runs(w), 1);
  }));

Deno.test("own-files: pods come and go with their files while the API cannot be reached", () => {
  let away = false;
  const clientOf = (client: Client): Client =>
    new Proxy(client, {
      get(target, name) {
        const own = Reflect.get(target, name);
        if (typeof own !== "function") return own;
        if (name === "because") return (...why: unknown[]) => clientOf(own.apply(target, why));
        return (...all: unknown[]) =>
          away ? Promise.reject(new TypeError("connection refused")) : own.apply(target, all);
      },
    });
  return withStaticPods(async (w) => {
    await w.mirror();
    away = true;
    w.files.set("/m/web.yaml", manifest("j"));
    await w.pass("the other pod", 1000, () => runs(w) === 2);
    assertEquals((await w.get("web-n0")).spec.containers[0].image, "i");
    // It is begun again as ever.
    w.runtime.exit("c", 1);
    await w.pass("the next start", 1000, () => runs(w) === 3);
    away = false;
    const pod = await w.mirror((pod) =>
      pod.spec.containers[0].image === "j" && pod.status?.phase === "Running"
    );
    assertEquals(pod.status!.containerStatuses![0].restartCount, 1);
  }, { clientOf });
});

Deno.test("a critical pod takes the place of others that have less to say", () =>
  withStaticPods(async (w) => {
    await w.mirror();
    const spec = (name: string, cpu: string | undefined, more = {}) => ({
      containers: [{ name, image: "i", resources: cpu ? { requests: { cpu } } : {} }],
      ...more,
    });
    await w.pod("small", "n0", spec("small", "500m"));
    await w.pod("large", "n0", spec("large", "1"));
    await w.pod("free", "n0", spec("free", undefined));
    for (const name of ["small", "large", "free"]) {
      await w.pass(name, 100, async () => (await w.get(name)).status?.phase === "Running");
    }
    await w.pod("late", "n0", spec("late", "1"));
    await w.pass("a refusal", 100, async () => (await w.get("late")).status?.reason === "OutOfcpu");
    await w.pod("vital", "n0", spec("vital", "1", { priority: 2_000_001_000 }));
    await w.pass(
      "the vital one",
      100,
      async () => (await w.get("vital")).status?.phase === "Running",
    );
    const { status } = await w.get("small");
    assertEquals([status?.phase, status?.reason, status?.message], [
      "Failed",
      "Preempting",
      "Preempted in order to admit critical pod",
    ]);
    const condition = status?.conditions?.find((c) => c.type === "DisruptionTarget");
    assertEquals(condition?.reason, "TerminationByKubelet");
    assertEquals((await w.get("large")).status?.phase, "Running");
    assertEquals((await w.get("free")).status?.phase, "Running");
    assert(
      (await w.events()).includes("Warning Preempting Preempted in order to admit critical pod"),
    );
    // Where it does not belong nobody makes room for it.
    await w.pod(
      "astray",
      "n0",
      spec("astray", "1", { priority: 2_000_001_000, nodeSelector: { a: "b" } }),
    );
    await w.pass("a refusal", 100, async () => (await w.get("astray")).status?.phase === "Failed");
    assertEquals((await w.get("large")).status?.phase, "Running");
  }, { capacity: { cpu: "2", memory: "1Gi", pods: "10" } }));
