/**
 * Load over real connections: the same requests the peers were measured with, from this process.
 */
import { type Access, RawConnection } from "../e2e/raw_http.ts";

const encoder = new TextEncoder();

/** A pod of about 3 KB of JSON, as the peers' measurements used. */
export function bigPod(name: string): Record<string, unknown> {
  const annotations: Record<string, string> = {};
  for (let i = 0; i < 20; i++) annotations[`example.com/note-${i}`] = "x".repeat(90);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { app: "bench" }, annotations },
    spec: {
      containers: [{
        name: "c",
        image: "nginx:1.27",
        ports: [{ containerPort: 80 }],
        resources: { requests: { cpu: "10m", memory: "16Mi" } },
      }],
    },
  };
}

/** Runs `count` requests over `connections` connections; answers requests per second. */
export async function pump(
  access: Access,
  connections: number,
  count: number,
  send: (connection: RawConnection, i: number) => Promise<{ status: number; body: Uint8Array }>,
): Promise<number> {
  const all = await Promise.all(
    Array.from({ length: connections }, () => RawConnection.open(access)),
  );
  let next = 0;
  const since = performance.now();
  await Promise.all(all.map(async (connection) => {
    while (next < count) {
      const i = next++;
      const { status, body } = await send(connection, i);
      if (status >= 300) {
        throw new Error(`request ${i}: ${status} ${new TextDecoder().decode(body)}`);
      }
    }
  }));
  const seconds = (performance.now() - since) / 1000;
  for (const connection of all) connection.close();
  return count / seconds;
}

const PODS = "/api/v1/namespaces/default/pods";

/** Creates pods `prefix-0…`. */
export function createPods(
  access: Access,
  connections: number,
  count: number,
  prefix: string,
): Promise<number> {
  return pump(
    access,
    connections,
    count,
    (connection, i) =>
      connection.request("POST", PODS, encoder.encode(JSON.stringify(bigPod(`${prefix}-${i}`)))),
  );
}

/** Reads the same pods round and round. */
export function getPods(
  access: Access,
  connections: number,
  count: number,
  prefix: string,
  pods: number,
): Promise<number> {
  return pump(
    access,
    connections,
    count,
    (connection, i) => connection.request("GET", `${PODS}/${prefix}-${i % pods}`),
  );
}

/** Sets a label by merge patch. */
export function patchPods(
  access: Access,
  connections: number,
  count: number,
  prefix: string,
  pods: number,
): Promise<number> {
  return pump(access, connections, count, (connection, i) =>
    connection.request(
      "PATCH",
      `${PODS}/${prefix}-${i % pods}`,
      encoder.encode(JSON.stringify({ metadata: { labels: { round: `r${i}` } } })),
      "application/merge-patch+json",
    ));
}

/** Small pods in a namespace of their own, for a LIST of the size the peers were measured with. */
export async function fillNamespace(
  access: Access,
  namespace: string,
  count: number,
): Promise<void> {
  await post(access, "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: namespace },
  });
  const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default" } };
  await post(access, `/api/v1/namespaces/${namespace}/serviceaccounts`, account);
  const spec = {
    automountServiceAccountToken: false,
    containers: [{ name: "c", image: "nginx:1.27" }],
  };
  await pump(access, 16, count, (connection, i) => {
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: `small-${i}` }, spec };
    return connection.request(
      "POST",
      `/api/v1/namespaces/${namespace}/pods`,
      encoder.encode(JSON.stringify(pod)),
    );
  });
}

/** Lists that are measured: right after many creates some take three times as long as others. */
export const LISTS = 10;

/** How long a whole LIST takes, in ms, and how many bytes it is. */
export async function listPods(
  access: Access,
  namespace: string,
): Promise<{ bytes: number; best: number; median: number; worst: number }> {
  const connection = await RawConnection.open(access);
  const times: number[] = [];
  let bytes = 0;
  for (let i = 0; i < LISTS; i++) {
    const since = performance.now();
    const { body } = await connection.request("GET", `/api/v1/namespaces/${namespace}/pods`);
    times.push(performance.now() - since);
    bytes = body.length;
  }
  connection.close();
  times.sort((a, b) => a - b);
  return { bytes, best: times[0], median: times[LISTS / 2], worst: times[LISTS - 1] };
}

/** Creates that are sent before those that count. */
const WARM_CREATES = 200;

