import { assertEquals } from "@std/assert";
import { contextOf, create, decoded, kindOf, lines, NOW, update } from "./fixture.ts";

// deno-lint-ignore no-explicit-any -- tests write objects as they come
type Obj = any;

interface Case {
  name: string;
  object: Obj;
  says: string[];
}

/** Creates each object and compares what validation says. */
async function refuses(t: Deno.TestContext, kind: string, cases: Case[]): Promise<void> {
  for (const { name, object, says } of cases) {
    await t.step(`${kind}: ${name}`, () => {
      const full = { metadata: { name: "x" }, ...object };
      assertEquals(create(kind, full).problems, says);
    });
  }
}

/** The cells of an object, joined. */
function cells(name: string, object: Obj): string {
  const row = { metadata: { name: "x", creationTimestamp: "2026-01-02T03:02:05Z" }, ...object };
  return kindOf(name).columns.filter((c) => !c.priority).map((c) => c.cell!(row, NOW)).join(" | ");
}

function headers(name: string): string {
  return kindOf(name).columns.filter((c) => !c.priority).map((c) => c.name).join(" | ");
}

// --- rbac -------------------------------------------------------------------------------------------

const RBAC = "rbac.authorization.k8s.io";

Deno.test("rbac: roles and bindings", async (t) => {
  await refuses(t, `${RBAC}/v1/Role`, [
    { name: "empty", object: {}, says: [] },
    {
      name: "rules that say nothing",
      object: { rules: [{ verbs: [] }, { verbs: ["get"], nonResourceURLs: ["/x"] }] },
      says: [
        "rules[0].verbs: Required value: verbs must contain at least one value",
        "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
        "rules[0].resources: Required value: resource rules must supply at least one resource",
        'rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to ' +
        "non-resource URLs",
      ],
    },
  ]);
  await refuses(t, `${RBAC}/v1/ClusterRole`, [{
    name: "aggregation without selectors",
    object: { aggregationRule: {} },
    says: [
      "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector " +
      "required if aggregationRule is non-nil",
    ],
  }]);
  const roleRef = { apiGroup: RBAC, kind: "ClusterRole", name: "view" };
  await refuses(t, `${RBAC}/v1/ClusterRoleBinding`, [{
    name: "subjects and a role of the wrong kind",
    object: {
      roleRef: { ...roleRef, kind: "Role" },
      subjects: [{ kind: "ServiceAccount", name: "a" }, { kind: "Robot", name: "b" }],
    },
    says: [
      'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
      "subjects[0].namespace: Required value",
      'subjects[1].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", ' +
      '"Group"',
    ],
  }]);
  await t.step("a binding's role stays", () => {
    const binding = {
      metadata: { name: "x" },
      roleRef,
      subjects: [{ kind: "User", name: "carol" }],
    };
    const { object, problems } = create(`${RBAC}/v1/RoleBinding`, binding);
    assertEquals([problems, object.subjects[0].apiGroup], [[], RBAC]);
    const changed = update(`${RBAC}/v1/RoleBinding`, object, (o) => o.roleRef.name = "edit");
    assertEquals(changed.problems, [
      'roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole",' +
      '"Name":"edit"}: cannot change roleRef',
    ]);
    assertEquals(cells(`${RBAC}/v1/RoleBinding`, { roleRef }), "x | ClusterRole/view | 2m");
  });
});

// --- networking -------------------------------------------------------------------------------------

const NETWORKING = "networking.k8s.io/v1";

