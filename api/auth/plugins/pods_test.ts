import { assert, assertEquals } from "@std/assert";
import { admission, messageOf, stored } from "../state_fixture.ts";
import { pod, run, setup } from "./plugin_fixture.ts";

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;

Deno.test("ServiceAccount equips a pod with its account's token", async () => {
  const { state, plugin } = setup();
  const account = { metadata: { name: "default" }, imagePullSecrets: [{ name: "pull" }] };
  state.put("/registry/serviceaccounts/ns/default", stored(account));
  const object = pod({
    initContainers: [{ name: "i" }],
    containers: [
      { name: "c" },
      {
        name: "own",
        volumeMounts: [{
          name: "x",
          mountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
        }],
      },
    ],
  });
  assertEquals(await run(state, plugin("ServiceAccount"), { resource: "pods", object }), "");
  const { spec } = object;
  assertEquals(spec.serviceAccountName, "default");
  assertEquals(spec.imagePullSecrets, [{ name: "pull" }]);
  const [volume] = spec.volumes;
  assert(/^kube-api-access-[bcdfghjklmnpqrstvwxz2456789]{5}$/.test(volume.name));
  assertEquals(volume.projected, {
    sources: [
      { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
      { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
      {
        downwardAPI: {
          items: [{
            path: "namespace",
            fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" },
          }],
        },
      },
    ],
    defaultMode: 420,
  });
  const mount = {
    name: volume.name,
    readOnly: true,
    mountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
  };
  assertEquals(spec.containers[0].volumeMounts, [mount]);
  assertEquals(spec.initContainers[0].volumeMounts, [mount]);
  assertEquals(spec.containers[1].volumeMounts.length, 1);
});

Deno.test("ServiceAccount honours automount, waits for default, refuses the unknown", async () => {
  const { state, plugin, clock } = setup();
  const sa = plugin("ServiceAccount");
  const plain = pod({ automountServiceAccountToken: false, serviceAccountName: "quiet" });
  state.put("/registry/serviceaccounts/ns/quiet", stored({ metadata: { name: "quiet" } }));
  assertEquals(await run(state, sa, { resource: "pods", object: plain }), "");
  assertEquals(plain.spec.volumes, undefined);
  assertEquals(
    await run(state, sa, { resource: "pods", object: pod({ serviceAccountName: "no" }) }),
    'pods "web" is forbidden: error looking up service account ns/no: serviceaccount "no" not found',
  );
  assertEquals(
    await run(state, sa, { resource: "pods", object: pod() }),
    'pods "web" is forbidden: error looking up service account ns/default: serviceaccount ' +
      '"default" not found',
  );
  const sleep = clock.sleep;
  clock.sleep = (...args) => {
    state.put("/registry/serviceaccounts/ns/default", stored({ metadata: { name: "default" } }));
    return sleep(...args);
  };
  const late = pod();
  assertEquals(await run(state, sa, { resource: "pods", object: late }), "");
  assertEquals(late.spec.serviceAccountName, "default");
});

Deno.test("ServiceAccount keeps mirror pods away from the API and enforces mountable secrets", async () => {
  const { state, plugin } = setup();
  const sa = plugin("ServiceAccount");
  const mirror = { annotations: { "kubernetes.io/config.mirror": "x" } };
  const refused = (object: Any) => run(state, sa, { resource: "pods", object });
  assertEquals(await refused(pod({}, mirror)), "");
  assertEquals(
    await refused(pod({ serviceAccountName: "a" }, mirror)),
    'pods "web" is forbidden: a mirror pod may not reference service accounts',
  );
  assertEquals(
    await refused(pod({ imagePullSecrets: [{ name: "a" }] }, mirror)),
    'pods "web" is forbidden: a mirror pod may not reference secrets',
  );
  const annotations = { "kubernetes.io/enforce-mountable-secrets": "true" };
  const account = { metadata: { name: "strict", annotations }, secrets: [{ name: "ok" }] };
  state.put("/registry/serviceaccounts/ns/strict", stored(account));
  const using = (name: string) =>
    pod({
      serviceAccountName: "strict",
      volumes: [{ name: "v", secret: { secretName: name } }],
    });
  assertEquals(await refused(using("ok")), "");
  assertEquals(
    await refused(using("bad")),
    'pods "web" is forbidden: volume with secret.secretName="bad" is not allowed because service ' +
      "account strict does not reference that secret",
  );
});

Deno.test("Priority resolves classes and keeps the default unique", async () => {
  const { state, plugin } = setup();
  const priority = plugin("Priority");
  const plain = pod();
  await run(state, priority, { resource: "pods", object: plain });
  assertEquals([plain.spec.priority, plain.spec.preemptionPolicy], [0, "PreemptLowerPriority"]);
  const put = (name: string, value: number, more = {}) =>
    state.put(`/registry/priorityclasses/${name}`, stored({ metadata: { name }, value, ...more }));
  put("high", 1000, { preemptionPolicy: "Never" });
  const high = pod({ priorityClassName: "high" });
  await run(state, priority, { resource: "pods", object: high });
  assertEquals([high.spec.priority, high.spec.preemptionPolicy], [1000, "Never"]);
  put("usual", 10, { globalDefault: true });
  const usual = pod();
  await run(state, priority, { resource: "pods", object: usual });
  assertEquals([usual.spec.priority, usual.spec.priorityClassName], [10, "usual"]);
  assertEquals(
    await run(state, priority, { resource: "pods", object: pod({ priorityClassName: "no" }) }),
    'pods "web" is forbidden: no PriorityClass with name no was found',
  );
  assertEquals(
    await run(state, priority, { resource: "pods", object: pod({ priority: 5 }) }),
    'pods "web" is forbidden: the integer value of priority (5) must not be provided in pod spec; ' +
      "priority admission controller computed 10 from the given PriorityClass name",
  );
  assertEquals(
    await run(state, priority, {
      resource: "priorityclasses",
      group: "scheduling.k8s.io",
      object: { metadata: { name: "second" }, globalDefault: true } as never,
    } as never),
    'priorityclasses.scheduling.k8s.io "second" is forbidden: PriorityClass usual is already ' +
      "marked as default. Only one default can exist",
  );
});

Deno.test("DefaultTolerationSeconds and TaintNodesByCondition add what upstream adds", async () => {
  const { state, plugin } = setup();
  const object = pod({
    tolerations: [{ key: "node.kubernetes.io/not-ready", operator: "Exists" }],
  });
  await run(state, plugin("DefaultTolerationSeconds"), { resource: "pods", object });
  assertEquals(object.spec.tolerations[1], {
    key: "node.kubernetes.io/unreachable",
    operator: "Exists",
    effect: "NoExecute",
    tolerationSeconds: 300,
  });
  assertEquals(object.spec.tolerations.length, 2);
  const node: Any = { metadata: { name: "n" }, spec: {} };
  const create = { resource: "nodes", object: node, namespace: "" };
  await run(state, plugin("TaintNodesByCondition"), create);
  await run(state, plugin("TaintNodesByCondition"), create);
  assertEquals(node.spec.taints, [{ key: "node.kubernetes.io/not-ready", effect: "NoSchedule" }]);
});

Deno.test("RuntimeClass sets overhead and where a pod may run", async () => {
  const { state, plugin } = setup();
  state.put("/registry/runtimeclasses/vm", {
    metadata: { name: "vm" },
    overhead: { podFixed: { cpu: "250m" } },
    scheduling: {
      nodeSelector: { vm: "yes" },
      tolerations: [{ key: "vm", operator: "Exists" }],
    },
  });
  const runtime = (object: Any) => run(state, plugin("RuntimeClass"), { resource: "pods", object });
  const object = pod({
    runtimeClassName: "vm",
    nodeSelector: { disk: "ssd" },
    tolerations: [{ key: "vm", operator: "Equal", value: "x" }],
  });
  assertEquals(await runtime(object), "");
  assertEquals(object.spec.overhead, { cpu: "250m" });
  assertEquals(object.spec.nodeSelector, { disk: "ssd", vm: "yes" });
  assertEquals(object.spec.tolerations, [{ key: "vm", operator: "Exists" }]);
  const cases: [Any, string][] = [
    [{ runtimeClassName: "no" }, 'pod rejected: RuntimeClass "no" not found'],
    [
      { runtimeClassName: "vm", overhead: { cpu: "1" } },
      "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
    ],
    [
      { overhead: { cpu: "1" } },
      "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
    ],
    [
      { runtimeClassName: "vm", nodeSelector: { vm: "no" } },
      "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no",
    ],
  ];
  for (const [spec, why] of cases) {
    assertEquals(await runtime(pod(spec)), `pods "web" is forbidden: ${why}`);
  }
  assertEquals(await runtime(pod({ runtimeClassName: "vm", overhead: { cpu: "0.25" } })), "");
});

Deno.test("LimitRanger fills containers in and refuses what is out of bounds", async () => {
  const { state, plugin } = setup();
  state.put("/registry/limitranges/ns/limits", {
    metadata: { name: "limits" },
    spec: {
      limits: [
        {
          type: "Container",
          default: { cpu: "500m", memory: "512Mi" },
          defaultRequest: { cpu: "100m", memory: "256Mi" },
          max: { cpu: "1" },
          min: { memory: "64Mi" },
          maxLimitRequestRatio: { cpu: "10" },
        },
        { type: "Pod", max: { memory: "1Gi" } },
        { type: "PersistentVolumeClaim", min: { storage: "1Gi" }, max: { storage: "10Gi" } },
      ],
    },
  });
  const limits = (object: Any, resource = "pods") =>
    run(state, plugin("LimitRanger"), { resource, object });
  const plain = pod();
  assertEquals(await limits(plain), "");
  assertEquals(plain.spec.containers[0].resources, {
    requests: { cpu: "100m", memory: "256Mi" },
    limits: { cpu: "500m", memory: "512Mi" },
  });
  assertEquals(
    plain.metadata.annotations["kubernetes.io/limit-ranger"],
    "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c",
  );
  const with1 = (requests: Any, uses: Any) =>
    pod({ containers: [{ name: "c", resources: { requests, limits: uses } }] });
  const cases: [Any, string][] = [
    [
      with1({}, { cpu: "2" }),
      "[maximum cpu usage per Container is 1, but limit is 2, " +
      "cpu max limit to request ratio per Container is 10, but provided ratio is 20.000000]",
    ],
    [
      with1({ memory: "32Mi" }, {}),
      "minimum memory usage per Container is 64Mi, but request is 32Mi",
    ],
    [
      with1({ cpu: "10m" }, { cpu: "1" }),
      "cpu max limit to request ratio per Container is 10, but provided ratio is 100.000000",
    ],
    [with1({}, { memory: "2Gi" }), "maximum memory usage per Pod is 1Gi, but limit is 2Gi"],
  ];
  for (const [object, why] of cases) {
    assertEquals(await limits(object), `pods "web" is forbidden: ${why}`);
  }
  const claim = (storage?: string): Any => ({
    metadata: { name: "d" },
    spec: { resources: { requests: storage ? { storage } : {} } },
  });
  const claims = (object: Any) => limits(object, "persistentvolumeclaims");
  assertEquals(await claims(claim("5Gi")), "");
  assertEquals(
    await claims(claim("20Gi")),
    'persistentvolumeclaims "d" is forbidden: maximum storage usage per PersistentVolumeClaim is ' +
      "10Gi, but request is 20Gi",
  );
  assertEquals(
    await claims(claim("1Mi")),
    'persistentvolumeclaims "d" is forbidden: minimum storage usage per PersistentVolumeClaim is ' +
      "1Gi, but request is 1Mi",
  );
});

Deno.test("PodTopologyLabels tells a pod its node's zone", async () => {
  const { state, plugin } = setup();
  const labels = { "topology.kubernetes.io/zone": "z1", other: "x" };
  state.put("/registry/minions/n1", stored({ metadata: { name: "n1", labels } }));
  const binding: Any = { metadata: { name: "web" }, target: { kind: "Node", name: "n1" } };
  const given = { resource: "pods", subresource: "binding", object: binding };
  await run(state, plugin("PodTopologyLabels"), given);
  assertEquals(binding.metadata.labels, { "topology.kubernetes.io/zone": "z1" });
});

Deno.test("ExtendedResourceToleration and AlwaysPullImages do what they say when asked for", async () => {
  const { state, plugin } = setup(["ExtendedResourceToleration", "AlwaysPullImages"]);
  const object = pod({
    containers: [{
      name: "c",
      image: "a",
      imagePullPolicy: "Never",
      resources: { requests: { "acme.com/gpu": "1", cpu: "1", "x.kubernetes.io/y": "1" } },
    }],
    volumes: [{ name: "v", image: { reference: "r" } }],
  });
  await run(state, plugin("ExtendedResourceToleration"), { resource: "pods", object });
  assertEquals(object.spec.tolerations, [
    { key: "acme.com/gpu", operator: "Exists", effect: "NoSchedule" },
  ]);
  const pull = plugin("AlwaysPullImages");
  const a = admission(state, { resource: "pods", namespace: "ns", object });
  assertEquals(
    await messageOf(() => pull.validate!(a)),
    'pods "web" is forbidden: [spec.containers[0].imagePullPolicy: Unsupported value: "Never": ' +
      'supported values: "Always", spec.volumes[0].image.pullPolicy: Unsupported value: "": ' +
      'supported values: "Always"]',
  );
  assertEquals(await run(state, pull, { resource: "pods", object }), "");
  assertEquals(object.spec.containers[0].imagePullPolicy, "Always");
  const same = { resource: "pods", operation: "UPDATE" as const, object, old: object };
  assertEquals(pull.handles(admission(state, same)), false);
});
