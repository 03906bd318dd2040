import { assert, assertEquals } from "@std/assert";
import type { Admission } from "../contract.ts";
import { admission, messageOf, State } from "../state_fixture.ts";
import { resourceQuota } from "./resource_quota.ts";

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;

const PATHS: Record<string, string> = {
  pods: "/registry/pods",
  services: "/registry/services/specs",
  persistentvolumeclaims: "/registry/persistentvolumeclaims",
  configmaps: "/registry/configmaps",
  resourcequotas: "/registry/resourcequotas",
  "deployments.apps": "/registry/deployments",
  "resourceclaims.resource.k8s.io": "/registry/resourceclaims",
  "widgets.acme.com": "/registry/acme.com/widgets",
};

/** A namespace in which every write goes through the plugin, as the pipeline does it. */
class Namespace {
  readonly state = new State();
  readonly plugin = resourceQuota();
  now = Date.parse("2026-01-01T00:00:00Z");

  async #write(resource: string, given: Partial<Admission>, apply: (key: string) => void) {
    const [plural, ...group] = resource.split(".");
    const a = admission(this.state, {
      resource: plural,
      group: group.join("."),
      namespace: "ns",
      now: this.now,
      ...given,
    });
    const kind = { ...a.kind, path: PATHS[resource] };
    const name = (given.object ?? given.old)!.metadata.name;
    const key = `${kind.path}/ns/${name}`;
    const before = { revision: this.state.revision, items: new Map(this.state.items) };
    // The view of a request does not move with later writes.
    const view = { ...a.view, revision: before.revision };
    const message = await messageOf(() => {
      if (a.operation === "DELETE") apply(key);
      this.plugin.commit!({ ...a, kind, view }, this.state.view());
      if (a.operation !== "DELETE") apply(key);
    });
    if (message) {
      this.state.items.clear();
      for (const [k, item] of before.items) this.state.items.set(k, item);
    }
    return message;
  }

  create(resource: string, object: Any) {
    return this.#write(resource, { object }, (key) => this.state.put(key, object));
  }

  update(resource: string, name: string, change: (object: Any) => void, subresource = "") {
    const old = this.get(resource, name);
    const object = structuredClone(old);
    change(object);
    return this.#write(
      resource,
      { operation: "UPDATE", object, old, subresource },
      (key) => this.state.put(key, object),
    );
  }

  delete(resource: string, name: string) {
    const old = this.get(resource, name);
    return this.#write(resource, { operation: "DELETE", old }, (key) => this.state.delete(key));
  }

  get(resource: string, name: string): Any {
    return this.state.view().get(`${PATHS[resource]}/ns/${name}`)?.value;
  }

  async quota(name: string, hard: Record<string, string>, more: Any = {}) {
    const metadata = { name, namespace: "ns" };
    assertEquals(await this.create("resourcequotas", { metadata, spec: { hard, ...more } }), "");
  }

  used(name: string): Record<string, string> {
    return this.get("resourcequotas", name).status.used;
  }
}

const pod = (name: string, resources: Any = {}, spec: Any = {}): Any => ({
  metadata: { name, namespace: "ns" },
  spec: { containers: [{ name: "c", resources }], ...spec },
});
const service = (name: string, spec: Any = {}): Any => ({ metadata: { name }, spec });

Deno.test("resourceQuota() refuses what is too much, in upstream's words", async () => {
  const ns = new Namespace();
  await ns.quota("q", { services: "1", "services.nodeports": "2" });
  assertEquals(ns.get("resourcequotas", "q").status, {
    hard: { services: "1", "services.nodeports": "2" },
    used: { services: "0", "services.nodeports": "0" },
  });
  assertEquals(await ns.create("services", service("a", { type: "NodePort", ports: [{}] })), "");
  assertEquals(ns.used("q"), { services: "1", "services.nodeports": "1" });
  assertEquals(
    await ns.create("services", service("b")),
    'services "b" is forbidden: exceeded quota: q, requested: services=1, used: services=1, ' +
      "limited: services=1",
  );
  assertEquals(
    await ns.update("services", "a", (s) => s.spec.ports = [{}, {}, {}]),
    'services "a" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: ' +
      "services.nodeports=1, limited: services.nodeports=2",
  );
  assertEquals(await ns.update("services", "a", (s) => s.spec.type = "ClusterIP"), "");
  assertEquals(ns.used("q"), { services: "1", "services.nodeports": "0" });
  assertEquals(await ns.delete("services", "a"), "");
  assertEquals(ns.used("q"), { services: "0", "services.nodeports": "0" });
});

