/** A node with a runtime whose containers do what a test says, on an API in a box. */
import type { ApiError } from "../../api/machinery/types.ts";
import { FakeDialer, FakeRuntime } from "./fake_runtime_test.ts";
import { type Box, openBox } from "./fixture_test.ts";
import { type NodeOptions, type RunningNode, startNode } from "./node.ts";
import { NODES, type Pod, PODS } from "./types.ts";

/** What tests of a node drive. */
export interface World extends Box {
  runtime: FakeRuntime;
  node: RunningNode;
  dial: FakeDialer;
  /** Waits until the pod looks so; time stands still. */
  see(name: string, what: string, look: (pod: Pod) => unknown): Promise<Pod>;
  /** Moves time in steps until the pod looks so. */
  await(name: string, what: string, stepMs: number, look: (pod: Pod) => unknown): Promise<Pod>;
}

/** Runs one, `n0`. */
export async function withNode(
  use: (world: World) => Promise<void>,
  options: Partial<NodeOptions> = {},
): Promise<void> {
  await using box = await openBox();
  const runtime = new FakeRuntime(box.clock);
  const dial = new FakeDialer();
  const node = startNode(box.system, {
    name: "n0",
    clock: box.clock,
    runtimes: [runtime],
    dial,
    ...options,
  });
  await box.until(
    "the node",
    () => box.client.get({ resource: NODES, name: "n0" }).catch(() => undefined),
  );
  const looked = (name: string, look: (pod: Pod) => unknown) => async () => {
    const pod = await box.get(name).catch(() => undefined);
    return pod && look(pod) ? pod : undefined;
  };
  await use({
    ...box,
    runtime,
    node,
    dial,
    see: (name, what, look) => box.until(what, looked(name, look)),
    await: (name, what, stepMs, look) => box.pass(what, stepMs, looked(name, look)),
  });
  await node.stop();
}

/** A container. */
export const c = { name: "c", image: "i" };

/** Whether a pod runs. */
export const running = (pod: Pod) => pod.status?.phase === "Running";

/** Whether there is no such pod. */
export const gone = (box: Box, name: string) => async () => {
  try {
    await box.get(name);
    return false;
  } catch (error) {
    return (error as ApiError).code === 404;
  }
};

/** Adds the ephemeral container `debug` to a pod; resolves once it runs. */
export async function addDebug(world: World, name: string): Promise<Pod> {
  const ephemeralContainers = [{ name: "debug", image: "i" }];
  await world.client.patch(
    { resource: PODS, namespace: "default", name, subresource: "ephemeralcontainers" },
    { type: "strategic", body: { spec: { ephemeralContainers } } },
  );
  const begun = (pod: Pod) => pod.status?.ephemeralContainerStatuses?.[0].state.running;
  return await world.see(name, "debug", begun);
}

/** Deletes a pod. */
export const remove = (box: Box, name: string, query = {}) =>
  box.client.delete({ resource: PODS, namespace: "default", name }, query);
