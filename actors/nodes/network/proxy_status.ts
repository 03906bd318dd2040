/**
 * What a machine's service proxy says of itself, at kube-proxy's ports: an actor that answers `/healthz` and `/livez` at
 * 10256, and `/healthz`, `/proxyMode` and `/metrics` at 10249. Form and words are kube-proxy's (pkg/proxy/healthcheck).
 *
 * Only programs of the machine are answered. Where somebody else has a port already (a kube-proxy, another cluster's
 * proxy), it stays his.
 */
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import type { Behaviour } from "../../runtime/contract.ts";
import { NODES } from "../types.ts";
import type { ProxyMetrics } from "./proxy_metrics.ts";

const HOSTNAME = "127.0.0.1";
const HEALTH_PORT = 10256;
const STATUS_PORT = 10249;

/** So long may what has changed wait for its rules: twice the time after which kube-proxy writes all of them anew. */
const HEALTH_TIMEOUT_MS = 60_000;
/** The autoscaler takes a node away that has it: load balancers are to lead nobody there. */
const TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler";

/** What is told. */
export interface ProxyStatus {
  /** kube-proxy's word for how it proxies. */
  mode: string;
  /** The machine's node; of several, the first. */
  node: string;
  metrics: ProxyMetrics;
}

type Answer = (path: string) => Response;

/** The actor: `proxy/status`. */
export function proxyStatus(told: ProxyStatus): Behaviour<Deno.HttpServer[]> {
  return {
    start({ informers, clock, log }) {
      const node = informers.for(NODES);
      const answers: [number, Answer][] = [
        [HEALTH_PORT, (path) => health(path, told.metrics, node.get(told.node), clock.now())],
        [STATUS_PORT, (path) => status(path, told)],
      ];
      return answers.flatMap(([port, answer]) => {
        try {
          const options = { hostname: HOSTNAME, port, onListen: () => undefined };
          return [Deno.serve(options, ({ url }) => answer(new URL(url).pathname))];
        } catch (error) {
          log("debug", "the proxy does not tell of itself", { port, error: String(error) });
          return [];
        }
      });
    },
    handle: () => undefined,
    async stop(servers) {
      await Promise.all(servers.map((server) => server.shutdown()));
    },
  };
}

const notFound = () => new Response("404 page not found\n", { status: 404 });
const plain = (text: string) =>
  new Response(text, {
    headers: { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" },
  });

/** What is answered at 10249. */
export function status(path: string, { mode, metrics }: ProxyStatus): Response {
  if (path === "/healthz") return plain("ok");
  if (path === "/proxyMode") return plain(mode);
  return path === "/metrics" ? plain(metrics.text()) : notFound();
}

/** What is answered at 10256: `/livez` tells of the proxy, `/healthz` also whether the node is to be led to. */
export function health(
  path: string,
  metrics: ProxyMetrics,
  node: DeepReadonly<KubeObject> | undefined,
  now: number,
): Response {
  if (path !== "/healthz" && path !== "/livez") return notFound();
  const { families, lastMs, failingSinceMs } = metrics.health();
  const healthy = failingSinceMs === undefined || now - failingSinceMs < HEALTH_TIMEOUT_MS;
  const nodeEligible = path === "/healthz" ? isEligible(node) : undefined;
  const good = healthy && nodeEligible !== false;
  const iso = (ms: number | undefined) => new Date(ms ?? 0).toISOString();
  const each = { lastUpdated: iso(lastMs), healthy };
  const body = {
    // As upstream: now, where all is well
    lastUpdated: iso(good ? now : lastMs),
    currentTime: iso(now),
    nodeEligible,
    healthy,
    status: lastMs === undefined
      ? undefined
      : Object.fromEntries(families.map((family) => [family, each])),
  };
  return Response.json(body, {
    status: good ? 200 : 503,
    headers: { "x-content-type-options": "nosniff" },
  });
}

function isEligible(node: DeepReadonly<KubeObject> | undefined): boolean {
  if (!node || node.metadata.deletionTimestamp) return false;
  const taints = node.spec?.taints as readonly { key: string }[] | undefined;
  return !taints?.some(({ key }) => key === TO_BE_DELETED);
}
