import { assertEquals } from "@std/assert";
import { create, decoded, update } from "./fixture.ts";

// deno-lint-ignore no-explicit-any -- tests write objects as they come
type Obj = any;

function service(spec: Obj): Obj {
  return { metadata: { name: "web" }, spec: { ports: [{ port: 80 }], ...spec } };
}

Deno.test("defaultService() depends on the type", () => {
  const spec = (object: Obj) => decoded("v1/Service", object).spec;
  assertEquals(spec(service({})), {
    ports: [{ port: 80, protocol: "TCP", targetPort: 80 }],
    sessionAffinity: "None",
    type: "ClusterIP",
    internalTrafficPolicy: "Cluster",
  });
  assertEquals(spec(service({ type: "LoadBalancer", sessionAffinity: "ClientIP" })), {
    ports: [{ port: 80, protocol: "TCP", targetPort: 80 }],
    type: "LoadBalancer",
    sessionAffinity: "ClientIP",
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 10800 } },
    externalTrafficPolicy: "Cluster",
    internalTrafficPolicy: "Cluster",
    allocateLoadBalancerNodePorts: true,
  });
});

Deno.test("prepareServiceCreate() chooses families", () => {
  const families = (spec: Obj) => {
    const { object } = create("v1/Service", service(spec));
    return [object.spec.ipFamilyPolicy, object.spec.ipFamilies, object.spec.clusterIPs];
  };
  assertEquals(families({}), ["SingleStack", ["IPv4"], undefined]);
  assertEquals(families({ clusterIP: "None", selector: { a: "b" } }), [
    "SingleStack",
    ["IPv4"],
    ["None"],
  ]);
  assertEquals(families({ clusterIP: "None" }), ["RequireDualStack", ["IPv4", "IPv6"], ["None"]]);
  assertEquals(families({ type: "ExternalName", externalName: "a.b" }), [
    undefined,
    undefined,
    undefined,
  ]);
});

Deno.test("validateService() says what upstream says", async (t) => {
  const cases: { name: string; spec: Obj; says: string[] }[] = [
    { name: "no ports", spec: { ports: [] }, says: ["spec.ports: Required value"] },
    {
      name: "ports",
      spec: { ports: [{ port: 0 }, { name: "a", port: 80, targetPort: "Ab" }] },
      says: [
        "spec.ports[0].name: Required value",
        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        'spec.ports[1].targetPort: Invalid value: "Ab": must contain only alpha-numeric characters ' +
        "(a-z, 0-9), and hyphens (-)",
      ],
    },
    {
      name: "type and affinity",
      spec: { type: "Magic", sessionAffinity: "Cookie" },
      says: [
        'spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"',
        'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", ' +
        '"LoadBalancer", "NodePort"',
      ],
    },
    {
      name: "external name",
      spec: { type: "ExternalName", clusterIP: "10.0.0.1" },
      says: [
        "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
        "spec.externalName: Required value",
      ],
    },
    {
      name: "headless balancer",
      spec: { type: "LoadBalancer", clusterIP: "None", selector: { a: "b" } },
      says: [
        "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services",
      ],
    },
    {
      name: "node port of a cluster service",
      spec: { ports: [{ port: 80, nodePort: 30000 }] },
      says: ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    },
    {
      name: "a cluster address",
      // Addresses are looked at before all else
      spec: { clusterIP: "300.1.1.1", clusterIPs: ["300.1.1.1"], externalIPs: ["127.0.0.1"] },
      says: [
        'spec.clusterIPs[0]: Invalid value: "300.1.1.1": must be a valid IP address, (e.g. 10.9.8.7 or ' +
        "2001:db8::ffff)",
      ],
    },
    {
      name: "external addresses",
      spec: { externalIPs: ["127.0.0.1", "169.254.0.1"] },
      says: [
        'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range ' +
        "(127.0.0.0/8, ::1/128)",
        'spec.externalIPs[1]: Invalid value: "169.254.0.1": may not be in the link-local range ' +
        "(169.254.0.0/16, fe80::/10)",
      ],
    },
    {
      name: "dual stack",
      spec: { ipFamilyPolicy: "RequireDualStack" },
      says: [
        'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for ' +
        "dual-stack services",
      ],
    },
    {
      name: "balancer's fields elsewhere",
      spec: {
        loadBalancerSourceRanges: ["10.0.0.0/8"],
        loadBalancerClass: "a/b",
        healthCheckNodePort: 3,
      },
      says: [
        "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
        "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
        "spec.healthCheckNodePort: Invalid value: 3: may only be set when `type` is 'LoadBalancer' and " +
        "`externalTrafficPolicy` is 'Local'",
      ],
    },
  ];
  for (const { name, spec, says } of cases) {
    await t.step(name, () => assertEquals(create("v1/Service", service(spec)).problems, says));
  }
});

