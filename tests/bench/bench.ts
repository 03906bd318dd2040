/**
 * `deno task bench [--only REGEXP] [--json FILE] [--rounds N]`: the figures of the README, all in one run, over TLS and
 * a durable SQLite file, load generator included. Prints a table and, if asked, JSON.
 *
 * The columns beside ours are what kube-apiserver 1.20 with etcd 3.4 reached on such a machine, and the floor
 * and aim we set ourselves. Rows that end in "guarded" are of a user with rights by RBAC, audited at Metadata, under an
 * admission policy (`guarded.ts`).
 */
import { parseArgs } from "node:util";
import {
  createPods,
  deploy,
  fillNamespace,
  getPods,
  listPods,
  LISTS,
  patchPods,
  post,
  watchLatency,
} from "./load.ts";
import type { Access } from "../e2e/raw_http.ts";
import { Server } from "../e2e/server.ts";
import { startGuarded } from "./guarded.ts";
import { auditCost } from "./audit_cost.ts";
import { backendRates } from "./backends.ts";
import { dashboardFigures, LIST_PODS, MAP_PODS, MOVING_PODS } from "./dashboard.ts";
import { forkFigures } from "./forks.ts";
import { HEADER, hostile as besideHostile, ROUNDS, rowOf } from "./hostile.ts";
import { allReadyMs, startMs } from "./isolates.ts";
import { containerStarts } from "./containers.ts";
import { serviceRulesMs, SERVICES } from "./services.ts";
import { NODES, schedulingRate, WORKLOADS } from "./scheduling.ts";

interface Row {
  name: string;
  unit: string;
  peer?: number;
  floor: number;
  aim: number;
  value: number;
}

const { values: options } = parseArgs({
  args: Deno.args,
  options: { only: { type: "string" }, json: { type: "string" }, rounds: { type: "string" } },
});
const only = options.only ? new RegExp(options.only) : undefined;
const rows: Row[] = [];
/** Of hostile clients: everything that was measured. */
const details: string[] = [];

function note(
  name: string,
  unit: string,
  value: number,
  peer: number | undefined,
  floor: number,
  aim: number,
): void {
  rows.push({ name, unit, value, peer, floor, aim });
  console.error(`${name}: ${value.toFixed(value < 10 ? 2 : 0)} ${unit}`);
}

/** `--only` names groups: api, backends, front, `hostile NAME`, scheduling, `workloads NAME`, starts, virtual, forks, dashboard, services, isolates, containers. */
const wants = (name: string) => !only || only.test(name);

async function api(): Promise<void> {
  {
    await using server = await Server.start({ flags: ["--components", "api"] });
    await requests(server, server.access, "");
  }
  await using guarded = await startGuarded();
  await requests(guarded.server, guarded.access, ", guarded");
}

/** The API alone. `which` marks the rows of a server with RBAC, audit and a policy at work. */
async function requests(server: Server, access: Access, which: string): Promise<void> {
  // Its controllers would have made it.
  await post(server.access, "/api/v1/namespaces/default/serviceaccounts", {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default" },
  });
  await createPods(access, 16, 1500, "warm");
  const many = await createPods(access, 16, 6000, "many");
  note(`create/s${which}`, "/s", many, 1270, 1500, 3800);
  const one = await createPods(access, 1, 1000, "one");
  note(`create/s, one connection${which}`, "/s", one, 577, 700, 1400);
  await getPods(access, 16, 3000, "many", 6000);
  const gets = await getPods(access, 16, 20_000, "many", 6000);
  note(`get/s${which}`, "/s", gets, 3300, 6000, 12_500);
  const patches = await patchPods(access, 16, 8000, "many", 6000);
  note(`merge patch/s${which}`, "/s", patches, 1000, 1500, 4500);
  await fillNamespace(access, "small", 8500);
  const { bytes, best, median, worst } = await listPods(access, "small");
  const size = (bytes / 1e6).toFixed(0);
  note(`LIST of 8,500 pods, ${size} MB, best of ${LISTS}${which}`, "ms", best, 177, 130, 80);
  note(`the same, median${which}`, "ms", median, 177, 130, 80);
  note(`the same, worst${which}`, "ms", worst, 177, 260, 130);
  const lag = await watchLatency(access, 50, 400);
  note(`50 watchers, create to event, p99${which}`, "ms", lag.p99, 6.4, 6, 2);
  note(`memory of the API after that${which}`, "MB", await server.memory() / 1e6, 1130, 700, 300);
}