Deno.test("networking: validation", async (t) => {
  const backend = { service: { name: "web", port: { number: 80 } } };
  const rule = (path: Obj) => ({ spec: { rules: [{ host: "a.b", http: { paths: [path] } }] } });
  await refuses(t, `${NETWORKING}/Ingress`, [
    { name: "good", object: rule({ path: "/", pathType: "Prefix", backend }), says: [] },
    {
      name: "nothing",
      object: { spec: {} },
      says: ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
    },
    {
      name: "paths",
      object: rule({ path: "a//b", pathType: "Exact", backend: { service: { name: "web" } } }),
      says: [
        'spec.rules[0].http.paths[0].path: Invalid value: "a//b": must be an absolute path',
        "spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must not contain '//'",
        "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
      ],
    },
    {
      name: "an address as host",
      object: { spec: { rules: [{ host: "10.0.0.1" }] } },
      says: [
        'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
      ],
    },
  ]);
  await refuses(t, `${NETWORKING}/NetworkPolicy`, [{
    name: "ports and peers",
    object: {
      spec: {
        podSelector: {},
        ingress: [{
          ports: [{ port: 90, endPort: 80 }],
          from: [{}, { ipBlock: { cidr: "10.0.0.0/8", except: ["11.0.0.0/8"] } }],
        }],
      },
    },
    says: [
      "spec.ingress[0].ports[0].endPort: Invalid value: 90: must be greater than or equal to `port`",
      "spec.ingress[0].from[0]: Required value: must specify a peer",
      'spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: "11.0.0.0/8": must be a strict ' +
      "subset of `cidr`",
    ],
  }]);
  await refuses(t, `${NETWORKING}/IngressClass`, [{
    name: "parameters",
    object: {
      spec: {
        controller: "example.com/x",
        parameters: { kind: "K", name: "n", scope: "Namespace" },
      },
    },
    says: [
      "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
    ],
  }]);
  const parentRef = { resource: "services", namespace: "default", name: "web" };
  await refuses(t, `${NETWORKING}/IPAddress`, [
    { name: "good", object: { metadata: { name: "10.0.0.1" }, spec: { parentRef } }, says: [] },
    {
      name: "name",
      object: { metadata: { name: "10.0.0.300" }, spec: { parentRef } },
      says: [
        'metadata.name: Invalid value: "10.0.0.300": must be a valid IP address, (e.g. 10.9.8.7 ' +
        "or 2001:db8::ffff)",
      ],
    },
  ]);
  await refuses(t, `${NETWORKING}/ServiceCIDR`, [{
    name: "two of one family",
    object: { spec: { cidrs: ["10.0.0.0/24", "10.1.0.0/24"] } },
    says: [
      'spec.cidrs: Invalid value: ["10.0.0.0/24","10.1.0.0/24"]: may specify no more than one IP ' +
      "for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
    ],
  }]);
});

Deno.test("networking: defaults, generation and columns", () => {
  const policy = decoded(`${NETWORKING}/NetworkPolicy`, {
    metadata: { name: "x" },
    spec: { podSelector: {}, egress: [{ ports: [{ port: 53 }] }] },
  });
  assertEquals(policy.spec.policyTypes, ["Ingress", "Egress"]);
  assertEquals(policy.spec.egress[0].ports[0].protocol, "TCP");
  const ingress = create(`${NETWORKING}/Ingress`, {
    metadata: { name: "x" },
    spec: { defaultBackend: { service: { name: "web", port: { number: 80 } } } },
    status: { loadBalancer: { ingress: [{ ip: "1.2.3.4" }] } },
  }).object;
  assertEquals([ingress.metadata.generation, ingress.status], [1, { loadBalancer: {} }]);
  const status = update(`${NETWORKING}/Ingress`, ingress, (o) => {
    o.status = { loadBalancer: { ingress: [{ ip: "1.2.3.4" }] } };
    o.spec = {};
  }, "status");
  assertEquals(status.problems, []);
  assertEquals([status.object.metadata.generation, status.object.spec], [1, ingress.spec]);
  assertEquals(
    cells(`${NETWORKING}/Ingress`, {
      spec: { rules: [{ host: "a" }, { host: "b" }, { host: "c" }, { host: "d" }], tls: [{}] },
      status: status.object.status,
    }),
    "x | <none> | a,b,c + 1 more... | 1.2.3.4 | 80, 443 | 2m",
  );
});

// --- policy, autoscaling, scheduling ----------------------------------------------------------------

