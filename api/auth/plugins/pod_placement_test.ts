/** Plugins of where pods may go and of the namespaces they live in. */
import { assertEquals, assertMatch } from "@std/assert";
import { Cluster } from "../../../mod.ts";
import { namespace } from "../state_fixture.ts";
import { pod as webPod, run, setup } from "./plugin_fixture.ts";

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;

const ALPHA = "scheduler.alpha.kubernetes.io";
const CONFLICT =
  "pod tolerations (possibly merged with namespace default tolerations) conflict with its";

Deno.test("pods get their namespace's node selector, and keep others away from nodes only", async () => {
  const enable = ["PodNodeSelector", "LimitPodHardAntiAffinityTopology"];
  await using cluster = await Cluster.start({ components: ["api"], admission: { enable } });
  const post = async (path: string, body: object) => {
    const response = await cluster.fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    return response.status < 400 ? answer.spec?.nodeSelector : answer.message;
  };
  const namespace = async (name: string, selector: string) => {
    const annotations = { "scheduler.alpha.kubernetes.io/node-selector": selector };
    await post("/api/v1/namespaces", { metadata: { name, annotations } });
    const account = { metadata: { name: "default" } };
    await post(`/api/v1/namespaces/${name}/serviceaccounts`, account);
    return `/api/v1/namespaces/${name}/pods?dryRun=All`;
  };
  const pod = (spec: object) => ({
    metadata: { name: "p" },
    spec: { containers: [{ name: "c", image: "x" }], ...spec },
  });
  const pods = await namespace("sel", "env=test,zone=a");
  assertEquals(await post(pods, pod({})), { env: "test", zone: "a" });
  assertEquals(await post(pods, pod({ nodeSelector: { other: "x" } })), {
    env: "test",
    zone: "a",
    other: "x",
  });
  assertEquals(
    await post(pods, pod({ nodeSelector: { env: "prod" } })),
    'pods "p" is forbidden: pod node label selector conflicts with its namespace node label selector',
  );
  assertEquals(
    await post(await namespace("bad", "env in (x"), pod({})),
    "invalid selector: [env in (x]",
  );
  const away = (topologyKey: string) =>
    pod({
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey, labelSelector: {} }],
        },
      },
    });
  assertEquals(await post(pods, away("kubernetes.io/hostname")), { env: "test", zone: "a" });
  assertEquals(
    await post(pods, away("zone")),
    'pods "p" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone ' +
      "but only key kubernetes.io/hostname is allowed",
  );
});

Deno.test("PodNodeSelector takes a default and what namespaces may have from its configuration", async () => {
  const nodeSelectors = { clusterDefaultNodeSelector: "team=all", ns: "team=all,zone=a" };
  const { state, plugin } = setup(["PodNodeSelector"], { nodeSelectors });
  const attempt = async (nodeSelector: Record<string, string> | undefined, space = "ns") => {
    const object = webPod({ nodeSelector });
    const given = { resource: "pods", namespace: space, object };
    const message = await run(state, plugin("PodNodeSelector"), given);
    return message || object.spec.nodeSelector;
  };
  assertEquals(await attempt(undefined), { team: "all" });
  assertEquals(await attempt({ zone: "a" }), { team: "all", zone: "a" });
  assertEquals(
    await attempt({ more: "b" }),
    'pods "web" is forbidden: pod node label selector labels conflict with its namespace whitelist',
  );
  state.put("/registry/namespaces/other", namespace("other"));
  assertEquals(await attempt({ more: "b" }, "other"), { team: "all", more: "b" });
  const annotated = (selector: string) => {
    const annotations = { [`${ALPHA}/node-selector`]: selector };
    const { metadata, ...rest } = namespace("other");
    state.put("/registry/namespaces/other", { ...rest, metadata: { ...metadata, annotations } });
  };
  // An empty annotation says that the default does not count
  annotated("");
  assertEquals(await attempt(undefined, "other"), undefined);
  annotated("a=b=c");
  assertEquals(await attempt(undefined, "other"), "invalid selector: [a b c]");
  annotated("a b=c");
  assertMatch(await attempt(undefined, "other"), /^<nil>: Invalid value: "a b": name part must/);
  annotated("a=-c-");
  assertMatch(
    await attempt(undefined, "other"),
    /^\[a\]: Invalid value: "-c-": a valid label must/,
  );
});

