import { assertEquals, assertRejects } from "@std/assert";
import type { Client, User } from "../../api/client/contract.ts";
import { ApiError, type KubeObject } from "../../api/machinery/types.ts";
import { allAtOnce, slowStart } from "./batches.ts";
import type { Controller } from "./contract.ts";
import { fedPorts, thing, turn } from "./fakes_test.ts";
import { OWN_WRITES_MS_MAX, OwnWrites } from "./own_writes.ts";
import { every } from "./periodic.ts";
import { asAccount, runController, splitKey } from "./reconciler.ts";
import { PODS, REPLICA_SETS, SECRETS } from "./resources.ts";
import { createSystem } from "./system.ts";

function owned(name: string, owner: string, uid = `uid-${owner}`): KubeObject {
  const object = thing("Pod", name);
  object.metadata.ownerReferences = [
    { apiVersion: "apps/v1", kind: "ReplicaSet", name: owner, uid, controller: true },
  ];
  return object;
}

function controller(seen: string[], more: Partial<Controller<void>> = {}): Controller<void> {
  return {
    name: "test",
    account: "test-controller",
    kind: "ReplicaSet",
    for: REPLICA_SETS,
    owns: [PODS],
    reconcile: (key) => void seen.push(key),
    ...more,
  };
}

Deno.test("controller: the first list, its own objects and its children's owners become keys", async () => {
  const ports = fedPorts();
  const pods = ports.informers.fed(PODS);
  const sets = ports.informers.fed(REPLICA_SETS);
  sets.put(thing("ReplicaSet", "web"));
  pods.put(owned("web-1", "web"));
  const system = createSystem(ports);
  const seen: string[] = [];
  runController(system, controller(seen), { client: ports.client });
  await turn();
  assertEquals(seen, ["default/web"]);
  pods.put(owned("web-1", "other"));
  await turn();
  assertEquals(seen.splice(0).sort(), ["default/other", "default/web", "default/web"]);
  const foreign = owned("job-1", "job");
  foreign.metadata.ownerReferences![0].kind = "Job";
  pods.put(foreign);
  await turn();
  assertEquals(seen, []);
  await system.stop();
});

Deno.test("controller: other resources are mapped, and events gathered for as long as it says", async () => {
  const ports = fedPorts();
  const system = createSystem(ports);
  const seen: string[] = [];
  const row = controller(seen, {
    watches: [{ resource: SECRETS, keys: ({ metadata }) => [`default/of-${metadata.name}`] }],
    gatherMs: () => 50,
  });
  runController(system, row, { client: ports.client });
  await turn();
  for (let i = 0; i < 5; i++) ports.informers.fed(SECRETS).put(thing("Secret", "s"));
  await turn();
  assertEquals(seen, []);
  await ports.clock.advance(50);
  assertEquals(seen, ["default/of-s"]);
  await system.stop();
});

Deno.test("controller: its own objects are looked at only where it says so", async () => {
  const ports = fedPorts();
  const system = createSystem(ports);
  const seen: string[] = [];
  const row = controller(seen, { selects: ({ metadata }) => metadata.name !== "dull" });
  runController(system, row, { client: ports.client });
  await turn();
  ports.informers.fed(REPLICA_SETS).put(thing("ReplicaSet", "dull"));
  ports.informers.fed(REPLICA_SETS).put(thing("ReplicaSet", "web"));
  await turn();
  assertEquals(seen, ["default/web"]);
  await system.stop();
});

Deno.test("asAccount() acts as the account in kube-system, or as the user that is named", () => {
  const users: User[] = [];
  const client = { as: (user: User) => users.push(user) } as unknown as Client;
  asAccount(client, "job-controller");
  asAccount(client, "system:kube-controller-manager");
  assertEquals(users.map(({ name }) => name), [
    "system:serviceaccount:kube-system:job-controller",
    "system:kube-controller-manager",
  ]);
  assertEquals(splitKey("a/b"), { namespace: "a", name: "b" });
  assertEquals(splitKey("b"), { namespace: undefined, name: "b" });
});

