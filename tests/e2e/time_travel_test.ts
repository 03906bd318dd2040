/**
 * The real kubectl, given a server under a path of the cluster's: the past, and forks. The one on the PATH (`KUBECTL`),
 * and a newer one where there is (`KUBECTL_NEWER`).
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { runKubectl } from "./kubectl.ts";
import { Server } from "./server.ts";

const PROGRAMS = [Deno.env.get("KUBECTL") ?? "kubectl", Deno.env.get("KUBECTL_NEWER")]
  .filter((program) => program !== undefined);

const POD = `
apiVersion: v1
kind: Pod
metadata: { name: p, labels: { app: p } }
spec: { containers: [{ name: c, image: "nginx:1" }] }
`;

for (const program of PROGRAMS) {
  Deno.test(`${program} sees the past and works in forks by --server`, async () => {
    const server = await Server.start({ flags: ["--runtime", "simulated", "--nodes", "1"] });
    try {
      const run = async (
        line: string,
        { under = "", input }: { under?: string; input?: string } = {},
      ) => {
        const root = under
          ? ["--server", `https://${server.access.hostname}:${server.access.port}${under}`]
          : [];
        const cache = ["--cache-dir", `${server.folder}/cache`];
        const args = [...cache, ...root, ...line.split(" ")];
        const { code, out, err } = await runKubectl(server.kubeconfig, args, { input, program });
        return { code, out: out.trim(), err: err.trim() };
      };
      await run("apply -f -", { input: POD });
      await run("wait --for=condition=Ready pod/p --timeout=60s");
      const rv = (await run("get pod p -o jsonpath={.metadata.resourceVersion}")).out;
      await run("delete pod p --grace-period=0 --force");
      assertStringIncludes((await run("get pods")).err, "No resources found");

      const past = { under: `/plesio/v1/at/${rv}` };
      const rows = (await run("get pods -l app=p", past)).out.split("\n");
      assertEquals([rows.length, rows[1].split(/\s+/).slice(0, 3).join(" ")], [2, "p 1/1 Running"]);
      assertStringIncludes((await run("describe pod p", past)).out, "Image:          nginx:1");
      assertStringIncludes((await run("explain pods.spec.nodeName", past)).out, "nodeName");
      assertStringIncludes((await run("api-resources", past)).out, "deployments");
      const write = await run("delete pod p --wait=false", past);
      assertEquals(write.code, 1);
      assertStringIncludes(write.err, "the past cannot be changed");
      const range = JSON.parse((await run("get --raw /plesio/v1/time")).out);
      assertEquals(range.newest.revision >= Number(rv), true);

      const described = '{"name":"trial"}';
      await run("create --raw /plesio/v1/forks -f -", { input: described });
      const fork = { under: "/plesio/v1/forks/trial" };
      await run("create deployment web --image=nginx:1 --replicas=2", fork);
      const rollout = await run("rollout status deployment/web --timeout=60s", fork);
      assertStringIncludes(rollout.out, "successfully rolled out");
      assertStringIncludes((await run("logs deployment/web", fork)).out, "simulated:");
      await run("apply --server-side -f -", { ...fork, input: POD });
      assertStringIncludes((await run("get pods -o wide", fork)).out, "plesio-0");
      assertStringIncludes((await run("exec p -- ls", fork)).err, "is simulated");
      assertStringIncludes((await run("get deployments")).err, "No resources found");
      await run("delete --raw /plesio/v1/forks/trial");
      assertStringIncludes((await run("get pods", fork)).err, "not found");
    } finally {
      await server.stop();
    }
  });
}
