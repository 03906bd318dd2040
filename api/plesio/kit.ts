/**
 * The test kit: what a test does with a cluster beside speaking to its API. Programs in TypeScript have it as
 * `cluster.kit`, all others under `/plesio/v1/`, and it is the same.
 *
 * - `clock.ts`: time goes on as far as it is told, or until something is so.
 * - `settle.ts`: until nobody has anything to do.
 * - `reset.ts`: back to how it was at the start.
 * - `fault.ts`, `faults.ts`: what is to go wrong.
 * - `ledger.ts`: what clients asked, and what of it should worry who wrote them.
 *
 * Certificates are made and checked by the host's time, whatever the cluster's clock says: it is the host's that every
 * TLS library reads. Tokens, leases and all else live by the cluster's.
 */
import type { Clock, ManualClock } from "../../kv/clock.ts";
import type { Database } from "../../kv/contract.ts";
import type { User } from "../client/contract.ts";
import { badRequest } from "../machinery/errors.ts";
import { ApiError, type KubeObject } from "../machinery/types.ts";
import { asApiError, type CallStage, type Stage } from "../server/deps.ts";
import type { Fields } from "./body.ts";
import { type ClockAnswer, type ClockOrder, type going, runClock, shownClock } from "./clock.ts";
import { Faults } from "./faults.ts";
import { Ledger } from "./ledger.ts";
import { Baseline } from "./reset.ts";
import { settleOrder } from "./settle.ts";

/** How long others are waited for, in time of the host. */
export interface Going {
  /** Programs outside have acted when they have asked nothing for so long (default: they are not waited for). */
  clients?: string | number;
  /** Gives up when it takes longer than this (default `30s`). */
  patience?: string | number;
}

/** What is said to `settle`. */
export interface SettleOrder extends Going {
  /** How far time may go on to work that is due (default `1m`). */
  within?: string | number;
}

/** How a cluster comes to rest. */
export interface RestOrder {
  within: number;
  allTimers?: boolean;
  signal: AbortSignal;
  held(): number;
  outside?(): Promise<boolean>;
  until?(): Promise<boolean>;
}

/** What the kit works with. */
export interface TestKitPorts {
  clock: Clock;
  /** The host's own time. */
  host: Clock;
  database: Database<KubeObject>;
  /** Resolves when nobody has anything to do, with whether `until` ended it; rejects with an error that lists `busy`. */
  settled(order: RestOrder): Promise<boolean>;
  /** The API, and who looks at it for conditions. */
  api(): {
    readonly requests: { readonly entries: number };
    fetch(request: Request, client: { user: User }): Promise<Response>;
  };
  admin: User;
  /** Hosts of simulated nodes, which lose nodes and find them again. */
  simulated: readonly { lose(node: string, lost: boolean): boolean }[];
}

/** How far ahead work is done without being told, and how long others are waited for. */
const WITHIN_MS = 60_000;
const PATIENCE_MS = 30_000;

/** See the module's text. */
export class TestKit {
  readonly faults: Faults;
  readonly ledger: Ledger;
  readonly #ports: TestKitPorts;
  #start: Baseline;

  constructor(ports: TestKitPorts) {
    this.#ports = ports;
    this.faults = new Faults({
      clock: ports.clock,
      lose: (node, lost) => ports.simulated.some((nodes) => nodes.lose(node, lost)),
    });
    this.ledger = new Ledger(ports);
    this.#start = new Baseline(ports.database);
  }

  /** What the cluster comes to now is what `reset` brings back. */
  async begin(): Promise<void> {
    await this.settle();
    this.#start = new Baseline(this.#ports.database);
  }

  /** The stage of requests: what goes wrong, and what is noted of it. */
  readonly stage: Stage = async (deps, request, answer) => {
    const ended = this.ledger.begin(deps, request);
    try {
      const answered = await this.faults.stage(deps, request, answer);
      ended(answered);
      return answered;
    } catch (error) {
      ended(asApiError(error, request.kind));
      throw error;
    }
  };

  /** The same of calls that are answered by more than an object. */
  readonly callStage: CallStage = async (asked, answer) => {
    const ended = this.ledger.called(asked);
    try {
      const reply = await this.faults.callStage(asked, answer);
      ended(reply.status);
      return reply;
    } catch (error) {
      ended(asApiError(error).code);
      throw error;
    }
  };

