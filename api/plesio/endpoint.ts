/** What an endpoint of Plesio's own is, and what all of them say. */
import type { Requested } from "../auth/impersonate.ts";
import type { User } from "../client/contract.ts";
import { badRequest } from "../machinery/errors.ts";
import { ApiError } from "../machinery/types.ts";
import type { Inner } from "../server/app.ts";
import type { Call, Reply } from "../server/http.ts";
import type { TestKit } from "./kit.ts";
import type { PlesioPorts } from "./ports.ts";

/** A request to an endpoint: whoever sent it may ask for the path. */
export interface Asked {
  readonly call: Call;
  readonly user: User;
  /** Throws 403 unless they may have what was `requested` in the row's own words. */
  authorize(): void | Promise<void>;
  /** What follows the endpoint's path: "" or from a slash on. */
  readonly rest: string;
  readonly ports: PlesioPorts;
}

/** One row of the table. What it throws becomes a Status. */
export interface Endpoint {
  readonly path: string;
  answer(asked: Asked): Promise<Reply> | Reply;
  /** It is for everybody: whatever credentials come along are not looked at. */
  readonly open?: boolean;
  /** Whether a request may take as long as it likes (default: as what it asks for may). */
  longRunning?(call: Call): boolean;
  /** What a request asks for in truth, where that is not the path: the endpoint authorizes it. */
  requested?(call: Call, rest: string): Requested;
  /** Another server that a request is for, which sees to all of it; undefined: it is for the endpoint. */
  inner?(call: Call, rest: string, ports: PlesioPorts): Inner | undefined;
}

/** Refuses every method but these, which an endpoint has. */
export function allowMethods({ call }: Asked, ...methods: readonly string[]): void {
  if (methods.includes(call.method)) return;
  const message = `${call.path} takes ${methods.join(" and ")}, not ${call.method}`;
  throw new ApiError({ code: 405, reason: "MethodNotAllowed", message });
}

/** What follows an endpoint's path, as its first word and what follows that: "" or from a slash on. */
export function split(rest: string): { first: string; rest: string } {
  const end = rest.indexOf("/", 1);
  return end < 0
    ? { first: rest.slice(1), rest: "" }
    : { first: rest.slice(1, end), rest: rest.slice(end) };
}

/** The parameters of a request. Throws 400 for one that is none of `known`. */
export function parametersOf({ call }: Asked, known: readonly string[]): URLSearchParams {
  const query = new URLSearchParams(call.query);
  for (const name of query.keys()) {
    if (!known.includes(name)) {
      throw badRequest(`${JSON.stringify(name)} is not known: there are ${known.join(", ")}`);
    }
  }
  return query;
}

/** Whether an answer is to be text for people, by `format=text` or what the request accepts. */
export function wantsText({ call }: Asked): boolean {
  const format = new URLSearchParams(call.query).get("format");
  return format ? format === "text" : /^text\/plain\b/.test(call.header("accept") ?? "");
}

/** 404 with a text that says what there would be. */
export function notThere(message: string): ApiError {
  return new ApiError({ code: 404, reason: "NotFound", message });
}

/** The test kit, or 404 where the cluster has none. */
export function kitOf({ call, ports }: Asked): TestKit {
  const kit = ports.kit;
  if (kit) return kit;
  throw notThere(
    `${call.path} is the test kit's: it is there where the cluster was started with ` +
      "--test-kit, or by Cluster.start({ testKit: true })",
  );
}
