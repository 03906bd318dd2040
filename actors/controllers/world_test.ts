/**
 * A world for controllers' tests: the real API on a store in memory, real informers, a manual clock, and
 * the controllers that a test names. Tests look at the state of the cluster, never at calls.
 */
import { createInformers } from "../../api/mod.ts";
import { bootstrapRoleWrites } from "../../api/auth/bootstrap_roles.ts";
import { createKinds } from "../../api/kinds/mod.ts";
import { ADMIN, openApi } from "../../api/server/fixture_test.ts";
import type { Client, Informers } from "../../api/client/contract.ts";
import type { KubeObject, ResourceId } from "../../api/machinery/types.ts";
import { formatTime } from "../../api/machinery/time.ts";
import { ManualClock } from "../../kv/clock.ts";
import { createSystem, PODS } from "../runtime/mod.ts";
import { settler } from "../runtime/rest.ts";
import { type ControllerPorts, type ControllerRow, startController } from "./mod.ts";
import type { Obj } from "./objects.ts";

/** See the module's text. */
export interface World {
  clock: ManualClock;
  client: Client;
  informers: Informers;
  /** Ends the controllers and starts new ones, as after a crash. */
  restart(between?: () => Promise<void>): Promise<void>;
  /** Lets everything happen that is due, and what falls due within `withinMs`. */
  settle(withinMs?: number): Promise<unknown>;
  /** Moves time on, letting everything happen. */
  advance(ms: number): Promise<unknown>;
  list(resource: ResourceId, namespace?: string): Promise<readonly Obj[]>;
  get(resource: ResourceId, name: string, namespace?: string): Promise<Obj>;
  create(resource: ResourceId, object: object, namespace?: string): Promise<Obj>;
  /** Sets a pod's status as a node would. */
  podIs(pod: Obj, phase: string, options?: { ready?: boolean; node?: string }): Promise<void>;
  /** Every pending pod runs and is ready. */
  runPods(): Promise<number>;
  /** Takes away pods that wait for their node to let go of them. */
  finishDeletions(): Promise<void>;
  events(): Promise<string[]>;
  log: string[];
  [Symbol.asyncDispose](): Promise<void>;
}

/** The definition of widgets.late.example.com, a kind that comes when controllers run already. */
export const LATE_WIDGETS = {
  metadata: { name: "widgets.late.example.com" },
  spec: {
    group: "late.example.com",
    scope: "Namespaced",
    names: { plural: "widgets", kind: "Widget" },
    versions: [{
      name: "v1",
      served: true,
      storage: true,
      schema: { openAPIV3Schema: { type: "object" } },
    }],
  },
};

/** Opens a world in which these controllers run. */
export async function openWorld(
  rows: readonly ControllerRow[] | ((ports: ControllerPorts) => readonly ControllerRow[]),
  options: {
    wrap?: (client: Client) => Client;
    ports?: Partial<ControllerPorts>;
    features?: ReadonlyMap<string, boolean>;
  } = {},
): Promise<World> {
  const clock = new ManualClock();
  const kinds = createKinds();
  const fixture = await openApi({ clock, kinds, features: options.features });
  // Controllers act with the rights of their own accounts, as in a real cluster.
  const { objects } = fixture.database;
  const context = { now: clock.now(), uuid: () => clock.uuid() };
  await objects.write((draft) => {
    for (const { key, object } of bootstrapRoleWrites(draft, context)) draft.put(key, object);
  });
  const informers = createInformers(fixture.api.client(ADMIN, "informers"), clock);
  const log: string[] = [];
  const actors = options.wrap ? options.wrap(fixture.client) : fixture.client;
  const boot = () => {
    const made = createSystem({
      client: actors,
      informers,
      clock,
      log: (level, text, fields) => {
        if (level !== "debug") log.push(`${level} ${text} ${JSON.stringify(fields)}`);
      },
    });
    for (const row of typeof rows === "function" ? rows(ports) : rows) {
      startController(made, row, { client: actors });
    }
    return made;
  };
  const ports: ControllerPorts = {
    kinds,
    rootCa: () => Promise.resolve("PEM"),
    legacyToken: ({ namespace, name }) => `token of ${namespace}/${name}`,
    read: (path, user) => fixture.api.fetch(new Request(`https://plesio${path}`), { user }),
    ...options.ports,
  };
  let system = boot();
  const { client } = fixture;
  const { database } = fixture;
  const rest = settler(clock, () => ({ system, informers, database }));
  const world: World = {
    clock,
    client,
    informers,
    log,
    async restart(between) {
      await system.stop();
      await between?.();
      system = boot();
    },
    settle: (within = 2000) => rest({ within }),
    advance: (within) => rest({ within, allTimers: true }),
    list: async (resource, namespace) =>
      (await client.list<KubeObject>({ resource, namespace })).items,
    get: (resource, name, namespace = "default") =>
      client.get<KubeObject>({ resource, namespace, name }),
    create: (resource, object, namespace = "default") =>
      client.create<KubeObject>({ resource, namespace }, object),
    async podIs(pod, phase, { ready = phase === "Running", node = "node-1" } = {}) {
      const at = formatTime(clock.now());
      const { namespace, name } = pod.metadata;
      const target = { resource: PODS, namespace, name };
      let fresh = await client.get<KubeObject>(target);
      if (!fresh.spec.nodeName) {
        await client.create({ ...target, subresource: "binding" }, {
          apiVersion: "v1",
          kind: "Binding",
          metadata: { name, namespace },
          target: { kind: "Node", name: node },
        });
        fresh = await client.get<KubeObject>(target);
      }
      const status = {
        phase,
        podIP: "10.244.0.9",
        podIPs: [{ ip: "10.244.0.9" }],
        startTime: at,
        conditions: [{
          type: "Ready",
          status: ready ? "True" : "False",
          lastTransitionTime: at,
        }],
      };
      await client.update({ ...target, subresource: "status" }, { ...fresh, status });
    },
    async runPods() {
      let count = 0;
      for (const pod of await world.list(PODS)) {
        if (pod.status?.phase !== "Pending" || pod.metadata.deletionTimestamp) continue;
        await world.podIs(pod, "Running");
        count++;
      }
      return count;
    },
    async finishDeletions() {
      for (const pod of await world.list(PODS)) {
        if (!pod.metadata.deletionTimestamp) continue;
        const { namespace, name } = pod.metadata;
        await client.delete({ resource: PODS, namespace, name }, { gracePeriodSeconds: 0 });
      }
    },
    async events() {
      const events = await world.list({ group: "", version: "v1", plural: "events" });
      return events.map((event) => `${event.type} ${event.reason} ${event.message}`).sort();
    },
    async [Symbol.asyncDispose]() {
      await system.stop();
      await informers.stop();
      await fixture[Symbol.asyncDispose]();
    },
  };
  return world;
}
