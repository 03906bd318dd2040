import { assertEquals, assertMatch } from "@std/assert";
import { scheduleProblem } from "./cron_schedule.ts";
import { create, decoded, update } from "./fixture.ts";
import { parseIndexes } from "./job_indexes.ts";

// deno-lint-ignore no-explicit-any -- tests write objects as they come
type Obj = any;

function workload(spec: Obj = {}): Obj {
  return {
    metadata: { name: "web" },
    spec: {
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { containers: [{ name: "c", image: "nginx:1" }] },
      },
      ...spec,
    },
  };
}

Deno.test("apps: defaults", () => {
  const without = (name: string) => {
    const { selector: _s, template: _t, ...spec } = decoded(name, workload()).spec;
    return spec;
  };
  assertEquals(without("apps/v1/Deployment"), {
    strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "25%", maxSurge: "25%" } },
    replicas: 1,
    revisionHistoryLimit: 10,
    progressDeadlineSeconds: 600,
  });
  assertEquals(without("apps/v1/DaemonSet"), {
    updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } },
    revisionHistoryLimit: 10,
  });
  const { serviceName: _, ...set } = without("apps/v1/StatefulSet");
  assertEquals(set, {
    updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 0 } },
    podManagementPolicy: "OrderedReady",
    persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
    replicas: 1,
    revisionHistoryLimit: 10,
  });
  // Requests from limits and service links are a pod's alone: template hashes would change.
  const template = decoded("apps/v1/Deployment", workload()).spec.template.spec;
  assertEquals(template.enableServiceLinks, undefined);
  assertEquals(template.containers[0].imagePullPolicy, "IfNotPresent");
});

Deno.test("apps: validation on create", async (t) => {
  const cases: { kind: string; name: string; spec: Obj; says: string[] }[] = [
    {
      kind: "Deployment",
      name: "no selector",
      spec: { selector: undefined },
      says: [
        "spec.selector: Required value",
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template ' +
        "`labels`",
      ],
    },
    {
      kind: "Deployment",
      name: "selector that finds nothing",
      spec: { selector: { matchLabels: { app: "x" } } },
      says: [
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template ' +
        "`labels`",
      ],
    },
    {
      kind: "Deployment",
      name: "empty selector, strategy, deadline",
      spec: {
        selector: {},
        strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: "0%" } },
        minReadySeconds: 700,
      },
      says: [
        "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
      ],
    },
    {
      kind: "ReplicaSet",
      name: "negative replicas",
      spec: { replicas: -1 },
      says: ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    },
    {
      kind: "DaemonSet",
      name: "surge beside unavailable",
      spec: { updateStrategy: { rollingUpdate: { maxSurge: "10%" } } },
      says: [
        'spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "10%": may not be set when ' +
        "maxUnavailable is non-zero",
      ],
    },
    {
      kind: "StatefulSet",
      name: "policy and partition",
      spec: {
        podManagementPolicy: "Chaos",
        updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: -1 } },
      },
      says: [
        "spec.podManagementPolicy: Invalid value: \"Chaos\": must be 'OrderedReady' or 'Parallel'",
        "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
      ],
    },
  ];
  for (const { kind, name, spec, says } of cases) {
    await t.step(`${kind}: ${name}`, () => {
      assertEquals(create(`apps/v1/${kind}`, workload(spec)).problems, says);
    });
  }
});

Deno.test("apps: updates", () => {
  const { object: deployment, problems } = create("apps/v1/Deployment", workload());
  assertEquals(problems, []);
  assertEquals(deployment.metadata.generation, 1);
  const scaled = update("apps/v1/Deployment", deployment, (o) => o.spec.replicas = 5);
  assertEquals([scaled.problems, scaled.object.metadata.generation], [[], 2]);
  const moved = update("apps/v1/Deployment", deployment, (o) => {
    o.spec.selector.matchLabels.app = "y";
    o.spec.template.metadata.labels.app = "y";
  });
  assertEquals(moved.problems, [
    'spec.selector: Invalid value: {"matchLabels":{"app":"y"}}: field is immutable',
  ]);
  const status = update("apps/v1/Deployment", deployment, (o) => {
    o.spec.replicas = 9;
    o.metadata.labels = { sneaky: "yes" };
    o.status = { replicas: 1, readyReplicas: 2 };
  }, "status");
  assertEquals(status.object.spec, deployment.spec);
  assertEquals(status.object.metadata.labels, undefined);
  assertEquals(status.problems, [
    "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
  ]);

  const { object: set } = create("apps/v1/StatefulSet", workload({ serviceName: "a" }));
  assertEquals(update("apps/v1/StatefulSet", set, (o) => o.spec.serviceName = "b").problems, [
    "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', " +
    "'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and " +
    "'minReadySeconds' are forbidden",
  ]);

  const { object: daemon } = create("apps/v1/DaemonSet", workload());
  const generation = (o: Obj) => o.metadata.annotations["deprecated.daemonset.template.generation"];
  assertEquals(generation(daemon), "1");
  const rolled = update(
    "apps/v1/DaemonSet",
    daemon,
    (o) => o.spec.template.spec.containers[0].image = "x",
  );
  assertEquals([generation(rolled.object), rolled.object.metadata.generation], ["2", 2]);
});