Deno.test("services keep what they were given", () => {
  const { object: old } = create("v1/Service", service({ type: "NodePort" }));
  Object.assign(old.spec, { clusterIP: "10.96.0.5", clusterIPs: ["10.96.0.5"] });
  old.spec.ports[0].nodePort = 30123;
  const put = update("v1/Service", old, (o) => {
    delete o.spec.clusterIP;
    delete o.spec.clusterIPs;
    delete o.spec.ports[0].nodePort;
  });
  assertEquals(put.problems, []);
  assertEquals(put.object.spec.clusterIP, "10.96.0.5");
  assertEquals(put.object.spec.ports[0].nodePort, 30123);

  const changed = update("v1/Service", old, (o) => o.spec.clusterIP = "10.96.0.6");
  assertEquals(changed.problems, [
    'spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set',
  ]);

  const inner = update("v1/Service", old, (o) => o.spec.type = "ClusterIP");
  assertEquals(inner.problems, []);
  assertEquals(inner.object.spec.ports[0].nodePort, undefined);
  assertEquals(inner.object.spec.externalTrafficPolicy, undefined);

  const named = update("v1/Service", old, (o) => {
    o.spec.type = "ExternalName";
    o.spec.externalName = "a.example.com";
  });
  assertEquals(named.problems, []);
  assertEquals(named.object.spec.clusterIPs, undefined);
});

Deno.test("secrets: text joins data, types need their keys, immutable ones stay", () => {
  const made = create("v1/Secret", {
    metadata: { name: "s" },
    stringData: { user: "ä", pass: "x" },
    data: { pass: "eQ==" },
  });
  assertEquals(made.problems, []);
  assertEquals(made.object.data, { user: "w6Q=", pass: "eA==" });
  assertEquals(made.object.stringData, undefined);
  assertEquals(made.object.type, "Opaque");

  const says = (object: Obj) =>
    create("v1/Secret", { metadata: { name: "s" }, ...object }).problems;
  assertEquals(says({ type: "kubernetes.io/tls" }), [
    "data[tls.crt]: Required value",
    "data[tls.key]: Required value",
  ]);
  assertEquals(says({ type: "kubernetes.io/basic-auth", data: { username: "eA==" } }), []);
  assertEquals(says({ type: "kubernetes.io/service-account-token" }), [
    "metadata.annotations[kubernetes.io/service-account.name]: Required value",
  ]);
  assertEquals(
    says({ type: "kubernetes.io/dockerconfigjson", data: { ".dockerconfigjson": "" } }),
    [
      'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": unexpected end of JSON input',
    ],
  );
  assertEquals(says({ data: { "a b": "eA==" } }), [
    'data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, ' +
    "'-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is " +
    "'[-._a-zA-Z0-9]+')",
  ]);
  const big = "A".repeat(4 * 350_000);
  assertEquals(says({ data: { a: big } }), ["data: Too long: may not be more than 1048576 bytes"]);

  const old = create("v1/Secret", {
    metadata: { name: "s" },
    immutable: true,
    data: { a: "eA==" },
  });
  const { problems } = update("v1/Secret", old.object, (o) => {
    o.data.a = "eQ==";
    o.immutable = false;
    o.type = "other";
  });
  assertEquals(problems, [
    'type: Invalid value: "other": field is immutable',
    "immutable: Forbidden: field is immutable when `immutable` is set",
    "data: Forbidden: field is immutable when `immutable` is set",
  ]);
});

