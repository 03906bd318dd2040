/**
 * What a node, its storage and its network must do, modelled on those areas of Kubernetes' conformance suite: each
 * behaviour once, on containerd and on isolates side by side in one cluster. Where there can be no containerd (it
 * wants root and its programs) isolates show theirs alone. `PLESIO_BEHAVIOURS="part of a name"` shows fewer.
 */
import { missing, withContainerd } from "../containerd.ts";
import { shows } from "./driver.ts";
import { NAMES } from "./network_names.ts";
import { POLICIES } from "./network_policies.ts";
import { SERVICES } from "./network_services.ts";
import { ENVIRONMENT } from "./node_environment.ts";
import { HOOKS } from "./node_hooks.ts";
import { PODS } from "./node_pods.ts";
import { PROBES } from "./node_probes.ts";
import { SECURITY } from "./node_security.ts";
import { FILES } from "./storage_files.ts";
import { VOLUMES } from "./storage_volumes.ts";

const AREAS = {
  node: [...ENVIRONMENT, ...PODS, ...PROBES, ...HOOKS, ...SECURITY],
  storage: [...FILES, ...VOLUMES],
  network: [...SERVICES, ...NAMES, ...POLICIES],
};

await withContainerd(
  import.meta.url,
  () => shows(AREAS, ["containerd", "isolate"], ["busybox", "numbered", "named", "entry", "deno"]),
);
if (await missing()) shows(AREAS, ["isolate"], []);
