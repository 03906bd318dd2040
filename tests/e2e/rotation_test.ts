/** Certificates renew themselves: a server that has run for most of a year has another one, and was never away. */
import { assert, assertNotEquals } from "@std/assert";
import { connect } from "node:tls";
import { Cluster } from "../../mod.ts";
import { ManualClock } from "../../kv/mod.ts";

const DAY_MS = 24 * 3600 * 1000;

function fingerprint(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => {
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      resolve(fingerprint256);
    });
    socket.on("error", reject);
  });
}

Deno.test("a server's certificate is renewed at two thirds of its life, without a restart", async () => {
  const clock = new ManualClock({ startMs: Date.now() });
  await using cluster = await Cluster.start({ clock, components: ["api"] });
  let renewed = 0;
  const { port } = await cluster.listen({
    port: 0,
    underManualClock: true,
    renewed: () => renewed++,
  });
  const first = await fingerprint(port);
  await clock.advance(10 * DAY_MS);
  assert(await fingerprint(port) === first, "renewed too early");
  await clock.advance(235 * DAY_MS);
  // A look that a timer began ends in its own time (keys are made): time goes on until one has.
  for (let looks = 0; looks < 200 && renewed === 0; looks++) {
    await clock.advance(DAY_MS / 2);
    for (let turns = 0; turns < 500 && renewed === 0; turns++) await clock.turn();
  }
  assertNotEquals(await fingerprint(port), first);
  assert(renewed > 0, "the administrator's certificate was not renewed");
});