Deno.test("policy, autoscaling, scheduling: validation", async (t) => {
  await refuses(t, "policy/v1/PodDisruptionBudget", [
    { name: "good", object: { spec: { minAvailable: "50%", selector: {} } }, says: [] },
    {
      name: "too much",
      object: { spec: { maxUnavailable: "101%", selector: {} } },
      says: ['spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%'],
    },
    {
      name: "both",
      object: { spec: { minAvailable: 1, maxUnavailable: 1 } },
      says: [
        'spec: Invalid value: {"MinAvailable":1,"Selector":null,"MaxUnavailable":1,' +
        '"UnhealthyPodEvictionPolicy":null}: minAvailable and ' +
        "maxUnavailable cannot be both set",
      ],
    },
  ]);
  const scaleTargetRef = { apiVersion: "apps/v1", kind: "Deployment", name: "web" };
  await refuses(t, "autoscaling/v2/HorizontalPodAutoscaler", [
    { name: "good", object: { spec: { maxReplicas: 3, scaleTargetRef } }, says: [] },
    {
      name: "replicas",
      object: { spec: { minReplicas: 5, maxReplicas: 3, scaleTargetRef: { kind: "Deployment" } } },
      says: [
        "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
        "spec.scaleTargetRef.name: Required value",
        'spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group',
      ],
    },
    {
      name: "metrics",
      object: {
        spec: {
          maxReplicas: 3,
          scaleTargetRef,
          metrics: [
            { type: "Resource", resource: { name: "cpu", target: { type: "Utilization" } } },
            { type: "Pods" },
          ],
        },
      },
      says: [
        "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a " +
        "target raw value or a target utilization",
        "spec.metrics[1].pods: Required value: must populate information for the given metric source",
      ],
    },
    {
      name: "behavior",
      object: {
        spec: {
          maxReplicas: 3,
          scaleTargetRef,
          behavior: {
            scaleUp: { stabilizationWindowSeconds: 4000, policies: [{ type: "Pods", value: 1 }] },
          },
        },
      },
      says: [
        "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 4000: must be less than " +
        "or equal to 3600",
        "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 0: must be greater than zero",
      ],
    },
  ]);
  await refuses(t, "autoscaling/v1/HorizontalPodAutoscaler", [{
    name: "target",
    object: { spec: { maxReplicas: 3, scaleTargetRef, targetCPUUtilizationPercentage: 0 } },
    says: ["spec.targetCPUUtilizationPercentage: Invalid value: 0: must be greater than 0"],
  }]);
  await refuses(t, "scheduling.k8s.io/v1/PriorityClass", [
    {
      name: "too high",
      object: { value: 1_000_000_001 },
      says: ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    },
    {
      name: "reserved",
      object: { metadata: { name: "system-mine" }, value: 1 },
      says: [
        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for " +
        "system use only. error: system-mine is not a known system priority class",
      ],
    },
  ]);
});

Deno.test("policy, autoscaling, scheduling: defaults, updates, columns", () => {
  const scaleTargetRef = { kind: "Deployment", name: "web" };
  const scaler = decoded("autoscaling/v2/HorizontalPodAutoscaler", {
    metadata: { name: "x" },
    spec: { maxReplicas: 3, scaleTargetRef, behavior: { scaleDown: {} } },
  });
  assertEquals(scaler.spec.minReplicas, 1);
  assertEquals(scaler.spec.metrics[0].resource.target.averageUtilization, 80);
  assertEquals(scaler.spec.behavior.scaleDown, {
    selectPolicy: "Max",
    policies: [{ type: "Percent", value: 100, periodSeconds: 15 }],
  });
  assertEquals(
    cells("autoscaling/v2/HorizontalPodAutoscaler", scaler.metadata && { spec: scaler.spec }),
    "x | Deployment/web | cpu: <unknown>/80% | 1 | 3 | 0 | 2m",
  );
  const budget = create("policy/v1/PodDisruptionBudget", {
    metadata: { name: "x" },
    spec: { minAvailable: 1, selector: {} },
  }).object;
  assertEquals(
    cells("policy/v1/PodDisruptionBudget", { spec: budget.spec, status: budget.status }),
    "x | 1 | N/A | 0 | 2m",
  );
  const negative = update("policy/v1/PodDisruptionBudget", budget, (o) => {
    o.status.disruptionsAllowed = -1;
  }, "status");
  assertEquals(negative.problems, [
    "status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0",
  ]);
  const priority = create("scheduling.k8s.io/v1/PriorityClass", {
    metadata: { name: "x" },
    value: 7,
  }).object;
  assertEquals(priority.preemptionPolicy, "PreemptLowerPriority");
  assertEquals(
    update("scheduling.k8s.io/v1/PriorityClass", priority, (o) => o.value = 8).problems,
    [
      "value: Forbidden: may not be changed in an update.",
    ],
  );
});

// --- storage ----------------------------------------------------------------------------------------

const STORAGE = "storage.k8s.io/v1";

