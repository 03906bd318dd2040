/**
 * A self-check after the CIS Kubernetes Benchmark: each of its items is a row of data with a function that looks at the
 * RUNNING cluster (its flags, what it answers, what is in it, the modes of its files) and says PASS, FAIL, WARN (a
 * person has to judge) or NOT APPLICABLE, and what it saw. Numbers are the benchmark's, titles our own.
 *
 * It changes nothing: what has to be tried is tried as a dry run or as a review.
 *
 * Read `contract.ts`, then `control_plane.ts`, `worker.ts`, `policies.ts`; `program.ts` is the command.
 *
 * ```ts ignore
 * const findings = await selfCheck({ ask });
 * console.log(tableOf(findings));
 * ```
 */
import type { Check, Facts, Obj, Result, Sources } from "./contract.ts";
import { CONTROL_PLANE } from "./control_plane.ts";
import { POLICIES } from "./policies.ts";
import { WORKER } from "./worker.ts";

export type * from "./contract.ts";

/** Every item, in the benchmark's order. */
export const CHECKS: readonly Check[] = [...CONTROL_PLANE, ...WORKER, ...POLICIES].sort(
  byNumber,
);

/** What came of an item. */
export interface Finding extends Result {
  id: string;
  title: string;
}

function byNumber(a: { id: string }, b: { id: string }): number {
  const [x, y] = [a.id.split(".").map(Number), b.id.split(".").map(Number)];
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const order = (x[i] ?? 0) - (y[i] ?? 0);
    if (order !== 0) return order;
  }
  return 0;
}

/** Runs the items whose numbers begin with `only` (default all). */
export async function selfCheck(sources: Sources, only = ""): Promise<Finding[]> {
  const facts = await gather(sources);
  const findings: Finding[] = [];
  for (const { id, title, run } of CHECKS) {
    if (!id.startsWith(only)) continue;
    findings.push({ id, title, ...await tried(() => run(facts)) });
  }
  return findings;
}

/** A check that cannot be made is a matter for a person. */
async function tried(run: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { verdict: "WARN", reason: `could not be looked at: ${text}` };
  }
}

async function gather(sources: Sources): Promise<Facts> {
  const { status, body } = await sources.ask("/flagz", {
    accept: "application/json;v=v1beta1;g=config.k8s.io;as=Flagz",
  });
  if (status !== 200) throw new Error(`Cannot look at the cluster: /flagz answers ${status}`);
  const lists = new Map<string, Promise<readonly Obj[]>>();
  const list = async (path: string): Promise<readonly Obj[]> => {
    const answer = await sources.ask(path);
    if (answer.status !== 200) throw new Error(`${path} answers ${answer.status}`);
    return answer.body.items;
  };
  return {
    ...sources,
    flags: body.flags ?? {},
    list(path) {
      if (!lists.has(path)) lists.set(path, list(path));
      return lists.get(path)!;
    },
  };
}

/** Findings as a table, with how many there are of each verdict. */
export function tableOf(findings: readonly Finding[]): string {
  const columns = (f: Finding) => [f.id, f.verdict, f.title, f.reason];
  const head = ["ITEM", "RESULT", "WHAT", "SEEN"];
  const rows = [head, ...findings.map(columns)];
  const widths = head.map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const lines = rows.map((row) =>
    row.map((cell, i) => i === row.length - 1 ? cell : cell.padEnd(widths[i])).join("  ")
  );
  const counts = new Map<string, number>();
  for (const { verdict } of findings) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  const sum = ["PASS", "FAIL", "WARN", "NOT APPLICABLE"].map((verdict) =>
    `${counts.get(verdict) ?? 0} ${verdict}`
  );
  return [...lines, "", sum.join(", ")].join("\n");
}
