/** Two ends of a connection in memory, as carriers of a tunnel. */
import type { Carrier } from "./tunnel.ts";

/** An end that notes the bytes it has sent, and can fall silent. */
export interface TestCarrier extends Carrier {
  sent: number;
  /** What is sent is lost from now on, and nothing is heard of an end. */
  cut(): void;
}

/** Makes a pair. Messages arrive in later turns, in order. */
export function carrierPair(): [TestCarrier, TestCarrier] {
  const ended = Promise.withResolvers<void>();
  const state = { cut: false };
  const one = end(state, ended);
  const two = end(state, ended);
  one.peer = two;
  two.peer = one;
  return [one, two];
}

type End = TestCarrier & { peer?: End; deliver(data: Uint8Array): void };

function end(state: { cut: boolean }, ended: PromiseWithResolvers<void>): End {
  let handler: ((data: Uint8Array) => Promise<void> | void) | undefined;
  let work = Promise.resolve();
  const early: Uint8Array[] = [];
  const here: End = {
    sent: 0,
    async send(data) {
      here.sent += data.length;
      const copy = data.slice();
      await Promise.resolve();
      if (!state.cut) here.peer!.deliver(copy);
    },
    receive(hear) {
      handler = hear;
      for (const data of early.splice(0)) here.deliver(data);
    },
    deliver(data) {
      if (!handler) return void early.push(data);
      work = work.then(() => handler!(data));
    },
    close: () => state.cut ? undefined : ended.resolve(),
    cut: () => state.cut = true,
    closed: ended.promise,
  };
  return here;
}
