/**
 * Cron schedules: five fields, names of months and days, `@hourly` and its like, time zones. Pure.
 *
 * Accepts what github.com/robfig/cron/v3's standard parser accepts, and finds the same times, those around
 * the changes of daylight saving included: a time that does not exist that day is skipped.
 */

/** What a field may hold, and the names for its numbers. */
interface FieldRule {
  name: string;
  min: number;
  max: number;
  names?: Record<string, number>;
}

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: readonly FieldRule[] = [
  { name: "minute", min: 0, max: 59 },
  { name: "hour", min: 0, max: 23 },
  { name: "day of month", min: 1, max: 31 },
  {
    name: "month",
    min: 1,
    max: 12,
    names: Object.fromEntries(MONTHS.map((month, i) => [month, i + 1])),
  },
  { name: "day of week", min: 0, max: 6, names: Object.fromEntries(DAYS.map((d, i) => [d, i])) },
];

const DESCRIPTORS: Record<string, string> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};

const MINUTE = 60_000;
const DAY = 86_400_000;
/** So many days' offsets are kept of a zone. */
const DAYS_KNOWN_MAX = 1_000;
/** No schedule is searched further than this; `30 2 30 2 *` has no time at all. */
const SEARCH_DAYS_MAX = 366 * 5;

/** A schedule that cannot be read. */
export class ScheduleError extends Error {
  override name = "ScheduleError";
}

/** The wall clock somewhere. */
interface Wall {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
}

/** When something is due. */
export interface Schedule {
  /** The first time after `after`, in ms since 1970; undefined when there is none. */
  next(after: number): number | undefined;
}

/** Reads a schedule. A zone in its text (`TZ=…`) wins over `timeZone`; without any it is UTC. */
export function parseSchedule(text: string, timeZone?: string): Schedule {
  let rest = text.trim();
  const zone = /^(?:TZ|CRON_TZ)=(\S+)\s+/.exec(rest);
  if (zone) {
    timeZone = zone[1];
    rest = rest.slice(zone[0].length).trim();
  }
  const wall = wallClock(timeZone);
  const every = /^@every\s+(.+)$/.exec(rest);
  if (every) return everySchedule(every[1]);
  if (rest.startsWith("@")) {
    const meaning = DESCRIPTORS[rest.toLowerCase()];
    if (!meaning) throw new ScheduleError(`unrecognized descriptor: ${rest}`);
    rest = meaning;
  }
  const parts = rest.split(/\s+/).filter(Boolean);
  if (parts.length !== 5) {
    throw new ScheduleError(
      `expected exactly 5 fields, found ${parts.length}: [${parts.join(" ")}]`,
    );
  }
  const fields = parts.map((part, i) => parseField(part, FIELDS[i]));
  return remembering({ next: (after) => nextTime(fields, wall, after) });
}

/** A schedule that knows its last two answers: a look at a CronJob asks for a time and the one after it, every time. */
function remembering(schedule: Schedule): Schedule {
  let [last, before] = [{ after: NaN, next: NaN as number | undefined }, {
    after: NaN,
    next: NaN as number | undefined,
  }];
  return {
    next(after) {
      if (after === last.after) return last.next;
      const known = after === before.after ? before : { after, next: schedule.next(after) };
      [before, last] = [last, known];
      return known.next;
    },
  };
}

/** How many schedules are kept as they were read. */
export const SCHEDULES_KEPT_MAX = 1_000;
const schedules = new Map<string, Schedule>();

/** As `parseSchedule`; one that was read before is not read again: a CronJob's is asked for at every look at it. */
export function scheduleOf(text: string, timeZone?: string): Schedule {
  const key = `${timeZone ?? ""}\n${text}`;
  let schedule = schedules.get(key);
  if (!schedule) {
    schedule = parseSchedule(text, timeZone);
    if (schedules.size >= SCHEDULES_KEPT_MAX) schedules.clear();
    schedules.set(key, schedule);
  }
  return schedule;
}

function everySchedule(text: string): Schedule {
  const units: Record<string, number> = { h: 3600_000, m: MINUTE, s: 1000, ms: 1 };
  let ms = 0;
  const rest = text.replace(/(\d+(?:\.\d+)?)(ms|h|m|s)/g, (_, number, unit) => {
    ms += Number(number) * units[unit];
    return "";
  });
  if (rest !== "" || ms <= 0) throw new ScheduleError(`failed to parse duration @every ${text}`);
  const step = Math.max(1000, Math.floor(ms / 1000) * 1000);
  return { next: (after) => Math.floor(after / 1000) * 1000 + step };
}

