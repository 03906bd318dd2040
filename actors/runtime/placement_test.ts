import { assertEquals } from "@std/assert";
import type { Client } from "../../api/client/contract.ts";
import { createInformers } from "../../api/mod.ts";
import { ADMIN, openApi } from "../../api/server/fixture_test.ts";
import type { Term, Terms } from "../../kv/contract.ts";
import { ManualClock } from "../../kv/clock.ts";
import { CONFIG_MAPS } from "./resources.ts";
import { createSystem } from "./system.ts";

Deno.test("singleton: after its term has passed none of its writes lands, even before it knows", async () => {
  const clock = new ManualClock();
  await using fixture = await openApi({ clock });
  const informers = createInformers(fixture.api.client(ADMIN, "informers"), clock);
  // The store's own terms, but the news of a loss does not arrive.
  const { terms } = fixture.database;
  const taken: Term[] = [];
  const deaf: Terms = {
    holder: terms.holder,
    release: (term) => terms.release(term),
    lost: () => new Promise(() => {}),
    acquire: async (name) => {
      const term = await terms.acquire(name);
      if (term) taken.push(term);
      return term;
    },
  };
  const { client } = fixture;
  const system = createSystem({ client, informers, clock, terms: deaf, log: () => {} });
  const outcomes: string[] = [];
  const write = async (by: Client, name: string) => {
    const target = { resource: CONFIG_MAPS, namespace: "default" };
    await by.create(target, { metadata: { name } });
  };
  const leader = system.spawn("one", {
    start() {},
    handle: async (key, _state, context) => {
      await write(context.client, key).then(() => outcomes.push(`${key} landed`), (error) => {
        outcomes.push(`${key} refused: ${error.code}`);
      });
    },
  }, { singleton: true });
  const quiet = async () => {
    for (let i = 0; i < 20 || system.busy().length > 0; i++) await clock.turn();
  };
  while (taken.length === 0) await clock.turn();
  await quiet();
  leader.send("during");
  while (outcomes.length === 0) await clock.turn();
  assertEquals(outcomes, ["during landed"]);
  await terms.release(taken[0]);
  leader.send("after");
  while (outcomes.length === 1) await clock.turn();
  assertEquals(outcomes.length, 2);
  assertEquals(outcomes[1].startsWith("after refused"), true, outcomes[1]);
  await system.stop();
  await informers.stop();
});