async function backends(): Promise<void> {
  for await (const { name, many, one } of backendRates()) {
    note(`create/s over ${name}`, "/s", many, undefined, 500, 3000);
    note("the same, one connection", "/s", one, undefined, 150, 1000);
  }
}

async function front(): Promise<void> {
  const { off, on } = await auditCost();
  note("create/s, not audited", "/s", off, undefined, 1500, 3800);
  note("create/s, audited at Metadata to a file", "/s", on, undefined, 1350, 3800);
}

/** A well-behaved client beside each kind of hostile ones; the bound is twice what it has alone. */
async function hostile(): Promise<void> {
  await besideHostile((found) => {
    const row = rowOf(found);
    details.push(row);
    console.error(row);
    const { name, quiet, elsewhere, beside, before, most, after } = found;
    note(`a calm client's p99 beside ${name}`, "ms", beside.get99, undefined, 2 * quiet.get99, 1);
    note("the same, load elsewhere", "ms", elsewhere.get99, undefined, 2 * quiet.get99, 1);
    note("memory at its most", "MB", most / 1e6, undefined, 700, 300);
    note("memory after they have gone", "MB", after / 1e6, undefined, 1.5 * before / 1e6, 300);
  }, { wants: (name) => wants(`hostile ${name}`), rounds: Number(options.rounds) || ROUNDS });
}

async function scheduling(): Promise<void> {
  {
    await using server = await Server.start({
      flags: ["--nodes", "100", "--runtime", "simulated"],
    });
    const { bound, running } = await deploy(server.access, 1, 2000);
    note("Deployment of 2,000 on 100 nodes, bound/s", "/s", bound, 400, 600, 2000);
    note("the same, running/s", "/s", running, undefined, 600, 2000);
  }
  await using server = await Server.start({ flags: ["--nodes", "1000", "--runtime", "simulated"] });
  const { bound, running } = await deploy(server.access, 5, 1000);
  note("5 Deployments of 1,000 on 1,000 nodes, bound/s", "/s", bound, 140, 300, 1500);
  note("the same, running/s", "/s", running, undefined, 300, 1500);
  note("memory after that, whole control plane", "MB", await server.memory() / 1e6, 1300, 700, 300);
}

/** Kubernetes' own scheduling workloads; beside each, what kube-scheduler must reach in its own CI. */
async function workloads(): Promise<void> {
  for (const workload of WORKLOADS) {
    const { name, pods, upstream, floor } = workload;
    if (!wants(`workloads ${name}`)) continue;
    const title = `${pods.toLocaleString("en")} pods on ${
      NODES.toLocaleString("en")
    } nodes, ${name}`;
    const rate = await schedulingRate(workload);
    note(`${title}, bound/s`, "/s", rate, upstream, floor, 2 * floor);
  }
}

async function starts(): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "plesio-bench-" });
  const first = await Server.start({ folder });
  note("ready, first start", "s", first.readyMs / 1000, 4.3, 2, 0.5);
  await first.stop();
  const again = await Server.start({ folder });
  note("ready, restart", "s", again.readyMs / 1000, 4.3, 2, 0.5);
  await post(again.access, "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "x" },
  });
  await again.stop();
  await Deno.remove(folder, { recursive: true });
  const { Cluster } = await import("../../mod.ts");
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const since = performance.now();
    const cluster = await Cluster.start({ nodes: 2 });
    times.push(performance.now() - since);
    await cluster.stop();
  }
  note("in-process cluster ready, first", "ms", times[0], undefined, 150, 50);
  note(
    "in-process cluster ready, median of 5",
    "ms",
    times.sort((a, b) => a - b)[2],
    undefined,
    150,
    50,
  );
}

/** Clusters under the virtual clock, in this process; every run is checked (`cron_year.ts` says what they are). */
async function virtual(): Promise<void> {
  const { runCron } = await import("../scenarios/cron_year.ts");
  const from = Date.UTC(2026, 0, 1, 5);
  const year = await runCron({ from, days: 365 });
  note("a year of CronJobs every five minutes, 105,120", "s", year.ms / 1000, undefined, 60, 45);
  const week = await runCron({ from: Date.UTC(2026, 2, 5, 5), days: 7, pods: true });
  note("a week of them with pods on a node, 2,016", "s", week.ms / 1000, undefined, 60, 15);
}