// --- fields -----------------------------------------------------------------------------------------

/** The values a field allows; `star` when it says nothing about days. */
interface Field {
  values: ReadonlySet<number>;
  /** The same, in order. */
  list: readonly number[];
  star: boolean;
}

function parseField(text: string, rule: FieldRule): Field {
  const values = new Set<number>();
  let star = false;
  for (const part of text.split(",")) {
    const [range, stepText, ...more] = part.split("/");
    if (more.length > 0) throw new ScheduleError(`too many slashes: ${part}`);
    let step = 1;
    if (stepText !== undefined) {
      step = readNumber(stepText, rule);
      if (step === 0) throw new ScheduleError(`step of range should be a positive number: ${part}`);
    }
    const [low, high] = bounds(range, rule, stepText !== undefined);
    if ((range === "*" || range === "?") && step === 1) star = true;
    for (let value = low; value <= high; value += step) values.add(value);
  }
  return { values, list: [...values].sort((a, b) => a - b), star };
}

function bounds(range: string, rule: FieldRule, stepped: boolean): [number, number] {
  if (range === "*" || range === "?") return [rule.min, rule.max];
  const [lowText, highText, ...more] = range.split("-");
  if (more.length > 0) throw new ScheduleError(`too many hyphens: ${range}`);
  const low = readNumber(lowText, rule);
  const high = highText !== undefined ? readNumber(highText, rule) : stepped ? rule.max : low;
  if (low < rule.min) {
    throw new ScheduleError(`beginning of range (${low}) below minimum (${rule.min}): ${range}`);
  }
  if (high > rule.max) {
    throw new ScheduleError(`end of range (${high}) above maximum (${rule.max}): ${range}`);
  }
  if (low > high) {
    throw new ScheduleError(`beginning of range (${low}) beyond end of range (${high}): ${range}`);
  }
  return [low, high];
}

function readNumber(text: string, rule: FieldRule): number {
  const named = rule.names?.[text.toLowerCase()];
  if (named !== undefined) return named;
  if (!/^\d+$/.test(text)) throw new ScheduleError(`failed to parse int from ${text}`);
  return Number(text);
}

// --- times ------------------------------------------------------------------------------------------

function dayMatches([, , days, , weekdays]: Field[], { year, month, day }: Wall): boolean {
  const inMonth = days.values.has(day);
  const inWeek = weekdays.values.has(new Date(Date.UTC(year, month - 1, day)).getUTCDay());
  // Both restricted: either is enough; else both have to hold.
  return days.star || weekdays.star ? inMonth && inWeek : inMonth || inWeek;
}

function nextTime(fields: Field[], wall: WallClock, after: number): number | undefined {
  const [, , , months] = fields;
  const first = Math.floor(after / MINUTE) * MINUTE + MINUTE;
  const start = wall.at(first);
  const date = new Date(Date.UTC(start.year, start.month - 1, start.day));
  for (let i = 0; i < SEARCH_DAYS_MAX; i++) {
    const day: Wall = {
      year: date.getUTCFullYear(),
      month: date.getUTCMonth() + 1,
      day: date.getUTCDate(),
      hour: 0,
      minute: 0,
    };
    if (months.values.has(day.month) && dayMatches(fields, day)) {
      const at = firstOf(fields, wall, { day, after, ...(i === 0 && { start }) });
      if (at !== undefined) return at;
    }
    date.setUTCDate(date.getUTCDate() + 1);
  }
  return undefined;
}

/** The first moment of a day after another; `start` is what the clock shows then, on the same day. */
function firstOf(
  [minutes, hours]: Field[],
  wall: WallClock,
  { day, after, start }: { day: Wall; after: number; start?: Wall },
): number | undefined {
  // Where the clock is put back, hours come twice: a time may lie behind one that the clock shows later.
  const goesBack = start && (wall.offset(after + DAY) < wall.offset(after) ||
    wall.offset(after) < wall.offset(after - DAY));
  let found: number | undefined;
  for (const hour of hours.list) {
    if (start && !goesBack && hour < start.hour) continue;
    for (const minute of minutes.list) {
      if (start && !goesBack && hour === start.hour && minute < start.minute) continue;
      const at = wall.momentOf({ ...day, hour, minute }, after);
      if (at === undefined || at <= after) continue;
      if (!goesBack) return at;
      if (found === undefined || at < found) found = at;
    }
  }
  return found;
}

