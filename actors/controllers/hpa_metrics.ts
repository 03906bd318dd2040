/**
 * Where an autoscaler's figures come from: the three metrics APIs, read like everything else through the API
 * server, which passes them on to whoever registered for them (`metrics.k8s.io` it answers itself).
 * Amounts are thousandths.
 *
 * Behaviour matched: pkg/controller/podautoscaler/metrics/client.go, v1.36, and the clients of k8s.io/metrics.
 */
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { parseDuration } from "../../api/machinery/time.ts";
import type { Json } from "../../api/machinery/types.ts";
import { userOfAccount } from "../runtime/mod.ts";
import type { PodMetrics } from "./hpa_calculator.ts";
import { timeOf } from "./objects.ts";
import type { ControllerPorts } from "./ports.ts";

const CUSTOM = "custom.metrics.k8s.io";
/** What an averaged figure spans where the API does not say. */
const WINDOW_MS = 60_000;
/** Versions of the custom API that are understood, the best first. */
const CUSTOM_VERSIONS = [`${CUSTOM}/v1beta2`, `${CUSTOM}/v1beta1`];

/** The object that a metric describes. */
export interface Described {
  apiVersion?: string;
  kind: string;
  name: string;
}

/** What an autoscaler can ask. Each rejects with upstream's sentence. */
export interface MetricsReader {
  /** A resource's use by each pod, or by one container of each. */
  resource(
    resource: string,
    of: { namespace: string; selector: string; container?: string },
  ): Promise<PodMetrics>;
  /** A metric of each pod. */
  pods(
    metric: string,
    of: { namespace: string; selector: string; metricSelector: string },
  ): Promise<PodMetrics>;
  /** A metric of one object. */
  object(
    metric: string,
    of: { namespace: string; object: Described; metricSelector: string },
  ): Promise<number>;
  /** The values of a metric of nothing in the cluster. */
  external(
    metric: string,
    of: { namespace: string; metricSelector: string },
  ): Promise<readonly number[]>;
}

interface PodUse {
  metadata: { name: string };
  timestamp: string;
  window: string;
  containers: readonly { name: string; usage: Record<string, string> }[];
}

interface CustomValue {
  describedObject: { name: string };
  timestamp: string;
  windowSeconds?: number;
  window?: number;
  value: string;
}

/** The reader over the ports, with the rights of an account. */
export function metricsReader(
  ports: Pick<ControllerPorts, "read" | "kinds">,
  account: string,
): MetricsReader {
  const list = async <T>(path: string, query: Record<string, string>, asked: string) => {
    const given = Object.entries(query).filter(([, value]) => value !== "");
    const search = new URLSearchParams(given).toString();
    return await items<T>(ports, account, search ? `${path}?${search}` : path, asked);
  };
  return {
    async resource(resource, { namespace, selector, container }) {
      const path = `/apis/metrics.k8s.io/v1beta1/namespaces/${namespace}/pods`;
      const found = await named(
        "resource",
        () => list<PodUse>(path, { labelSelector: selector }, "get pods.metrics.k8s.io"),
      );
      return podUses(found, resource, container);
    },
    async pods(metric, { namespace, selector, metricSelector }) {
      const found = await named("custom", async () => {
        const version = await customVersion(ports, account);
        const path = `/apis/${version}/namespaces/${namespace}/pods/*/${
          encodeURIComponent(metric)
        }`;
        const query = { labelSelector: selector, metricLabelSelector: metricSelector };
        return await list<CustomValue>(path, query, `get pods.${CUSTOM} *`);
      });
      return new Map(found.map((one) => [one.describedObject.name, {
        value: parseQuantity(one.value).milliValue(),
        at: timeOf(one.timestamp),
        windowMs: windowOf(one),
      }]));
    },
    async object(metric, { namespace, object, metricSelector }) {
      const found = await named("custom", async () => {
        const version = await customVersion(ports, account);
        const plural = resourceOf(ports, object);
        const where = plural === "namespaces"
          ? `namespaces/${namespace}/metrics`
          : `namespaces/${namespace}/${plural}/${encodeURIComponent(object.name)}`;
        const path = `/apis/${version}/${where}/${encodeURIComponent(metric)}`;
        const asked = `get ${plural}.${CUSTOM} ${object.name}`;
        const values = await list<CustomValue>(
          path,
          { metricLabelSelector: metricSelector },
          asked,
        );
        if (values.length === 1) return values;
        throw new Error(
          `the custom metrics API server returned ${values.length} results when we asked for exactly one`,
        );
      });
      return parseQuantity(found[0].value).milliValue();
    },
    async external(metric, { namespace, metricSelector }) {
      const name = encodeURIComponent(metric);
      const path = `/apis/external.metrics.k8s.io/v1beta1/namespaces/${namespace}/${name}`;
      const found = await named("external", () =>
        list<{ value: string }>(
          path,
          { labelSelector: metricSelector },
          `get ${metric}.external.metrics.k8s.io`,
        ));
      return found.map(({ value }) => parseQuantity(value).milliValue());
    },
  };
}

