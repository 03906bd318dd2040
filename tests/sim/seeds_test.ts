/**
 * Seeds of the simulation: as many as continuous integration has time for, a few on a developer's machine. They run in
 * a process of their own, which lets everything else go first.
 */
import { assertEquals } from "@std/assert";
import { BLOCK, blocksOf } from "./many.ts";

const SEEDS_IN_CI = 2_000;
const SEEDS_ELSEWHERE = 50;
const SEEDS = Number(Deno.env.get("SIM_SEEDS") ?? 0) ||
  (Deno.env.get("CI") === "true" ? SEEDS_IN_CI : SEEDS_ELSEWHERE);

Deno.test(`${SEEDS} seeds violate no invariant`, async () => {
  const program = new URL("./sim.ts", import.meta.url).pathname;
  const args = ["run", "-A", "--no-check", program, "--seeds", `${SEEDS}`];
  const options = { stdout: "inherit", stderr: "inherit" } as const;
  const run = (command: string, args: string[]) =>
    new Deno.Command(command, { args, ...options }).output();
  const { code } = await run("nice", ["-n", "10", Deno.execPath(), ...args]).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return run(Deno.execPath(), args);
  });
  assertEquals(code, 0, `each seed that fails is told above, with the command that shows it`);
});

Deno.test("seeds that a record has of this commit are not run again, and their failures not forgotten", () => {
  const lines = [`a 100-${99 + BLOCK} 101 120`, `b ${100 + BLOCK}-${99 + 2 * BLOCK}`, "a 1-7"];
  const record = { commit: "a", lines, add: () => {} };
  const last = 100 + 2 * BLOCK;
  assertEquals(blocksOf({ from: 100, count: 2 * BLOCK + 3, record }), {
    left: [{ from: 100 + BLOCK, to: last - 1 }, { from: last, to: last + 2 }],
    failed: [101, 120],
  });
  const first = blocksOf({ from: 3, count: BLOCK });
  assertEquals(first.left, [{ from: 3, to: BLOCK - 1 }, { from: BLOCK, to: BLOCK + 2 }]);
});