Deno.test("storage: validation, defaults, updates, columns", async (t) => {
  await refuses(t, `${STORAGE}/StorageClass`, [
    { name: "good", object: { provisioner: "example.com/x" }, says: [] },
    {
      name: "bad",
      object: { reclaimPolicy: "Recycle", volumeBindingMode: "Never" },
      says: [
        "provisioner: Required value",
        'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
        'volumeBindingMode: Unsupported value: "Never": supported values: "Immediate", ' +
        '"WaitForFirstConsumer"',
      ],
    },
  ]);
  await refuses(t, `${STORAGE}/VolumeAttachment`, [{
    name: "without a source",
    object: { spec: { attacher: "csi.example.com", nodeName: "n", source: {} } },
    says: [
      "spec.source: Required value: must specify exactly one of inlineVolumeSpec and " +
      "persistentVolumeName",
    ],
  }]);
  await refuses(t, `${STORAGE}/CSINode`, [{
    name: "drivers",
    object: { spec: { drivers: [{ name: "a", nodeID: "1" }, { name: "a", nodeID: "" }] } },
    says: [
      "spec.drivers[1].nodeID: Required value",
      'spec.drivers[1].name: Duplicate value: "a"',
    ],
  }]);
  await t.step("what may not change", () => {
    const { object } = create(`${STORAGE}/StorageClass`, {
      metadata: {
        name: "x",
        annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
      },
      provisioner: "example.com/x",
    });
    const changed = update(`${STORAGE}/StorageClass`, object, (o) => {
      o.parameters = { a: "b" };
      o.allowVolumeExpansion = true;
    });
    assertEquals(changed.problems, ['parameters: Invalid value: {"a":"b"}: field is immutable']);
    object.metadata.creationTimestamp = "2026-01-02T03:02:05Z";
    assertEquals(
      cells(`${STORAGE}/StorageClass`, object),
      "x (default) | example.com/x | Delete | Immediate | false | 2m",
    );
  });
  await t.step("drivers by default", () => {
    const driver = create(`${STORAGE}/CSIDriver`, { metadata: { name: "a.b" }, spec: {} });
    assertEquals(driver.problems, []);
    assertEquals(driver.object.spec.volumeLifecycleModes, ["Persistent"]);
    // Counted from its first change on
    assertEquals(driver.object.metadata.generation, undefined);
  });
});

// --- discovery, coordination, node ------------------------------------------------------------------

Deno.test("endpoint slices", async (t) => {
  const kind = "discovery.k8s.io/v1/EndpointSlice";
  await refuses(t, kind, [
    {
      name: "good",
      object: { addressType: "IPv4", endpoints: [{ addresses: ["127.244.0.7"] }], ports: [{}] },
      says: [],
    },
    {
      name: "addresses",
      object: {
        addressType: "IPv4",
        endpoints: [{ addresses: [] }, { addresses: ["::1", "127.0.0.1"], hostname: "A" }],
      },
      says: [
        "endpoints[0].addresses: Required value: must contain at least 1 address",
        'endpoints[1].addresses: Invalid value: "::1": must be an IPv4 address',
        'endpoints[1].addresses[0]: Invalid value: "::1": may not be in the loopback range ' +
        "(127.0.0.0/8, ::1/128)",
        'endpoints[1].addresses[1]: Invalid value: "127.0.0.1": may not be in the loopback range ' +
        "(127.0.0.0/8, ::1/128)",
        'endpoints[1].hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of ' +
        "lower case alphanumeric characters or '-', and must start and end with an alphanumeric " +
        "character (e.g. 'my-name',  or '123-abc', regex used for validation is " +
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
      ],
    },
    {
      name: "ports and type",
      object: { addressType: "IP", endpoints: [], ports: [{ protocol: "tcp" }, { name: "" }] },
      says: [
        'addressType: Unsupported value: "IP": supported values: "FQDN", "IPv4", "IPv6"',
        'ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"',
        'ports[1].name: Duplicate value: ""',
      ],
    },
  ]);
  await t.step("changes", () => {
    const { object } = create(kind, {
      metadata: { name: "x" },
      addressType: "IPv4",
      endpoints: [{
        addresses: ["10.0.0.1", "10.0.0.2"],
        deprecatedTopology: { "topology.kubernetes.io/zone": "z" },
      }],
      ports: [{ port: 80 }, { name: "all" }],
    });
    assertEquals([object.endpoints[0].zone, object.endpoints[0].deprecatedTopology], [
      "z",
      undefined,
    ]);
    assertEquals(object.ports[0], { port: 80, name: "", protocol: "TCP" });
    const labeled = update(kind, object, (o) => o.metadata.labels = { a: "b" });
    assertEquals([labeled.problems, labeled.object.metadata.generation], [[], 2]);
    assertEquals(
      update(kind, object, (o) => o.addressType = "FQDN").problems.at(-1),
      [
        'addressType: Invalid value: "FQDN": field is immutable',
      ][0],
    );
    const { metadata: _, ...rest } = object;
    assertEquals(cells(kind, rest), "x | IPv4 | 80,all | 10.0.0.1,10.0.0.2 | 2m");
    assertEquals(cells(kind, { addressType: "IPv4" }), "x | IPv4 | <unset> | <unset> | 2m");
  });
});

