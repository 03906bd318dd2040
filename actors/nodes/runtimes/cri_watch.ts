/**
 * Notices what containers and sandboxes of a container runtime have become: it lists them all each second,
 * as a kubelet's PLEG, sooner while something has just been started, and at once when the runtime tells of
 * an event: by CRI's `GetContainerEvents`, or as containerd did before. Events only say "look": the list decides.
 */
import type { Clock, Timer } from "../../../kv/clock.ts";
import { failedWith, type RpcClient } from "../../../api/client/grpc.ts";
import type { CRI, Cri } from "./cri_messages.ts";

/** Between two looks. */
const LOOK_MS = 1000;
/** Between two looks after something was started: most that fails fails soon. */
const SOON_MS = 150;
const SOON_FOR_MS = 3000;
/** Before the runtime's events are asked for again after they broke. */
const EVENTS_RETRY_MS = 5000;

/** How runtimes tell of events, the best first. containerd says that an end is dealt with just before CRI knows it. */
const SOURCES = [
  { method: "GetContainerEvents", request: {} },
  { method: "Subscribe", request: { filters: ['topic=="/tasks/delete"'] } },
];

/** What is on the machine. */
export interface RuntimeState {
  sandboxes: Cri<"PodSandbox">[];
  containers: Cri<"Container">[];
}

export interface WatchOptions {
  client: RpcClient<typeof CRI.messages>;
  clock: Clock;
  /** Is handed each list; the next look waits for it. */
  seen(state: RuntimeState): Promise<void>;
}

/** See the module's text. */
export class CriWatch {
  readonly #options: WatchOptions;
  readonly #abort = new AbortController();
  #timer: Timer | undefined;
  #looking: Promise<void> | undefined;
  #again = false;
  #soonUntil = 0;
  #problem: Error | undefined;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Why the runtime cannot be asked now; undefined while it answers. */
  get problem(): Error | undefined {
    return this.#problem;
  }

  start(): void {
    this.#later();
    void this.#events();
  }

  /** Looks at once; resolves when it has. */
  look(): Promise<void> {
    if (this.#looking) {
      this.#again = true;
      return this.#looking;
    }
    return this.#looking = this.#look().finally(() => {
      this.#looking = undefined;
      this.#later();
    });
  }

  /** Something was started: looks more often for a while. */
  soon(): void {
    this.#soonUntil = this.#options.clock.now() + SOON_FOR_MS;
    if (!this.#looking) this.#later();
  }

  stop(): void {
    this.#abort.abort();
    this.#timer?.cancel();
  }

  async #look(): Promise<void> {
    this.#timer?.cancel();
    const { client, seen } = this.#options;
    do {
      this.#again = false;
      try {
        // Containers first: what ends between the two lists is seen the next time.
        const { containers = [] } = await client.call("ListContainers", {});
        const { items: sandboxes = [] } = await client.call("ListPodSandbox", {});
        this.#problem = undefined;
        await seen({ sandboxes, containers });
      } catch (error) {
        this.#problem = error as Error;
      }
    } while (this.#again && !this.#abort.signal.aborted);
  }

  #later(): void {
    this.#timer?.cancel();
    if (this.#abort.signal.aborted) return;
    const { clock } = this.#options;
    const delay = clock.now() < this.#soonUntil ? SOON_MS : LOOK_MS;
    this.#timer = clock.timer("background", delay, () => void this.look());
  }

  async #events(): Promise<void> {
    const { client, clock } = this.#options;
    const { signal } = this.#abort;
    const sources = [...SOURCES];
    while (!signal.aborted && sources.length > 0) {
      const [{ method, request }] = sources;
      try {
        for await (const _event of client.stream(method, request, signal)) {
          this.soon();
          void this.look();
        }
      } catch (error) {
        if (failedWith(error, "Unimplemented")) {
          sources.shift();
          continue;
        }
      }
      await clock.sleep(EVENTS_RETRY_MS, { kind: "background", signal }).catch(() => undefined);
    }
  }
}
