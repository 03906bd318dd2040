/**
 * Bodies on their way: a request waits for its own before it asks for seats, so that who sends slowly, or never, keeps
 * nobody else from being served. What may be held of one user's is bounded: what is more is not read before others of
 * theirs have come, or have run out of time.
 */
import { BODY_BYTES_MAX, type Call } from "./http.ts";

/** Bytes of one user's bodies that are waited for at once, as far as they say how long they are. */
export const ARRIVING_BYTES_MAX = 16 * 1024 * 1024;

interface Sender {
  bytes: number;
  readonly waiting: { bytes: number; go: () => void }[];
}

/** See the module's text. */
export class Arrivals {
  readonly #senders = new Map<string, Sender>();

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
