/**
 * Bodies on their way: a request waits for its own before it asks for seats, so that who sends slowly, or never, keeps
 * nobody else from being served. What may be held of one user's is bounded: what is more is not read before others of
 * theirs have come, or have run out of time.
 *
 * Large bodies are work that nobody can interrupt, to read and to parse, and garbage as well: while others ask, a user who
 * has sent much has the next ones read at a measured rate.
 */
import type { Clock } from "../../kv/clock.ts";
import { BODY_BYTES_MAX, type Call } from "./http.ts";

/** Bytes of one user's bodies that are waited for at once, as far as they say how long they are. */
export const ARRIVING_BYTES_MAX = 16 * 1024 * 1024;

/** Bodies of this many bytes are large. */
export const LARGE_BYTES = 64 * 1024;
/** What one user may send of large ones at once, while others ask. */
export const LARGE_BYTES_AT_ONCE = 8 * 1024 * 1024;
/** And in a second from then on. */
export const LARGE_BYTES_PER_S = 4 * 1024 * 1024;

/** When whose large bodies have been paid for: a user is forgotten once that is over. */
class Payments {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #paidAt = new Map<string, number>();

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#clock = clock;
  }

  /** Takes so many bytes into account; how long they wait, in ms. */
  waitMs(user: string, bytes: number): number {
    const now = this.#clock.monotonic();
    const at = Math.max(now, this.#paidAt.get(user) ?? now) + bytes / LARGE_BYTES_PER_S * 1000;
    for (const [other, paidAt] of this.#paidAt) if (paidAt <= now) this.#paidAt.delete(other);
    this.#paidAt.set(user, at);
    return Math.max(0, at - now - LARGE_BYTES_AT_ONCE / LARGE_BYTES_PER_S * 1000);
  }
}

interface Sender {
  bytes: number;
  readonly waiting: { bytes: number; go: () => void }[];
}

/** See the module's text. */
export class Arrivals {
  readonly #clock: Pick<Clock, "monotonic" | "sleep">;
  readonly #sharing: () => boolean;
  readonly #payments: Payments;
  readonly #senders = new Map<string, Sender>();

  /** `sharing`: whether several users ask. */
  constructor(clock: Pick<Clock, "monotonic" | "sleep">, sharing: () => boolean) {
    this.#clock = clock;
    this.#sharing = sharing;
    this.#payments = new Payments(clock);
  }

  /** Users whose bodies are waited for. */
  get senders(): number {
    return this.#senders.size;
  }

  /** Resolves when a request's body is there, whether or not it can be read; undefined: there is none to wait for. */
  wait(user: string, call: Call): Promise<void> | undefined {
    const bytes = call.expected?.() ?? 0;
    // What is too long is refused before it is read
    if (bytes === 0 || bytes > BODY_BYTES_MAX) return undefined;
    return this.#arrive(user, call, bytes);
  }

  async #arrive(user: string, call: Call, bytes: number): Promise<void> {
    let sender = this.#senders.get(user);
    if (!sender) this.#senders.set(user, sender = { bytes: 0, waiting: [] });
    const { waiting } = sender;
    if (waiting.length > 0 || sender.bytes + bytes > ARRIVING_BYTES_MAX) {
      await new Promise<void>((go) => waiting.push({ bytes, go }));
    } else sender.bytes += bytes;
    try {
      if (bytes >= LARGE_BYTES) {
        const waitMs = this.#payments.waitMs(user, bytes);
        if (waitMs > 0 && this.#sharing()) await this.#clock.sleep(waitMs);
      }
      // Whoever reads it hears what is wrong with it
      await call.body(BODY_BYTES_MAX).catch(() => undefined);
    } finally {
      this.#came(user, sender, bytes);
    }
  }

  #came(user: string, sender: Sender, bytes: number): void {
    sender.bytes -= bytes;
    const { waiting } = sender;
    while (waiting.length > 0 && sender.bytes + waiting[0].bytes <= ARRIVING_BYTES_MAX) {
      const next = waiting.shift()!;
      sender.bytes += next.bytes;
      next.go();
    }
    if (sender.bytes === 0 && waiting.length === 0) this.#senders.delete(user);
  }
}
