/** What Plesio's own endpoints need of the process that they run in. */
import type { Buffer } from "node:buffer";
import type { Clock } from "../../kv/clock.ts";
import type { Database } from "../../kv/contract.ts";
import type { Logins } from "../auth/logins.ts";
import type { User } from "../client/contract.ts";
import type { Kinds, KubeObject } from "../machinery/types.ts";
import type { Forks } from "./forks.ts";
import type { Call, Reply } from "../server/http.ts";
import type { Socket } from "../server/listen.ts";
import type { TestKit } from "./kit.ts";
import type { ActorsPort } from "./actors.ts";

/** See the file's text. */
export interface PlesioPorts {
  readonly clock: Clock;
  readonly database: Database<KubeObject>;
  readonly kinds: Kinds;
  /** The API server itself, as somebody may ask it, and as it was at a revision. */
  api(): {
    fetch(request: Request, client: { user: User }): Promise<Response>;
    answer(call: Call): Promise<Reply>;
    upgrade(call: Call, socket: Socket, head: Buffer): void;
    readonly past: {
      at(
        revision: number,
        later?: number,
      ): Promise<{ time: number; answer(call: Call): Promise<Reply> }>;
    };
  };
  /** Forks of the cluster that have a name. */
  readonly forks: Forks;
  /** The actors of the process. */
  actors(): ActorsPort;
  /** Whether somebody may hold actors back. */
  readonly control?: boolean;
  /** Makes codes of log-in links, and tickets. */
  readonly logins: Logins;
  /** The test kit, where there is one. */
  readonly kit?: TestKit;
}
