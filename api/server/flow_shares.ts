/**
 * Arithmetic of flow control: which queues a flow may use (shuffle sharding), how seats are divided among levels that
 * borrow from one another, how much a level has wanted of late.
 */
import { createHash } from "node:crypto";

/** A level to which seats are given. `target` is no less than `least`. */
export interface ShareItem {
  target: number;
  least: number;
  most: number;
}

/** A target below this counts as this. */
const TARGET_MIN = 0.001;
const EPSILON = 1e-7;

/**
 * Divides `sum` so that each item gets the same multiple of its target, except where its bounds do not let it.
 * Undefined when no division keeps all bounds.
 */
export function divided(sum: number, items: readonly ShareItem[]): number[] | undefined {
  const least = items.reduce((all, item) => all + item.least, 0);
  const most = items.reduce((all, item) => all + item.most, 0);
  if (least - sum > EPSILON || sum - most > EPSILON) return undefined;
  const target = (item: ShareItem) => Math.max(item.target, TARGET_MIN);
  const at = (proportion: number) =>
    items.map((item) => Math.min(item.most, Math.max(item.least, proportion * target(item))));
  const total = (proportion: number) => at(proportion).reduce((all, share) => all + share, 0);
  // Between two neighbouring bounds the total grows evenly with the proportion
  const bounds = items.flatMap((item) => [item.least / target(item), item.most / target(item)])
    .sort((a, b) => a - b);
  let low = 0;
  for (const bound of bounds) {
    if (total(bound) < sum) {
      low = bound;
      continue;
    }
    const before = total(low);
    const grown = total(bound) - before;
    return at(grown <= EPSILON ? bound : low + (bound - low) * (sum - before) / grown);
  }
  return at(low);
}

/** The queues of a flow: `hand` different ones of `queues`, always the same for the same names. */
export function handOf(schema: string, flow: string, queues: number, hand: number): number[] {
  const hash = createHash("sha256").update(`${schema}\0${flow}`).digest();
  let value = hash.readBigUInt64LE(0);
  const remainders: number[] = [];
  for (let i = 0; i < hand; i++) {
    const left = BigInt(queues - i);
    remainders.push(Number(value % left));
    value /= left;
  }
  return remainders.map((remainder, i) => {
    let card = remainder;
    for (let j = i; j > 0; j--) if (card >= remainders[j - 1]) card++;
    return card;
  });
}

/** What a quantity was over a time: its mean, deviation and highest value. */
export interface Seen {
  mean: number;
  deviation: number;
  highest: number;
  ms: number;
}

/** Follows a quantity that changes in steps. */
export class Integrator {
  #value = 0;
  #since: number;
  #began: number;
  #sum = 0;
  #squares = 0;
  #highest = 0;

  constructor(now: number) {
    this.#since = this.#began = now;
  }

  set(value: number, now: number): void {
    const ms = now - this.#since;
    if (ms > 0) {
      this.#sum += this.#value * ms;
      this.#squares += this.#value * this.#value * ms;
      this.#since = now;
    }
    this.#value = value;
    if (value > this.#highest) this.#highest = value;
  }

  /** Whether it was nothing since the last time it was asked for, and is. */
  get still(): boolean {
    return this.#value === 0 && this.#highest === 0;
  }

  /** Begins to measure anew what has been nothing. */
  restart(now: number): void {
    this.#began = this.#since = now;
  }

  /** What was since the last time this was asked. */
  take(now: number): Seen {
    this.set(this.#value, now);
    const ms = now - this.#began;
    const mean = ms > 0 ? this.#sum / ms : this.#value;
    const deviation = ms > 0 ? Math.sqrt(Math.max(0, this.#squares / ms - mean * mean)) : 0;
    const seen = { mean, deviation, highest: this.#highest, ms };
    this.#began = now;
    this.#sum = this.#squares = 0;
    this.#highest = this.#value;
    return seen;
  }
}

/** Longest pause that a refused client is told, in seconds. */
export const RETRY_SECONDS_MAX = 32;

/**
 * How long refused clients are told to wait: doubled while at least three times as many are refused as seconds pass,
 * shortened by one when it gets better.
 */
export class RetryAfter {
  seconds = 1;
  #history: { second: number; count: number }[] = [];
  #second = 0;
  #count = 0;
  #raisedAt = 0;

  /** Notes a refusal at a wall time in seconds. */
  refused(now: number): void {
    const second = Math.floor(now);
    if (second === this.#second) {
      this.#count++;
      return;
    }
    this.#history.push({ second: this.#second, count: this.#count });
    const kept = Math.min(2 * this.seconds, RETRY_SECONDS_MAX);
    this.#history = this.#history.filter((one) => this.#second - one.second <= kept);
    this.#second = second;
    this.#count = 1;
    this.#adjust(second);
  }

  #adjust(now: number): void {
    let recent = 0;
    for (const { second, count } of this.#history) {
      if (second < now && now - second <= this.seconds) recent += count;
    }
    if (now - this.#raisedAt >= this.seconds && recent >= 3 * this.seconds) {
      this.seconds = Math.min(this.seconds * 2, RETRY_SECONDS_MAX);
      this.#raisedAt = now;
    } else if (recent < this.seconds && this.seconds > 1) this.seconds--;
  }
}
