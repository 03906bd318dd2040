import { assertEquals, assertThrows } from "@std/assert";
import { controllerOptions, SYNCED } from "../../api/config/controllers.ts";
import { readFlags, UsageError } from "../../api/config/flags.ts";
import {
  type ControllerPorts,
  controllerRows,
  SETTINGS,
  startControllers,
} from "../../actors/controllers/mod.ts";
import type { System } from "../../actors/runtime/mod.ts";
import type { Client } from "../../api/client/contract.ts";
import { createKinds } from "../../api/kinds/mod.ts";

const told = (...args: string[]) => controllerOptions(readFlags(args));

Deno.test("controllers told by no flag do what they do when nobody tells them", () => {
  assertEquals(told(), { settings: { ...SETTINGS }, workers: {} });
});

Deno.test("controllers are told by kube-controller-manager's flags: times, shares, counts, workers", () => {
  const { settings, workers } = told(
    "--node-monitor-grace-period=1m30s",
    "--unhealthy-zone-threshold",
    "0.7",
    "--horizontal-pod-autoscaler-tolerance=.05",
    "--terminated-pod-gc-threshold=-1",
    "--horizontal-pod-autoscaler-cpu-initialization-period=0s",
    "--concurrent-deployment-syncs=20",
    "--concurrent_rc_syncs=1",
  );
  assertEquals(settings, {
    ...SETTINGS,
    nodeMonitorGracePeriod: 90_000,
    unhealthyZoneThreshold: 0.7,
    horizontalPodAutoscalerTolerance: 0.05,
    terminatedPodGcThreshold: -1,
    horizontalPodAutoscalerCpuInitializationPeriod: 0,
  });
  assertEquals(workers, { deployment: 20, replicationcontroller: 1 });
});

Deno.test("a value that is none is refused by its flag's name", () => {
  for (
    const [arg, text] of [
      ["--node-startup-grace-period=soon", 'must be a duration such as 1m30s, not "soon"'],
      ["--node-eviction-rate=-1", 'must be a number such as 0.1, not "-1"'],
      ["--concurrent-job-syncs=0", 'must be a number from 1 to 2147483647, not "0"'],
      ["--max-endpoints-per-slice=1001", 'must be a number from 1 to 1000, not "1001"'],
    ]
  ) {
    const error = assertThrows(() => readFlags([arg]), UsageError);
    assertEquals(error.message, `${arg.split("=")[0]} ${text}`);
  }
});

Deno.test("a controller is at work on as many objects at once as it is told, else as it knows itself", () => {
  const workers = new Map<string, number | undefined>();
  const system = {
    spawn(address: string, _behaviour: unknown, options: { workers?: number }) {
      workers.set(address, options.workers);
    },
  } as unknown as System;
  const client = { as: () => client } as unknown as Client;
  const ports = { kinds: createKinds(), ...told("--concurrent-deployment-syncs=20") };
  startControllers(system, { client, ports: ports as unknown as ControllerPorts });
  const found = ["deployment", "replicaset", "namespace"].map((n) =>
    workers.get(`controller/${n}`)
  );
  assertEquals(found, [20, 5, 10]);
});

Deno.test("whoever can be told how many objects to be at work on is a controller", () => {
  const ports = { kinds: createKinds() } as unknown as ControllerPorts;
  const names = new Set(controllerRows(ports).map(({ name }) => name));
  assertEquals(SYNCED.filter((name) => !names.has(name)), []);
});
