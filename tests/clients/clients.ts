/**
 * `deno task clients [--only REGEXP] [--list] [--make]`: runs every client of the table, each against a cluster of its
 * own, and ends with what ran, what was skipped and why. The exit code is 1 when one failed. `--make` only fetches and
 * builds the quick ones, so that tests need not.
 */
import { parseArgs } from "node:util";
import { LACKS } from "./languages.ts";
import { type Client, CLIENTS, runClient } from "./table.ts";

interface Outcome {
  client: string;
  outcome: "ran" | "skipped" | "FAILED";
  steps: string;
  seconds: string;
  why: string;
}

/** Why a client cannot run here. */
export async function missing(client: Client): Promise<string> {
  const reasons = await Promise.all(client.needs.map((need) => LACKS[need]()));
  return reasons.filter(Boolean).join("; ");
}

/** Clients that install packages. */
export const PACKAGES = /Helm|kustomize/;

/** A test for each quick client of these. */
export function testClients(chosen: (name: string) => boolean): void {
  for (const client of CLIENTS.filter(({ quick, name }) => quick && chosen(name))) {
    Deno.test(client.name, async (t) => {
      const why = await missing(client);
      if (why && Deno.env.get("CI") !== "true") {
        await t.step({ name: why, ignore: true, fn: () => undefined });
        return;
      }
      await client.make?.();
      await runClient(client);
    });
  }
}

async function outcomeOf(client: Client): Promise<Outcome> {
  const row = { client: client.name, steps: "", seconds: "" };
  const why = await missing(client);
  if (why) return { ...row, outcome: "skipped", why };
  console.log(`\n== ${client.name}`);
  let since = performance.now();
  const seconds = () => ((performance.now() - since) / 1000).toFixed(1);
  try {
    await client.make?.();
    console.log(`made in ${seconds()} s`);
    since = performance.now();
    await runClient(client);
    const steps = String(client.steps.length);
    console.log(client.steps.map((step) => `  ${step}`).join("\n"));
    return { ...row, outcome: "ran", steps, seconds: seconds(), why: "" };
  } catch (error) {
    console.log(error instanceof Error ? error.message : error);
    const first = String(error instanceof Error ? error.message : error).split("\n")[0];
    return { ...row, outcome: "FAILED", seconds: seconds(), why: first.slice(0, 100) };
  }
}

function tableText(rows: readonly Outcome[]): string {
  const heads = ["client", "outcome", "steps", "seconds", "why"] as const;
  const widths = heads.map((head) => Math.max(head.length, ...rows.map((r) => r[head].length)));
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => cell.padEnd(widths[i])).join("  ").trimEnd();
  return [line(heads), ...rows.map((row) => line(heads.map((head) => row[head])))].join("\n");
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      only: { type: "string", default: "" },
      list: { type: "boolean", default: false },
      make: { type: "boolean", default: false },
    },
  });
  const chosen = CLIENTS.filter(({ name }) => new RegExp(values.only, "i").test(name));
  if (values.list) {
    for (const { name, needs } of chosen) console.log(`${name} (${needs.join(", ")})`);
    Deno.exit(0);
  }
  if (values.make) {
    for (const client of chosen.filter(({ quick }) => quick)) await client.make?.();
    Deno.exit(0);
  }
  const outcomes: Outcome[] = [];
  for (const client of chosen) outcomes.push(await outcomeOf(client));
  console.log(`\n${tableText(outcomes)}`);
  const count = (outcome: string) => outcomes.filter((row) => row.outcome === outcome).length;
  console.log(`\n${count("ran")} ran, ${count("FAILED")} failed, ${count("skipped")} skipped`);
  Deno.exit(count("FAILED") > 0 || outcomes.length === 0 ? 1 : 0);
}
