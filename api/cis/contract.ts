/** What a check is, and what it may look at: one page of types and the small words that checks answer with. */
import type { KubeObject } from "../machinery/types.ts";

/** What came of a check. WARN: a person has to judge. */
export type Verdict = "PASS" | "FAIL" | "WARN" | "NOT APPLICABLE";

/** A verdict and what was seen. */
export interface Result {
  verdict: Verdict;
  reason: string;
}

/** An answer of the server. */
export interface Answer {
  status: number;
  /** The body, if it is JSON; else an empty object. */
  // deno-lint-ignore no-explicit-any -- answers of every kind
  body: any;
}

/** How a request is made. */
export interface AskOptions {
  method?: string;
  body?: unknown;
  /** Media type of the body (default JSON), and what is wanted back. */
  type?: string;
  accept?: string;
  /** Acts as somebody else. */
  as?: { user: string; groups?: readonly string[] };
  /** Without any credentials. */
  anonymous?: boolean;
}

/** What may be looked at. Nothing is changed: writes are dry runs. */
export interface Sources {
  ask(path: string, options?: AskOptions): Promise<Answer>;
  /** The permission bits of a file of the data folder; undefined where there is none, or no folder was named. */
  modeOf?(name: string): Promise<number | undefined>;
  /** Whether the server answers a TLS greeting of at most this version with these suites; absent without sockets. */
  greets?(version: number, suites: readonly number[]): Promise<boolean>;
  /** Whether somebody answers there; absent without sockets. */
  reaches?(host: string, port: number): Promise<boolean>;
  /** How the checker itself proved who it is. */
  credentials?: "certificate" | "token";
}

/** Everything that checks read, each list at most once. */
export interface Facts extends Sources {
  /** Flags of the running server, from `/flagz`. */
  flags: Readonly<Record<string, string>>;
  /** All objects of a list's path, such as `/api/v1/pods`. */
  list(path: string): Promise<readonly Obj[]>;
}

// deno-lint-ignore no-explicit-any -- objects of every kind, read loosely
export type Obj = KubeObject & Record<string, any>;

/** One item. */
export interface Check {
  id: string;
  /** In our own words. */
  title: string;
  run(facts: Facts): Result | Promise<Result>;
}

export const pass = (reason: string): Result => ({ verdict: "PASS", reason });
export const fail = (reason: string): Result => ({ verdict: "FAIL", reason });
export const warn = (reason: string): Result => ({ verdict: "WARN", reason });
export const none = (reason: string): Result => ({ verdict: "NOT APPLICABLE", reason });

/** Pass or fail by a condition. */
export function either(isGood: boolean, good: string, bad: string): Result {
  return isGood ? pass(good) : fail(bad);
}

/** Names shown of a longer list. */
const SHOWN_MAX = 5;

/** A list as a reason shows it. */
export function shown(names: readonly string[]): string {
  const some = names.slice(0, SHOWN_MAX).join(", ");
  return names.length > SHOWN_MAX ? `${some} and ${names.length - SHOWN_MAX} more` : some;
}

/** Nobody of a list may be there; `what` says what they do. */
export function nobody(names: readonly string[], what: string, verdict: Verdict = "FAIL"): Result {
  if (names.length === 0) return pass(`0 ${what}`);
  return { verdict, reason: `${shown(names)}: ${names.length} ${what}` };
}
