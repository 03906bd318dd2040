/**
 * Whether a container runtime can run pods, as its node says it. What the runtime says of itself counts at once; that
 * it does not answer counts when it has not for a while: a restart of it makes no node unready.
 *
 * Behaviour matched: pkg/kubelet/runtime.go (runtimeErrors) and kubelet.go (updateRuntimeUp), v1.36.
 */
import type { Clock } from "../../../kv/clock.ts";
import type { Cri } from "./cri_messages.ts";

/** How long a runtime may be silent, or not ready, before it is down. */
export const RUNTIME_SILENCE_MS_MAX = 30_000;

/** See the module's text. */
export class CriHealth {
  readonly #clock: Clock;
  readonly #ask: () => Promise<Cri<"StatusResponse">>;
  /** When it has last said that it is ready. */
  #readyAt: number | undefined;
  /** What it has last said is wrong with it. */
  #told: string[] = [];

  /** `ask` rejects while the runtime does not answer. */
  constructor(clock: Clock, ask: () => Promise<Cri<"StatusResponse">>) {
    this.#clock = clock;
    this.#ask = ask;
  }

  /** Why no pods can be run now; undefined when they can. */
  async problem(): Promise<string | undefined> {
    const asked = await this.#ask().catch(() => undefined);
    const now = this.#clock.now();
    if (asked) {
      const runtime = notReady(asked, "RuntimeReady", "container runtime");
      if (!runtime) this.#readyAt = now;
      this.#told = [runtime, notReady(asked, "NetworkReady", "container runtime network")]
        .filter((text) => text !== undefined);
    }
    const all = [...this.#silence(now), ...this.#told];
    return all.length > 1 ? `[${all.join(", ")}]` : all[0];
  }

  #silence(now: number): string[] {
    if (this.#readyAt === undefined) {
      return ["container runtime status check may not have completed yet"];
    }
    return now - this.#readyAt >= RUNTIME_SILENCE_MS_MAX ? ["container runtime is down"] : [];
  }
}

function notReady(
  { status }: Cri<"StatusResponse">,
  type: string,
  what: string,
): string | undefined {
  const found = status?.conditions?.find((one) => one.type === type);
  if (found?.status) return undefined;
  const { reason = "", message = "" } = found ?? {};
  return `${what} not ready: ${type}=false reason:${reason} message:${message}`;
}
