import { assertEquals } from "@std/assert";
import { create, decoded, kindOf, podWith, update } from "./fixture.ts";
import { namesLatest } from "./image_reference.ts";
import { qosClass } from "./pod_resources.ts";
import { chooseContainer, validatePodLogOptions } from "./pod_query.ts";

// deno-lint-ignore no-explicit-any -- tests write objects as they come
type Obj = any;

Deno.test("defaultPod() fills what Kubernetes fills", () => {
  const pod = decoded("v1/Pod", {
    metadata: { name: "web" },
    spec: {
      hostNetwork: true,
      serviceAccountName: "robot",
      volumes: [
        { name: "a" },
        { name: "b", configMap: { name: "cm" } },
        {
          name: "c",
          projected: { sources: [{ serviceAccountToken: { path: "t" } }] },
        },
        { name: "d", hostPath: { path: "/x" } },
      ],
      containers: [{
        name: "c",
        image: "nginx",
        ports: [{ containerPort: 80 }],
        env: [{ name: "N", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
        resources: { limits: { cpu: "1", memory: "1Gi" }, requests: { cpu: "500m" } },
        livenessProbe: { httpGet: { port: 80 } },
        lifecycle: { preStop: { httpGet: { port: 80 } } },
      }],
    },
  });
  assertEquals(pod.spec, {
    hostNetwork: true,
    serviceAccountName: "robot",
    serviceAccount: "robot",
    volumes: [
      { name: "a", emptyDir: {} },
      { name: "b", configMap: { name: "cm", defaultMode: 420 } },
      {
        name: "c",
        projected: {
          sources: [{ serviceAccountToken: { path: "t", expirationSeconds: 3600 } }],
          defaultMode: 420,
        },
      },
      { name: "d", hostPath: { path: "/x", type: "" } },
    ],
    containers: [{
      name: "c",
      image: "nginx",
      ports: [{ containerPort: 80, hostPort: 80, protocol: "TCP" }],
      env: [{
        name: "N",
        valueFrom: { fieldRef: { apiVersion: "v1", fieldPath: "metadata.name" } },
      }],
      resources: {
        limits: { cpu: "1", memory: "1Gi" },
        requests: { cpu: "500m", memory: "1Gi" },
      },
      livenessProbe: {
        httpGet: { path: "/", port: 80, scheme: "HTTP" },
        timeoutSeconds: 1,
        periodSeconds: 10,
        successThreshold: 1,
        failureThreshold: 3,
      },
      lifecycle: { preStop: { httpGet: { path: "/", port: 80, scheme: "HTTP" } } },
      imagePullPolicy: "Always",
      terminationMessagePath: "/dev/termination-log",
      terminationMessagePolicy: "File",
    }],
    enableServiceLinks: true,
    dnsPolicy: "ClusterFirst",
    restartPolicy: "Always",
    securityContext: {},
    terminationGracePeriodSeconds: 30,
    schedulerName: "default-scheduler",
  });
});

Deno.test("defaultPod() changes nothing the second time", () => {
  const pod = decoded("v1/Pod", podWith());
  const before = JSON.stringify(pod);
  kindOf("v1/Pod").hooks.defaults!(pod);
  assertEquals(JSON.stringify(pod), before);
});

Deno.test("namesLatest() reads references as registries do", () => {
  const cases: [string, boolean][] = [
    ["nginx", true],
    ["nginx:latest", true],
    ["nginx:1.27", false],
    ["localhost:5000/nginx", true],
    ["localhost:5000/nginx:1", false],
    ["quay.io/a/b@sha256:" + "0".repeat(64), false],
    ["npm:cowsay", false],
    ["https://example.com/mod.ts", false],
    ["jsr:@std/http", false],
    ["Nginx", false],
    ["", false],
  ];
  for (const [image, expected] of cases) assertEquals(namesLatest(image), expected, image);
});

Deno.test("preparePodCreate() starts status, generation and gates", () => {
  const { object } = create(
    "v1/Pod",
    podWith((pod) => {
      pod.status = { phase: "Running", podIP: "10.0.0.1" };
      pod.spec.schedulingGates = [{ name: "example.com/gate" }];
    }),
  );
  assertEquals(object.metadata.generation, 1);
  assertEquals(object.status, {
    phase: "Pending",
    qosClass: "BestEffort",
    conditions: [{
      type: "PodScheduled",
      status: "False",
      lastProbeTime: null,
      lastTransitionTime: "2026-01-02T03:04:05Z",
      reason: "SchedulingGated",
      message: "Scheduling is blocked due to non-empty scheduling gates",
    }],
  });
});

Deno.test("preparePodCreate() writes matchLabelKeys into selectors", () => {
  const term = {
    topologyKey: "kubernetes.io/hostname",
    labelSelector: { matchLabels: { app: "web" } },
    matchLabelKeys: ["hash"],
    mismatchLabelKeys: ["tenant"],
  };
  const { object, problems } = create(
    "v1/Pod",
    podWith((pod) => {
      pod.metadata.labels = { hash: "1", tenant: "a" };
      pod.spec.affinity = {
        podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] },
      };
    }),
  );
  assertEquals(problems, []);
  const required = "requiredDuringSchedulingIgnoredDuringExecution";
  assertEquals(object.spec.affinity.podAffinity[required][0].labelSelector.matchExpressions, [
    { key: "hash", operator: "In", values: ["1"] },
    { key: "tenant", operator: "NotIn", values: ["a"] },
  ]);
});