Deno.test("config maps: keys, sizes, immutability", () => {
  const says = (object: Obj) =>
    create("v1/ConfigMap", { metadata: { name: "c" }, ...object }).problems;
  assertEquals(says({ data: { a: "1" }, binaryData: { a: "eA==" } }), [
    'data[a]: Invalid value: "a": duplicate of key present in binaryData',
  ]);
  assertEquals(says({ data: { a: "x".repeat(1024 * 1024 + 1) } }), [
    "[]: Too long: may not be more than 1048576 bytes",
  ]);
  const old = create("v1/ConfigMap", {
    metadata: { name: "c" },
    immutable: true,
    data: { a: "1" },
  });
  assertEquals(update("v1/ConfigMap", old.object, (o) => o.data.b = "2").problems, [
    "data: Forbidden: field is immutable when `immutable` is set",
  ]);
  assertEquals(
    update("v1/ConfigMap", old.object, (o) => o.metadata.labels = { a: "b" }).problems,
    [],
  );
});

Deno.test("namespaces: name as label, finalizer, phase", () => {
  const { object, problems } = create("v1/Namespace", { metadata: { name: "team" } });
  assertEquals(problems, []);
  assertEquals(object.metadata.labels, { "kubernetes.io/metadata.name": "team" });
  assertEquals(object.spec, { finalizers: ["kubernetes"] });
  assertEquals(object.status, { phase: "Active" });
  const put = update("v1/Namespace", object, (o) => {
    o.spec.finalizers = [];
    delete o.metadata.labels;
  });
  assertEquals(put.object.spec, object.spec);
  assertEquals(put.object.metadata.labels, object.metadata.labels);
  const finalized = update("v1/Namespace", object, (o) => o.spec.finalizers = ["x"], "finalize");
  assertEquals(finalized.problems, [
    'spec.finalizers[0]: Invalid value: "x": name is neither a standard finalizer name nor is it fully ' +
    "qualified",
  ]);
  const status = update("v1/Namespace", object, (o) => o.status.phase = "Terminating", "status");
  assertEquals(status.problems, [
    "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty",
  ]);
  assertEquals(create("v1/Namespace", { metadata: { name: "a.b" } }).problems, [
    'metadata.name: Invalid value: "a.b": must not contain dots',
  ]);
});

Deno.test("nodes: taints, blocks, providers", () => {
  const { object, problems } = create("v1/Node", {
    metadata: { name: "n" },
    spec: { podCIDRs: ["10.0.0.0/24"], providerID: "x://1" },
    status: { capacity: { cpu: "2", pods: "110" } },
  });
  assertEquals(problems, []);
  assertEquals(object.status.allocatable, { cpu: "2", pods: "110" });
  const put = update("v1/Node", object, (o) => {
    o.spec.podCIDR = "10.0.1.0/24";
    o.spec.providerID = "";
    o.spec.taints = [{ key: "a", effect: "Now" }, { key: "a", effect: "Now" }];
  });
  // Upstream looks at taints as those of a new node, and again as changed ones
  const taints = [
    'metadata.taints[0].effect: Unsupported value: "Now": supported values: "NoSchedule", ' +
    '"PreferNoSchedule", "NoExecute"',
    'metadata.taints[1].effect: Unsupported value: "Now": supported values: "NoSchedule", ' +
    '"PreferNoSchedule", "NoExecute"',
    'metadata.taints[1]: Duplicate value: {"key":"a","effect":"Now"}: taints must be unique by key and ' +
    "effect pair",
  ];
  assertEquals(put.problems, [
    ...taints,
    'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
    'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
    ...taints,
  ]);
});

function claim(spec: Obj = {}): Obj {
  return {
    metadata: { name: "c" },
    spec: {
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "1Gi" } },
      ...spec,
    },
  };
}