Deno.test("resourceQuota() counts what pods ask for, and what they must say", async () => {
  const ns = new Namespace();
  await ns.quota("q", { "requests.cpu": "1", "limits.memory": "1Gi", pods: "2" });
  assertEquals(
    await ns.create("pods", pod("a", { requests: { cpu: "100m" } })),
    'pods "a" is forbidden: failed quota: q: must specify limits.memory for: c',
  );
  const resources = { requests: { cpu: "600m" }, limits: { memory: "256Mi" } };
  assertEquals(await ns.create("pods", pod("a", resources)), "");
  assertEquals(ns.used("q"), { "requests.cpu": "600m", "limits.memory": "256Mi", pods: "1" });
  assertEquals(
    await ns.create("pods", pod("b", resources)),
    'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: ' +
      "requests.cpu=600m, limited: requests.cpu=1",
  );
  const done = (p: Any) => p.status = { phase: "Succeeded" };
  assertEquals(await ns.update("pods", "a", done, "status"), "");
  assertEquals(ns.used("q"), { "requests.cpu": "0", "limits.memory": "0", pods: "0" });
  assertEquals(await ns.create("pods", pod("b", resources)), "");
  assertEquals(await ns.delete("pods", "a"), "");
  assertEquals(ns.used("q"), { "requests.cpu": "600m", "limits.memory": "256Mi", pods: "1" });
});

Deno.test("resourceQuota() honours scopes", async () => {
  const ns = new Namespace();
  await ns.quota("best", { pods: "1" }, { scopes: ["BestEffort"] });
  await ns.quota("high", { pods: "1" }, {
    scopeSelector: {
      matchExpressions: [{ scopeName: "PriorityClass", operator: "In", values: ["high"] }],
    },
  });
  const burst = { requests: { cpu: "1m" } };
  assertEquals(await ns.create("pods", pod("a")), "");
  assertEquals(await ns.create("pods", pod("b", burst)), "");
  assertEquals(await ns.create("pods", pod("c", burst, { priorityClassName: "high" })), "");
  assertEquals([ns.used("best"), ns.used("high")], [{ pods: "1" }, { pods: "1" }]);
  assert((await ns.create("pods", pod("d"))).includes("exceeded quota: best"));
  const second = pod("e", burst, { priorityClassName: "high" });
  assert((await ns.create("pods", second)).includes("exceeded quota: high"));
});

Deno.test("resourceQuota() counts claims by class, and anything by number", async () => {
  const ns = new Namespace();
  await ns.quota("q", {
    "requests.storage": "10Gi",
    "gold.storageclass.storage.k8s.io/requests.storage": "5Gi",
    "count/deployments.apps": "1",
    "count/widgets.acme.com": "1",
    configmaps: "1",
    resourcequotas: "1",
  });
  const claim = (name: string, storage: string, storageClassName: string): Any => ({
    metadata: { name },
    spec: { storageClassName, resources: { requests: { storage } } },
  });
  assertEquals(await ns.create("persistentvolumeclaims", claim("a", "4Gi", "gold")), "");
  assertEquals(
    await ns.create("persistentvolumeclaims", claim("b", "2Gi", "gold")),
    'persistentvolumeclaims "b" is forbidden: exceeded quota: q, requested: ' +
      "gold.storageclass.storage.k8s.io/requests.storage=2Gi, used: " +
      "gold.storageclass.storage.k8s.io/requests.storage=4Gi, limited: " +
      "gold.storageclass.storage.k8s.io/requests.storage=5Gi",
  );
  assertEquals(await ns.create("persistentvolumeclaims", claim("b", "2Gi", "tin")), "");
  for (const resource of ["deployments.apps", "widgets.acme.com", "configmaps"]) {
    assertEquals(await ns.create(resource, { metadata: { name: "x" } }), "");
    assert((await ns.create(resource, { metadata: { name: "y" } })).includes("exceeded quota: q"));
  }
  const full = await ns.create("resourcequotas", { metadata: { name: "q2" }, spec: { hard: {} } });
  assert(full.includes("requested: resourcequotas=1, used: resourcequotas=1"));
  assertEquals(ns.used("q"), {
    "requests.storage": "6Gi",
    "gold.storageclass.storage.k8s.io/requests.storage": "4Gi",
    "count/deployments.apps": "1",
    "count/widgets.acme.com": "1",
    configmaps: "1",
    resourcequotas: "1",
  });
});

