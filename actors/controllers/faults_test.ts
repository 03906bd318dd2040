/** Controllers whose writes fail, before or after they landed, at every step: the end must be the same. */
import { assertEquals } from "@std/assert";
import type { Client } from "../../api/client/contract.ts";
import { DEPLOYMENTS, JOBS, PODS, REPLICA_SETS, STATEFUL_SETS } from "../runtime/mod.ts";
import { deploymentController } from "./deployment.ts";
import { jobController } from "./job.ts";
import { conditionOf } from "./objects.ts";
import { replicaSetController } from "./replicaset.ts";
import { statefulSetController } from "./statefulset.ts";
import { openWorld, type World } from "./world_test.ts";

const WRITES = ["create", "update", "patch", "delete"] as const;

/** Fails the n-th write of the controllers; `landed`: after the server has done it. */
function failing(
  nth: number,
  landed: boolean,
): { wrap(client: Client): Client; reached(): boolean } {
  let count = 0;
  const wrap = (client: Client): Client => {
    const wrapped = { ...client } as unknown as Record<string, unknown>;
    for (const verb of WRITES) {
      const call = client[verb] as (...args: unknown[]) => Promise<unknown>;
      wrapped[verb] = async (target: { resource: { plural: string } }, ...rest: unknown[]) => {
        const counts = target.resource.plural !== "events";
        const fail = counts && ++count === nth;
        if (fail && !landed) throw new Error("connection refused");
        const answer = await call(target, ...rest);
        if (fail) throw new Error("connection reset");
        return answer;
      };
    }
    wrapped.as = (...args: Parameters<Client["as"]>) => wrap(client.as(...args));
    wrapped.because = (...args: Parameters<Client["because"]>) => wrap(client.because(...args));
    return wrapped as unknown as Client;
  };
  return { wrap, reached: () => count >= nth };
}

/** Runs a scenario with a fault at each of its writes, until it is through before the fault. */
async function everywhere(
  scenario: (openOptions: { wrap: (client: Client) => Client }) => Promise<void>,
) {
  let steps = 0;
  for (const landed of [false, true]) {
    for (let nth = 1; nth < 100; nth++) {
      const fault = failing(nth, landed);
      await scenario({ wrap: fault.wrap });
      if (!fault.reached()) break;
      steps++;
    }
  }
  return steps;
}

const template = {
  metadata: { labels: { app: "a" } },
  spec: { containers: [{ name: "c", image: "x:1" }] },
};
const selector = { matchLabels: { app: "a" } };

async function live(world: World) {
  return (await world.list(PODS)).filter((pod) =>
    !pod.metadata.deletionTimestamp && !["Failed", "Succeeded"].includes(pod.status?.phase)
  );
}

Deno.test("a job counts each pod once, whichever write fails", async () => {
  const steps = await everywhere(async (options) => {
    await using world = await openWorld([jobController()], options);
    await world.create(JOBS, {
      metadata: { name: "work" },
      spec: {
        completions: 2,
        backoffLimit: 3,
        template: { spec: { ...template.spec, restartPolicy: "Never" } },
      },
    });
    for (const phase of ["Succeeded", "Failed", "Succeeded"]) {
      await world.settle(30_000);
      const [pod] = await live(world);
      await world.podIs(pod, phase);
    }
    await world.settle(30_000);
    const { status } = await world.get(JOBS, "work");
    assertEquals([status.succeeded, status.failed], [2, 1]);
    assertEquals(conditionOf(status, "Complete")?.status, "True");
    assertEquals((await world.list(PODS)).flatMap((pod) => pod.metadata.finalizers ?? []), []);
  });
  assertEquals(steps >= 20, true, `${steps}`);
});

Deno.test("a deployment rolls through, whichever write fails", async () => {
  await everywhere(async (options) => {
    await using world = await openWorld([deploymentController, replicaSetController], options);
    const target = { resource: DEPLOYMENTS, namespace: "default", name: "a" };
    await world.create(DEPLOYMENTS, {
      metadata: { name: "a" },
      spec: { replicas: 2, selector, template },
    });
    for (const image of ["x:1", "x:2"]) {
      await world.client.patch(target, {
        type: "strategic",
        body: { spec: { template: { spec: { containers: [{ name: "c", image }] } } } },
      });
      for (let i = 0; i < 8; i++) {
        await world.settle();
        await world.runPods();
        await world.settle();
        await world.finishDeletions();
      }
      await world.settle();
    }
    const pods = await live(world);
    assertEquals(pods.map((pod) => pod.spec.containers[0].image), ["x:2", "x:2"]);
    const { status } = await world.get(DEPLOYMENTS, "a");
    assertEquals(conditionOf(status, "Progressing")?.reason, "NewReplicaSetAvailable");
    const sets = await world.list(REPLICA_SETS);
    assertEquals(sets.map((set) => set.spec.replicas).sort(), [0, 2]);
  });
});

Deno.test("a statefulset comes up in order, whichever write fails", async () => {
  await everywhere(async (options) => {
    await using world = await openWorld([statefulSetController({})], options);
    await world.create(STATEFUL_SETS, {
      metadata: { name: "a" },
      spec: { replicas: 2, serviceName: "a", selector, template },
    });
    for (let i = 0; i < 4; i++) {
      await world.settle();
      await world.runPods();
    }
    await world.settle();
    assertEquals((await world.list(PODS)).map((pod) => pod.metadata.name), ["a-0", "a-1"]);
    assertEquals((await world.get(STATEFUL_SETS, "a")).status.availableReplicas, 2);
  });
});

Deno.test("controllers that are started again go on where the others were", async () => {
  await using world = await openWorld([deploymentController, replicaSetController]);
  await world.create(DEPLOYMENTS, {
    metadata: { name: "a" },
    spec: { replicas: 60, selector, template },
  });
  for (let i = 0; i < 5; i++) {
    await world.clock.turn();
    await world.restart();
  }
  await world.settle();
  assertEquals((await live(world)).length, 60);
  assertEquals(
    (await world.get(REPLICA_SETS, (await world.list(REPLICA_SETS))[0].metadata.name))
      .status.replicas,
    60,
  );
});