Deno.test("claims: immutable but for growth", () => {
  assertEquals(create("v1/PersistentVolumeClaim", { metadata: { name: "c" }, spec: {} }).problems, [
    "spec.accessModes: Required value: at least 1 access mode is required",
    "spec.resources[storage]: Required value",
  ]);
  const { object, problems } = create(
    "v1/PersistentVolumeClaim",
    claim({ dataSource: { kind: "PersistentVolumeClaim", name: "other" } }),
  );
  assertEquals(problems, []);
  assertEquals(object.spec.dataSourceRef, {
    apiGroup: null,
    kind: "PersistentVolumeClaim",
    name: "other",
  });
  assertEquals(object.spec.volumeMode, "Filesystem");
  assertEquals(object.status, { phase: "Pending" });

  const size = (value: string) => (o: Obj) => o.spec.resources.requests.storage = value;
  const text = "spec: Forbidden: spec is immutable after creation except resources.requests and " +
    "volumeAttributesClassName for bound claims\n";
  assertEquals(update("v1/PersistentVolumeClaim", object, size("2Gi")).problems, [
    `${text}@@ -6,7 +6,7 @@\n  "Resources": {\n   "Limits": null,\n   "Requests": {\n` +
    '-   "storage": "1Gi"\n+   "storage": "2Gi"\n   }\n  },\n  "VolumeName": "",\n',
  ]);
  const bound = update("v1/PersistentVolumeClaim", object, (o) => {
    o.status = { phase: "Bound", capacity: { storage: "1Gi" } };
  }, "status").object;
  assertEquals(update("v1/PersistentVolumeClaim", bound, size("2Gi")).problems, []);
  assertEquals(update("v1/PersistentVolumeClaim", bound, size("512Mi")).problems, [
    "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
  ]);
  assertEquals(
    update("v1/PersistentVolumeClaim", bound, (o) => o.spec.volumeName = "pv").problems,
    [],
  );
  assertEquals(
    update("v1/PersistentVolumeClaim", object, (o) => o.spec.storageClassName = "fast").problems,
    [],
  );
});

Deno.test("volumes: one source, which stays", () => {
  const volume = (spec: Obj) => ({
    metadata: { name: "pv" },
    spec: { accessModes: ["ReadWriteOnce"], capacity: { storage: "1Gi" }, ...spec },
  });
  const says = (spec: Obj) => create("v1/PersistentVolume", volume(spec)).problems;
  assertEquals(says({}), ["spec: Required value: must specify a volume type"]);
  assertEquals(says({ local: { path: "/x" } }), [
    "spec.nodeAffinity: Required value: Local volume requires node affinity",
  ]);
  assertEquals(says({ hostPath: { path: "/" }, persistentVolumeReclaimPolicy: "Recycle" }), [
    "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
  ]);
  assertEquals(says({ hostPath: { path: "/a" }, capacity: { cpu: "1" } }), [
    'spec.capacity: Unsupported value: {"cpu":"1"}: supported values: "storage"',
  ]);
  const { object, problems } = create("v1/PersistentVolume", volume({ hostPath: { path: "/a" } }));
  assertEquals(problems, []);
  assertEquals(object.status, {
    phase: "Pending",
    lastPhaseTransitionTime: "2026-01-02T03:04:05Z",
  });
  const put = update("v1/PersistentVolume", object, (o) => o.spec.hostPath.path = "/b");
  assertEquals(put.problems, [
    "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n" +
    '@@ -2,7 +2,7 @@\n  "GCEPersistentDisk": null,\n  "AWSElasticBlockStore": null,\n  "HostPath": {\n' +
    '-  "Path": "/a",\n+  "Path": "/b",\n   "Type": ""\n  },\n  "Glusterfs": null,\n',
  ]);
});

Deno.test("quotas: names and scopes", () => {
  const says = (spec: Obj) =>
    create("v1/ResourceQuota", { metadata: { name: "q" }, spec }).problems;
  assertEquals(says({ hard: { pods: "1500m", "count/jobs.batch": "1", weird: "1", cpu: "-1" } }), [
    'spec.hard[pods]: Invalid value: "1500m": must be an integer',
    'spec.hard[weird]: Invalid value: "weird": must be a standard resource type or fully qualified',
    'spec.hard[weird]: Invalid value: "weird": must be a standard resource for quota',
    'spec.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0',
  ]);
  assertEquals(says({ hard: { services: "1" }, scopes: ["BestEffort", "NotBestEffort"] }), [
    'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: unsupported scope applied to resource',
    'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: unsupported scope applied to resource',
    'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes',
  ]);
});

