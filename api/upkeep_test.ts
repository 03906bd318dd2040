import { assert, assertEquals } from "@std/assert";
import { X509Certificate } from "node:crypto";
import { ManualClock } from "../kv/clock.ts";
import { addTokenKey } from "./auth/material.ts";
import { Upkeep, type UpkeepOptions } from "./upkeep.ts";

/** Settings whose reads and writes take their turns, so that two who work at once get in each other's way. */
function slowSettings() {
  const kept = new Map<string, Uint8Array>();
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return {
    get: (name: string) => Promise.resolve(kept.get(name)),
    async change(name: string, next: (kept: Uint8Array | undefined) => Promise<Uint8Array>) {
      for (;;) {
        await turn();
        const before = kept.get(name);
        const value = await next(before);
        await turn();
        if (kept.get(name) !== before) continue;
        kept.set(name, value);
        return value;
      }
    },
  };
}

Deno.test("identity() has the name of the host, whoever asked before, and one authority", async () => {
  const upkeep = new Upkeep({
    database: { settings: slowSettings() },
    host: new ManualClock(),
    names: (host: string | undefined) => ["localhost", ...host ? [host] : []],
  } as unknown as UpkeepOptions);
  // The publisher of the root CA asks while the server is about to listen
  const [early, listening] = await Promise.all([upkeep.identity(), upkeep.identity("10.1.2.3")]);
  assertEquals(listening.authority.certificatePem, early.authority.certificatePem);
  const server = new X509Certificate(listening.server.certificatePem);
  assertEquals(server.checkIP("10.1.2.3"), "10.1.2.3");
  assert(server.verify(new X509Certificate(early.authority.certificatePem).publicKey));
  assertEquals((await upkeep.identity()).server, listening.server);
});

Deno.test("follow() takes up what has changed between the start and it", async () => {
  const settings = slowSettings();
  const keys = await addTokenKey(settings);
  const used: (readonly string[])[] = [];
  const upkeep = new Upkeep({
    database: { settings: { ...settings, follow() {} } },
    auth: {
      tokens: { keys: { use: (keys: readonly string[]) => used.push(keys) } },
      logins: { load: () => Promise.resolve() },
    },
  } as unknown as UpkeepOptions);
  upkeep.follow();
  await upkeep.following;
  assertEquals(used, [keys]);
});
