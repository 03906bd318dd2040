/**
 * Placement of singletons: of all processes that could host one, the holder of its term does.
 *
 * A placement tries to take the term; while it holds it the actor lives, its client's writes carry the
 * term, and the server refuses them once the term has passed. So even a process that slept through its
 * own deposition cannot act late. When the term is lost the actor stops and the placement tries again.
 *
 * Guarantee (contract.ts): singleton.
 */
import type { Clock } from "../../kv/clock.ts";
import type { Term, Terms } from "../../kv/contract.ts";
import type { Logger } from "./contract.ts";
import { TERM_RETRY_MS } from "./limits.ts";

/** What a placement is built from. */
export interface PlacementOptions {
  /** The term's name: the actor's address. */
  name: string;
  terms: Terms;
  clock: Clock;
  log: Logger;
  /** Brings the actor up under a term; what it returns takes it down. */
  host(term: Term): () => Promise<void>;
}

/** See the module's text. */
export class Placement {
  readonly #options: PlacementOptions;
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;

  constructor(options: PlacementOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  /** Takes the actor down, if it is here, and gives the term up. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { name, terms, clock, log } = this.#options;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      let term: Term | undefined;
      try {
        term = await terms.acquire(name);
      } catch (error) {
        log("warn", "term not acquired", { actor: name, error: String(error) });
      }
      if (term && !signal.aborted) await this.#hostWhile(term);
      else if (term) await this.#release(term);
      if (signal.aborted) return;
      await clock.sleep(TERM_RETRY_MS, { kind: "background", signal }).catch(() => {});
    }
  }

  async #hostWhile(term: Term): Promise<void> {
    const { terms, log } = this.#options;
    const { signal } = this.#abort;
    const down = this.#options.host(term);
    let lost = false;
    const stopped = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
      if (signal.aborted) resolve();
    });
    await Promise.race([stopped, terms.lost(term).then(() => void (lost = true))]);
    if (lost) log("warn", "term lost", { actor: term.name });
    await down();
    if (!lost) await this.#release(term);
  }

  async #release(term: Term): Promise<void> {
    try {
      await this.#options.terms.release(term);
    } catch (error) {
      this.#options.log("warn", "term not released", { actor: term.name, error: String(error) });
    }
  }
}
