/**
 * Waiting until a whole system has nothing to do: what `settle` promises. Quiet is when nobody is busy for some turns
 * of the event loop (under a real clock: for some milliseconds too, as sockets answer when they like).
 */
import { type Clock, ManualClock } from "../../kv/clock.ts";

/** Turns of the event loop without anything to do that count as quiet. */
const QUIET_TURNS = 5;
/** Under a real clock: how long it must be quiet, in ms. */
const QUIET_MS = 20;
/** Under a manual clock: messages handled at one time that are no life but a loop. */
export const MESSAGES_AT_ONCE_MAX = 300_000;
/** Turns after which it is looked how many there were. */
const LOOK_TURNS = 8;

/** What is waited for. */
export interface Rest {
  /** How far a manual clock goes on, or how long a real one is waited for, in ms. */
  within: number;
  /** Who has something to do now. */
  busy(): string[];
  /** Messages handled so far. */
  handled(): number;
  /** A manual clock goes on to what is due in the background too, and to the end of `within` (default: to work only). */
  allTimers?: boolean;
}

/**
 * Resolves when nothing has anything to do. A manual clock goes on to what is due up to `within` ms ahead; a real one
 * is waited for that long. Rejects with what `busy` names when it does not come to rest.
 */
export async function settled(clock: Clock, rest: Rest): Promise<void> {
  const { within, allTimers } = rest;
  if (!(clock instanceof ManualClock)) return await quiet(clock, rest, clock.monotonic() + within);
  const until = clock.now() + within;
  for (;;) {
    await quiet(clock, rest, undefined);
    const next = allTimers ? clock.nextAt() : clock.nextWorkAt();
    if (next === undefined || next > until) break;
    await clock.advance(Math.max(next - clock.now(), 0));
  }
  if (!allTimers) return;
  await clock.advance(Math.max(until - clock.now(), 0));
  await quiet(clock, rest, undefined);
}

/** Waits until nothing has anything to do now. */
async function quiet(clock: Clock, rest: Rest, until: number | undefined): Promise<void> {
  let still = 0;
  let since = clock.monotonic();
  const before = rest.handled();
  for (
    let turns = 1;
    still < QUIET_TURNS || (until !== undefined && clock.monotonic() - since < QUIET_MS);
    turns++
  ) {
    await clock.turn();
    const names = rest.busy();
    if (names.length === 0) {
      still++;
      continue;
    }
    still = 0;
    since = clock.monotonic();
    const isLoop = until === undefined && turns % LOOK_TURNS === 0 &&
      rest.handled() - before > MESSAGES_AT_ONCE_MAX;
    if (isLoop || until !== undefined && since > until) {
      throw new Error(`Still busy: ${names.join(", ")}`);
    }
  }
}
