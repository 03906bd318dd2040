/**
 * Waiting until a whole system has nothing to do: what `settle` promises. Quiet is when nobody is busy for some turns
 * of the event loop (under a real clock: for some milliseconds too, as sockets answer when they like).
 */
import { type Clock, ManualClock } from "../../kv/clock.ts";

/** Turns of the event loop without anything to do that count as quiet. */
const QUIET_TURNS = 5;
/** Under a real clock: how long it must be quiet, in ms. */
const QUIET_MS = 20;

/**
 * Resolves when nothing has anything to do. A manual clock goes on to what is due up to `within` ms ahead; a real one
 * is waited for that long. Rejects with what `busy` names when it does not come to rest.
 */
export async function settled(
  clock: Clock,
  { within, busy }: { within: number; busy: () => string[] },
): Promise<void> {
  if (!(clock instanceof ManualClock)) {
    return await quiet(clock, busy, clock.monotonic() + within);
  }
  const until = clock.now() + within;
  for (;;) {
    await quiet(clock, busy, undefined);
    const next = clock.nextWorkAt();
    if (next === undefined || next > until) return;
    await clock.advance(Math.max(next - clock.now(), 0));
  }
}

/** Waits until nothing has anything to do now. */
async function quiet(clock: Clock, busy: () => string[], until: number | undefined): Promise<void> {
  let turns = 0;
  let since = clock.monotonic();
  while (turns < QUIET_TURNS || (until !== undefined && clock.monotonic() - since < QUIET_MS)) {
    await clock.turn();
    const names = busy();
    if (names.length === 0) {
      turns++;
      continue;
    }
    turns = 0;
    since = clock.monotonic();
    if (until !== undefined && since > until) throw new Error(`Still busy: ${names.join(", ")}`);
  }
}
