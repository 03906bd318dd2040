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

const CHECKS: Record<string, Record<string, Check>> = {
  healthz: { ping: ALWAYS, log: ALWAYS, etcd: storeAnswers },
  livez: { ping: ALWAYS, log: ALWAYS, etcd: storeAnswers },
  readyz: {
    ping: ALWAYS,
    log: ALWAYS,
    etcd: storeAnswers,
    "etcd-readiness": storeAnswers,
    "informer-sync": ALWAYS,
    shutdown: (deps) => {
      if (deps.closing.unready) throw new Error("process is shutting down");
    },
  },
};

/** Answers a health path; undefined for any other. */
export async function healthReply(
  deps: Deps,
  path: string,
  query: URLSearchParams,
): Promise<Reply | undefined> {
  const [, root, ...rest] = path.split("/");
  const checks = CHECKS[root];
  if (!checks) return undefined;
  const one = rest.join("/");
  if (one) {
    const check = checks[one];
    if (!check) return undefined;
    const failed = await fails(deps, check);
    return failed ? textReply(500, `internal server error: ${failed}\n`) : textReply(200, "ok");
  }
  const excluded = new Set(query.getAll("exclude"));
  const lines: string[] = [];
  let bad = false;
  for (const [name, check] of Object.entries(checks)) {
    if (excluded.delete(name)) lines.push(`[+]${name} excluded: ok`);
    else if (await fails(deps, check)) {
      lines.push(`[-]${name} failed: reason withheld`);
      bad = true;
    } else lines.push(`[+]${name} ok`);
  }
  if (excluded.size) {
    const names = [...excluded].sort().map((name) => JSON.stringify(name)).join(", ");
    lines.push(
      `warn: some health checks cannot be excluded: no matches for ${names}`,
    );
  }
  if (bad) return textReply(500, `${lines.join("\n")}\n${root} check failed\n`);
  if (!query.has("verbose")) return textReply(200, "ok");
  return textReply(200, `${lines.join("\n")}\n${root} check passed\n`);
}

async function fails(deps: Deps, check: Check): Promise<string> {
  try {
    await check(deps);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
