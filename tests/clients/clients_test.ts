/**
 * Clients as people have them, unmodified, each driven by a small program of ours: the quick rows of the table.
 * They are skipped where their language or library is missing, never in CI.
 */
import { missing } from "./clients.ts";
import { CLIENTS, runClient } from "./table.ts";

const CI = Deno.env.get("CI") === "true";

for (const client of CLIENTS.filter(({ quick }) => quick)) {
  Deno.test({
    name: client.name,
    ignore: !CI && (await missing(client)) !== "",
    async fn() {
      await client.make?.();
      await runClient(client);
    },
  });
}