Deno.test("qosClass() follows requests and limits", () => {
  const of = (...resources: Obj[]) =>
    qosClass({ containers: resources.map((r) => ({ resources: r })) });
  const full = { requests: { cpu: "1", memory: "1Gi" }, limits: { cpu: "1", memory: "1024Mi" } };
  assertEquals(of({}), "BestEffort");
  assertEquals(of(full), "Guaranteed");
  assertEquals(of(full, {}), "Burstable");
  assertEquals(of({ requests: { cpu: "1" } }), "Burstable");
  assertEquals(of({ requests: { cpu: "0" } }), "BestEffort");
});

const CONTAINER = "spec.containers[0]";

/** What is wrong with a pod, and what upstream says of it. */
const INVALID: { name: string; change: (pod: Obj) => void; says: string[] }[] = [
  {
    name: "no containers",
    change: (pod) => pod.spec.containers = [],
    says: ["spec.containers: Required value"],
  },
  {
    name: "name with a capital",
    change: (pod) => pod.spec.containers[0].name = "C",
    says: [
      `${CONTAINER}.name: Invalid value: "C": a lowercase RFC 1123 label must consist of lower case ` +
      "alphanumeric characters or '-', and must start and end with an alphanumeric character " +
      "(e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    ],
  },
  {
    name: "two containers of one name",
    change: (pod) => pod.spec.containers.push({ name: "c", image: "x" }),
    says: ['spec.containers[1].name: Duplicate value: "c"'],
  },
  {
    name: "image missing and padded",
    change: (pod) => {
      delete pod.spec.containers[0].image;
      pod.spec.containers.push({ name: "d", image: " x " });
    },
    says: [
      `${CONTAINER}.image: Required value`,
      'spec.containers[1].image: Invalid value: " x ": must not have leading or trailing whitespace',
    ],
  },
  {
    name: "ports",
    change: (pod) =>
      pod.spec.containers[0].ports = [
        { containerPort: 70000, protocol: "HTTP" },
        { name: "p", containerPort: 1, hostPort: 9 },
        { name: "p", containerPort: 2, hostPort: 9 },
      ],
    says: [
      `${CONTAINER}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive`,
      `${CONTAINER}.ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"`,
      `${CONTAINER}.ports[2].name: Duplicate value: "p"`,
      `${CONTAINER}.ports[2].hostPort: Duplicate value: "TCP//9"`,
    ],
  },
  {
    name: "environment",
    change: (pod) =>
      pod.spec.containers[0].env = [
        { name: "" },
        { name: "a=b" },
        { name: "E", value: "x", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
        { name: "F", valueFrom: { fieldRef: { fieldPath: "status.phase" } } },
        { name: "G", valueFrom: { fieldRef: { fieldPath: "spec.nothing" } } },
        { name: "H", valueFrom: { secretKeyRef: { name: "s", key: "" } } },
        { name: "I", valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: "2" } } },
      ],
    says: [
      `${CONTAINER}.env[0].name: Required value`,
      `${CONTAINER}.env[1].name: Invalid value: "a=b": a valid environment variable name must ` +
      "consist only of printable ASCII characters other than '='",
      `${CONTAINER}.env[2].valueFrom: Invalid value: "": may not be specified when \`value\` is not empty`,
      `${CONTAINER}.env[3].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase": supported ` +
      'values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", ' +
      '"spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"',
      `${CONTAINER}.env[4].valueFrom.fieldRef.fieldPath: Invalid value: "spec.nothing": error ` +
      "converting fieldPath: field label not supported: spec.nothing",
      `${CONTAINER}.env[5].valueFrom.secretKeyRef.key: Required value`,
      `${CONTAINER}.env[6].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only ` +
      "divisor's values 1m and 1 are supported with the cpu resource",
    ],
  },
  {
    name: "resources",
    change: (pod) =>
      pod.spec.containers[0].resources = {
        limits: { cpu: "1", "nvidia.com/gpu": "1500m", weird: "1" },
        requests: { cpu: "2", "nvidia.com/gpu": "1" },
      },
    says: [
      `${CONTAINER}.resources.limits[nvidia.com/gpu]: Invalid value: "1500m": must be an integer`,
      `${CONTAINER}.resources.limits[weird]: Invalid value: "weird": must be a standard resource type ` +
      "or fully qualified",
      `${CONTAINER}.resources.limits[weird]: Invalid value: "weird": must be a standard resource for ` +
      "containers",
      `${CONTAINER}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`,
      `${CONTAINER}.resources.requests: Invalid value: "1": must be equal to nvidia.com/gpu limit of 1500m`,
      `${CONTAINER}.resources.requests[weird]: Invalid value: "weird": must be a standard resource ` +
      "type or fully qualified",
      `${CONTAINER}.resources.requests[weird]: Invalid value: "weird": must be a standard resource ` +
      "for containers",
    ],
  },
  {
    name: "mounts",
    change: (pod) => {
      pod.spec.volumes = [{ name: "v", emptyDir: {} }];
      pod.spec.containers[0].volumeMounts = [
        { name: "none", mountPath: "/a" },
        { name: "v", mountPath: "/b", subPath: "../x" },
        { name: "v", mountPath: "/b" },
      ];
    },
    says: [
      `${CONTAINER}.volumeMounts[0].name: Not found: "none"`,
      `${CONTAINER}.volumeMounts.subPath: Invalid value: "../x": must not contain '..'`,
      `${CONTAINER}.volumeMounts[2].mountPath: Invalid value: "/b": must be unique`,
    ],
  },
  {
    name: "volumes",
    change: (pod) =>
      pod.spec.volumes = [
        { name: "a", emptyDir: {}, secret: { secretName: "s" } },
        { name: "b", secret: {} },
        {
          name: "c",
          configMap: { name: "c", defaultMode: 1000, items: [{ key: "k", path: "../p" }] },
        },
        { name: "c", hostPath: { path: "/a/../b", type: "Folder" } },
        { name: "d", nfs: { server: "s", path: "relative" } },
      ],
    says: [
      "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
      "spec.volumes[1].secret.secretName: Required value",
      "spec.volumes[2].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 " +
      "(octal), both inclusive",
      "spec.volumes[2].configMap.items[0].path: Invalid value: \"../p\": must not contain '..'",
      "spec.volumes[3].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
      'spec.volumes[3].hostPath.type: Unsupported value: "Folder": supported values: "", "BlockDevice", ' +
      '"CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"',
      'spec.volumes[4].nfs.path: Invalid value: "relative": must be an absolute path',
    ],
  },
  {
    name: "probes and hooks",
    change: (pod) => {
      const container = pod.spec.containers[0];
      container.livenessProbe = {
        successThreshold: 2,
        tcpSocket: { port: 0 },
        exec: { command: ["x"] },
      };
      container.readinessProbe = { terminationGracePeriodSeconds: 5, grpc: { port: 1 } };
      container.lifecycle = { preStop: { sleep: { seconds: 31 } }, postStart: {} };
    },
    says: [
      `${CONTAINER}.lifecycle.postStart: Required value: must specify a handler type`,
      `${CONTAINER}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than ` +
      "terminationGracePeriodSeconds (30)",
      `${CONTAINER}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type`,
      `${CONTAINER}.livenessProbe.successThreshold: Invalid value: 2: must be 1`,
      `${CONTAINER}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for ` +
      "readinessProbes",
    ],
  },
  {
    name: "init containers",
    change: (pod) =>
      pod.spec.initContainers = [
        { name: "i", image: "x", readinessProbe: { tcpSocket: { port: 1 } } },
        { name: "c", image: "x", restartPolicy: "Sometimes" },
      ],
    says: [
      "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without " +
      "restartPolicy=Always",
      'spec.initContainers[1].restartPolicy: Unsupported value: "Sometimes": supported values: ' +
      '"Always", "Never", "OnFailure"',
      'spec.initContainers[1].name: Duplicate value: "c"',
    ],
  },
  {
    name: "security",
    change: (pod) => {
      pod.spec.securityContext = {
        runAsUser: -1,
        seccompProfile: { type: "Localhost" },
        sysctls: [{ name: "net.x" }, { name: "net.x" }],
      };
      pod.spec.containers[0].securityContext = {
        privileged: true,
        allowPrivilegeEscalation: false,
        procMount: "Unmasked",
      };
      pod.spec.hostNetwork = true;
    },
    says: [
      `${CONTAINER}.securityContext.procMount: Invalid value: "Unmasked": \`hostUsers\` must be false to ` +
      "use `Unmasked`",
      `${CONTAINER}.securityContext: Invalid value: ` +
      '{"Capabilities":null,"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,' +
      '"RunAsGroup":null,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,' +
      '"ProcMount":"Unmasked","SeccompProfile":null,"AppArmorProfile":null}: cannot set ' +
      "`allowPrivilegeEscalation` to false and `privileged` to true",
      "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
      'spec.securityContext.sysctls[0].name: Invalid value: "net.x": may not be specified when ' +
      "'hostNetwork' is true",
      'spec.securityContext.sysctls[1].name: Duplicate value: "net.x"',
      'spec.securityContext.sysctls[1].name: Invalid value: "net.x": may not be specified when ' +
      "'hostNetwork' is true",
      "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp " +
      "type is Localhost",
    ],
  },
  {
    name: "placement",
    change: (pod) => {
      pod.spec.tolerations = [{ operator: "Equal" }, { key: "k", operator: "Exists", value: "v" }];
      pod.spec.topologySpreadConstraints = [{
        maxSkew: 0,
        topologyKey: "",
        whenUnsatisfiable: "No",
      }];
      pod.spec.affinity = {
        nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } },
        podAffinity: {
          preferredDuringSchedulingIgnoredDuringExecution: [
            { weight: 0, podAffinityTerm: { topologyKey: "zone" } },
          ],
        },
      };
      pod.spec.schedulingGates = [{ name: "g" }, { name: "g" }];
    },
    says: [
      "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: " +
      "Required value: must have at least one node selector term",
      "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid " +
      "value: 0: must be in the range 1-100",
      'spec.schedulingGates[1]: Duplicate value: "g"',
      "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
      "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
      'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "No": supported values: ' +
      '"DoNotSchedule", "ScheduleAnyway"',
      'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is ' +
      'empty, which means "match all values and all keys"',
      "spec.tolerations[1].operator: Invalid value: \"v\": value must be empty when `operator` is 'Exists'",
    ],
  },
  {
    name: "names and numbers",
    change: (pod) => {
      pod.spec.hostname = "a.b";
      pod.spec.activeDeadlineSeconds = 0;
      pod.spec.restartPolicy = "Maybe";
      pod.spec.dnsPolicy = "None";
      pod.spec.hostAliases = [{ ip: "1.2.3", hostnames: ["ok"] }];
    },
    says: [
      'spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"',
      "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
      "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
      'spec.hostname: Invalid value: "a.b": must not contain dots',
      'spec.hostAliases[0].ip: Invalid value: "1.2.3": must be a valid IP address, (e.g. 10.9.8.7 or ' +
      "2001:db8::ffff)",
    ],
  },
  {
    name: "only later",
    change: (pod) => {
      pod.spec.ephemeralContainers = [{ name: "debug", image: "x" }];
      pod.spec.nodeName = "n";
      pod.spec.schedulingGates = [{ name: "g" }];
    },
    says: [
      "spec.ephemeralContainers: Forbidden: cannot be set on create",
      "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
    ],
  },
];

