/**
 * Is this text a schedule that CronJobs take? The grammar and the messages are those of the cron parser
 * upstream uses (five fields, names of months and days, `@hourly` and the like, `@every 5m`, a time zone in
 * front). Computing times is the CronJob controller's.
 */

import { Memory } from "../../machinery/memory.ts";
import { parseDuration } from "../../machinery/time.ts";

interface Bounds {
  min: number;
  max: number;
  names?: Record<string, number>;
}

function names(text: string, from: number): Record<string, number> {
  return Object.fromEntries(text.split(" ").map((name, i) => [name, i + from]));
}

const FIELDS: readonly Bounds[] = [
  { min: 0, max: 59 },
  { min: 0, max: 23 },
  { min: 1, max: 31 },
  { min: 1, max: 12, names: names("jan feb mar apr may jun jul aug sep oct nov dec", 1) },
  { min: 0, max: 6, names: names("sun mon tue wed thu fri sat", 0) },
];

const DESCRIPTORS = new Set([
  "@yearly",
  "@annually",
  "@monthly",
  "@weekly",
  "@daily",
  "@midnight",
  "@hourly",
]);

/** What is wrong with a schedule; undefined when nothing is. */
export function scheduleProblem(schedule: string): string | undefined {
  if (schedule === "") return "empty spec string";
  let text = schedule;
  if (text.startsWith("TZ=") || text.startsWith("CRON_TZ=")) {
    const blank = text.indexOf(" ");
    const zone = text.slice(text.indexOf("=") + 1, blank < 0 ? undefined : blank);
    if (blank < 0 || !isTimeZone(zone)) {
      return `provided bad location ${zone}: unknown time zone ${zone}`;
    }
    text = text.slice(blank).trim();
  }
  if (text.startsWith("@")) return descriptorProblem(text);
  const parts = text.split(/\s+/).filter((part) => part !== "");
  if (parts.length !== FIELDS.length) {
    return `expected exactly 5 fields, found ${parts.length}: [${parts.join(" ")}]`;
  }
  for (let i = 0; i < parts.length; i++) {
    for (const part of parts[i].split(",")) {
      if (part === "") continue;
      const problem = rangeProblem(part, FIELDS[i]);
      if (problem) return problem;
    }
  }
  return undefined;
}

function descriptorProblem(text: string): string | undefined {
  if (DESCRIPTORS.has(text)) return undefined;
  if (!text.startsWith("@every ")) return `unrecognized descriptor: ${text}`;
  try {
    parseDuration(text.slice("@every ".length));
    return undefined;
  } catch (error) {
    return `failed to parse duration ${text}: ${(error as Error).message}`;
  }
}

/** A number or a name; a text says what is wrong. */
function value(text: string, bounds: Bounds): number | string {
  const named = bounds.names?.[text.toLowerCase()];
  if (named !== undefined) return named;
  if (!/^[+-]?[0-9]+$/.test(text)) {
    return `failed to parse int from ${text}: strconv.Atoi: parsing "${text}": invalid syntax`;
  }
  const number = Number(text);
  return number < 0 ? `negative number (${number}) not allowed: ${text}` : number;
}

function rangeProblem(text: string, bounds: Bounds): string | undefined {
  const [range, ...steps] = text.split("/");
  const ends = range.split("-");
  let start: number | string, end: number | string;
  if (ends[0] === "*" || ends[0] === "?") {
    start = bounds.min;
    end = bounds.max;
  } else {
    start = value(ends[0], bounds);
    if (typeof start === "string") return start;
    if (ends.length > 2) return `too many hyphens: ${text}`;
    end = ends.length === 2 ? value(ends[1], bounds) : start;
    if (typeof end === "string") return end;
  }
  if (steps.length > 1) return `too many slashes: ${text}`;
  let step = 1;
  if (steps.length === 1) {
    const parsed = value(steps[0], { min: 0, max: 0 });
    if (typeof parsed === "string") return parsed;
    step = parsed;
    // `5/15` means from 5 on.
    if (ends.length === 1 && start === end) end = bounds.max;
  }
  if (start < bounds.min) {
    return `beginning of range (${start}) below minimum (${bounds.min}): ${text}`;
  }
  if (end > bounds.max) return `end of range (${end}) above maximum (${bounds.max}): ${text}`;
  if (start > end) return `beginning of range (${start}) beyond end of range (${end}): ${text}`;
  return step === 0 ? `step of range should be a positive number: ${text}` : undefined;
}

/** Zones that were asked for: Intl takes long, and a CronJob's is asked for at each write of its status. */
const zones = new Memory<boolean>(1_000);

/** Whether the runtime knows a time zone of that name. */
export function isTimeZone(name: string): boolean {
  const known = zones.get(name) ?? isKnownToIntl(name);
  zones.set(name, known);
  return known;
}

function isKnownToIntl(name: string): boolean {
  // Intl takes offsets such as +01:00 too, which the time zone database does not name.
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat("en-US", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