Deno.test("resourceQuota() counts device claims by the most that each class may give", async () => {
  const ns = new Namespace();
  const gold = "gold.deviceclass.resource.k8s.io/devices";
  await ns.quota("q", { "count/resourceclaims.resource.k8s.io": "3", [gold]: "5" });
  assertEquals(ns.used("q"), { "count/resourceclaims.resource.k8s.io": "0", [gold]: "0" });
  const exactly = (deviceClassName: string, count: number) => ({
    deviceClassName,
    allocationMode: "ExactCount",
    count,
  });
  const claim = (name: string, ...requests: Any[]) =>
    ns.create("resourceclaims.resource.k8s.io", {
      metadata: { name, namespace: "ns" },
      spec: { devices: { requests } },
    });
  assertEquals(await claim("a", { exactly: exactly("gold", 2) }), "");
  const either = { firstAvailable: [exactly("gold", 1), exactly("gold", 3), exactly("tin", 9)] };
  assertEquals(await claim("b", either), "");
  assertEquals(ns.used("q"), { "count/resourceclaims.resource.k8s.io": "2", [gold]: "5" });
  const all = { exactly: { deviceClassName: "gold", allocationMode: "All" } };
  assert((await claim("c", all)).includes(`requested: ${gold}=32, used: ${gold}=5, limited`));
});

Deno.test("resourceQuota() counts anew when a quota is made, changed or found wrong", async () => {
  const ns = new Namespace();
  for (const name of ["a", "b", "c"]) await ns.create("pods", pod(name));
  await ns.quota("q", { pods: "3" });
  assertEquals(ns.used("q"), { pods: "3" });
  // Somebody writes nonsense into the status: it does not stick.
  await ns.update("resourcequotas", "q", (q) => q.status.used = { pods: "0" }, "status");
  assertEquals(ns.used("q"), { pods: "3" });
  // Limits written into the status stay until the controller takes them back.
  await ns.update("resourcequotas", "q", (q) => q.status.hard = { pods: "9" }, "status");
  assertEquals(ns.get("resourcequotas", "q").status, { hard: { pods: "9" }, used: { pods: "3" } });
  // A sum that drifted upwards refuses nothing.
  const quota = ns.get("resourcequotas", "q");
  const drifted = { ...quota, status: { ...quota.status, used: { pods: "3" } } };
  ns.state.delete("/registry/pods/ns/a");
  ns.state.put("/registry/resourcequotas/ns/q", drifted);
  assertEquals(await ns.create("pods", pod("d")), "");
  assertEquals(ns.used("q"), { pods: "3" });
  await ns.update("resourcequotas", "q", (q) => q.spec.hard = { pods: "5", services: "1" });
  assertEquals(ns.get("resourcequotas", "q").status, {
    hard: { pods: "5", services: "1" },
    used: { pods: "3", services: "0" },
  });
});

Deno.test("resourceQuota() forgets pods whose time is up", async () => {
  const ns = new Namespace();
  await ns.quota("q", { pods: "1" });
  await ns.create("pods", pod("stuck"));
  await ns.update("pods", "stuck", (p) => {
    p.metadata.deletionTimestamp = "2026-01-01T00:00:30Z";
    p.metadata.deletionGracePeriodSeconds = 30;
  });
  assert((await ns.create("pods", pod("next"))).includes("exceeded"));
  ns.now += 61_000;
  assertEquals(await ns.create("pods", pod("next")), "");
  assertEquals(await ns.delete("pods", "stuck"), "");
  assertEquals(ns.used("q"), { pods: "1" });
});

Deno.test("resourceQuota() keeps its sums equal to a count, whatever happens", async () => {
  for (let seed = 1; seed <= 15; seed++) {
    let n = seed;
    const random = () => (n = (n * 1103515245 + 12345) % 2147483648) / 2147483648;
    const ns = new Namespace();
    await ns.quota("q", { pods: "4", "requests.cpu": "2", "count/pods": "6" });
    for (let step = 0; step < 60; step++) {
      const name = `p${Math.floor(random() * 6)}`;
      const what = random();
      if (!ns.get("pods", name)) {
        const cpu = `${100 + Math.floor(random() * 900)}m`;
        await ns.create("pods", pod(name, { requests: { cpu } }));
      } else if (what < 0.4) await ns.delete("pods", name);
      else if (what < 0.7) {
        await ns.update("pods", name, (p) => p.status = { phase: "Failed" }, "status");
      }
      const live = [...ns.state.view().scan("/registry/pods/ns/")].map((i) => i.value as Any);
      const running = live.filter((p) => p.status?.phase !== "Failed");
      const cpu = running.reduce(
        (sum, p) => sum + parseInt(p.spec.containers[0].resources.requests.cpu),
        0,
      );
      assert(running.length <= 4 && cpu <= 2000, `seed ${seed}, step ${step}`);
      const used = ns.used("q");
      assertEquals(used.pods, String(running.length), `seed ${seed}, step ${step}`);
      assertEquals(used["count/pods"], String(live.length), `seed ${seed}, step ${step}`);
      const millis = used["requests.cpu"].endsWith("m")
        ? parseInt(used["requests.cpu"])
        : Number(used["requests.cpu"]) * 1000;
      assertEquals(millis, cpu, `seed ${seed}, step ${step}`);
    }
  }
});
