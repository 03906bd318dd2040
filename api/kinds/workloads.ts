/** The kinds of apps, batch, autoscaling and policy. */
import * as appsRules from "./rules/apps.ts";
import * as autoscalingRules from "./rules/autoscaling.ts";
import * as batchRules from "./rules/batch.ts";
import * as policyRules from "./rules/policy.ts";
import { HPA_STORAGE } from "./convert_autoscaling.ts";
import type { Group } from "./rows.ts";

const all = ["all"];

/** `apps/v1`. */
export const apps: Group = {
  group: "apps",
  version: "v1",
  prefix: "io.k8s.api.apps.v1",
  rules: appsRules,
  rows: [
    { kind: "ControllerRevision", plural: "controllerrevisions" },
    {
      kind: "DaemonSet",
      plural: "daemonsets",
      short: ["ds"],
      categories: all,
      generation: true,
      sub: "status",
    },
    {
      kind: "Deployment",
      plural: "deployments",
      short: ["deploy"],
      categories: all,
      generation: true,
      sub: "scale status",
    },
    {
      kind: "ReplicaSet",
      plural: "replicasets",
      short: ["rs"],
      categories: all,
      generation: true,
      sub: "scale status",
    },
    {
      kind: "StatefulSet",
      plural: "statefulsets",
      short: ["sts"],
      categories: all,
      generation: true,
      sub: "scale status",
    },
  ],
};

/** `autoscaling/v1`: stored as v2. */
export const autoscalingV1: Group = {
  group: "autoscaling",
  version: "v1",
  prefix: "io.k8s.api.autoscaling.v1",
  rules: autoscalingRules,
  rows: [{
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    short: ["hpa"],
    categories: all,
    sub: "status",
    storage: HPA_STORAGE,
    rules: "HorizontalPodAutoscaler.v1",
  }],
};

/** `autoscaling/v2`. */
export const autoscalingV2: Group = {
  group: "autoscaling",
  version: "v2",
  prefix: "io.k8s.api.autoscaling.v2",
  rules: autoscalingRules,
  rows: [{
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    short: ["hpa"],
    categories: all,
    sub: "status",
  }],
};

/** `batch/v1`. */
export const batch: Group = {
  group: "batch",
  version: "v1",
  prefix: "io.k8s.api.batch.v1",
  rules: batchRules,
  rows: [
    {
      kind: "CronJob",
      plural: "cronjobs",
      short: ["cj"],
      categories: all,
      generation: true,
      sub: "status",
    },
    { kind: "Job", plural: "jobs", categories: all, generation: true, sub: "status" },
  ],
};

/** `policy/v1`. */
export const policy: Group = {
  group: "policy",
  version: "v1",
  prefix: "io.k8s.api.policy.v1",
  rules: policyRules,
  rows: [{
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    short: ["pdb"],
    generation: true,
    sub: "status",
  }],
};