function job(spec: Obj = {}): Obj {
  return {
    metadata: { name: "work" },
    spec: {
      template: { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } },
      ...spec,
    },
  };
}

Deno.test("jobs: selector and defaults are made", () => {
  const { object, problems } = create("batch/v1/Job", job());
  assertEquals(problems, []);
  const { template, ...spec } = object.spec;
  assertEquals(spec, {
    completions: 1,
    parallelism: 1,
    backoffLimit: 6,
    completionMode: "NonIndexed",
    suspend: false,
    podReplacementPolicy: "TerminatingOrFailed",
    manualSelector: false,
    selector: { matchLabels: { "batch.kubernetes.io/controller-uid": "u-1" } },
  });
  assertEquals(template.metadata.labels, {
    "job-name": "work",
    "batch.kubernetes.io/job-name": "work",
    "controller-uid": "u-1",
    "batch.kubernetes.io/controller-uid": "u-1",
  });
  assertEquals(object.metadata.labels, template.metadata.labels);
});

Deno.test("jobs: validation", async (t) => {
  const cases: { name: string; spec: Obj; says: string[] }[] = [
    {
      name: "pods that always restart",
      spec: { template: { spec: { containers: [{ name: "c", image: "i" }] } } },
      says: [
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
      ],
    },
    {
      name: "indexed without completions",
      spec: { completionMode: "Indexed", parallelism: 2 },
      says: ["spec.completions: Required value: when completion mode is Indexed"],
    },
    {
      name: "failure policy",
      spec: {
        podFailurePolicy: {
          rules: [
            { action: "FailJob" },
            {
              action: "Ignore",
              onExitCodes: { operator: "In", values: [2, 0], containerName: "x" },
            },
          ],
        },
      },
      says: [
        "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and " +
        "OnPodConditions is required",
        'spec.podFailurePolicy.rules[1].onExitCodes.containerName: Invalid value: "x": must be one of the ' +
        "container or initContainer names in the pod template",
        "spec.podFailurePolicy.rules[1].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In " +
        "operator",
        "spec.podFailurePolicy.rules[1].onExitCodes.values: Invalid value: [2,0]: must be ordered",
      ],
    },
    {
      name: "a selector of the user's",
      spec: { selector: { matchLabels: { a: "b" } } },
      says: [
        'spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":' +
        '"u-1"}}: `selector` not auto-generated',
        "spec.template.metadata.labels: Invalid value: " + JSON.stringify({
          "batch.kubernetes.io/controller-uid": "u-1",
          "batch.kubernetes.io/job-name": "work",
          "controller-uid": "u-1",
          "job-name": "work",
        }) + ": `selector` does not match template `labels`",
      ],
    },
  ];
  for (const { name, spec, says } of cases) {
    await t.step(name, () => assertEquals(create("batch/v1/Job", job(spec)).problems, says));
  }
});

