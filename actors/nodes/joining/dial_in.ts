/**
 * The connection by which a node of another machine is reached: an actor (`tunnel/<node>`) that dials the API server,
 * answers its questions, and dials again when the connection ends, for whatever reason and however often.
 *
 * - come-again: after an end it dials within `DIAL_MS_MIN` to `DIAL_MS_MAX`, growing while it fails, each time at a
 *   moment of its own, so that not all nodes come at once when the server is back.
 * - heard: a connection that has died without a word is given up after `SILENCE_MS_MAX`, and with it every request to
 *   the server that is under way: they are on the same dead way.
 */
import type { NodeApi } from "../../../api/client/node_api.ts";
import { type Carrier, Tunnel } from "../../../api/client/tunnel.ts";
import { answerFor } from "../../../api/client/tunnel_node.ts";
import type { Behaviour } from "../../runtime/contract.ts";

/** Shortest and longest pause before the server is dialled again. */
export const DIAL_MS_MIN = 1_000;
export const DIAL_MS_MAX = 60_000;
/** A connection that lasted so long counts as a good one. */
export const GOOD_MS = 60_000;

/** What it is made with. */
export interface DialInOptions {
  dial(): Promise<Carrier>;
  api: NodeApi;
  /** A connection is open. */
  opened?(): void;
  /** A connection has ended; `why` is empty where it was our own wish. */
  lost?(why: string): void;
}

interface State {
  tunnel?: Tunnel;
  /** Attempts that failed one after the other, short connections among them. */
  failures: number;
}

/** See the module's text. Its keys: `dial`, and `anew` (end the connection and dial at once). */
export function dialIn(options: DialInOptions): Behaviour<State> {
  return {
    start(context) {
      context.send(context.address, "dial");
      return { failures: 0 };
    },
    async handle(key, state, context) {
      const { clock, log } = context;
      if (key === "anew") {
        // What is open goes on until the newer connection takes its place
        state.tunnel = undefined;
        return context.send(context.address, "dial");
      }
      if (state.tunnel) return;
      let carrier: Carrier;
      try {
        carrier = await options.dial();
      } catch (error) {
        log("warn", "could not reach the API server", { error: textOf(error) });
        return { afterMs: pauseMs(++state.failures, clock.random()) };
      }
      const began = clock.monotonic();
      const tunnel = new Tunnel(carrier, { clock, answer: answerFor(options.api) });
      state.tunnel = tunnel;
      log("info", "dialled in");
      options.opened?.();
      void tunnel.closed.then((why) => {
        if (state.tunnel !== tunnel) return; // another one has its place
        state.tunnel = undefined;
        if (context.signal.aborted) return;
        state.failures = clock.monotonic() - began >= GOOD_MS ? 0 : state.failures + 1;
        log("warn", "the connection to the API server was lost", { why });
        options.lost?.(why);
        const delayMs = pauseMs(state.failures, clock.random());
        context.send(context.address, "dial", { delayMs });
      });
    },
    stop(state) {
      state.tunnel?.close("the node stops");
      state.tunnel = undefined;
    },
  };
}

/** The pause after so many failures: doubled each time, and by chance half to all of it. */
export function pauseMs(failures: number, chance: number): number {
  const whole = Math.min(DIAL_MS_MIN * 2 ** Math.max(0, failures - 1), DIAL_MS_MAX);
  return Math.max(DIAL_MS_MIN / 2, whole * (0.5 + chance / 2));
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