Deno.test("validatePod() says what upstream says", async (t) => {
  for (const { name, change, says } of INVALID) {
    await t.step(name, () => assertEquals(create("v1/Pod", podWith(change)).problems, says));
  }
});

Deno.test("validatePod() takes a pod that uses nearly everything", () => {
  const { problems } = create(
    "v1/Pod",
    podWith((pod) => {
      Object.assign(pod.spec, {
        serviceAccountName: "robot",
        hostname: "h",
        subdomain: "s",
        setHostnameAsFQDN: true,
        dnsConfig: {
          nameservers: ["1.1.1.1"],
          searches: ["a.b.", "_x.y"],
          options: [{ name: "n" }],
        },
        os: { name: "linux" },
        overhead: { cpu: "10m" },
        runtimeClassName: "rc",
        resources: { limits: { cpu: "4", memory: "4Gi" } },
        readinessGates: [{ conditionType: "example.com/ready" }],
        resourceClaims: [{ name: "gpu", resourceClaimTemplateName: "t" }],
        tolerations: [{ key: "a", operator: "Exists", effect: "NoExecute", tolerationSeconds: 3 }],
      });
      pod.spec.volumes = [
        { name: "pvc", persistentVolumeClaim: { claimName: "p" } },
        { name: "block", persistentVolumeClaim: { claimName: "q" } },
        { name: "img", image: { reference: "quay.io/x/y:1" } },
        {
          name: "eph",
          ephemeral: {
            volumeClaimTemplate: {
              spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
            },
          },
        },
        {
          name: "proj",
          projected: {
            sources: [
              { serviceAccountToken: { path: "token" } },
              { configMap: { name: "ca", items: [{ key: "k", path: "ca.crt" }] } },
              {
                downwardAPI: { items: [{ path: "l", fieldRef: { fieldPath: "metadata.labels" } }] },
              },
            ],
          },
        },
      ];
      Object.assign(pod.spec.containers[0], {
        envFrom: [{ prefix: "P_", configMapRef: { name: "cm" } }],
        volumeMounts: [{ name: "pvc", mountPath: "/data", subPathExpr: "$(POD)" }],
        volumeDevices: [{ name: "block", devicePath: "/dev/x" }],
        resources: { claims: [{ name: "gpu" }], limits: { cpu: "1", memory: "1Gi" } },
        resizePolicy: [{ resourceName: "cpu", restartPolicy: "NotRequired" }],
        lifecycle: { stopSignal: "SIGUSR1" },
        restartPolicy: "Never",
        restartPolicyRules: [{ action: "Restart", exitCodes: { operator: "In", values: [42] } }],
      });
      pod.spec.initContainers = [
        { name: "side", image: "x", restartPolicy: "Always", startupProbe: { grpc: { port: 1 } } },
      ];
    }),
  );
  assertEquals(problems, []);
});

