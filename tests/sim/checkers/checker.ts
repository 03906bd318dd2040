/** What a checker is: it looks from outside, at the truth and at answers, and says what is wrong. */
import type { Process, Ran } from "../process.ts";
import type { Commit, Obj, Truth } from "../truth.ts";

/** A request of the workload and what came of it. */
export interface Answer {
  readonly verb: "create" | "update" | "patch" | "delete" | "evict";
  /** Such as `deployments a/web`. */
  readonly what: string;
  /** The truth's revision when it was asked. */
  readonly askedAt: number;
  /** What the server answered: the object, or a Status. */
  readonly result: Obj;
}

/** What checkers see of the world. */
export interface Sight {
  readonly truth: Truth;
  /** Simulated time. */
  now(): number;
  /** Processes that are up. */
  processes(): readonly Process[];
  /** Controllers run twice under one term. */
  readonly twice: boolean;
  /** Something is wrong: ends the run. */
  fail(checker: string, text: string): void;
}

/** See the module's text. */
export interface Checker {
  readonly name: string;
  /** After each commit that landed. */
  commit?(commit: Commit): void;
  /** Before each request of the workload. */
  asked?(ask: Pick<Answer, "verb" | "what">): void;
  /** After each request that was answered with success. */
  answer?(answer: Answer): void;
  /** A process came up. */
  opened?(process: Process): void;
  /** A pod begins or ends to be on a machine. */
  ran?(what: Ran): void;
  /** The trouble is over and the world has come to rest: what is still wrong? */
  rest?(): readonly string[];
}
