/** What nodes may read where there are many pods: the same as where there are few. */
import { assertEquals } from "@std/assert";
import { Cluster } from "../../mod.ts";
import { PODS_VISITED_MAX } from "../../api/auth/limits.ts";

const ADMIN = { name: "admin", groups: ["system:masters"] };
const PODS = "/api/v1/namespaces/default/pods";

Deno.test("a node reads what its pods need at once, and no longer, however many pods there are", async () => {
  await using cluster = await Cluster.start({ nodes: 0, components: ["api"] });
  const send = async (method: string, path: string, body?: unknown, user = ADMIN) => {
    const init = { method, headers: { "content-type": "application/json" } };
    const request = new Request(`https://x${path}`, {
      ...init,
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const response = await cluster.api.fetch(request, { user });
    await response.body?.cancel();
    return response.status;
  };
  const pod = (name: string, node: string | undefined, secret: string) =>
    send("POST", PODS, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: {
        nodeName: node,
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 0,
        containers: [{ name: "c", image: "x", envFrom: [{ secretRef: { name: secret } }] }],
      },
    });
  /** Whether a node may read a secret: there is none, which only who may read is told. */
  const reads = async (node: string, secret: string) => {
    const user = { name: `system:node:${node}`, groups: ["system:nodes", "system:authenticated"] };
    const path = `/api/v1/namespaces/default/secrets/${secret}`;
    return await send("GET", path, undefined, user) === 404;
  };
  const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default" } };
  await send("POST", "/api/v1/namespaces/default/serviceaccounts", account);
  for (let i = 0; i < PODS_VISITED_MAX; i++) {
    assertEquals(await pod(`filler-${i}`, "full", `of-${i}`), 201);
  }
  // From here on pods are looked up by node first
  assertEquals(await reads("n1", "none"), false);
  for (const name of ["a", "z"]) {
    assertEquals(await reads("n1", name), false);
    assertEquals(await pod(name, "n1", name), 201);
    assertEquals([await reads("n1", name), await reads("n2", name)], [true, false]);
    await cluster.settle();
    assertEquals([await reads("n1", name), await reads("n2", name)], [true, false]);
    assertEquals(await send("DELETE", `${PODS}/${name}?gracePeriodSeconds=0`), 200);
    assertEquals([await reads("n1", name), await reads("full", `of-1`)], [false, true]);
    assertEquals(await pod(name, "n2", name), 201);
    assertEquals([await reads("n1", name), await reads("n2", name)], [false, true]);
    await cluster.settle();
    assertEquals([await reads("n1", name), await reads("n2", name)], [false, true]);
  }
  assertEquals(await pod("late", undefined, "late"), 201);
  await cluster.settle();
  assertEquals(await reads("n3", "late"), false);
  const target = { kind: "Node", name: "n3" };
  const binding = { apiVersion: "v1", kind: "Binding", metadata: { name: "late" }, target };
  assertEquals(await send("POST", `${PODS}/late/binding`, binding), 201);
  assertEquals(await reads("n3", "late"), true);
});