/** From sending a create to each of `watchers` watchers having its event: percentiles in ms. */
export async function watchLatency(
  access: Access,
  watchers: number,
  creates: number,
): Promise<{ p50: number; p99: number }> {
  // Creates are sent one by one and events come in order: the k-th event is of the k-th create.
  const sentAt: number[] = [];
  const latencies: number[] = [];
  const namespace = "default";
  const revision = await headRevision(access);
  const open: RawConnection[] = [];
  const { promise: all, resolve } = Promise.withResolvers<void>();
  for (let w = 0; w < watchers; w++) {
    const connection = await RawConnection.open(access);
    open.push(connection);
    const follow = async () => {
      let events = 0;
      const path =
        `/api/v1/namespaces/${namespace}/configmaps?watch=true&resourceVersion=${revision}`;
      for await (const piece of connection.stream(path)) {
        const now = performance.now();
        for (let end = piece.indexOf(10); end >= 0; end = piece.indexOf(10, end + 1)) {
          if (events >= WARM_CREATES) latencies.push(now - sentAt[events]);
          events++;
        }
        if (latencies.length === watchers * creates) resolve();
      }
    };
    follow().catch(() => undefined);
  }
  const writer = await RawConnection.open(access);
  // The first ones meet cold code on both sides: they are sent, but not counted.
  for (let i = -WARM_CREATES; i < creates; i++) {
    const name = i < 0 ? `warm-${-i}` : `lag-${i}`;
    const object = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name },
      data: { pad: "x".repeat(2000) },
    };
    sentAt.push(performance.now());
    await writer.request(
      "POST",
      `/api/v1/namespaces/${namespace}/configmaps`,
      encoder.encode(JSON.stringify(object)),
    );
    await new Promise((wait) => setTimeout(wait, 5));
  }
  await all;
  for (const connection of [...open, writer]) connection.close();
  latencies.sort((a, b) => a - b);
  const at = (share: number) =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))];
  return { p50: at(0.5), p99: at(0.99) };
}

async function headRevision(access: Access): Promise<string> {
  const list = await get(access, "/api/v1/namespaces/default/configmaps?limit=1");
  return (list.metadata as { resourceVersion: string }).resourceVersion;
}

/** One request over a connection of its own, and its answer as JSON. */
async function ask(access: Access, method: string, path: string, object?: unknown): Promise<any> {
  const connection = await RawConnection.open(access);
  const sent = object === undefined ? undefined : encoder.encode(JSON.stringify(object));
  const { status, body } = await connection.request(method, path, sent);
  const text = new TextDecoder().decode(body);
  connection.close();
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
  return JSON.parse(text);
}

/** One GET. */
export const get = (access: Access, path: string): Promise<Record<string, unknown>> =>
  ask(access, "GET", path);

/** One POST. */
export const post = (access: Access, path: string, object: unknown): Promise<any> =>
  ask(access, "POST", path, object);

/**
 * Creates Deployments and waits until all their pods are bound, then until all run. Rates are pods per second
 * from the first create.
 */
export async function deploy(
  access: Access,
  deployments: number,
  replicas: number,
  prefix = "load",
): Promise<{ bound: number; running: number }> {
  const total = deployments * replicas;
  const revision = (await get(access, "/api/v1/namespaces/default/pods?limit=1")).metadata as {
    resourceVersion: string;
  };
  const watch = await RawConnection.open(access);
  const bound = new Set<string>();
  const running = new Set<string>();
  const since = performance.now();
  let boundSeconds = 0;
  for (let d = 0; d < deployments; d++) {
    await post(
      access,
      "/apis/apps/v1/namespaces/default/deployments",
      deployment(`${prefix}-${d}`, replicas),
    );
  }
  const decoder = new TextDecoder();
  let held = "";
  const path =
    `/api/v1/namespaces/default/pods?watch=true&resourceVersion=${revision.resourceVersion}&labelSelector=load`;
  for await (const piece of watch.stream(path)) {
    held += decoder.decode(piece, { stream: true });
    for (let end; (end = held.indexOf("\n")) >= 0; held = held.slice(end + 1)) {
      const { metadata, spec, status } = JSON.parse(held.slice(0, end)).object;
      if (!metadata.name.startsWith(`${prefix}-`)) continue;
      if (spec.nodeName) bound.add(metadata.name);
      if (status?.phase === "Running") running.add(metadata.name);
    }
    if (bound.size >= total && boundSeconds === 0) {
      boundSeconds = (performance.now() - since) / 1000;
    }
    if (running.size >= total) break;
  }
  watch.close();
  return { bound: total / boundSeconds, running: total / ((performance.now() - since) / 1000) };
}

function deployment(name: string, replicas: number): unknown {
  const labels = { app: name, load: "1" };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels },
        spec: {
          containers: [{
            name: "c",
            image: "nginx:1.27",
            resources: { requests: { cpu: "10m", memory: "10Mi" } },
          }],
        },
      },
    },
  };
}
