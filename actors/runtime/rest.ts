/**
 * Waiting until a whole system has nothing to do: what `settle` promises. Quiet is when nobody is busy for some turns
 * of the event loop (under a real clock: for some milliseconds too, as sockets answer when they like).
 */
import type { Informers } from "../../api/client/contract.ts";
import { type Clock, ManualClock } from "../../kv/clock.ts";
import type { System } from "./contract.ts";

/** Turns of the event loop without anything to do that count as quiet. */
const QUIET_TURNS = 5;
/** Under a real clock: how long it must be quiet, in ms. */
const QUIET_MS = 20;
/** Under a manual clock: messages handled at one time that are no life but a loop. */
export const MESSAGES_AT_ONCE_MAX = 300_000;
/** Turns after which it is looked how many there were. */
const LOOK_TURNS = 8;

/** Turns in which busy actors do nothing, while a request waits for the clock: it is the clock that they wait for. */
const HELD_TURNS = 50;

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
  /** Gives up when it is aborted: those that actors wait for may be elsewhere, where this clock does not count. */
  signal?: AbortSignal;
  /** Requests that wait for the clock to go on, so that who asked is busy until it does (default: none). */
  held?(): number;
  /** Asked whenever it is quiet, before a manual clock goes on: lets others act; true when they have. */
  outside?(): Promise<boolean>;
  /** Asked whenever it is quiet: true ends the waiting there. */
  until?(): Promise<boolean>;
}

/** What is looked at to know whether a cluster is at rest. */
interface Resting {
  system: System;
  informers: Informers;
  database: Record<"objects" | "events", { readonly busy: boolean }>;
  /** Requests from outside (default: they are not looked at). */
  requests?: { readonly running: number };
}

/** Makes what waits until a cluster is at rest: `settled` with all of its parts looked at. */
export function settler(clock: Clock, parts: () => Resting) {
  const busy = () => busyOf(parts());
  const handled = () => parts().system.handled();
  return (order: Omit<Rest, "busy" | "handled">) => settled(clock, { ...order, busy, handled });
}

/** Who has something to do now. */
export function busyOf({ system, informers, requests, database }: Resting): string[] {
  const busy = [...system.busy(), ...informers.busy()];
  if (requests && requests.running > 0) busy.push("requests");
  if (database.objects.busy) busy.push("store/objects");
  if (database.events.busy) busy.push("store/events");
  return busy;
}

/** It did not come to rest. */
export class StillBusyError extends Error {
  override name = "StillBusyError";
  readonly busy: readonly string[];

  constructor(busy: readonly string[]) {
    super(`Still busy: ${busy.join(", ")}`);
    this.busy = busy;
  }
}

/**
 * Resolves when nothing has anything to do, with whether `until` ended it. A manual clock goes on to what is due up to
 * `within` ms ahead; a real one is waited for that long. Rejects with what `busy` names when it does not come to rest.
 */
export async function settled(clock: Clock, rest: Rest): Promise<boolean> {
  const { within, allTimers, until: met } = rest;
  if (!(clock instanceof ManualClock)) {
    await quiet(clock, rest, clock.monotonic() + within);
    return await met?.() ?? false;
  }
  const until = clock.now() + within;
  for (;;) {
    await quiet(clock, rest, undefined);
    if (await rest.outside?.()) continue;
    if (await met?.()) return true;
    const next = allTimers ? clock.nextAt() : clock.nextWorkAt();
    if (next === undefined || next > until) break;
    await clock.advance(Math.max(next - clock.now(), 0));
  }
  if (!allTimers) return false;
  await clock.advance(Math.max(until - clock.now(), 0));
  await quiet(clock, rest, undefined);
  return await met?.() ?? false;
}

/** Waits until nothing has anything to do now. */
async function quiet(clock: Clock, rest: Rest, until: number | undefined): Promise<void> {
  let still = 0;
  let since = clock.monotonic();
  const before = rest.handled();
  let [seen, idle] = ["", 0];
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
    if (until === undefined && rest.held && rest.held() > 0) {
      const now = `${rest.handled()} ${names}`;
      idle = now === seen ? idle + 1 : 0;
      seen = now;
      if (idle >= HELD_TURNS) return;
    }
    still = 0;
    since = clock.monotonic();
    const isLoop = until === undefined && turns % LOOK_TURNS === 0 &&
      rest.handled() - before > MESSAGES_AT_ONCE_MAX;
    if (isLoop || until !== undefined && since > until || rest.signal?.aborted) {
      throw new StillBusyError(names);
    }
  }
}