const UPDATABLE = "pod updates may not change fields other than `spec.containers[*].image`," +
  "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to " +
  "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was " +
  "previously negative)";

Deno.test("validatePodUpdate() lets little of the spec change", async (t) => {
  const { object: old } = create(
    "v1/Pod",
    podWith((pod) => {
      pod.spec.activeDeadlineSeconds = 10;
      pod.spec.tolerations = [{ key: "a", operator: "Exists" }];
    }),
  );
  const cases: { name: string; change: (pod: Obj) => void; says: string[]; generation?: number }[] =
    [
      {
        name: "image",
        change: (p) => p.spec.containers[0].image = "nginx:2",
        says: [],
        generation: 2,
      },
      { name: "labels", change: (p) => p.metadata.labels = { a: "b" }, says: [] },
      {
        name: "deadline shrinks",
        change: (p) => p.spec.activeDeadlineSeconds = 5,
        says: [],
        generation: 2,
      },
      {
        name: "deadline grows",
        change: (p) => p.spec.activeDeadlineSeconds = 11,
        says: [
          "spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value",
        ],
        generation: 2,
      },
      {
        name: "toleration added",
        change: (p) => p.spec.tolerations.push({ key: "b", operator: "Exists" }),
        says: [],
        generation: 2,
      },
      {
        name: "toleration taken",
        change: (p) => p.spec.tolerations = [],
        says: [
          "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
        ],
        generation: 2,
      },
      {
        name: "container added",
        change: (p) => p.spec.containers.push({ name: "d", image: "x" }),
        says: ["spec.containers: Forbidden: pod updates may not add or remove containers"],
        generation: 2,
      },
      {
        name: "command changed",
        change: (p) => p.spec.containers[0].command = ["x"],
        says: [
          `spec: Forbidden: ${UPDATABLE}\n@@ -5,7 +5,9 @@\n   {\n    "Name": "c",\n` +
          '    "Image": "nginx:1.27",\n-   "Command": null,\n+   "Command": [\n+    "x"\n+   ],\n' +
          '    "Args": null,\n    "WorkingDir": "",\n    "Ports": null,\n',
        ],
        generation: 2,
      },
      {
        name: "gate added",
        change: (p) => p.spec.schedulingGates = [{ name: "g" }],
        says: [
          "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling " +
          "gate 'g'",
        ],
        generation: 2,
      },
    ];
  for (const { name, change, says, generation = 1 } of cases) {
    await t.step(name, () => {
      const { object, problems } = update("v1/Pod", old, change);
      assertEquals(problems, says);
      assertEquals(object.metadata.generation, generation);
      assertEquals(object.status, old.status);
    });
  }
});

