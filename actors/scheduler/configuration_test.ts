import { assertEquals, assertThrows } from "@std/assert";
import { completeConfiguration, type SchedulerConfiguration } from "./configuration.ts";
import { scheduler } from "./scheduler.ts";

const profile = (rest: object): SchedulerConfiguration => ({ profiles: [rest] });
const args = (name: string, told: object) => profile({ pluginConfig: [{ name, args: told }] });

Deno.test("completeConfiguration() fills in upstream's defaults", () => {
  const complete = completeConfiguration({});
  assertEquals([complete.backoffMsMin, complete.backoffMsMax], [1000, 10_000]);
  assertEquals(complete.profiles.map((p) => p.schedulerName), ["default-scheduler"]);
  assertEquals(complete.profiles[0].args.get("NodeResourcesFit"), {
    scoringStrategy: {
      type: "LeastAllocated",
      resources: [{ name: "cpu", weight: 1 }, { name: "memory", weight: 1 }],
    },
  });
  const merged = completeConfiguration(profile({
    plugins: {
      multiPoint: {
        enabled: [{ name: "ImageLocality", weight: 7 }, { name: "Mine" }],
        disabled: [{ name: "VolumeZone" }],
      },
    },
  }));
  const { enabled } = merged.profiles[0].plugins.multiPoint!;
  assertEquals(enabled!.map((p) => p.name).slice(-3), [
    "DefaultBinder",
    "NodeDeclaredFeatures",
    "Mine",
  ]);
  assertEquals(enabled!.find((p) => p.name === "ImageLocality")!.weight, 7);
  assertEquals(enabled!.some((p) => p.name === "VolumeZone"), false);
});

Deno.test("completeConfiguration() refuses in upstream's words", async (t) => {
  const cases: { name: string; given: SchedulerConfiguration; text: string }[] = [
    {
      name: "numbers",
      given: { parallelism: -1, percentageOfNodesToScore: 101, podInitialBackoffSeconds: 20 },
      text: "[parallelism: Invalid value: -1: should be an integer value greater than zero, " +
        "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100], " +
        "podMaxBackoffSeconds: Invalid value: 10: must be greater than or equal to PodInitialBackoffSeconds]",
    },
    {
      name: "names",
      given: { profiles: [{ schedulerName: "a" }, { schedulerName: "a" }, {}] },
      text: '[profiles[1].schedulerName: Duplicate value: "profiles[0].schedulerName", ' +
        "profiles[2].schedulerName: Required value]",
    },
    {
      name: "a removed plugin",
      given: profile({ plugins: { filter: { enabled: [{ name: "EBSLimits" }] } } }),
      text:
        'profiles[0].plugins.filter.enabled[0]: Invalid value: "EBSLimits": was invalid in version ' +
        '"kubescheduler.config.k8s.io/v1" (KubeSchedulerConfiguration is version "kubescheduler.config.k8s.io/v1")',
    },
    {
      name: "a strategy",
      given: args("NodeResourcesFit", {
        scoringStrategy: { type: "Best", resources: [{ name: "cpu", weight: 101 }] },
      }),
      text: "[profiles[0].pluginConfig[0].args.scoringStrategy.type: Unsupported value: " +
        '"Best": supported values: "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio", ' +
        "profiles[0].pluginConfig[0].args.scoringStrategy.resources[0].weight: Invalid value: 101: " +
        "resource weight of cpu not in valid range (0, 100]]",
    },
    {
      name: "a shape",
      given: args("NodeResourcesFit", {
        scoringStrategy: {
          type: "RequestedToCapacityRatio",
          requestedToCapacityRatio: { shape: [{ utilization: 50, score: 11 }, { utilization: 0 }] },
        },
      }),
      text:
        "[profiles[0].pluginConfig[0].args.scoringStrategy.requestedToCapacityRatio.shape[1].utilization: " +
        "Invalid value: 0: values must be sorted in increasing order, " +
        "profiles[0].pluginConfig[0].args.scoringStrategy.requestedToCapacityRatio.shape[0].score: " +
        "Invalid value: 11: not in valid range [0, 10]]",
    },
    {
      name: "default constraints",
      given: args("PodTopologySpread", {
        defaultConstraints: [{ maxSkew: 0, topologyKey: "zone", whenUnsatisfiable: "Never" }],
      }),
      text: "[profiles[0].pluginConfig[0].args.defaultingType: Invalid value: " +
        '"System": when .defaultConstraints are not empty, ' +
        "profiles[0].pluginConfig[0].args.defaultConstraints[0].maxSkew: Invalid value: 0: " +
        "not in valid range (0, inf), profiles[0].pluginConfig[0].args.defaultConstraints[0]." +
        'whenUnsatisfiable: Unsupported value: "Never": supported values: "DoNotSchedule", "ScheduleAnyway"]',
    },
    {
      name: "preemption",
      given: args("DefaultPreemption", {
        minCandidateNodesPercentage: 0,
        minCandidateNodesAbsolute: 0,
      }),
      text: "[profiles[0].pluginConfig[0].args.minCandidateNodesPercentage: Invalid value: 0: " +
        "cannot be zero at the same time as minCandidateNodesAbsolute, " +
        "profiles[0].pluginConfig[0].args.minCandidateNodesAbsolute: Invalid value: 0: " +
        "cannot be zero at the same time as minCandidateNodesPercentage]",
    },
    {
      name: "extenders",
      given: {
        extenders: [
          { urlPrefix: "http://a", prioritizeVerb: "p", bindVerb: "b" },
          { urlPrefix: "http://b", bindVerb: "b", managedResources: [{ name: "cpu" }] },
        ],
      },
      text: "[extenders[0].weight: Invalid value: 0: must have a positive weight applied to it, " +
        'extenders[1].managedResources[0].name: Invalid value: "cpu": is an invalid extended resource name, ' +
        'extenders: Invalid value: "found 2 extenders implementing bind": only one extender can implement bind]',
    },
  ];
  for (const c of cases) {
    await t.step(c.name, () => {
      assertThrows(() => completeConfiguration(c.given), TypeError, c.text);
    });
  }
});

Deno.test("completeConfiguration() forbids a time to bind devices in where nothing is waited for", () => {
  const given = args("DynamicResources", { bindingTimeout: 5_000 });
  completeConfiguration(given);
  for (const gate of ["DRADeviceBindingConditions", "DRAResourceClaimDeviceStatus"]) {
    assertThrows(
      () => completeConfiguration(given, new Map([[gate, false]])),
      TypeError,
      "bindingTimeout: Forbidden: DRADeviceBindingConditions or DRAResourceClaimDeviceStatus " +
        "feature gate is disabled",
    );
  }
});

Deno.test("scheduler() refuses plugins that do not exist, and extenders without a way out", () => {
  const unknown = profile({ plugins: { score: { enabled: [{ name: "Nope" }] } } });
  assertThrows(() => scheduler(unknown), TypeError, 'ScorePlugin "Nope" does not exist');
  const twice = { plugins: { NodeName: () => ({ name: "NodeName", wakesOn: [] }) } };
  assertThrows(() => scheduler(twice), TypeError, "a plugin named NodeName already exists");
  const extenders = [{ urlPrefix: "http://a", filterVerb: "f" }];
  assertThrows(() => scheduler({ extenders }), TypeError, "no way out");
});