Deno.test("jobs: updates and status", () => {
  const { object } = create("batch/v1/Job", job());
  assertEquals(update("batch/v1/Job", object, (o) => o.spec.completions = 2).problems, [
    "spec.completions: Invalid value: 2: field is immutable",
  ]);
  assertEquals(update("batch/v1/Job", object, (o) => o.spec.parallelism = 2).problems, []);
  const { object: waiting } = create("batch/v1/Job", job({ suspend: true }));
  const placed = (o: Obj) => o.spec.template.spec.nodeSelector = { a: "b" };
  assertEquals(update("batch/v1/Job", waiting, placed).problems.length, 1);
  Object.assign(waiting, { status: { conditions: [{ type: "Suspended", status: "True" }] } });
  assertEquals(update("batch/v1/Job", waiting, placed).problems, []);
  const asks = (o: Obj) => o.spec.template.spec.containers[0].resources.requests = { cpu: "2" };
  assertEquals(update("batch/v1/Job", waiting, asks).problems, []);
  const other = (o: Obj) => o.spec.template.spec.containers[0].image = "other";
  assertMatch(update("batch/v1/Job", waiting, other).problems[0], /^spec\.template\.spec: /);
  Object.assign(waiting.status, { startTime: "2026-01-01T00:00:00Z", active: 1 });
  assertEquals(update("batch/v1/Job", waiting, placed).problems.length, 1);
  assertEquals(update("batch/v1/Job", object, placed).problems.length, 1);
  const started = (time: string, conditions: Obj[]) => (o: Obj) => {
    o.status = { startTime: time, conditions };
  };
  const { object: ran } = update(
    "batch/v1/Job",
    object,
    started("2026-01-01T00:00:00Z", [
      { type: "Suspended", status: "True" },
    ]),
    "status",
  );
  const later = "2026-01-01T00:01:00Z";
  assertEquals(update("batch/v1/Job", ran, started(later, []), "status").problems, [
    `status.startTime: Invalid value: "${later}": field is immutable for unsuspended job once set`,
  ]);
  const resumed = [{ type: "Suspended", status: "False" }];
  assertEquals(update("batch/v1/Job", ran, started(later, resumed), "status").problems, []);
  const done = update("batch/v1/Job", object, (o) => {
    o.status = { succeeded: 1, conditions: [{ type: "Complete", status: "True" }] };
  }, "status");
  assertEquals(done.problems, [
    "status.conditions: Invalid value: cannot set Complete=True condition without the " +
    "SuccessCriteriaMet=true condition",
    "status.startTime: Required value: startTime is required for finished job",
    "status.completionTime: Required value: completionTime is required for Complete jobs",
  ]);
});

Deno.test("cron jobs: schedule, zone, name", () => {
  const cron = (spec: Obj, name = "tick") => ({
    metadata: { name },
    spec: { schedule: "*/5 * * * *", jobTemplate: { spec: job().spec }, ...spec },
  });
  const { object, problems } = create("batch/v1/CronJob", cron({}));
  assertEquals(problems, []);
  assertEquals(object.spec.concurrencyPolicy, "Allow");
  assertEquals(object.spec.successfulJobsHistoryLimit, 3);
  assertEquals(object.spec.jobTemplate.spec.backoffLimit, undefined);
  assertEquals(
    create("batch/v1/CronJob", cron({ schedule: "* * *", timeZone: "Mars/Base" })).problems,
    [
      'spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]',
      'spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base',
    ],
  );
  assertEquals(create("batch/v1/CronJob", cron({}, "x".repeat(53))).problems, [
    `metadata.name: Invalid value: "${"x".repeat(53)}": must be no more than 52 characters`,
  ]);
  assertEquals(create("batch/v1/CronJob", cron({ schedule: "TZ=UTC 0 0 * * *" })).problems, [
    'spec.schedule: Invalid value: "TZ=UTC 0 0 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone ' +
    "field instead",
  ]);
});

Deno.test("scheduleProblem() knows the grammar", () => {
  for (
    const good of [
      "0 0 * * *",
      "*/15 1-5 ? JAN-dec mon,WED",
      "5/10 * * * *",
      "@daily",
      "@every 1h30m",
    ]
  ) {
    assertEquals(scheduleProblem(good), undefined, good);
  }
  const bad: [string, string][] = [
    ["60 * * * *", "end of range (60) above maximum (59): 60"],
    ["* * 0 * *", "beginning of range (0) below minimum (1): 0"],
    ["5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"],
    ["*/0 * * * *", "step of range should be a positive number: */0"],
    ["a * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'],
    ["1/2/3 * * * *", "too many slashes: 1/2/3"],
    ["@never", "unrecognized descriptor: @never"],
  ];
  for (const [schedule, says] of bad) assertEquals(scheduleProblem(schedule), says, schedule);
});

Deno.test("parseIndexes() reads intervals", () => {
  assertEquals(parseIndexes("1,3-5,7", 10), { intervals: [[1, 1], [3, 5], [7, 7]], total: 5 });
  assertEquals(parseIndexes("", 10), { intervals: [], total: 0 });
  assertEquals(parseIndexes("3,2", 10), {
    problem: "non-increasing order, previous: 3, current: 2",
  });
  assertEquals(parseIndexes("10", 10), { problem: 'too large index: "10"' });
  assertEquals(parseIndexes("x", 10), {
    problem: 'cannot convert string to integer for index: "x"',
  });
});