Deno.test("validatePodUpdate() of a gated pod lets placement narrow", () => {
  const { object: old } = create(
    "v1/Pod",
    podWith((pod) => {
      pod.spec.schedulingGates = [{ name: "g" }];
      pod.spec.nodeSelector = { a: "1" };
    }),
  );
  const narrowed = update("v1/Pod", old, (pod) => {
    pod.spec.nodeSelector.b = "2";
    pod.spec.affinity = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: "z", operator: "Exists" }] }],
        },
      },
    };
  });
  assertEquals(narrowed.problems, []);
  const widened = update("v1/Pod", old, (pod) => pod.spec.nodeSelector = { a: "2" });
  assertEquals(widened.problems, [
    'spec.nodeSelector: Invalid value: {"a":"2"}: only additions to spec.nodeSelector are allowed (no ' +
    "mutations or deletions)",
  ]);
});

Deno.test("subresources of pods change their own part only", () => {
  const { object: old } = create(
    "v1/Pod",
    podWith((pod) => pod.spec.containers[0].resources = { requests: { cpu: "100m" } }),
  );
  const status = update("v1/Pod", old, (pod) => {
    pod.spec.nodeName = "elsewhere";
    pod.status = {
      phase: "Running",
      podIPs: [{ ip: "10.0.0.1" }, { ip: "10.0.0.2" }],
      hostIP: "1.1.1.1",
      hostIPs: [{ ip: "1.1.1.2" }],
    };
  }, "status");
  assertEquals(status.object.spec, old.spec);
  assertEquals(status.object.status.qosClass, "Burstable");
  assertEquals(status.problems, [
    'status.podIPs: Invalid value: [{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]: may specify no more than one ' +
    "IP for each IP family",
    'status.hostIPs[0].ip: Invalid value: "1.1.1.2": must be equal to `hostIP`',
  ]);

  const debug = update("v1/Pod", old, (pod) => {
    pod.spec.containers[0].image = "other";
    pod.spec.ephemeralContainers = [{ name: "debug", image: "busybox", targetContainerName: "c" }];
  }, "ephemeralcontainers");
  assertEquals(debug.problems, []);
  assertEquals(debug.object.spec.containers, old.spec.containers);
  assertEquals(debug.object.metadata.generation, 2);
  const changed = update(
    "v1/Pod",
    debug.object,
    (pod) => pod.spec.ephemeralContainers = [],
    "ephemeralcontainers",
  );
  assertEquals(changed.problems, [
    'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be removed\n',
  ]);

  const resized = update("v1/Pod", old, (pod) => {
    pod.spec.containers[0].resources.requests.cpu = "200m";
    pod.spec.containers[0].image = "other";
  }, "resize");
  assertEquals(resized.problems, []);
  assertEquals(resized.object.spec.containers[0].image, "nginx:1.27");
  assertEquals(resized.object.spec.containers[0].resources.requests.cpu, "200m");
  const removed = update("v1/Pod", old, (pod) => pod.spec.containers[0].resources = {}, "resize");
  assertEquals(removed.problems, [
    'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing',
    "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
  ]);
});