  /** The cluster's time, in ms. */
  now(): number {
    return this.#ports.clock.now();
  }

  /** The cluster's time, and when the next work is due, as texts. */
  clock(): { now: string; next?: string } {
    const { clock } = this.#ports;
    const next = clock.manual ? (clock as ManualClock).nextWorkAt() : undefined;
    return shownClock(clock.now(), next);
  }

  /** Lets time go on: see `clock.ts`. */
  run(order: ClockOrder): Promise<ClockAnswer> {
    return runClock(this, order);
  }

  /** Time goes on by that much, or, told as milliseconds or a text such as `1h30m`. */
  advance(by: string | number, options: Going = {}): Promise<ClockAnswer> {
    return this.run({ advance: by, ...options });
  }

  /** Time goes on until then, or until that is so: rejects with 409 when it is not within an hour, or `within`. */
  until(what: NonNullable<ClockOrder["until"]>, options: Going = {}): Promise<ClockAnswer> {
    return this.run({ until: what, ...options });
  }

  /** Resolves when nobody has anything to do; rejects with 409 and who has. */
  async settle(order: SettleOrder = {}): Promise<void> {
    const { within = WITHIN_MS, ...going } = settleOrder(order, "");
    await this.#rest({ within, ...going });
  }

  /** Writes back what has changed since the start; resolves with how many objects that were. */
  async reset(): Promise<number> {
    this.faults.clear();
    const changed = await this.#start.restore();
    await this.settle({ within: 0 });
    this.ledger.clear();
    return changed;
  }

  /** Time goes on, everything that falls due included; resolves with whether `until` ended it. */
  go(
    order: { within: number; until?(): Promise<boolean> } & Fields<typeof going>,
  ): Promise<boolean> {
    this.#manual();
    return this.#rest({ allTimers: true, ...order });
  }

  /** Time goes on while everything sleeps. */
  async jump(ms: number): Promise<void> {
    this.#manual().jump(ms);
    await this.go({ within: 0 });
  }

  /** What tells one state of the cluster's objects from another. */
  revision(): string {
    const { objects, events } = this.#ports.database;
    return `${objects.view().revision} ${events.view().revision}`;
  }

  /** What lies under a path of the API; undefined: nothing does. Rejects with 400 for what is no JSON. */
  async read(path: string): Promise<unknown> {
    const { api, admin: user } = this.#ports;
    const answer = await api().fetch(new Request(`https://plesio${path}`), { user });
    const text = await answer.text();
    if (!answer.ok) return undefined;
    try {
      return JSON.parse(text);
    } catch {
      throw badRequest(`what lies at ${path} is no JSON`);
    }
  }

  #manual(): ManualClock {
    const { clock } = this.#ports;
    if (clock.manual) return clock as ManualClock;
    throw badRequest("the cluster runs by the machine's clock, which goes on by itself");
  }

  async #rest(
    { clients, patience = PATIENCE_MS, ...order }:
      & Fields<typeof going>
      & Pick<RestOrder, "within" | "allTimers" | "until">,
  ): Promise<boolean> {
    const { host, settled } = this.#ports;
    const tired = new AbortController();
    const timer = host.timer("work", patience, () => tired.abort());
    try {
      return await settled({
        ...order,
        signal: tired.signal,
        held: () => this.faults.held,
        ...(clients && { outside: this.#outside(clients) }),
      });
    } catch (error) {
      throw stillBusy(error);
    } finally {
      timer.cancel();
    }
  }

  /** Waits, whenever something has changed, until nobody outside has asked anything for that long. */
  #outside(ms: number): () => Promise<boolean> {
    const { host, api } = this.#ports;
    let seen = "";
    return async () => {
      const before = this.revision();
      if (before === seen) return false;
      seen = before;
      for (let known = -1; known !== api().requests.entries;) {
        known = api().requests.entries;
        await host.sleep(ms);
      }
      return this.revision() !== before;
    };
  }
}

/** 409 with who is busy. */
function stillBusy(error: unknown): unknown {
  const { busy, message } = error as { busy?: readonly string[]; message: string };
  if (!busy) return error;
  const causes = busy.map((address) => ({ reason: "StillBusy", message: address }));
  return new ApiError({ code: 409, reason: "StillBusy", message, details: { causes } });
}
