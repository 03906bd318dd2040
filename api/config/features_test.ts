import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { apisOf, EFFECTIVE, featureGates, featureLines, knownFeatures } from "./features.ts";
import { UsageError } from "./flags.ts";

const versionsOf = (settings: Parameters<typeof apisOf>[0]) =>
  new Set(apisOf(settings).kinds.all().map((k) => `${k.group}/${k.version}`));

Deno.test("without settings upstream's default versions are served", () => {
  const served = versionsOf({});
  assertEquals([...served].filter((gv) => gv.includes("beta")), ["metrics.k8s.io/v1beta1"]);
});

Deno.test("api/beta serves beta versions, but not what is behind a gate", () => {
  const served = versionsOf({ runtimeConfig: ["api/beta=true"] });
  assertEquals(served.has("networking.k8s.io/v1beta1"), true);
  assertEquals(served.has("certificates.k8s.io/v1beta1"), false);
  const gated = apisOf({
    runtimeConfig: ["api/beta=true"],
    featureGates: ["ClusterTrustBundle=true"],
  }).kinds;
  assertEquals(
    gated.byResource("certificates.k8s.io", "v1beta1", "clustertrustbundles")?.kind,
    "ClusterTrustBundle",
  );
  assertEquals(
    gated.byResource("certificates.k8s.io", "v1beta1", "podcertificaterequests"),
    undefined,
  );
});

Deno.test("single versions and resources win over general keys", () => {
  const { kinds } = apisOf({
    runtimeConfig: [
      "api/all=true",
      "api/beta=false",
      "networking.k8s.io/v1beta1",
      "batch/v1=false",
      "batch/v1/jobs=true",
      "apps/v1/daemonsets=0",
    ],
  });
  assertEquals(kinds.byResource("networking.k8s.io", "v1beta1", "ipaddresses")?.kind, "IPAddress");
  assertEquals(kinds.byResource("coordination.k8s.io", "v1beta1", "leasecandidates"), undefined);
  assertEquals(kinds.byResource("batch", "v1", "jobs")?.kind, "Job");
  assertEquals(kinds.byResource("batch", "v1", "cronjobs"), undefined);
  assertEquals(kinds.byResource("apps", "v1", "daemonsets"), undefined);
  assertEquals(kinds.byResource("apps", "v1", "deployments")?.kind, "Deployment");
});

Deno.test("what cannot be set is told in upstream's words", () => {
  const wrong: [Parameters<typeof apisOf>[0], string][] = [
    [{ runtimeConfig: ["api/all=false"] }, "invalid runtime-config with only api/all=false"],
    [{ runtimeConfig: ["api/beta=yes"] }, "invalid value api/beta=yes"],
    [{ runtimeConfig: ["a.b/v1=true", "c/v1"] }, "unknown api groups a.b/v1,c/v1"],
    [
      { runtimeConfig: ["apps/v9=true"] },
      "group version apps/v9 that has not been registered",
    ],
    [
      { runtimeConfig: ["apps/v1=maybe"] },
      'invalid value of apps/v1: maybe, err: strconv.ParseBool: parsing "maybe": invalid syntax',
    ],
    [{ runtimeConfig: ["apps/v1/deployments/scale"] }, "invalid key apps/v1/deployments/scale"],
    [{ featureGates: ["Nonsense=true"] }, "unrecognized feature gate: Nonsense"],
    [{ featureGates: ["WatchList"] }, "missing bool value for WatchList"],
    [
      { featureGates: ["WatchList=on"] },
      'invalid value of WatchList=on, err: strconv.ParseBool: parsing "on": invalid syntax',
    ],
    [
      { featureGates: ["CustomResourceFieldSelectors=false"] },
      "cannot set feature gate CustomResourceFieldSelectors to false, feature is locked to true",
    ],
    [
      { featureGates: ["CustomResourceFieldSelectors=false", "APIServerTracing=false"] },
      "[cannot set feature gate APIServerTracing to false, feature is locked to true, " +
      "cannot set feature gate CustomResourceFieldSelectors to false, feature is locked to true]",
    ],
    [
      { featureGates: ["WorkloadAwarePreemption=true"] },
      "WorkloadAwarePreemption is enabled, but depends on features that are disabled: [GangScheduling]",
    ],
    [
      { featureGates: ["DRAResourceClaimDeviceStatus=false"] },
      "[DRADeviceBindingConditions is enabled, but depends on features that are disabled: " +
      "[DRAResourceClaimDeviceStatus], DRAResourceClaimGranularStatusAuthorization is enabled, " +
      "but depends on features that are disabled: [DRAResourceClaimDeviceStatus]]",
    ],
  ];
  for (const [settings, text] of wrong) {
    const error = assertThrows(() => apisOf(settings), UsageError);
    assertStringIncludes(error.message, text);
  }
});

Deno.test("what is on by default, or with all of a stage, has what it needs", () => {
  for (const set of [[], ["AllAlpha=true"], ["AllBeta=true"], ["AllBeta=false"]]) featureGates(set);
  for (const { needs } of knownFeatures().values()) {
    for (const name of needs) assertEquals(knownFeatures().has(name), true, name);
  }
});

Deno.test("gates that mean something here are gates of upstream's", () => {
  for (const name in EFFECTIVE) assertEquals(knownFeatures().has(name), true, name);
});

Deno.test("all gates of a stage can be set at once; each one wins, locked ones stay", () => {
  const gates = featureGates([
    "AllBeta=true",
    "ClusterTrustBundle=false",
    "ClusterTrustBundleProjection=false",
  ]);
  assertEquals(gates.get("PodCertificateRequest"), true);
  assertEquals(gates.get("ClusterTrustBundle"), false);
  assertEquals(featureGates(["AllBeta=false"]).get("WatchList"), false);
  assertEquals(featureGates([]).get("WatchList"), true);
});

Deno.test("the state of gates is a metric", () => {
  const lines = featureLines(featureGates(["WatchList=false"]));
  assertEquals(lines.includes('kubernetes_feature_enabled{name="WatchList",stage="BETA"} 0'), true);
});