Deno.test("PodTolerationRestriction adds a namespace's tolerations and allows only listed ones", async () => {
  const tolerations = {
    default: [{ key: "d", operator: "Exists" }],
    whitelist: [
      { key: "d", operator: "Exists" },
      { key: "node.kubernetes.io/memory-pressure", operator: "Exists" },
      { key: "w", operator: "Equal", value: "x" },
    ],
  };
  const { state, plugin } = setup(["PodTolerationRestriction"], { tolerations });
  const attempt = async (spec: object, more: Any = {}) => {
    const object = webPod({ ...spec });
    const given = { resource: "pods", object, ...more };
    const message = await run(state, plugin("PodTolerationRestriction"), given);
    return message || object.spec.tolerations?.map((t: Any) => t.key ?? "");
  };
  const own = [{ key: "w", operator: "Equal", value: "x" }];
  const busy = { containers: [{ name: "c", resources: { requests: { cpu: "1" } } }] };
  assertEquals(await attempt({}), ["d"]);
  assertEquals(await attempt(busy), ["d", "node.kubernetes.io/memory-pressure"]);
  assertEquals(await attempt({ tolerations: own }), ["w", "d"]);
  // Upstream takes an operator that is not said for none, here
  const unsaid = [{ key: "w", value: "x" }];
  assertEquals(await attempt({ tolerations: unsaid }), `${CONFLICT} cluster whitelist`);
  const update = { operation: "UPDATE", old: webPod() };
  assertEquals(await attempt({}, update), undefined);
  assertEquals(await attempt(busy, update), ["node.kubernetes.io/memory-pressure"]);
  const annotated = (annotations: Record<string, string>) => {
    const { metadata, ...rest } = namespace("ns");
    const keyed = Object.fromEntries(
      Object.entries(annotations).map(([key, value]) => [`${ALPHA}/${key}`, value]),
    );
    state.put("/registry/namespaces/ns", {
      ...rest,
      metadata: { ...metadata, annotations: keyed },
    });
  };
  const list = '[{"key":"n","operator":"Exists"}]';
  annotated({ defaultTolerations: list, tolerationsWhitelist: list });
  assertEquals(await attempt({}), ["n"]);
  assertEquals(await attempt(busy), `${CONFLICT} namespace whitelist`);
  annotated({ defaultTolerations: "", tolerationsWhitelist: "" });
  assertEquals(await attempt({ tolerations: unsaid }), ["w"]);
  const go = "json: cannot unmarshal";
  for (
    const [text, message] of [
      ["{", "unexpected end of JSON input"],
      ["{}", `${go} object into Go value of type []v1.Toleration`],
      ["[1]", `${go} number into Go value of type v1.Toleration`],
      ['[{"key":1}]', `${go} number into Go struct field Toleration.key of type string`],
      [
        '[{"tolerationSeconds":1.5}]',
        `${go} number 1.5 into Go struct field Toleration.tolerationSeconds of type int64`,
      ],
      [
        '[{"effect":{}}]',
        `${go} object into Go struct field Toleration.effect of type v1.TaintEffect`,
      ],
    ]
  ) {
    annotated({ defaultTolerations: text });
    assertEquals(await attempt({}), message);
  }
  annotated({ defaultTolerations: "null" });
  assertEquals(await attempt({}), undefined);
});

