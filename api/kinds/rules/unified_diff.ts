/**
 * The difference of two texts by lines, with three lines around each change, and that of two values as errors show
 * it: both written as indented JSON, then compared as a unified diff. Lines match as in Python's difflib, of which upstream uses
 * Go's edition: the longest run first, then what lies left and right of it, with lines that are too popular in
 * long texts left out as starting points.
 */

/** Lines shown around a change. */
const CONTEXT_LINES = 3;
/** From this many lines on, popular ones do not count. */
const POPULAR_FROM_LINES = 200;

interface Block {
  a: number;
  b: number;
  size: number;
}

/** Lines of both texts, from one place to another: the same in both, or others. */
export interface Step {
  same: boolean;
  a: [number, number];
  b: [number, number];
}

/** The places of each line in `b`, without lines that more than one in a hundred is. */
function placesOf(b: readonly string[]): Map<string, number[]> {
  const places = new Map<string, number[]>();
  b.forEach((line, i) => {
    const known = places.get(line);
    if (known) known.push(i);
    else places.set(line, [i]);
  });
  if (b.length >= POPULAR_FROM_LINES) {
    const most = Math.floor(b.length / 100) + 1;
    for (const [line, at] of places) if (at.length > most) places.delete(line);
  }
  return places;
}

class Matcher {
  readonly #a: readonly string[];
  readonly #b: readonly string[];
  readonly #places: Map<string, number[]>;

  constructor(a: readonly string[], b: readonly string[]) {
    this.#a = a;
    this.#b = b;
    this.#places = placesOf(b);
  }

  /** The longest run of equal lines in the two ranges; of several the earliest. */
  #longest(aLow: number, aHigh: number, bLow: number, bHigh: number): Block {
    const best: Block = { a: aLow, b: bLow, size: 0 };
    let lengths = new Map<number, number>();
    for (let i = aLow; i < aHigh; i++) {
      const next = new Map<number, number>();
      for (const j of this.#places.get(this.#a[i]) ?? []) {
        if (j < bLow) continue;
        if (j >= bHigh) break;
        const size = (lengths.get(j - 1) ?? 0) + 1;
        next.set(j, size);
        if (size > best.size) Object.assign(best, { a: i - size + 1, b: j - size + 1, size });
      }
      lengths = next;
    }
    // Popular lines next to the run belong to it
    while (best.a > aLow && best.b > bLow && this.#a[best.a - 1] === this.#b[best.b - 1]) {
      best.a--;
      best.b--;
      best.size++;
    }
    while (
      best.a + best.size < aHigh && best.b + best.size < bHigh &&
      this.#a[best.a + best.size] === this.#b[best.b + best.size]
    ) best.size++;
    return best;
  }

  /** Every run, in order; ends with an empty one behind both texts. */
  blocks(): Block[] {
    const found: Block[] = [];
    const open: [number, number, number, number][] = [[0, this.#a.length, 0, this.#b.length]];
    for (let range = open.pop(); range; range = open.pop()) {
      const [aLow, aHigh, bLow, bHigh] = range;
      const block = this.#longest(aLow, aHigh, bLow, bHigh);
      if (block.size === 0) continue;
      found.push(block);
      if (aLow < block.a && bLow < block.b) open.push([aLow, block.a, bLow, block.b]);
      const aEnd = block.a + block.size, bEnd = block.b + block.size;
      if (aEnd < aHigh && bEnd < bHigh) open.push([aEnd, aHigh, bEnd, bHigh]);
    }
    found.sort((x, y) => x.a - y.a || x.b - y.b);
    found.push({ a: this.#a.length, b: this.#b.length, size: 0 });
    return found;
  }
}

/** What leads from one text to the other. */
function stepsOf(blocks: readonly Block[]): Step[] {
  const steps: Step[] = [];
  let i = 0, j = 0;
  for (const { a, b, size } of blocks) {
    if (i < a || j < b) steps.push({ same: false, a: [i, a], b: [j, b] });
    i = a + size;
    j = b + size;
    if (size === 0) continue;
    const last = steps[steps.length - 1];
    if (last?.same) {
      last.a[1] = i;
      last.b[1] = j;
    } else steps.push({ same: true, a: [a, i], b: [b, j] });
  }
  return steps;
}

/** The steps in groups, each with its context. */
function groupsOf(steps: Step[]): Step[][] {
  const n = CONTEXT_LINES;
  const first = steps[0], end = steps[steps.length - 1];
  if (first?.same) {
    first.a[0] = Math.max(first.a[0], first.a[1] - n);
    first.b[0] = Math.max(first.b[0], first.b[1] - n);
  }
  if (end?.same) {
    end.a[1] = Math.min(end.a[1], end.a[0] + n);
    end.b[1] = Math.min(end.b[1], end.b[0] + n);
  }
  const groups: Step[][] = [];
  let group: Step[] = [];
  for (const step of steps) {
    const [from, to] = step.a;
    if (step.same && to - from > 2 * n) {
      group.push({ same: true, a: [from, from + n], b: [step.b[0], step.b[0] + n] });
      groups.push(group);
      group = [{ same: true, a: [to - n, to], b: [step.b[1] - n, step.b[1]] }];
    } else group.push(step);
  }
  if (group.length > 1 || (group.length === 1 && !group[0].same)) groups.push(group);
  return groups.filter((steps) => steps.some(({ same }) => !same));
}

function rangeText([from, to]: [number, number]): string {
  const length = to - from;
  if (length === 1) return `${from + 1}`;
  return `${length === 0 ? from : from + 1},${length}`;
}

/** What differs between two texts' lines: groups of steps, each with the lines around it. */
export function lineGroups(a: readonly string[], b: readonly string[]): Step[][] {
  return groupsOf(stepsOf(new Matcher(a, b).blocks()));
}

/** A unified diff of two values. */
export function unifiedDiff(before: unknown, after: unknown): string {
  const a = JSON.stringify(before, null, 1).split("\n");
  const b = JSON.stringify(after, null, 1).split("\n");
  let text = "";
  for (const group of lineGroups(a, b)) {
    const first = group[0], last = group[group.length - 1];
    const range = `-${rangeText([first.a[0], last.a[1]])} +${rangeText([first.b[0], last.b[1]])}`;
    text += `@@ ${range} @@\n`;
    for (const step of group) {
      if (step.same) {
        for (const line of a.slice(...step.a)) text += ` ${line}\n`;
        continue;
      }
      for (const line of a.slice(...step.a)) text += `-${line}\n`;
      for (const line of b.slice(...step.b)) text += `+${line}\n`;
    }
  }
  return text;
}
