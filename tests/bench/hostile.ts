/**
 * How a well-behaved client fares beside hostile ones, and whether the server's memory returns.
 *
 * Server, hostile clients and the well-behaved one are processes of their own, over TLS. They are to be as if on machines
 * of their own: the server's event loop has a processor for itself, and on the other one hostile clients have what the
 * well-behaved one leaves. Real-time classes, where they are allowed, see to that nobody waits for whoever comes after it:
 * the well-behaved client, then servers, then everything else. Everything is measured so, the quiet figures too. What the
 * machine adds all the same (caches, memory, interrupts) is seen by sending the same hostile clients to a second server,
 * whose event loop is on their processor (`elsewhere`). Quiet, elsewhere and beside are measured in turn, several times;
 * medians count.
 */
import { type Access, RawConnection } from "../e2e/raw_http.ts";
import { Server } from "../e2e/server.ts";
import { EXPRESSIONS, HOSTILE, PODS, type Target, WIDGET_SCHEMA } from "./hostile_clients.ts";
import { createPods, post } from "./load.ts";
import { median } from "./median.ts";

const NAMESPACE = "/api/v1/namespaces/default";
export const ROUNDS = 5;
/** Processors: that of the server's event loop, and that of clients. */
const SERVER_CPU = "0";
const CLIENTS_CPU = "1";
/** Requests of the well-behaved client in one measurement, where it is served; every fourth is a write. */
const CALM_REQUESTS = 1_000;
/** It asks no longer than this, in ms, however few were answered. */
const CALM_MS_MAX = 10_000;
/** Between two of them, in ms. */
const PACE_MS = 1;
/** A server rests when it has worked for less than this part of so long, in ms; it is waited for that no longer. */
const REST_PART = 0.1;
const REST_EVERY_MS = 500;
const REST_MS_MAX = 15_000;
/** Memory has so long to return, in ms. */
const RETURN_MS_MAX = 30_000;

/** Percentiles in ms. */
export interface Calm {
  get50: number;
  get99: number;
  create99: number;
}

/** What came of one kind. Memory in bytes. */
export interface Beside {
  name: string;
  quiet: Calm;
  elsewhere: Calm;
  beside: Calm;
  before: number;
  most: number;
  after: number;
}

/** A server and who asks it. */
interface Party extends Target, AsyncDisposable {
  calm: Access;
  memory: () => number;
  /** The processor time of its first thread, in ms. */
  workedMs: () => number;
}

let created = 0;

/** One well-behaved client: small reads and writes, one after the other, at a steady pace. */
async function calmly(access: Access): Promise<Calm> {
  const connection = await RawConnection.open(access);
  const gets: number[] = [];
  const creates: number[] = [];
  const until = performance.now() + CALM_MS_MAX;
  for (let i = 0; i < CALM_REQUESTS && performance.now() < until; i++) {
    const write = i % 4 === 3;
    const object = { metadata: { name: `calm-${created++}` }, data: { a: "b" } };
    const since = performance.now();
    const { status } = write
      ? await connection.request(
        "POST",
        `${NAMESPACE}/configmaps`,
        new TextEncoder().encode(JSON.stringify(object)),
      )
      : await connection.request("GET", NAMESPACE);
    (write ? creates : gets).push(performance.now() - since);
    if (status >= 300) throw new Error(`a calm client was answered ${status}`);
    await new Promise((resolve) => setTimeout(resolve, PACE_MS));
  }
  connection.close();
  const at = (all: number[], share: number) => all[Math.floor(all.length * share)];
  for (const all of [gets, creates]) all.sort((a, b) => a - b);
  return { get50: at(gets, 0.5), get99: at(gets, 0.99), create99: at(creates, 0.99) };
}

function middle(all: readonly Calm[]): Calm {
  const of = (key: keyof Calm) => median(all.map((one) => one[key]));
  return { get50: of("get50"), get99: of("get99"), create99: of("create99") };
}

/** A user that is no administrator: a ServiceAccount's token. */
async function account(access: Access, name: string): Promise<Access> {
  const accounts = `${NAMESPACE}/serviceaccounts`;
  await post(access, accounts, { metadata: { name } });
  await post(access, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
    metadata: { name },
    roleRef: {
      apiGroup: "rbac.authorization.k8s.io",
      kind: "ClusterRole",
      name: "calm-and-hostile",
    },
    subjects: [{ kind: "ServiceAccount", name, namespace: "default" }],
  });
  const { status } = await post(access, `${accounts}/${name}/token`, {});
  return { ...access, token: status.token };
}

/** Policies, a kind with rules, and rights to meet them. */
async function prepare(access: Access): Promise<void> {
  await post(access, `${NAMESPACE}/serviceaccounts`, { metadata: { name: "default" } });
  await createPods(access, 16, PODS, "warm");
  await post(access, "/apis/rbac.authorization.k8s.io/v1/clusterroles", {
    metadata: { name: "calm-and-hostile" },
    rules: [{
      apiGroups: ["", "hostile.example.com"],
      resources: ["configmaps", "namespaces", "pods", "widgets"],
      verbs: ["*"],
    }],
  });
  await post(access, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
    metadata: { name: "widgets.hostile.example.com" },
    spec: {
      group: "hostile.example.com",
      scope: "Namespaced",
      names: { plural: "widgets", singular: "widget", kind: "Widget" },
      versions: [{
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: WIDGET_SCHEMA },
      }],
    },
  });
  const admission = "/apis/admissionregistration.k8s.io/v1";
  for (const [name, expression] of Object.entries(EXPRESSIONS)) {
    await post(access, `${admission}/validatingadmissionpolicies`, {
      metadata: { name },
      spec: {
        matchConstraints: {
          objectSelector: { matchLabels: { hostile: name } },
          resourceRules: [{
            apiGroups: [""],
            apiVersions: ["v1"],
            operations: ["CREATE"],
            resources: ["configmaps"],
          }],
        },
        validations: [{ expression }],
      },
    });
    await post(access, `${admission}/validatingadmissionpolicybindings`, {
      metadata: { name },
      spec: { policyName: name, validationActions: ["Deny"] },
    });
  }
}

