/**
 * Logs that a container runtime writes: their files are put aside here when they have grown, and read as
 * every log is (`logs.ts`). The runtime cannot be asked to tell of what it adds, so who follows looks again
 * and again.
 */
import type { Clock } from "../../../kv/clock.ts";
import { LOG_BYTES_MAX, type LogSource, putAside } from "./logs.ts";

/** How often a follower looks. */
const LOOK_MS = 100;

/** See the module's text. */
export class CriLogs {
  readonly #clock: Clock;
  readonly #bytesMax: number;
  /** How often each log was put aside, by path. */
  readonly #rotations = new Map<string, number>();

  constructor(clock: Clock, bytesMax = LOG_BYTES_MAX) {
    this.#clock = clock;
    this.#bytesMax = bytesMax;
  }

  /** Puts a log aside when it has grown; `reopen` tells the runtime, which writes into the old file until then. */
  async rotate(path: string, reopen: () => Promise<unknown>): Promise<void> {
    const info = await Deno.stat(path).catch(() => undefined);
    if (!info || info.size < this.#bytesMax) return;
    putAside(path);
    try {
      await reopen();
    } finally {
      this.#rotations.set(path, (this.#rotations.get(path) ?? 0) + 1);
    }
  }

  /** A log as somebody follows it until its container has ended. */
  follow(path: string, ended: Promise<void>): LogSource {
    let closed = false;
    const rotations = () => this.#rotations.get(path) ?? 0;
    const clock = this.#clock;
    void ended.then(() => closed = true);
    return {
      get rotations() {
        return rotations();
      },
      get closed() {
        return closed;
      },
      more: async (signal) => {
        await Promise.race([
          clock.sleep(LOOK_MS, { kind: "background", signal }).catch(() => undefined),
          ended,
        ]);
      },
    };
  }

  /** Nobody writes a log any more. */
  forget(path: string): void {
    this.#rotations.delete(path);
  }
}