Deno.test("validatePodStatus() keeps ended containers ended", () => {
  const { object: fresh } = create("v1/Pod", podWith((pod) => pod.spec.restartPolicy = "Never"));
  const ended = update("v1/Pod", fresh, (pod) => {
    pod.status.containerStatuses = [{ name: "c", state: { terminated: { exitCode: 0 } } }];
  }, "status").object;
  const { problems } = update("v1/Pod", ended, (pod) => {
    pod.status.containerStatuses[0].state = { running: {} };
  }, "status");
  assertEquals(problems, [
    "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state",
  ]);
});

Deno.test("validatePodStatus() lets all restart when any container, an init container too, may restart them", () => {
  const { object: fresh } = create(
    "v1/Pod",
    podWith((pod) => {
      pod.spec.restartPolicy = "Never";
      pod.spec.initContainers = [{
        name: "i",
        image: "x",
        restartPolicy: "Never",
        restartPolicyRules: [{
          action: "RestartAllContainers",
          exitCodes: { operator: "In", values: [42] },
        }],
      }];
    }),
  );
  const ended = update("v1/Pod", fresh, (pod) => {
    pod.status.containerStatuses = [{ name: "c", state: { terminated: { exitCode: 0 } } }];
  }, "status").object;
  const { problems } = update("v1/Pod", ended, (pod) => {
    pod.status.containerStatuses[0].state = { waiting: {} };
  }, "status");
  assertEquals(problems, []);
});