Deno.test("OwnWrites: a key waits until the cache shows what was written and lost what was deleted", () => {
  const ports = fedPorts();
  const pods = ports.informers.fed(PODS);
  const writes = new OwnWrites(pods, ports.clock);
  assertEquals(writes.seen("a"), true);
  const made = thing("Pod", "p");
  made.metadata.resourceVersion = "7";
  writes.wrote("a", made);
  pods.resourceVersion = "6";
  assertEquals([writes.seen("a"), writes.seen("b")], [false, true]);
  pods.resourceVersion = "7";
  assertEquals(writes.seen("a"), true);
  pods.put(made);
  writes.deleted("a", made);
  assertEquals(writes.seen("a"), false);
  pods.objects.delete("default/p");
  assertEquals(writes.seen("a"), true);
});

Deno.test("OwnWrites: a wait that is too long is given up", async () => {
  const ports = fedPorts();
  const writes = new OwnWrites(ports.informers.fed(PODS), ports.clock);
  const made = thing("Pod", "p");
  made.metadata.resourceVersion = "7";
  writes.wrote("a", made);
  assertEquals(writes.seen("a"), false);
  await ports.clock.advance(OWN_WRITES_MS_MAX);
  assertEquals(writes.seen("a"), true);
});

Deno.test("OwnWrites: what may have been created without an answer is looked for and waited for", async () => {
  const ports = fedPorts();
  const pods = ports.informers.fed(PODS);
  const writes = new OwnWrites(pods, ports.clock);
  const refused = new ApiError({ code: 403, message: "no" });
  await assertRejects(() => writes.make("default/a", () => Promise.reject(refused)), ApiError);
  assertEquals([writes.settled("default/a", ports.client), writes.seen("default/a")], [
    undefined,
    true,
  ]);
  await assertRejects(() => writes.make("default/a", () => Promise.reject(new Error("reset"))));
  const taken = new ApiError({ code: 409, message: "object exists" });
  await assertRejects(() => writes.make("default/twice", () => Promise.reject(taken)), ApiError);
  assertEquals(writes.seen("default/twice"), false, "it may be its own");
  assertEquals(writes.seen("default/a"), false);
  const hidden = thing("Pod", "p");
  hidden.metadata.resourceVersion = "9";
  const owner = {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    name: "a",
    uid: "1",
    controller: true,
  };
  hidden.metadata.ownerReferences = [owner];
  const other = thing("Pod", "other");
  other.metadata.resourceVersion = "20";
  const client = { list: () => Promise.resolve({ items: [hidden, other] }) } as unknown as Client;
  pods.resourceVersion = "8";
  await writes.settled("default/a", client);
  assertEquals(writes.seen("default/a"), false);
  pods.resourceVersion = "9";
  assertEquals(writes.seen("default/a"), true);
});

Deno.test("slowStart() doubles its batches and stops at the first failure", async () => {
  const batches: number[] = [];
  let open = 0;
  const call = async () => {
    open++;
    await undefined;
    if (open > 0) batches.push(open);
    open = 0;
  };
  assertEquals(await slowStart(10, call), { done: 10 });
  assertEquals(batches, [1, 2, 4, 3]);
  let calls = 0;
  const result = await slowStart(100, () => {
    if (++calls === 5) throw new Error("quota");
    return Promise.resolve();
  }).catch((error) => ({ done: -1, error }));
  assertEquals((result.error as Error).message, "quota");
  assertEquals(calls <= 7, true);
});

Deno.test("allAtOnce() ends every call before it rejects", async () => {
  const seen: number[] = [];
  await assertRejects(
    () =>
      allAtOnce([1, 2, 3], async (n) => {
        await undefined;
        if (n === 1) throw new Error("one");
        seen.push(n);
      }),
    Error,
    "one",
  );
  assertEquals(seen, [2, 3]);
});

Deno.test("every() repeats in the background until its actor stops", async () => {
  const ports = fedPorts();
  const system = createSystem(ports);
  let handled = 0;
  const actor = system.spawn("a", {
    start: (context) => every(context, 1000, "tick"),
    handle: () => void handled++,
  });
  await ports.clock.advance(3500);
  assertEquals(handled, 3);
  assertEquals(ports.clock.nextWorkAt(), undefined);
  await actor.stop();
  await ports.clock.advance(5000);
  assertEquals(handled, 3);
});