Deno.test("PodResizeValidator lets a pod grow as far as its node has room for it alone", async () => {
  const { state, plugin } = setup();
  const grown = (requests: object, generation = 2) => {
    const object = webPod({ nodeName: "n", containers: [{ name: "c", resources: { requests } }] }, {
      generation,
    });
    const old = webPod({ nodeName: "n" }, { generation: 1 });
    const given = { resource: "pods", subresource: "resize", operation: "UPDATE", object, old };
    return run(state, plugin("PodResizeValidator"), given as Any);
  };
  assertEquals(await grown({ cpu: "1" }), 'pods "web" is forbidden: node "n" not found');
  const node = (labels: object) =>
    state.put("/registry/minions/n", {
      metadata: { name: "n", labels },
      status: { allocatable: { cpu: "2", memory: "1Gi" } },
    });
  node({ "kubernetes.io/os": "linux" });
  assertEquals(await grown({ cpu: "2", memory: "1Gi" }), "");
  assertEquals(
    await grown({ cpu: "2500m", memory: "2Gi" }),
    `pods "web" is forbidden: node didn't have enough allocatable resources: cpu, requested: 2500, ` +
      "allocatable: 2000; memory, requested: 2147483648, allocatable: 1073741824",
  );
  assertEquals(await grown({ cpu: "3" }, 1), "");
  node({ "kubernetes.io/os": "windows" });
  assertEquals(
    await grown({ cpu: "1" }),
    'pods "web" is forbidden: pod resize is only supported on linux nodes, node "n" is "windows"',
  );
});

Deno.test("NamespaceAutoProvision makes a namespace for what is created in it", async () => {
  const enable = ["NamespaceAutoProvision", "NamespaceExists"];
  await using cluster = await Cluster.start({ components: ["api"], admission: { enable } });
  const post = async (path: string) => {
    const response = await cluster.fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ metadata: { name: "a" } }),
    });
    const answer = await response.json();
    return response.status === 201 ? "made" : answer.message;
  };
  assertEquals(await post("/api/v1/namespaces/fresh/configmaps"), "made");
  assertEquals(await post("/api/v1/namespaces/fresh/secrets"), "made");
  const there = await cluster.fetch("/api/v1/namespaces/fresh");
  assertEquals((await there.json()).status.phase, "Active");
  assertEquals(
    await post("/api/v1/namespaces/dry/configmaps?dryRun=All"),
    'namespaces "dry" not found',
  );
  assertMatch(
    await post("/api/v1/namespaces/Bad_Name/configmaps"),
    /^configmaps "a" is forbidden: Namespace "Bad_Name" is invalid: metadata.name: Invalid value: /,
  );
});

Deno.test("NamespaceExists refuses writes in namespaces that are not there", async () => {
  const { state, plugin } = setup(["NamespaceExists"]);
  const given = { resource: "configmaps", object: webPod(), namespace: "none" };
  for (const operation of ["CREATE", "UPDATE", "DELETE"] as const) {
    const message = await run(state, plugin("NamespaceExists"), { ...given, operation });
    assertEquals(message, 'namespaces "none" not found');
  }
  const here = await run(state, plugin("NamespaceExists"), { ...given, namespace: "ns" });
  assertEquals(here, "");
});

Deno.test("ClusterTrustBundleAttest wants the verb attest on a bundle's signer", async () => {
  const { state, plugin } = setup();
  const bundle = (signerName: string | undefined, metadata: object = {}): Any => ({
    metadata: { name: "b", ...metadata },
    spec: { signerName, trustBundle: "x" },
  });
  const attempt = (object: Any, old?: Any) =>
    run(state, plugin("ClusterTrustBundleAttest"), {
      resource: "clustertrustbundles",
      group: "certificates.k8s.io",
      namespace: "",
      operation: old ? "UPDATE" : "CREATE",
      object,
      old,
    });
  const refused =
    'clustertrustbundles.certificates.k8s.io "b" is forbidden: user not permitted to ' +
    'attest for signerName "a.example/x"';
  assertEquals(await attempt(bundle("a.example/x")), refused);
  assertEquals(await attempt(bundle(undefined)), "");
  assertEquals(await attempt(bundle("a.example/x", { finalizers: [] }), bundle("a.example/x")), "");
  const changed = { labels: { a: "b" } };
  assertEquals(await attempt(bundle("a.example/x", changed), bundle("a.example/x")), refused);
});

Deno.test("AlwaysDeny denies, and AlwaysAdmit does nothing", async () => {
  const { state, plugins, plugin } = setup(["AlwaysAdmit", "AlwaysDeny"]);
  assertEquals([plugins[0].name, plugins.at(-1)!.name], ["AlwaysAdmit", "AlwaysDeny"]);
  assertEquals(
    await run(state, plugin("AlwaysDeny"), { resource: "pods", object: webPod() }),
    'pods "web" is forbidden: admission control is denying all modifications',
  );
});
