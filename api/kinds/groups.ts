/** Every built-in group-version, in the order upstream's discovery lists the groups. */
import { authentication, authorization, certificates, certificatesBeta, rbac } from "./access.ts";
import {
  coordination,
  coordinationBeta,
  discovery,
  events,
  flowcontrol,
  metrics,
  networking,
  networkingBeta,
  node,
  scheduling,
} from "./cluster.ts";
import { core } from "./core.ts";
import {
  admissionregistration,
  admissionregistrationBeta,
  apiextensions,
  apiregistration,
} from "./extension.ts";
import type { Group } from "./rows.ts";
import {
  resource,
  resourceBeta1,
  resourceBeta2,
  storage,
  storageBeta,
  storagemigrationBeta,
} from "./storage.ts";
import { apps, autoscalingV1, autoscalingV2, batch, policy } from "./workloads.ts";

/** Preferred versions come first within a group. */
export const GROUPS: readonly Group[] = [
  core,
  apiregistration,
  apps,
  events,
  authentication,
  authorization,
  autoscalingV2,
  autoscalingV1,
  batch,
  certificates,
  certificatesBeta,
  networking,
  networkingBeta,
  policy,
  rbac,
  storage,
  storageBeta,
  admissionregistration,
  admissionregistrationBeta,
  apiextensions,
  scheduling,
  coordination,
  coordinationBeta,
  node,
  discovery,
  resource,
  resourceBeta2,
  resourceBeta1,
  flowcontrol,
  storagemigrationBeta,
  metrics,
];
