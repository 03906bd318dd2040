/** Prometheus' text form, as far as pictures need it. Pure. */

/** Values of one name, by their labels as they are written. */
export type Series = ReadonlyMap<string, number>;

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([^ ]+)/;

/** Some names' series of a text. */
export function seriesOf(
  text: string,
  names: ReadonlySet<string>,
): Map<string, Map<string, number>> {
  const found = new Map([...names].map((name) => [name, new Map<string, number>()]));
  for (const line of text.split("\n")) {
    const end = line.search(/[{ ]/);
    const series = found.get(line.slice(0, end));
    const match = series && LINE.exec(line);
    if (match) series.set(match[2] ?? "", Number(match[3]));
  }
  return found;
}

/** All of a series together, or those whose labels match. */
export function sumOf(series: Series | undefined, wanted: RegExp = /^/): number {
  let sum = 0;
  for (const [labels, value] of series ?? []) if (wanted.test(labels)) sum += value;
  return sum;
}

/** A quantile of what was counted in a histogram's buckets between two readings; undefined: nothing was. */
export function quantileBetween(
  before: Series | undefined,
  after: Series | undefined,
  quantile: number,
  wanted: RegExp = /^/,
): number | undefined {
  const counts = new Map<number, number>();
  for (const [labels, value] of after ?? []) {
    if (!wanted.test(labels)) continue;
    const bound = Number(/\ble="([^"]+)"/.exec(labels)?.[1].replace("+Inf", "Infinity"));
    counts.set(bound, (counts.get(bound) ?? 0) + value - (before?.get(labels) ?? 0));
  }
  const bounds = [...counts.keys()].sort((a, b) => a - b);
  const total = counts.get(Infinity) ?? 0;
  if (total <= 0) return undefined;
  let last = 0;
  for (const bound of bounds) {
    if (counts.get(bound)! >= total * quantile) return bound === Infinity ? last : bound;
    last = bound;
  }
  return last;
}
