/** The actors of the server's process, as they are, and the messages they handle, as `/plesio/v1/actors` tells of them. */
import { type Signal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { linesOf } from "../../client/http.ts";
import type { ActorAct, ActorReport, Handled } from "../../client/plesio.ts";
import { ApiError } from "../../machinery/types.ts";
import { pause, soon } from "./browser.ts";
import { ask, reasonOf } from "./kube.ts";

/** Messages that are kept to be looked at. */
const MESSAGES_KEPT = 200;
const RETRY_MS = 1_000;
const REFUSED_MS = 15_000;
const PATH = "/plesio/v1/actors";

/** A message that was handled. */
export interface ActorMessage extends Handled {
  /** In the order in which they came here. */
  number: number;
}

/** All that is known of them. */
export interface ActorsState {
  reports: ReadonlyMap<string, ActorReport>;
  /** The newest first. */
  messages: readonly ActorMessage[];
  /** Whether they can be held back here. */
  control: boolean;
  loaded: boolean;
  failure?: string;
}

const EMPTY: ActorsState = { reports: new Map(), messages: [], control: false, loaded: false };

/** Follows them as long as a part of the page is there; `moved` hears of messages as they come. */
export function useActors(moved: (messages: readonly ActorMessage[]) => void): ActorsState {
  const followed = useMemo(() => {
    const stop = new AbortController();
    const state = signal(EMPTY);
    void new FollowingActors(state, stop.signal, moved).run();
    return { stop, state };
  }, []);
  useEffect(() => () => followed.stop.abort(), [followed]);
  return followed.state.value;
}

/** Pauses, steps or resumes an actor. */
export async function control(address: string, act: ActorAct): Promise<void> {
  await ask(`${PATH}/${address}/${act}`, { method: "POST" });
}

class FollowingActors {
  readonly #state: Signal<ActorsState>;
  readonly #stop: AbortSignal;
  readonly #moved: (messages: readonly ActorMessage[]) => void;
  readonly #reports = new Map<string, ActorReport>();
  /** The same in the order of their addresses, as they were drawn. */
  #drawn: ReadonlyMap<string, ActorReport> = new Map();
  #changed = true;
  #messages: readonly ActorMessage[] = [];
  #numbered = 0;
  #control = false;
  #drawing = false;

  constructor(
    state: Signal<ActorsState>,
    stop: AbortSignal,
    moved: (messages: readonly ActorMessage[]) => void,
  ) {
    this.#state = state;
    this.#stop = stop;
    this.#moved = moved;
  }

  async run(): Promise<void> {
    while (!this.#stop.aborted) {
      try {
        const answer = await ask(`${PATH}?watch=true`, { signal: this.#stop });
        for await (const lines of linesOf(answer.body!)) {
          for (const line of lines) this.#take(JSON.parse(line));
          this.#draw();
        }
      } catch (error) {
        if (this.#stop.aborted) return;
        this.#state.value = { ...this.#state.peek(), failure: reasonOf(error) };
        // What is not allowed now may be later, but not in a moment
        if (error instanceof ApiError && error.code === 403) await pause(REFUSED_MS, this.#stop);
      }
      await pause(RETRY_MS, this.#stop);
    }
  }

  #take(told: any): void {
    if (told.type === "MESSAGES") return this.#receive(told.messages);
    const isAll = told.type === "ACTORS";
    if (isAll) this.#control = told.control;
    if (isAll) this.#reports.clear();
    for (const report of told.actors) this.#reports.set(report.address, report);
    for (const address of told.gone ?? []) this.#reports.delete(address);
    this.#changed = true;
  }

  #receive(told: readonly Handled[]): void {
    const messages = told.map((message) => ({ ...message, number: ++this.#numbered }));
    this.#messages = [...messages.toReversed(), ...this.#messages].slice(0, MESSAGES_KEPT);
    this.#moved(messages);
  }

  #draw(): void {
    if (this.#drawing) return;
    this.#drawing = true;
    soon(() => {
      this.#drawing = false;
      if (this.#changed) {
        this.#drawn = new Map([...this.#reports].sort(([a], [b]) => a < b ? -1 : 1));
      }
      this.#changed = false;
      this.#state.value = {
        reports: this.#drawn,
        messages: this.#messages,
        control: this.#control,
        loaded: true,
      };
    });
  }
}
