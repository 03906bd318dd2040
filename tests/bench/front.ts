/** The front's own figures: what auditing costs, how well-behaved clients fare beside hostile ones. */
import http2 from "node:http2";
import { type Access, RawConnection } from "../e2e/raw_http.ts";
import { Server } from "../e2e/server.ts";
import { createPods, post } from "./load.ts";

const POLICY = `apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: Metadata
`;

/** Rounds that are measured each way, in turn. */
const ROUNDS = 3;

async function withAccount(server: Server): Promise<void> {
  await post(server.access, "/api/v1/namespaces/default/serviceaccounts", {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default" },
  });
  await createPods(server.access, 16, 1500, "warm");
}

/** Creates per second without audit, and with it at Metadata to a file: the best of the rounds, taken in turn. */
export async function auditCost(): Promise<{ off: number; on: number }> {
  const folder = await Deno.makeTempDir({ prefix: "plesio-audit-" });
  await Deno.writeTextFile(`${folder}/policy.yaml`, POLICY);
  await using off = await Server.start({ flags: ["--components", "api"] });
  await using on = await Server.start({
    flags: [
      "--components",
      "api",
      "--audit-policy-file",
      `${folder}/policy.yaml`,
      "--audit-log-path",
      `${folder}/audit.log`,
    ],
  });
  const best = { off: 0, on: 0 };
  await withAccount(off);
  await withAccount(on);
  for (let round = 0; round < ROUNDS; round++) {
    best.off = Math.max(best.off, await createPods(off.access, 16, 3000, `off-${round}`));
    best.on = Math.max(best.on, await createPods(on.access, 16, 3000, `on-${round}`));
  }
  await Deno.remove(folder, { recursive: true });
  return best;
}

/** Watches that are opened, over how many connections. */
const IDLE_WATCHES = 10_000;
const STREAMS = 100;
/** Connections of a flood. */
const FLOOD_CONNECTIONS = 64;
const LIST_CONNECTIONS = 16;
/** Requests of the well-behaved client in one measurement. */
const CALM_REQUESTS = 1_000;

/** p99 of a client that asks one small thing after the other, in ms. */
async function calmly(access: Access): Promise<number> {
  const connection = await RawConnection.open(access);
  const took: number[] = [];
  for (let i = 0; i < CALM_REQUESTS; i++) {
    const since = performance.now();
    await connection.request("GET", "/api/v1/namespaces/default");
    took.push(performance.now() - since);
  }
  connection.close();
  return took.sort((a, b) => a - b)[Math.floor(CALM_REQUESTS * 0.99)];
}

/** Opens watches over HTTP/2; what is returned closes them. */
async function idleWatches(access: Access): Promise<() => void> {
  const sessions: http2.ClientHttp2Session[] = [];
  for (let s = 0; s < IDLE_WATCHES / STREAMS; s++) {
    const session = http2.connect(`https://${access.hostname}:${access.port}`, {
      ca: access.caPem,
      cert: access.certificatePem,
      key: access.keyPem,
    });
    session.on("error", () => session.destroy());
    sessions.push(session);
    await Promise.all(Array.from({ length: STREAMS }, () =>
      new Promise<void>((resolve, reject) => {
        const path = "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0";
        const stream = session.request({ ":path": path });
        stream.on("response", () => resolve());
        stream.on("error", reject);
        stream.resume();
      })));
  }
  return () => sessions.forEach((session) => session.destroy());
}

/** What a flood asks for, as whom, over how many connections. */
interface Flood {
  access: Access;
  path: string;
  connections: number;
}

const ONE_POD = "/api/v1/namespaces/default/pods/warm-0";
const ALL_PODS = "/api/v1/namespaces/default/pods";

/** Runs `measure` while somebody else, from a process of its own, asks as fast as it is answered. */
async function besideFlood<T>(flood: Flood, measure: () => Promise<T>): Promise<T> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", new URL(import.meta.url).pathname, "flood"],
    env: { FLOOD: JSON.stringify(flood) },
    stdout: "piped",
  }).spawn();
  // It says one word when it is at full speed
  await process.stdout.getReader().read();
  try {
    return await measure();
  } finally {
    process.kill("SIGKILL");
    await process.status;
  }
}

/** A user that is no administrator, as a certificate's request would be too long here: a ServiceAccount's token. */
async function reader(access: Access, name: string): Promise<Access> {
  const accounts = "/api/v1/namespaces/default/serviceaccounts";
  await post(access, accounts, { metadata: { name } });
  await post(access, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
    metadata: { name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
    subjects: [{ kind: "ServiceAccount", name, namespace: "default" }],
  });
  const connection = await RawConnection.open(access);
  const { body } = await connection.request(
    "POST",
    `${accounts}/${name}/token`,
    new TextEncoder().encode("{}"),
  );
  const { status } = JSON.parse(new TextDecoder().decode(body));
  connection.close();
  return { ...access, token: status.token };
}

/** How a well-behaved client fares: alone, beside idle watches, beside a flood; and memory, before and after. */
export async function hostile() {
  await using server = await Server.start({ flags: ["--components", "api", "--memory"] });
  const { access } = server;
  await withAccount(server);
  const calm = await reader(access, "calm");
  const other = await reader(access, "other");
  await calmly(calm);
  const memory = await server.memory();
  const quiet = await calmly(calm);
  const close = await idleWatches(access);
  const watched = await calmly(calm);
  const most = await server.memory();
  close();
  const beside = (access: Access, path: string, connections = FLOOD_CONNECTIONS) =>
    besideFlood({ access, path, connections }, () => calmly(calm));
  const flooded = await beside(other, ONE_POD);
  const floodedByAdministrator = await beside(access, ONE_POD);
  const floodedWithLists = await beside(other, ALL_PODS, LIST_CONNECTIONS);
  // Memory goes back when the engine has nothing else to do
  let after = await server.memory();
  for (let i = 0; i < 30 && after > memory * 1.5; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    after = await server.memory();
  }
  const floods = { flooded, floodedByAdministrator, floodedWithLists };
  return { quiet, watched, ...floods, memory, most, after };
}

if (import.meta.main && Deno.args[0] === "flood") {
  const { access, path, connections } = JSON.parse(Deno.env.get("FLOOD")!) as Flood;
  await Promise.all(Array.from({ length: connections }, async (_, i) => {
    const connection = await RawConnection.open(access);
    for (let n = 0;; n++) {
      await connection.request("GET", path);
      if (i === 0 && n === 2) console.log("flooding");
    }
  }));
} else if (import.meta.main) console.log(await auditCost(), await hostile());