Deno.test("podWarnings() warns of names that are no host names", () => {
  const pod = decoded("v1/Pod", podWith((p) => p.metadata.name = "a.b"));
  assertEquals(kindOf("v1/Pod").hooks.warnings!(pod), [
    "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS " +
    "label is recommended: [must not contain dots]",
  ]);
});

Deno.test("chooseContainer() and log options follow upstream", () => {
  const one = decoded("v1/Pod", podWith());
  const two = decoded("v1/Pod", podWith((p) => p.spec.containers.push({ name: "d", image: "x" })));
  assertEquals(chooseContainer(one, undefined), { container: "c" });
  assertEquals(chooseContainer(two, ""), {
    problem: "a container name must be specified for pod web, choose one of: [c d]",
  });
  assertEquals(chooseContainer(two, "e"), { problem: "container e is not valid for pod web" });
  const causes = validatePodLogOptions({ tailLines: -1, sinceSeconds: 1, sinceTime: "x" });
  assertEquals(causes.map((c) => `${c.field}: ${c.message}`), [
    "tailLines: Invalid value: -1: must be greater than or equal to 0",
    "[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
  ]);
});

Deno.test("amounts come in thousandths", () => {
  const limits = {
    cpu: "0.0001",
    memory: "1e-6",
    "example.com/a": "2n",
    "ephemeral-storage": "1Gi",
  };
  const pod = podWith((p) => p.spec.containers[0].resources = { limits });
  const { requests } = decoded("v1/Pod", pod).spec.containers[0].resources;
  assertEquals(requests, {
    cpu: "1m",
    memory: "1e-3",
    "example.com/a": "1m",
    "ephemeral-storage": "1Gi",
  });
  const quota = decoded("v1/ResourceQuota", {
    metadata: { name: "x" },
    spec: { hard: { cpu: "1u" } },
  });
  assertEquals(quota.spec.hard, { cpu: "1m" });
});
