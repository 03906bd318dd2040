/** Snapshots sealed by a passphrase. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { RealClock } from "./clock.ts";
import { DatabaseError } from "./contract.ts";
import { SNAPSHOT_PASSPHRASE_LENGTH_MIN } from "./limits.ts";
import { sealSnapshot, unsealSnapshot } from "./snapshot_envelope.ts";

const clock = new RealClock();
const PASSPHRASE = "correct horse battery";

Deno.test("a sealed snapshot is opened by its passphrase alone, and not when it was changed", async () => {
  const snapshot = new Uint8Array(5_000_000).map((_, i) => i % 251);
  const sealed = await sealSnapshot(snapshot, PASSPHRASE, clock);
  const opened = await unsealSnapshot(sealed, PASSPHRASE);
  assertEquals(opened.length, snapshot.length);
  assert(opened.every((byte, i) => byte === snapshot[i]));
  // The same twice is not the same file.
  assert((await sealSnapshot(snapshot, PASSPHRASE, clock)).some((byte, i) => byte !== sealed[i]));
  await assertRejects(() => unsealSnapshot(sealed, undefined), DatabaseError, "sealed by");
  await assertRejects(
    () => unsealSnapshot(sealed, "wrong horse battery"),
    DatabaseError,
    "another",
  );
  for (const at of [30, sealed.length - 20, sealed.length - 1]) {
    const changed = sealed.slice();
    changed[at] ^= 1;
    await assertRejects(() => unsealSnapshot(changed, PASSPHRASE), DatabaseError, "was changed");
  }
  const torn = sealed.slice(0, 60);
  await assertRejects(() => unsealSnapshot(torn, PASSPHRASE), DatabaseError, "torn");
});

Deno.test("a snapshot in the clear needs no passphrase; a short passphrase seals none", async () => {
  const clear = new TextEncoder().encode("plesio snapshot 1\n");
  assertEquals(await unsealSnapshot(clear, PASSPHRASE), clear);
  const short = "x".repeat(SNAPSHOT_PASSPHRASE_LENGTH_MIN - 1);
  await assertRejects(() => sealSnapshot(clear, short, clock), TypeError, "at least");
});