interface WallClock {
  at(ms: number): Wall;
  /** How far the clock is ahead of UTC. */
  offset(ms: number): number;
  /** The first moment after `after` at which the clock shows this; undefined when it never does. */
  momentOf(wall: Wall, after: number): number | undefined;
}

function wallClock(timeZone: string | undefined): WallClock {
  if (!timeZone || timeZone === "UTC" || timeZone === "Etc/UTC") {
    return {
      at: (ms) => fromDate(new Date(ms)),
      offset: () => 0,
      momentOf: (wall) => utc(wall),
    };
  }
  const offset = zoneOffset(timeZone);
  const at = (ms: number): Wall => fromDate(new Date(ms + offset(ms)));
  return {
    at,
    offset,
    momentOf(wall, after) {
      const guess = utc(wall);
      // The offset on either side of a change gives the candidates; what reads back is a moment.
      const [before, behind] = [offset(guess - DAY), offset(guess + DAY)];
      if (before === behind && before === offset(guess)) return guess - before;
      const offsets = new Set([before, offset(guess), behind]);
      const moments = [...offsets].map((one) => guess - one)
        .filter((moment) => moment + offset(moment) === guess).sort((a, b) => a - b);
      return moments.find((moment) => moment > after) ?? moments[0];
    },
  };
}

type Offset = (ms: number) => number;

/** Zones whose offsets are kept. */
const ZONES_KEPT_MAX = 1_000;
const zones = new Map<string, Offset>();

/** How far a zone's clocks are ahead of UTC, in ms, by moment. Throws ScheduleError for a zone that is none. */
export function zoneOffset(timeZone: string): Offset {
  let offset = zones.get(timeZone);
  if (!offset) {
    offset = byDays(askZone(zoneFormat(timeZone)));
    if (zones.size >= ZONES_KEPT_MAX) zones.clear();
    zones.set(timeZone, offset);
  }
  return offset;
}

function askZone(format: Intl.DateTimeFormat): Offset {
  return (ms) => {
    const parts: Record<string, number> = {};
    for (const { type, value } of format.formatToParts(new Date(ms))) parts[type] = Number(value);
    const { year, month, day, hour, minute } = parts;
    return utc({ year, month, day, hour: hour % 24, minute }) - Math.floor(ms / MINUTE) * MINUTE;
  };
}

/** A day's offsets: until the moment of a change, if it has one, and from then on. */
interface Day {
  changesAt: number;
  before: number;
  behind: number;
}

/**
 * The same offsets, asked for once a day: a schedule asks often, and the host takes microseconds for each. A day (of
 * UTC) that begins and ends with the same offset has it throughout: no zone changes twice a day.
 */
function byDays(ask: Offset): Offset {
  const known = new Map<number, Day>();
  return (ms) => {
    const number = Math.floor(ms / DAY);
    let day = known.get(number);
    if (!day) {
      if (known.size >= DAYS_KNOWN_MAX) known.clear();
      known.set(number, day = askDay(ask, number * DAY));
    }
    return ms < day.changesAt ? day.before : day.behind;
  };
}

function askDay(ask: Offset, from: number): Day {
  const [before, behind] = [ask(from), ask(from + DAY)];
  if (before === behind) return { changesAt: Infinity, before, behind };
  let [low, high] = [0, DAY / MINUTE];
  while (high - low > 1) {
    const middle = low + high >> 1;
    if (ask(from + middle * MINUTE) === before) low = middle;
    else high = middle;
  }
  return { changesAt: from + high * MINUTE, before, behind };
}

function zoneFormat(timeZone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat("en-US", {
      timeZone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
    });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ScheduleError(`unknown time zone ${timeZone}`);
  }
}

function utc({ year, month, day, hour, minute }: Wall): number {
  return Date.UTC(year, month - 1, day, hour, minute);
}

function fromDate(date: Date): Wall {
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
  };
}
