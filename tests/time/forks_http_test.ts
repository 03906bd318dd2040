/** Forks over HTTP: whole clusters under paths of one server. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { type ForkAsked, type ForkedCluster, Forks, FORKS_MAX } from "../../api/plesio/forks.ts";
import { Cluster } from "../../mod.ts";

const FORKS = "/plesio/v1/forks";
const MAPS = "/api/v1/namespaces/default/configmaps";

async function ask(cluster: Cluster, path: string, method = "GET", body?: unknown) {
  const reply = await cluster.fetch(path, {
    method,
    headers: { authorization: "Bearer admin", "content-type": "application/json" },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  return { status: reply.status, body: await reply.json() };
}

function begun(options = {}): Promise<Cluster> {
  return Cluster.start({
    nodes: 1,
    tokens: new Map([
      ["admin", { name: "admin", groups: ["system:masters", "system:authenticated"] }],
      ["nobody", { name: "nobody", groups: ["system:authenticated"] }],
    ]),
    ...options,
  });
}

Deno.test("a fork is a whole cluster under its path, until it is deleted", async () => {
  await using cluster = await begun();
  await cluster.settle();
  const made = await ask(cluster, FORKS, "POST", { name: "trial" });
  assertEquals([made.status, made.body.name, made.body.path], [201, "trial", `${FORKS}/trial`]);
  const put = await ask(cluster, `${FORKS}/trial${MAPS}`, "POST", { metadata: { name: "only" } });
  assertEquals(put.status, 201);
  const names = async (root: string) => {
    const { body } = await ask(cluster, root + MAPS);
    return body.items.map((m: { metadata: { name: string } }) => m.metadata.name).includes("only");
  };
  assertEquals([await names(""), await names(`${FORKS}/trial`)], [false, true]);
  // Also its own endpoints, and so forks of the fork
  assertEquals(
    (await ask(cluster, `${FORKS}/trial${FORKS}`, "POST", { name: "deep" })).status,
    201,
  );
  assertEquals(await names(`${FORKS}/trial${FORKS}/deep`), true);
  const watch = await cluster.fetch(
    `${FORKS}/trial${MAPS}?watch=1&resourceVersion=${put.body.metadata.resourceVersion}`,
  );
  const reader = watch.body!.pipeThrough(new TextDecoderStream()).getReader();
  await ask(cluster, `${FORKS}/trial${MAPS}/only`, "DELETE");
  assertEquals(JSON.parse((await reader.read()).value!).type, "DELETED");
  await reader.cancel();
  const listed = await ask(cluster, FORKS);
  assertEquals(listed.body.forks.map((f: { name: string }) => f.name), ["trial"]);
  assertEquals((await ask(cluster, `${FORKS}/trial`)).body.revision, made.body.revision);
  assertEquals((await ask(cluster, `${FORKS}/trial`, "DELETE")).status, 200);
  for (const path of [`${FORKS}/trial`, `${FORKS}/trial${MAPS}`]) {
    const { status, body } = await ask(cluster, path);
    assertEquals([status, body.message], [404, 'forks.plesio.dev "trial" not found']);
  }
});

Deno.test("a fork begins in the past, with a clock and a seed, where that is asked for", async () => {
  await using cluster = await begun();
  const first = await ask(cluster, MAPS, "POST", { metadata: { name: "a" } });
  await ask(cluster, `${MAPS}/a`, "DELETE");
  const at = first.body.metadata.resourceVersion;
  const made = await ask(cluster, FORKS, "POST", { at, seed: 3, clock: "manual" });
  assertEquals([made.body.name, String(made.body.revision)], ["fork-1", at]);
  assertEquals((await ask(cluster, `${FORKS}/fork-1${MAPS}/a`)).status, 200);
});

Deno.test("who is asking, and may they, is the fork's to say", async () => {
  await using cluster = await begun();
  await ask(cluster, FORKS, "POST", { name: "trial" });
  const status = async (path: string, token?: string, method = "GET") => {
    const headers: HeadersInit = token ? { authorization: `Bearer ${token}` } : {};
    const reply = await cluster.api.fetch(new Request(`https://x${path}`, { method, headers }));
    await reply.body?.cancel();
    return reply.status;
  };
  const inside = `${FORKS}/trial${MAPS}`;
  assertEquals(await status(inside), 401);
  assertEquals(await status(inside, "wrong"), 401);
  assertEquals(await status(inside, "nobody"), 403);
  assertEquals(await status(FORKS, "nobody"), 403);
  assertEquals(await status(FORKS, "nobody", "POST"), 403);
  assertEquals(await status(`${FORKS}/trial`, "nobody", "DELETE"), 403);
  assertEquals(await status(`${FORKS}/none${MAPS}`), 401);
  // A right given in the fork holds there alone
  const binding = {
    metadata: { name: "all" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "nobody" }],
  };
  const bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
  assertEquals((await ask(cluster, `${FORKS}/trial${bindings}`, "POST", binding)).status, 201);
  assertEquals([await status(inside, "nobody"), await status(MAPS, "nobody")], [200, 403]);
  // The service account that exists only there
  await ask(cluster, `${FORKS}/trial/api/v1/namespaces/default/serviceaccounts`, "POST", {
    metadata: { name: "own" },
  });
  const { body } = await ask(
    cluster,
    `${FORKS}/trial/api/v1/namespaces/default/serviceaccounts/own/token`,
    "POST",
    { spec: {} },
  );
  assertEquals(await status(inside, body.status.token), 403);
  assertEquals(await status(MAPS, body.status.token), 401);
});

Deno.test("bad descriptions of forks are refused, and so is one too many", async () => {
  await using cluster = await begun({ nodes: 0, components: ["api"] });
  const refused = async (body: unknown) => {
    const { status, body: said } = await ask(cluster, FORKS, "POST", body);
    assertEquals(said.kind, "Status");
    return `${status} ${said.message}`;
  };
  assertStringIncludes(await refused("{"), "400 a fork is described in JSON");
  assertStringIncludes(await refused("[]"), "400 a fork is described by an object");
  assertStringIncludes(await refused({ name: "No!" }), '400 a fork cannot be called "No!"');
  assertStringIncludes(await refused({ seed: "x" }), '400 seed: "x" is no integer');
  assertStringIncludes(await refused({ clock: "sun" }), '400 clock: "sun" is neither');
  assertStringIncludes(await refused({ from: 1 }), "400 from: 1 is not known");
  assertStringIncludes(await refused({ at: "then" }), '400 "then" is neither a revision nor');
  assertStringIncludes(await refused({ name: "x".repeat(5_000) }), "413");
  await ask(cluster, FORKS, "POST", { name: "a" });
  assertEquals(await refused({ name: "a" }), '409 forks.plesio.dev "a" already exists');
  for (let i = 1; i < FORKS_MAX; i++) await ask(cluster, FORKS, "POST", {});
  assertEquals(
    await refused({ name: "more" }),
    `403 forks.plesio.dev "more" is forbidden: there are ${FORKS_MAX} forks already: delete one first`,
  );
});

Deno.test("the audit of a cluster tells of what comes to its forks, under their paths", async () => {
  const file = await Deno.makeTempFile();
  const policy = {
    rules: [{ level: "Metadata" as const, resources: [{ group: "", resources: ["secrets"] }] }],
  };
  {
    await using cluster = await begun({
      nodes: 0,
      front: {
        audit: { policy: { omitStages: ["RequestReceived"], ...policy }, log: { path: file } },
      },
    });
    await ask(cluster, FORKS, "POST", { name: "trial" });
    await ask(cluster, `${FORKS}/trial/api/v1/secrets`);
    await ask(cluster, `/plesio/v1/at/${1}/api/v1/namespaces/default/secrets/none`);
  }
  const lines = (await Deno.readTextFile(file)).trim().split("\n").map((line) => JSON.parse(line));
  const told = lines.filter(({ requestURI }) => requestURI.startsWith("/plesio"));
  assertEquals(
    told.map((e) => [e.requestURI, e.verb, e.objectRef.resource, e.responseStatus.code]),
    [
      [`${FORKS}/trial/api/v1/secrets`, "list", "secrets", 200],
      ["/plesio/v1/at/1/api/v1/namespaces/default/secrets/none", "get", "secrets", 404],
    ],
  );
  assertEquals(new Set(told.map((e) => e.user.username)), new Set(["admin"]));
  await Deno.remove(file);
});

Deno.test("a fork that is being made while its cluster stops is stopped with it", async () => {
  const stopped: string[] = [];
  const coming = Promise.withResolvers<void>();
  const make = async ({ seed }: ForkAsked) => {
    if (seed) await coming.promise;
    const stop = () => Promise.resolve(void stopped.push(`fork ${seed ?? 0}`));
    return { cluster: { stop } as unknown as ForkedCluster, revision: 1 };
  };
  const forks = new Forks({ make, now: () => 0 });
  await forks.create("made", {});
  const made = forks.create("late", { seed: 1 });
  const over = forks.stop();
  await assertRejects(() => forks.create("later", {}), Error, "the cluster is being stopped");
  coming.resolve();
  await Promise.all([made, over]);
  assertEquals(stopped.sort(), ["fork 0", "fork 1"]);
});

Deno.test("forks are stopped though the database that says where they are is away", async () => {
  const stopped: number[] = [];
  const make = ({ seed }: ForkAsked) => {
    const stop = () => Promise.resolve(void stopped.push(seed!));
    return Promise.resolve({ cluster: { stop } as unknown as ForkedCluster, revision: 1 });
  };
  const processes = {
    self: { holder: "a", startedMs: 0 },
    take: () => Promise.resolve(),
    keeperOf: () => Promise.resolve(undefined),
    leave: () => Promise.reject(new Error("the database is away")),
  };
  const forks = new Forks({ make, now: () => 0, processes });
  for (const seed of [1, 2, 3]) await forks.create(`fork-${seed}`, { seed });
  await assertRejects(() => forks.delete("fork-1"), Error, "the database is away");
  assertEquals(stopped, [1]);
  await forks.stop();
  assertEquals(stopped, [1, 2, 3]);
});
