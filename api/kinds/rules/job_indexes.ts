/** Lists of indexes of Jobs, written as `1,3-5,7` (upstream's `validateIndexesFormat`). */

/** The intervals of a list, or what is wrong with it. */
export function parseIndexes(
  text: string,
  completions: number,
): { intervals: [number, number][]; total: number } | { problem: string } {
  const intervals: [number, number][] = [];
  let total = 0, last = -1;
  if (text === "") return { intervals, total };
  for (const part of text.split(",")) {
    const interval = parseInterval(part, completions);
    if (typeof interval === "string") return { problem: interval };
    const [first, end] = interval;
    if (intervals.length > 0 && last >= first) {
      return { problem: `non-increasing order, previous: ${last}, current: ${first}` };
    }
    total += end - first + 1;
    last = end;
    intervals.push(interval);
  }
  return { intervals, total };
}

function parseInterval(text: string, completions: number): [number, number] | string {
  const parts = text.split("-");
  if (parts.length > 2) {
    return `the fragment "${text}" violates the requirement that an index interval can have at most ` +
      "two parts separated by '-'";
  }
  const numbers: number[] = [];
  for (const part of parts) {
    if (!/^\+?[0-9]{1,18}$/.test(part)) {
      return `cannot convert string to integer for index: "${part}"`;
    }
    const value = Number(part);
    if (value >= completions) return `too large index: "${part}"`;
    numbers.push(value);
  }
  if (numbers.length === 2 && numbers[0] >= numbers[1]) {
    return `non-increasing order, previous: ${numbers[0]}, current: ${numbers[1]}`;
  }
  return [numbers[0], numbers[numbers.length - 1]];
}

/** The first index that two lists share. */
export function sharedIndex(
  a: readonly [number, number][],
  b: readonly [number, number][],
): number | undefined {
  let i = 0, j = 0;
  while (i < a.length && j < b.length) {
    const first = Math.max(a[i][0], b[j][0]);
    if (first <= Math.min(a[i][1], b[j][1])) return first;
    if (a[i][0] <= b[j][0]) i++;
    else j++;
  }
  return undefined;
}