Deno.test("leases and runtime classes", async (t) => {
  await refuses(t, "coordination.k8s.io/v1/Lease", [
    { name: "good", object: { spec: { holderIdentity: "a", leaseTransitions: 0 } }, says: [] },
    {
      name: "bad",
      object: { spec: { leaseDurationSeconds: 0, leaseTransitions: -1, preferredHolder: "b" } },
      says: [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
      ],
    },
  ]);
  assertEquals(headers("coordination.k8s.io/v1/Lease"), "Name | Holder | Age");
  const toleration = { key: "a", operator: "Exists" };
  await refuses(t, "node.k8s.io/v1/RuntimeClass", [{
    name: "tolerations, overhead",
    object: {
      handler: "kata",
      overhead: { podFixed: { cpu: "-1" } },
      scheduling: { tolerations: [toleration, toleration] },
    },
    says: [
      'overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
      'scheduling.tolerations[1]: Duplicate value: {"Key":"a","Operator":"Exists","Value":"","Effect":"",' +
      '"TolerationSeconds":null}',
    ],
  }]);
  await t.step("a handler stays", () => {
    const { object } = create("node.k8s.io/v1/RuntimeClass", {
      metadata: { name: "x" },
      handler: "a",
    });
    const changed = update("node.k8s.io/v1/RuntimeClass", object, (o) => o.handler = "b");
    assertEquals(changed.problems, ['handler: Invalid value: "b": field is immutable']);
  });
});

// --- events -----------------------------------------------------------------------------------------

Deno.test("events.k8s.io", async (t) => {
  const kind = "events.k8s.io/v1/Event";
  const good = {
    metadata: { name: "x", namespace: "default" },
    eventTime: "2026-01-02T03:02:05.000000Z",
    type: "Normal",
    reason: "Started",
    action: "Starting",
    note: "Started it\n",
    reportingController: "example.com/c",
    reportingInstance: "c-1",
    regarding: { kind: "Pod", name: "web", namespace: "default" },
  };
  await refuses(t, kind, [
    { name: "good", object: good, says: [] },
    {
      name: "as core events are",
      object: {
        ...good,
        eventTime: undefined,
        type: "Odd",
        deprecatedCount: 1,
        deprecatedSource: { component: "c" },
        series: { count: 1, lastObservedTime: good.eventTime },
      },
      says: [
        'series.count: Invalid value: "": should be at least 2',
        "eventTime: Required value",
        'type: Invalid value: "": has invalid value: Odd',
        'count: Invalid value: "": needs to be unset',
        'source: Invalid value: "": needs to be unset',
      ],
    },
  ]);
  await t.step("only the series changes", () => {
    const { object } = create(kind, good);
    const more = update(kind, object, (o) => {
      o.series = { count: 2, lastObservedTime: "2026-01-02T03:03:05.000000Z" };
    });
    assertEquals(more.problems, []);
    assertEquals(update(kind, object, (o) => o.note = "else").problems, [
      'message: Invalid value: "else": field is immutable',
    ]);
    const { metadata: _, ...rest } = more.object;
    assertEquals(headers(kind), "Last Seen | Type | Reason | Object | Message");
    assertEquals(cells(kind, rest), "60s | Normal | Started | pod/web | Started it");
  });
});

// --- flow control, devices --------------------------------------------------------------------------