/** Forks of a cluster in this process, of 10,000 objects. */
async function forks(): Promise<void> {
  const found = await forkFigures();
  note("fork of 10,000 objects, first", "ms", found.firstMs, undefined, 10, 5);
  note("fork of 10,000 objects, median of 200", "ms", found.medianMs, undefined, 10, 1);
  note("200 forks and what they come from", "MB", found.untouchedMB, undefined, 1_000, 300);
  note("the same, each asked once and at rest", "MB", found.touchedMB, undefined, 1_000, 500);
  note("first request to a fork", "ms", found.firstRequestMs, undefined, 50, 5);
  note("a fork at rest after that", "ms", found.settleMs, undefined, 250, 50);
}

/** What somebody waits for who looks at the dashboard, in Chromium on this machine. */
async function dashboard(): Promise<void> {
  const found = await dashboardFigures();
  if (typeof found === "string") return console.error(`dashboard: skipped, ${found}`);
  const [map, list] = [MAP_PODS, LIST_PODS].map((count) => count.toLocaleString("en"));
  note("dashboard, first contentful paint, median of 5", "ms", found.paintMs, undefined, 1000, 300);
  note(`map of ${map} pods, longest task at opening`, "ms", found.mapOpensMs, undefined, 200, 50);
  note(`the same, while ${MOVING_PODS} pods start`, "ms", found.mapMovesMs, undefined, 200, 50);
  note("pictures meanwhile", "/s", found.mapFrames, undefined, 30, 60);
  note(`list of ${list} pods, longest task at scrolling`, "ms", found.scrollMs, undefined, 200, 50);
  note("pictures meanwhile", "/s", found.scrollFrames, undefined, 30, 60);
}

/** What a change of services costs where the kernel carries their packets. */
async function services(): Promise<void> {
  const times = await serviceRulesMs();
  if (!times) return console.error("services: skipped, rules of the kernel need Linux and root");
  const count = SERVICES.toLocaleString("en");
  note(`rules of ${count} services, all`, "s", times.all / 1000, undefined, 5, 1);
  note("the same, one service more", "ms", times.one, undefined, 100, 25);
}

/** Pods that are processes of this machine. */
async function isolates(): Promise<void> {
  {
    await using server = await Server.start({ flags: ["--nodes", "2", "--runtime", "isolate"] });
    const one = await startMs(server.access, 30);
    note("an isolate pod, POST to Ready, median of 30", "ms", one, undefined, 60, 30);
  }
  await using server = await Server.start({ flags: ["--nodes", "2", "--runtime", "isolate"] });
  const all = await allReadyMs(server.access, 200);
  note("200 isolate pods, first POST to all Ready", "s", all / 1000, undefined, 15, 8);
}

/** From POST to Ready beside what containerd itself needs for sandbox, create and start: at most 1.3 times that. */
async function containers(): Promise<void> {
  const times = await containerStarts();
  if (typeof times === "string") return console.error(`containers: skipped, ${times}`);
  note("containerd: sandbox, create, start, p50", "ms", times.alone, undefined, times.alone, 150);
  const most = 1.3 * times.alone;
  note("a pod on containerd, POST to Ready, p50", "ms", times.pod, undefined, most, 150);
}

function table(): string {
  const show = (value: number | undefined) =>
    value === undefined
      ? "–"
      : value >= 10
      ? Math.round(value).toLocaleString("en")
      : value.toFixed(2);
  const lines = rows.map((row) =>
    `| ${row.name} | ${row.unit} | ${show(row.value)} | ${show(row.peer)} | ${show(row.floor)} | ${
      show(row.aim)
    } |`
  );
  return [
    "| measure | unit | here | kube-apiserver + etcd | floor | aim |",
    "| --- | --- | --- | --- | --- | --- |",
    ...lines,
  ].join("\n");
}

if (wants("api")) await api();
if (wants("backends")) await backends();
if (wants("front")) await front();
await hostile();
if (wants("scheduling")) await scheduling();
await workloads();
if (wants("starts")) await starts();
if (wants("virtual")) await virtual();
if (wants("forks")) await forks();
if (wants("dashboard")) await dashboard();
if (wants("services")) await services();
if (wants("isolates")) await isolates();
if (wants("containers")) await containers();
console.log(table());
if (details.length) console.log(["", HEADER, ...details].join("\n"));
if (options.json) await Deno.writeTextFile(options.json, JSON.stringify(rows, undefined, 2));
