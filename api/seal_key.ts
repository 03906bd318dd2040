/**
 * `deno task seal-key add|show|drop [--data .plesio]`: the keys that Secrets and the cluster's own keys are sealed
 * by at rest, in `cluster.db.key`.
 *
 * - `add` puts a new key in front. A running cluster takes it up within a minute (a stopped one when it starts) and
 *   seals everything anew with it, while it runs.
 * - `show` tells which keys there are and how much lies under each (the cluster must be stopped).
 * - `drop` forgets all but the newest, once nothing needs the others (the cluster must be stopped).
 */
import { parseArgs } from "node:util";
import type { KubeObject } from "./machinery/types.ts";
import { openCluster } from "./open_cluster.ts";
import { addSealKey, type Database, DatabaseError, RealClock } from "../kv/mod.ts";

const HELP = "deno task seal-key add|show|drop [--data .plesio]";

/** Does what the arguments say; returns what is to be told. */
export async function sealKey(args: string[]): Promise<string[]> {
  const options = { data: { type: "string", default: ".plesio" } } as const;
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  const path = `${values.data}/cluster.db`;
  switch (positionals[0]) {
    case "add": {
      const { id, place } = addSealKey(path, new RealClock().bytes(32));
      return [
        `Put the new sealing key ${id} in front in ${place}`,
        "A running cluster takes it up within a minute and seals everything anew",
      ];
    }
    case "show":
      return await opened(path, show);
    case "drop":
      return await opened(path, async (database) => {
        await database.seals.migrated();
        // Nobody watches: history need not keep what an old key sealed.
        await database.objects.compact({ keepRevisions: 0, keepMs: 0 });
        await database.seals.drop();
        return await show(database);
      });
  }
  throw new TypeError(HELP);
}

async function opened(
  path: string,
  run: (database: Database<KubeObject>) => Promise<string[]>,
): Promise<string[]> {
  const database = await openCluster({ kv: path }, new RealClock());
  try {
    return await run(database);
  } finally {
    await database.close();
  }
}

async function show({ seals }: Database<KubeObject>): Promise<string[]> {
  await seals.migrated();
  const counts = new Map((await seals.count()).map(({ id, values }) => [id, values]));
  return seals.ids().map((id, i) =>
    `${id}: ${counts.get(id) ?? 0} values${i === 0 ? ", and all that is written" : ""}`
  );
}

if (import.meta.main) {
  try {
    for (const line of await sealKey(Deno.args)) console.log(line);
  } catch (error) {
    const known = error instanceof DatabaseError || error instanceof TypeError;
    console.error(known ? `seal-key: ${error.message}` : error);
    Deno.exit(1);
  }
}
