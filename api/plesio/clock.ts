/**
 * `/plesio/v1/clock`: the cluster's time, and how it goes on.
 *
 * - `GET`: what time it is, and when the next work is due.
 * - `POST {"advance": "1h30m"}`, `{"until": "2026-01-01T12:00:00Z"}`: time goes on that far; all that falls due happens,
 *   one after the other, each once everything before it has come to rest.
 * - `POST {"until": {"path": "/api/v1/…", "cel": "object.status.phase == 'Running'", "within": "5m"}}`: until what lies
 *   there is so; `jsonpath` with `equals` says it as `kubectl wait --for=jsonpath` does. 409 when it is not by then.
 * - `POST {"jump": "2h"}`: time goes on while everything sleeps, as on a laptop that was closed. A day that is gone
 *   through costs a second or two of heartbeats, one that is jumped over nothing.
 *
 * Programs outside live by their own clock. `clients: "50ms"` lets them act: whenever the cluster has come to rest and
 * something has changed, it waits until nobody has asked anything for that long, before time goes on.
 */
import { celEngine } from "../machinery/crd/engine.ts";
import { badRequest } from "../machinery/errors.ts";
import { compiledExpression, loadExpressions } from "../machinery/expressions.ts";
import { compileJsonPath, JsonPathError, jsonPathText } from "../machinery/jsonpath.ts";
import { formatDuration, formatMicroTime } from "../machinery/time.ts";
import { ApiError, type Json } from "../machinery/types.ts";
import { jsonReply, type Reply } from "../server/http.ts";
import { flag, routeOf } from "../server/route.ts";
import {
  asked as body,
  duration,
  type Fields,
  fields,
  type ReadersOf,
  text,
  time,
} from "./body.ts";
import { allowMethods, type Asked, kitOf } from "./endpoint.ts";
import type { Going, TestKit } from "./kit.ts";

/** How far time goes without being told, until a condition holds. */
const WITHIN_MS = 3_600_000;

/** What lies under a path is as wanted: exactly one of `cel` and `jsonpath`. */
export interface Condition {
  /** Of the API, such as `/apis/apps/v1/namespaces/default/deployments/web`. */
  path: string;
  /** Of `object`, what lies there; with nothing there it does not hold. */
  cel?: string;
  /** Such as `{.status.readyReplicas}`: holds when it finds something, or what `equals` says. */
  jsonpath?: string;
  equals?: string;
  /** How far time may go on (default `1h`). */
  within?: string | number;
}

/** How the clock is to go on: exactly one of `advance`, `until` and `jump`. */
export interface ClockOrder extends Going {
  advance?: string | number;
  /** A time, or a condition. */
  until?: string | Condition;
  jump?: string | number;
}

/** How far it went. */
export interface ClockAnswer {
  now: string;
  advanced: string;
}

const plain = text();

const condition = fields(
  {
    path: (value, field) => {
      const path = plain(value, field);
      if (!path.startsWith("/")) {
        throw badRequest(`${field} must begin with a slash, not ${JSON.stringify(path)}`);
      }
      const { pathname, searchParams } = new URL(`https://plesio${path}`);
      if (routeOf(pathname)?.watch || flag(searchParams, "watch") || flag(searchParams, "follow")) {
        throw badRequest(`${field} names a stream, which never ends: ${JSON.stringify(path)}`);
      }
      return path;
    },
    cel: plain,
    jsonpath: plain,
    equals: plain,
    within: duration,
  } satisfies ReadersOf<Condition>,
);

/** How long others are waited for, wherever that may be said. */
export const going = { clients: duration, patience: duration } satisfies ReadersOf<Going>;

const order = fields(
  {
    ...going,
    advance: duration,
    jump: duration,
    until: (value: unknown, field: string) =>
      typeof value === "string" ? value : condition(value, field),
  } satisfies Record<keyof ClockOrder, unknown>,
);

/** Answers it. */
export async function clock(asked: Asked): Promise<Reply> {
  allowMethods(asked, "GET", "POST");
  const kit = kitOf(asked);
  if (asked.call.method === "GET") return jsonReply(200, kit.clock());
  return jsonReply(200, await kit.run(await body(asked.call) as ClockOrder));
}

/** Lets time go on as ordered. Rejects with 409 when a condition was not met. */
export async function runClock(kit: TestKit, given: ClockOrder): Promise<ClockAnswer> {
  const { advance, jump, until, ...patience } = order(given, "");
  const told = [advance, jump, until].filter((one) => one !== undefined);
  if (told.length !== 1) throw badRequest("exactly one of advance, until and jump must be said");
  const began = kit.now();
  if (jump !== undefined) await kit.jump(jump);
  else if (advance !== undefined) await kit.go({ within: advance, ...patience });
  else if (typeof until === "string") {
    const within = time(until, "until") - began;
    if (within < 0) throw badRequest(`until: it is ${kit.clock().now} already`);
    await kit.go({ within, ...patience });
  } else await runUntil(kit, until!, patience);
  return { now: kit.clock().now, advanced: formatDuration(kit.now() - began) };
}

async function runUntil(
  kit: TestKit,
  wanted: ReturnType<typeof condition>,
  patience: Fields<typeof going>,
): Promise<void> {
  const { path, within = WITHIN_MS } = wanted;
  if (!path) throw badRequest("until.path must be said");
  const test = await testOf(wanted);
  let found: unknown;
  let revision: unknown;
  let holds = false;
  const until = async () => {
    // What lies there is another only when something was written
    const now = kit.revision();
    if (now === revision) return holds;
    revision = now;
    found = await kit.read(path);
    return holds = found !== undefined && test(found);
  };
  if (await kit.go({ within, ...patience, until })) return;
  const reason = "ConditionNotMet";
  const message = `${wanted.cel ?? wanted.jsonpath} of ${path} ${
    found === undefined ? "cannot be told, for nothing lies there" : "does not hold"
  }, ${formatDuration(within)} later`;
  throw new ApiError({ code: 409, reason, message });
}

async function testOf(
  { cel, jsonpath, equals }: Omit<Condition, "path">,
): Promise<(found: unknown) => boolean> {
  if ((cel === undefined) === (jsonpath === undefined)) {
    throw badRequest("until must have exactly one of cel and jsonpath");
  }
  if (jsonpath !== undefined) {
    try {
      const path = compileJsonPath(jsonpath);
      return (object) => {
        const values = path.find(object);
        const said = values.map(jsonPathText).join(" ");
        return equals === undefined ? values.length > 0 && said !== "" : said === equals;
      };
    } catch (error) {
      if (!(error instanceof JsonPathError)) throw error;
      throw badRequest(`until.jsonpath: ${error.message}`);
    }
  }
  if (equals !== undefined) throw badRequest("until.equals goes with jsonpath, not with cel");
  await loadExpressions();
  const { program, problem } = compiledExpression(cel!, "message", ["bool", "any", "dyn"]);
  if (problem !== undefined) throw badRequest(`until.cel: ${problem}`);
  const { CelError } = celEngine();
  return (object) => {
    try {
      return program.evaluate({ object: object as Json }) === true;
    } catch (error) {
      // A field that is not there yet
      if (error instanceof CelError) return false;
      throw error;
    }
  };
}

/** What GET shows. */
export function shownClock(
  now: number,
  nextWork: number | undefined,
): { now: string; next?: string } {
  return {
    now: formatMicroTime(now),
    ...(nextWork !== undefined && { next: formatMicroTime(Math.floor(nextWork)) }),
  };
}
