/**
 * A world for the scheduler's tests: the real API on a store in memory, real informers, a manual clock, the scheduler
 * with its own rights, and nodes that are only objects. Tests look at the state of the cluster, never at calls.
 */
import { bootstrapRoleWrites } from "../../api/auth/bootstrap_roles.ts";
import type { Client } from "../../api/client/contract.ts";
import { createKinds } from "../../api/kinds/mod.ts";
import type { DeepReadonly, KubeObject, ResourceId } from "../../api/machinery/types.ts";
import { type Api, createInformers } from "../../api/mod.ts";
import { ADMIN, openApi } from "../../api/server/fixture_test.ts";
import { ManualClock } from "../../kv/clock.ts";
import { createSystem, PODS } from "../runtime/mod.ts";
import { settler } from "../runtime/rest.ts";
import { scheduler, type SchedulerOptions, SchedulerView } from "./mod.ts";
import type { Explanation } from "./explain.ts";

type Obj = DeepReadonly<KubeObject>;

const core = (plural: string): ResourceId => ({ group: "", version: "v1", plural });

/** See the module's text. */
export interface World {
  api: Api;
  clock: ManualClock;
  client: Client;
  view: SchedulerView;
  log: string[];
  /** Lets everything happen that is due, and what falls due within `withinMs`. */
  settle(withinMs?: number): Promise<unknown>;
  node(name: string, options?: NodeOptions): Promise<Obj>;
  pod(name: string, spec?: Spec, labels?: Record<string, string>): Promise<Obj>;
  create(resource: ResourceId, object: object, namespace?: string): Promise<Obj>;
  priorityClass(name: string, value: number): Promise<Obj>;
  get(resource: ResourceId, name: string, namespace?: string): Promise<Obj>;
  /** `pod: node` or `pod: reason: message` of every pod, sorted. */
  places(): Promise<string[]>;
  events(reason: string): Promise<string[]>;
  explain(pod: string): Promise<Explanation>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface NodeOptions {
  cpu?: string;
  memory?: string;
  pods?: string;
  labels?: Record<string, string>;
  taints?: object[];
  unschedulable?: boolean;
  more?: Record<string, string>;
}

/** A pod's spec; `requests` are those of its one container. */
export type Spec = Record<string, unknown> & { requests?: Record<string, string> };

/** Opens a world with a scheduler in it. */
export async function openWorld(options: SchedulerOptions = {}): Promise<World> {
  const clock = new ManualClock();
  const view = new SchedulerView();
  const fixture = await openApi({ clock, kinds: createKinds(), virtual: view.subresources });
  const { objects } = fixture.database;
  const context = { now: clock.now(), uuid: () => clock.uuid() };
  await objects.write((draft) => {
    for (const { key, object } of bootstrapRoleWrites(draft, context)) draft.put(key, object);
  });
  const { client } = fixture;
  const informers = createInformers(fixture.api.client(ADMIN, "informers"), clock);
  const log: string[] = [];
  const system = createSystem({
    client,
    informers,
    clock,
    log: (level, text, fields) => {
      if (level !== "debug") log.push(`${level} ${text} ${JSON.stringify(fields)}`);
    },
  });
  system.spawn("scheduler/default", scheduler({ view, ...options }), {
    component: "default-scheduler",
    client: client.as(
      { name: "system:kube-scheduler", groups: ["system:authenticated"] },
      "kube-scheduler",
    ),
  });
  const rest = settler(clock, () => ({ system, informers, database: fixture.database }));
  const create = (resource: ResourceId, object: object, namespace?: string) =>
    client.create<KubeObject>({ resource, namespace }, object);
  const list = async (plural: string) =>
    (await client.list<KubeObject>({ resource: core(plural) })).items;
  return {
    api: fixture.api,
    clock,
    client,
    view,
    log,
    create,
    settle: (within = 0) => rest({ within, allTimers: true }),
    async node(name, node = {}) {
      const { cpu = "4", memory = "8Gi", pods = "110", labels, taints, unschedulable, more } = node;
      await create(core("nodes"), {
        metadata: { name, labels: { "kubernetes.io/hostname": name, ...labels } },
      });
      // Admission made it not ready; the node's lifecycle would take that away
      const made: unknown = await client.patch({ resource: core("nodes"), name }, {
        type: "merge",
        body: { spec: { taints: (taints ?? null) as never, unschedulable: unschedulable ?? null } },
      });
      const amounts = { cpu, memory, pods, ...more };
      const target = { resource: core("nodes"), name, subresource: "status" };
      const status = { capacity: amounts, allocatable: amounts };
      return await client.update<KubeObject>(target, { ...made as object, status });
    },
    pod: (name, { requests, ...spec } = {}, labels = {}) =>
      create(PODS, {
        metadata: { name, labels },
        spec: {
          containers: [{ name: "c", image: "x", ...(requests && { resources: { requests } }) }],
          ...spec,
        },
      }, "default"),
    priorityClass: (name, value) =>
      create({ group: "scheduling.k8s.io", version: "v1", plural: "priorityclasses" }, {
        metadata: { name },
        value,
      }),
    get: async (resource, name, namespace) =>
      await client.get<KubeObject>({ resource, namespace, name }) as Obj,
    async places() {
      return (await list("pods")).map((pod) => {
        const said = pod.status?.conditions?.find(
          (c: { type: string }) => c.type === "PodScheduled",
        );
        const place = pod.spec.nodeName ?? (said ? `${said.reason}: ${said.message}` : "pending");
        return `${pod.metadata.name}: ${place}`;
      }).sort();
    },
    async events(reason) {
      return (await list("events")).filter((event) => event.reason === reason)
        .map((event) => `${event.involvedObject.name}: ${event.message}`).sort();
    },
    async explain(name) {
      const target = { resource: PODS, namespace: "default", name, subresource: "explanation" };
      const told: unknown = await client.get<KubeObject>(target);
      return told as Explanation;
    },
    async [Symbol.asyncDispose]() {
      await system.stop();
      await informers.stop();
      await fixture[Symbol.asyncDispose]();
    },
  };
}
