/** `/healthz`, `/livez`, `/readyz`, each check below them, and `/version`. */
import type { Deps } from "./deps.ts";
import { type Reply, textReply } from "./http.ts";

/** What we say we are. */
export const VERSION = {
  major: "1",
  minor: "36",
  emulationMajor: "1",
  emulationMinor: "36",
  minCompatibilityMajor: "1",
  minCompatibilityMinor: "35",
  gitVersion: "v1.36.0+plesio",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "2026-04-22T00:00:00Z",
  goVersion: "go1.26",
  compiler: "deno",
  platform: "linux/amd64",
};

/** One check; it throws when something is wrong. */
export type Check = (deps: Deps) => void | Promise<void>;

async function storeAnswers(deps: Deps): Promise<void> {
  await deps.database.objects.fresh();
}

const ALWAYS: Check = () => {};

/** What was there when the process began is served. */
const started: Check = (deps) => {
  if (deps.starting) throw new Error("not finished");
};

const HOOK = "poststarthook/";

/** What is done when a server starts, by upstream's names: in one process it is done before a socket is opened. */
const HOOKS = [
  "start-apiserver-admission-initializer",
  "generic-apiserver-start-informers",
  "priority-and-fairness-config-consumer",
  "priority-and-fairness-filter",
  "start-apiextensions-informers",
  "start-apiextensions-controllers",
  "crd-informer-synced",
  "start-system-namespaces-controller",
  "start-cluster-authentication-info-controller",
  "storage-readiness",
  "start-service-ip-repair-controllers",
  "rbac/bootstrap-roles",
  "scheduling/bootstrap-system-priority-classes",
  "priority-and-fairness-config-producer",
  "bootstrap-controller",
  "start-kubernetes-service-cidr-controller",
  "start-kube-aggregator-informers",
  "apiservice-status-local-available-controller",
  "apiservice-status-remote-available-controller",
  "apiservice-registration-controller",
  "apiservice-discovery-controller",
  "kube-apiserver-autoregistration",
].map((name) => HOOK + name).concat(
  "autoregister-completion",
  `${HOOK}apiservice-openapi-controller`,
  `${HOOK}apiservice-openapiv3-controller`,
);

const STARTED: Record<string, Check> = Object.fromEntries(HOOKS.map((name) => [name, started]));

const shutdown: Check = (deps) => {
  if (deps.closing.unready) throw new Error("process is shutting down");
};

const ALIVE = { ping: ALWAYS, log: ALWAYS, etcd: storeAnswers, ...STARTED };
const CHECKS: Record<string, Record<string, Check>> = {
  healthz: ALIVE,
  livez: ALIVE,
  readyz: {
    ping: ALWAYS,
    log: ALWAYS,
    etcd: storeAnswers,
    "etcd-readiness": storeAnswers,
    "informer-sync": started,
    ...STARTED,
    shutdown,
  },
};

interface Counts {
  up: boolean;
  success: number;
  error: number;
}

/** The health checks, and how often each has passed. */
export class Health {
  readonly #counts = new Map<string, Counts>();
  readonly #checks: Record<string, Record<string, Check>>;

  /** `more`: what is checked beside what every server checks. */
  constructor(more: Readonly<Record<string, Check>> = {}) {
    this.#checks = {};
    for (const root in CHECKS) this.#checks[root] = { ...CHECKS[root], ...more };
  }

  /** Every path of a check. */
  *paths(): Generator<string> {
    for (const root in this.#checks) {
      for (const name in this.#checks[root]) yield `/${root}/${name}`;
    }
  }

  /** Answers a health path; undefined for any other. */
  async reply(deps: Deps, path: string, query: URLSearchParams): Promise<Reply | undefined> {
    const [, root, ...rest] = path.split("/");
    const checks = this.#checks[root];
    if (!checks) return undefined;
    const one = rest.join("/");
    if (one) {
      const check = checks[one];
      if (!check) return undefined;
      const failed = await this.#fails(deps, root, one);
      return failed ? textReply(500, `internal server error: ${failed}\n`) : textReply(200, "ok");
    }
    const excluded = new Set(query.getAll("exclude"));
    const lines: string[] = [];
    let bad = false;
    for (const name in checks) {
      if (excluded.delete(name)) lines.push(`[+]${name} excluded: ok`);
      else if (await this.#fails(deps, root, name)) {
        lines.push(`[-]${name} failed: reason withheld`);
        bad = true;
      } else lines.push(`[+]${name} ok`);
    }
    if (excluded.size) {
      const names = [...excluded].sort().map((name) => JSON.stringify(name)).join(", ");
      lines.push(`warn: some health checks cannot be excluded: no matches for ${names}`);
    }
    if (bad) return textReply(500, `${lines.join("\n")}\n${root} check failed\n`);
    if (!query.has("verbose")) return textReply(200, "ok");
    return textReply(200, `${lines.join("\n")}\n${root} check passed\n`);
  }

  /** For `/metrics/slis`. */
  lines(): string {
    const now: string[] = [];
    const total: string[] = [];
    for (const [labels, { up, success, error }] of this.#counts) {
      now.push(`kubernetes_healthcheck{${labels}} ${up ? 1 : 0}`);
      for (const [status, count] of [["error", error], ["success", success]] as const) {
        if (count === 0) continue;
        total.push(`kubernetes_healthchecks_total{${labels},status="${status}"} ${count}`);
      }
    }
    return [
      "# HELP kubernetes_healthcheck The result of the last check",
      "# TYPE kubernetes_healthcheck gauge",
      ...now,
      "# HELP kubernetes_healthchecks_total Results of all checks",
      "# TYPE kubernetes_healthchecks_total counter",
      ...total,
      "",
    ].join("\n");
  }

  async #fails(deps: Deps, root: string, name: string): Promise<string> {
    const labels = `name="${name}",type="${root}"`;
    let counts = this.#counts.get(labels);
    if (!counts) this.#counts.set(labels, counts = { up: true, success: 0, error: 0 });
    try {
      await this.#checks[root][name](deps);
      counts.success++;
      counts.up = true;
      return "";
    } catch (error) {
      counts.error++;
      counts.up = false;
      return error instanceof Error ? error.message : String(error);
    }
  }
}