Deno.test("flow control", async (t) => {
  const group = "flowcontrol.apiserver.k8s.io/v1";
  const subjects = [{ kind: "Group", group: { name: "g" } }];
  await refuses(t, `${group}/FlowSchema`, [
    {
      name: "good",
      object: {
        spec: {
          priorityLevelConfiguration: { name: "p" },
          rules: [{ subjects, nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["/a/*"] }] }],
        },
      },
      says: [],
    },
    {
      name: "bad",
      object: {
        spec: {
          matchingPrecedence: 1,
          priorityLevelConfiguration: { name: "" },
          rules: [{
            subjects: [{ kind: "User", group: { name: "g" } }],
            resourceRules: [{ verbs: ["eat"], apiGroups: ["*", "a"], resources: [] }],
          }],
        },
      },
      says: [
        "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have " +
        "matchingPrecedence 1",
        "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
        "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
        "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not " +
        "'Group'",
        'spec.rules[0].resourceRules[0].verbs: Unsupported value: ["eat"]: supported values: ' +
        '"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"',
        'spec.rules[0].resourceRules[0].apiGroups: Invalid value: ["*","a"]: if \'*\' is present, ' +
        "must not specify other api groups",
        "spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at " +
        "least one resource",
        "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not " +
        "cluster scoped must supply at least one namespace",
      ],
    },
  ]);
  const level = (queuing: Obj) => ({
    spec: { type: "Limited", limited: { limitResponse: { type: "Queue", queuing } } },
  });
  await refuses(t, `${group}/PriorityLevelConfiguration`, [
    { name: "good", object: level({}), says: [] },
    {
      name: "hands",
      object: level({ queues: 512, handSize: 8 }),
      says: [
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of " +
        "deckSize 512 and handSize 8 should not be greater than 60",
      ],
    },
    {
      name: "exempt",
      object: { spec: { type: "Exempt" } },
      says: [
        "spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'",
      ],
    },
  ]);
  await t.step("columns", () => {
    const { spec } = decoded(`${group}/PriorityLevelConfiguration`, {
      metadata: { name: "x" },
      ...level({}),
    });
    assertEquals(
      cells(`${group}/PriorityLevelConfiguration`, { spec }),
      "x | Limited | 30 | 64 | 8 | 50 | 2m",
    );
  });
});

Deno.test("device claims", async (t) => {
  const kind = "resource.k8s.io/v1/ResourceClaim";
  const exactly = { deviceClassName: "gpu" };
  const claim = (devices: Obj) => ({ spec: { devices } });
  await refuses(t, kind, [
    { name: "good", object: claim({ requests: [{ name: "a", exactly }] }), says: [] },
    {
      name: "bad",
      object: claim({
        requests: [
          { name: "a" },
          { name: "a", exactly: { ...exactly, allocationMode: "All", count: 2 } },
          { name: "b", firstAvailable: [{ name: "c", deviceClassName: "" }] },
        ],
        constraints: [{ requests: ["b/c", "b/d"], matchAttribute: "x/y" }],
      }),
      says: [
        "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is " +
        "required",
        "spec.devices.requests[1].exactly.count: Invalid value: 2: must not be specified when " +
        "allocationMode is 'All'",
        "spec.devices.requests[2].firstAvailable[0].deviceClassName: Required value",
        'spec.devices.requests[1]: Duplicate value: "a"',
        'spec.devices.constraints[0].requests[1]: Invalid value: "b/d": must be the name of a ' +
        "request in the claim or the name of a request and a subrequest separated by '/'",
      ],
    },
  ]);
  await t.step("spec and status", () => {
    const { object } = create(kind, {
      metadata: { name: "x" },
      ...claim({ requests: [{ name: "a", exactly }] }),
    });
    assertEquals(object.spec.devices.requests[0].exactly, {
      deviceClassName: "gpu",
      allocationMode: "ExactCount",
      count: 1,
    });
    const other = update(kind, object, (o) => o.spec.devices.requests[0].name = "b");
    assertEquals(other.problems.map((p) => p.slice(-18)), ["field is immutable"]);
    const reserved = update(kind, object, (o) => {
      o.status = { reservedFor: [{ resource: "pods", name: "p", uid: "u" }] };
    }, "status");
    assertEquals(reserved.problems, [
      "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
    ]);
    assertEquals(cells(kind, { status: { allocation: {} } }), "x | allocated | 2m");
    assertEquals(cells(kind, {}), "x | pending | 2m");
  });
  await t.step("devices in use are for namespaces with a label", () => {
    const object = decoded(kind, {
      metadata: { name: "x" },
      ...claim({ requests: [{ name: "a", exactly: { ...exactly, adminAccess: true } }] }),
    });
    const judged = (labels: Record<string, string>) =>
      lines(kindOf(kind).hooks.validate!(object, {
        ...contextOf(),
        namespaceLabels: () => labels,
      }));
    assertEquals(judged({ "resource.kubernetes.io/admin-access": "true" }), []);
    assertEquals(judged({}), [
      "spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the " +
      "`resource.kubernetes.io/admin-access: true` label on the containing namespace",
    ]);
  });
});