Deno.test("limit ranges: defaults follow, order holds", () => {
  const { object, problems } = create("v1/LimitRange", {
    metadata: { name: "l" },
    spec: { limits: [{ type: "Container", max: { cpu: "2" }, min: { cpu: "1", memory: "1Mi" } }] },
  });
  assertEquals(problems, []);
  assertEquals(object.spec.limits[0].default, { cpu: "2" });
  assertEquals(object.spec.limits[0].defaultRequest, { cpu: "2", memory: "1Mi" });
  const bad = create("v1/LimitRange", {
    metadata: { name: "l" },
    spec: {
      limits: [{ type: "Pod", max: { cpu: "1" }, min: { cpu: "2" }, default: { cpu: "1" } }],
    },
  });
  assertEquals(bad.problems, [
    "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
    'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1',
  ]);
});

Deno.test("endpoints, events and controllers", () => {
  const endpoints = create("v1/Endpoints", {
    metadata: { name: "e" },
    subsets: [{ ports: [{ port: 1 }, { port: 2 }] }, {
      addresses: [{ ip: "127.0.0.1" }, { ip: "127.244.0.3" }],
    }],
  });
  assertEquals(endpoints.problems, [
    "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
    "subsets[0].ports[0].name: Required value",
    "subsets[0].ports[1].name: Required value",
    'subsets[1].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range ' +
    "(127.0.0.0/8, ::1/128)",
  ]);
  const event = create("v1/Event", {
    metadata: { name: "ev", namespace: "default" },
    involvedObject: { namespace: "other", kind: "Pod", name: "p" },
  });
  assertEquals(event.problems, [
    'involvedObject.namespace: Invalid value: "other": does not match event.namespace',
  ]);
  const controller = create("v1/ReplicationController", {
    metadata: { name: "rc" },
    spec: {
      selector: { a: "x" },
      template: {
        metadata: { labels: { a: "b" } },
        spec: { containers: [{ name: "c", image: "i" }] },
      },
    },
  });
  assertEquals(controller.problems, [
    'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`',
  ]);
  assertEquals(controller.object.metadata.labels, { a: "b" });
  assertEquals(controller.object.spec.replicas, 1);
});

Deno.test("validateMeta() checks what all objects share", () => {
  const says = (metadata: Obj) => create("v1/ConfigMap", { metadata }).problems;
  assertEquals(says({}), ["metadata.name: Required value: name or generateName is required"]);
  assertEquals(says({ name: "a", labels: { "-": "x y" } }), [
    "metadata.labels: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', " +
    "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  " +
    "or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    'metadata.labels: Invalid value: "x y": a valid label must be an empty string or consist of ' +
    "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " +
    "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
  ]);
  assertEquals(says({ name: "a", annotations: { A: "x".repeat(256 * 1024) } }), [
    "metadata.annotations: Too long: may not be more than 262144 bytes",
  ]);
  assertEquals(says({ name: "a", finalizers: ["orphan", "foregroundDeletion", "mine"] }), [
    'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion","mine"]: finalizer orphan and ' +
    "foregroundDeletion cannot be both set",
    'metadata.finalizers[2]: Invalid value: "mine": name is neither a standard finalizer name nor is it ' +
    "fully qualified",
  ]);
  const owner = { apiVersion: "v1", kind: "Pod", name: "p", uid: "u", controller: true };
  assertEquals(says({ name: "a", ownerReferences: [owner, { ...owner, name: "q", uid: "" }] }), [
    'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
    "metadata.ownerReferences: Invalid value: " +
    JSON.stringify([owner, { ...owner, name: "q", uid: "" }]) +
    ': Only one reference can have Controller set to true. Found "true" in references for Pod/p and Pod/q',
  ]);
});

Deno.test("validateMetaUpdate() keeps identity, and finalizers of what is going", () => {
  const { object } = create("v1/ConfigMap", { metadata: { name: "a", finalizers: ["x.io/y"] } });
  object.metadata.deletionTimestamp = "2026-01-02T03:04:05Z";
  const { problems } = update("v1/ConfigMap", object, (o) => {
    o.metadata.uid = "other";
    o.metadata.finalizers.push("x.io/z");
  });
  const once = [
    "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, " +
    'found new finalizers []string{"x.io/z"}',
    'metadata.uid: Invalid value: "other": field is immutable',
  ];
  // Upstream tells each time it looks: for all kinds, and for this one
  assertEquals(problems, [...once, ...once]);
});
