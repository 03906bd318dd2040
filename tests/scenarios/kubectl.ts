/**
 * The stage in real time: kubectl against a cluster in a process of its own, as a person would.
 */
import type { KubeObject } from "../../api/machinery/types.ts";
import { kubectl as run } from "../e2e/kubectl.ts";
import { Server } from "../e2e/server.ts";
import type { Scenario, Stage } from "./scenario.ts";

/** How long to look away before looking again. */
const LOOK_EVERY_MS = 200;

/** Starts a cluster for a scenario. */
export async function openKubectl(
  { cluster: { nodes = 3 } = {} }: Scenario,
): Promise<Stage & AsyncDisposable> {
  const server = await Server.start({
    flags: ["--memory", "--nodes", String(nodes), "--runtime", "simulated"],
  });
  const kubectl = (args: string[], input?: object) => run(server.kubeconfig, args, input);
  const within = (namespace: string | undefined) => ["-n", namespace ?? "default"];
  return {
    async apply(object) {
      await kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], object);
    },
    async create(object) {
      await kubectl(["create", "-f", "-"], object);
    },
    async patch({ of, namespace, type = "merge", subresource, with: body }) {
      const at = subresource ? [`--subresource=${subresource}`] : [];
      const patch = ["--type", type, "-p", JSON.stringify(body)];
      await kubectl(["patch", of, ...within(namespace), ...at, ...patch]);
    },
    async delete({ of, namespace, propagation = "Background", gracePeriodSeconds }) {
      const grace = gracePeriodSeconds === undefined
        ? []
        : [`--grace-period=${gracePeriodSeconds}`];
      const how = [`--cascade=${propagation.toLowerCase()}`, "--wait=false", ...grace];
      await kubectl(["delete", of, ...within(namespace), ...how]);
    },
    async evict(of) {
      const name = of.split("/")[1];
      const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name } };
      const path = `/api/v1/namespaces/default/pods/${name}/eviction`;
      await kubectl(["create", "--raw", path, "-f", "-"], eviction);
    },
    async undo({ of, toRevision = 0 }) {
      await kubectl(["rollout", "undo", of, `--to-revision=${toRevision}`]);
    },
    async get(of, namespace) {
      const args = ["get", of, ...within(namespace), "--ignore-not-found", "-o", "json"];
      const text = await kubectl(args);
      return text ? JSON.parse(text) as KubeObject : undefined;
    },
    async list(kind, namespace, labels) {
      const select = labels ? ["-l", labels] : [];
      return JSON.parse(await kubectl(["get", kind, ...within(namespace), ...select, "-o", "json"]))
        .items;
    },
    advance: () => Promise.resolve(false),
    off: () => Promise.reject(new TypeError("a real cluster is not switched off")),
    async wait() {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      return LOOK_EVERY_MS;
    },
    [Symbol.asyncDispose]: async () => void await server.stop(),
  };
}