/** Starts a server whose event loop is on one processor; its helpers (the collector's, of files) are where there is room. */
async function open(cpu: string): Promise<Party> {
  const server = await Server.start({ flags: ["--components", "api", "--memory"] });
  const administrator = server.access;
  await prepare(administrator);
  const calm = await account(administrator, "calm");
  const user = await account(administrator, "hostile");
  const resident = (pid: number) => {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  };
  const pid = (await server.pids()).reduce((a, b) => resident(b) > resident(a) ? b : a);
  await pinned(pid, cpu);
  return {
    administrator,
    calm,
    user,
    memory: () => resident(pid),
    workedMs: () => {
      const stat = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/stat`);
      const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13);
      return (Number(user) + Number(system)) * 10;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Resolves when a server has worked off what was asked of it: else the next quiet figure would not be one. */
async function rested({ workedMs }: Party): Promise<void> {
  const until = performance.now() + REST_MS_MAX;
  for (let before = -Infinity; performance.now() < until;) {
    const now = workedMs();
    if (now - before < REST_EVERY_MS * REST_PART) return;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, REST_EVERY_MS));
  }
}

/** Runs `measure` while hostile clients of a kind, in a process of their own, have a server for themselves. */
async function during<T>(name: string, party: Party, measure: () => Promise<T>): Promise<T> {
  const { administrator, user } = party;
  const program = new URL("hostile_clients.ts", import.meta.url).pathname;
  const idle = ["--cpu-list", CLIENTS_CPU, "chrt", "--idle", "0"];
  const process = new Deno.Command("taskset", {
    args: [...idle, Deno.execPath(), "run", "-A", "--no-check", program],
    env: { HOSTILE: JSON.stringify({ name, target: { administrator, user } }) },
    stdout: "piped",
  }).spawn();
  try {
    const { done } = await process.stdout.getReader().read();
    if (done) throw new Error(`hostile clients ended: ${name}`);
    return await measure();
  } finally {
    process.kill("SIGKILL");
    await process.status;
    await rested(party);
  }
}

async function measureOne(
  name: string,
  { here, other, rounds }: { here: Party; other: Party; rounds: number },
): Promise<Beside> {
  const quiet: Calm[] = [];
  const elsewhere: Calm[] = [];
  const beside: Calm[] = [];
  const before = here.memory();
  let most = before;
  const look = setInterval(() => most = Math.max(most, here.memory()), 250);
  for (let round = 0; round < rounds; round++) {
    quiet.push(await calmly(here.calm));
    elsewhere.push(await during(name, other, () => calmly(here.calm)));
    beside.push(await during(name, here, () => calmly(here.calm)));
  }
  clearInterval(look);
  const until = performance.now() + RETURN_MS_MAX;
  while (here.memory() > before * 1.1 && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  const after = here.memory();
  return {
    name,
    quiet: middle(quiet),
    elsewhere: middle(elsewhere),
    beside: middle(beside),
    before,
    most,
    after,
  };
}

/** Has a process's first thread on one processor from now on; without the means it stays as it is. */
async function pinned(pid: number, cpu: string): Promise<void> {
  await attempted("taskset", ["--cpu-list", "--pid", cpu, String(pid)]);
}

/** How this process, and what it starts from now on, has its processor; the same. */
async function scheduled(policy: string, priority: string): Promise<void> {
  await attempted("chrt", [policy, "--pid", priority, String(Deno.pid)]);
}

async function attempted(program: string, args: string[]): Promise<void> {
  await new Deno.Command(program, { args, stdout: "null" }).output().catch(() => undefined);
}

/** Measures every kind whose name `wants` takes; `told` hears of each. */
export async function hostile(
  told: (found: Beside) => void,
  { wants, rounds = ROUNDS }: { wants: (name: string) => boolean; rounds?: number },
): Promise<void> {
  const kinds = HOSTILE.filter(({ name }) => wants(name));
  if (kinds.length === 0) return;
  // Servers have what this process has when it starts them
  await scheduled("--fifo", "1");
  await using here = await open(SERVER_CPU);
  await using other = await open(CLIENTS_CPU);
  await scheduled("--fifo", "2");
  await pinned(Deno.pid, CLIENTS_CPU);
  await calmly(here.calm);
  for (const { name } of kinds) told(await measureOne(name, { here, other, rounds }));
  await scheduled("--other", "0");
  await pinned(Deno.pid, `0-${navigator.hardwareConcurrency - 1}`);
}

/** One row of the table: p99 of reads and writes, quiet, with the noise elsewhere, beside; then memory. */
export function rowOf({ name, quiet, elsewhere, beside, before, most, after }: Beside): string {
  const ms = (key: keyof Calm) =>
    [quiet, elsewhere, beside].map((one) => one[key].toFixed(2)).join(" | ");
  const mb = [before, most, after].map((bytes) => (bytes / 1e6).toFixed(0)).join(" | ");
  const ratio = (beside.get99 / quiet.get99).toFixed(1);
  return `| ${name} | ${ms("get99")} | ${ratio} | ${ms("create99")} | ${mb} |`;
}

export const HEADER =
  "| beside | get p99 quiet, ms | load elsewhere | beside | ratio | create p99 quiet, ms " +
  "| load elsewhere | beside | memory before, MB | most | after |\n" +
  `|${" --- |".repeat(11)}`;
