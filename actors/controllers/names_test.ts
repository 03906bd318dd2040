import { assertEquals } from "@std/assert";
import { createKinds } from "../../api/kinds/mod.ts";
import { controllerRows } from "./mod.ts";
import { controllersProblem, isEnabled, rowNamed, WITHOUT_EFFECT } from "./names.ts";

const rows = new Set(
  controllerRows({ kinds: createKinds(), rootCa: () => Promise.resolve("") }).map((row) =>
    row.name
  ),
);

/** All of kube-controller-manager 1.36, by its names. */
const UPSTREAM =
  `bootstrap-signer certificatesigningrequest-approving certificatesigningrequest-cleaner
  certificatesigningrequest-signing clusterrole-aggregation cronjob daemonset deployment
  device-taint-eviction disruption endpoints endpointslice endpointslice-mirroring ephemeral-volume garbage-collector
  horizontal-pod-autoscaler job legacy-serviceaccount-token-cleaner namespace node-ipam node-lifecycle
  persistentvolume-attach-detach persistentvolume-binder persistentvolume-expander persistentvolume-protection persistentvolumeclaim-protection pod-garbage-collector
  replicaset replicationcontroller resourceclaim resourcequota root-ca-certificate-publisher service-cidr service-lb serviceaccount
  serviceaccount-token statefulset taint-eviction token-cleaner ttl ttl-after-finished
  validatingadmissionpolicy-status volumeattributesclass-protection`.split(/\s+/);

Deno.test("rowNamed() finds a row for each of kube-controller-manager's names", () => {
  const lost = UPSTREAM.map((name) => `${name}-controller`).filter((name) =>
    !rows.has(rowNamed(name, rows)) && !(name in WITHOUT_EFFECT)
  );
  assertEquals(lost, []);
  const aliases = [
    "csrsigning",
    "endpoint",
    "podgc",
    "service",
    "garbagecollector",
    "nodelifecycle",
  ];
  assertEquals(aliases.filter((name) => !rows.has(rowNamed(name, rows))), []);
});

Deno.test("isEnabled() takes our names, upstream's and its older ones; the first word about a row counts", () => {
  const on = (list: string, name: string) => isEnabled(list, name, rows);
  assertEquals(on("*", "deployment"), true);
  assertEquals(on("*,-deployment-controller", "deployment"), false);
  assertEquals(on("*,-pod-garbage-collector-controller", "podgc"), false);
  assertEquals(on("*,-csrsigning", "certificatesigningrequest-signing"), false);
  assertEquals(on("endpoints-controller", "endpoint"), true);
  assertEquals(on("endpoints-controller", "endpointslice"), false);
  assertEquals(on("-job,job-controller,*", "job"), false);
  assertEquals(on("", "job"), false);
});

Deno.test("controllersProblem() refuses what nobody knows, and takes upstream's that stand for nothing here", () => {
  assertEquals(controllersProblem("*,-selinux-warning-controller", rows), undefined);
  assertEquals(
    controllersProblem("*,-nonsense", rows)?.startsWith(
      '"nonsense" is not in the list of known controllers: namespace, ',
    ),
    true,
  );
});