/** Says of a failure which API it came from; no items are one. */
async function named<T>(api: string, ask: () => Promise<readonly T[]>): Promise<readonly T[]> {
  let found: readonly T[];
  try {
    found = await ask();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`unable to fetch metrics from ${api} metrics API: ${text}`);
  }
  if (found.length === 0) throw new Error(`no metrics returned from ${api} metrics API`);
  return found;
}

async function items<T>(
  ports: Pick<ControllerPorts, "read">,
  account: string,
  path: string,
  asked: string,
): Promise<readonly T[]> {
  const body = await read(ports, { account, path, asked });
  return (body.items ?? []) as unknown as readonly T[];
}

async function read(
  { read }: Pick<ControllerPorts, "read">,
  { account, path, asked }: { account: string; path: string; asked: string },
): Promise<{ [key: string]: Json }> {
  if (!read) throw new Error(`the server could not find the requested resource (${asked})`);
  const response = await read(path, userOfAccount(account));
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  if (response.ok && typeof body === "object" && body !== null) {
    return body as { [key: string]: Json };
  }
  const status = body as { kind?: string; message?: string } | undefined;
  // As client-go words what is no Status.
  if (status?.kind === "Status" && status.message) throw new Error(status.message);
  if (response.status === 404) {
    throw new Error(`the server could not find the requested resource (${asked})`);
  }
  if (response.status === 503) {
    throw new Error(`the server is currently unable to handle the request (${asked})`);
  }
  throw new Error(
    `an error on the server (${
      JSON.stringify(text.trim())
    }) has prevented the request from succeeding (${asked})`,
  );
}

async function customVersion(ports: Pick<ControllerPorts, "read">, account: string) {
  let group: { [key: string]: Json };
  try {
    group = await read(ports, { account, path: `/apis/${CUSTOM}`, asked: "get" });
  } catch {
    throw new Error(`no custom metrics API (${CUSTOM}) registered`);
  }
  const preferred = (group.preferredVersion as { groupVersion?: string } | undefined)?.groupVersion;
  const served = (group.versions as { groupVersion: string }[] | undefined ?? [])
    .map(({ groupVersion }) => groupVersion);
  const found = [preferred ?? "", ...served].find((version) => CUSTOM_VERSIONS.includes(version));
  if (!found) throw new Error("no known available metric versions found");
  return found;
}

function resourceOf({ kinds }: Pick<ControllerPorts, "kinds">, { apiVersion, kind }: Described) {
  const group = apiVersion?.includes("/") ? apiVersion.split("/")[0] : "";
  const found = kinds.all().find((one) => one.group === group && one.kind === kind);
  if (found) return group ? `${found.plural}.${group}` : found.plural;
  const name = group ? `${kind}.${group}` : kind;
  throw new Error(
    `unable to map kind ${name} to resource: no matches for kind "${kind}" in group "${group}"`,
  );
}

function windowOf({ windowSeconds, window }: CustomValue): number {
  const seconds = windowSeconds ?? window;
  return seconds === undefined ? WINDOW_MS : seconds * 1000;
}

/** The use of each pod that is known in full. */
function podUses(found: readonly PodUse[], resource: string, container?: string): PodMetrics {
  const uses: PodMetrics = new Map();
  for (const pod of found) {
    const counted = container ? pod.containers.filter((c) => c.name === container) : pod.containers;
    if (counted.length === 0 || counted.some((c) => c.usage[resource] === undefined)) continue;
    const amounts = counted.map((c) => parseQuantity(c.usage[resource]).milliValue());
    uses.set(pod.metadata.name, {
      value: amounts.reduce((sum, amount) => sum + amount, 0),
      at: timeOf(pod.timestamp),
      windowMs: parseDuration(pod.window),
    });
  }
  return uses;
}
