/**
 * Work that repeats for ever, whatever happens: a background timer that puts a key into a mailbox. It does
 * not keep a settling cluster awake, as a come-back would.
 */
import type { ActorContext } from "./contract.ts";

/** Sends `key` to the actor itself every `ms`, until it stops. */
export function every(context: ActorContext, ms: number, key: string): void {
  const { clock, signal } = context;
  let timer = clock.timer("background", ms, tick);
  function tick() {
    if (signal.aborted) return;
    context.send(context.address, key);
    timer = clock.timer("background", ms, tick);
  }
  signal.addEventListener("abort", () => timer.cancel(), { once: true });
}
