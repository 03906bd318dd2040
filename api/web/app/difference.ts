/** The lines by which two texts differ, with what lies around them. */

/** One line: the same in both, only before, only after, or a gap of so many lines that are the same. */
export type DifferenceLine =
  | { sign: " " | "-" | "+"; text: string }
  | { sign: "…"; count: number };

/** Lines shown around a change. */
const AROUND = 3;
/** Beyond so many pairs of lines, what changed is shown as one piece taken away and one added. */
const PAIRS_MAX = 4_000_000;

/** The difference of two texts, without what is far from any change. */
export function differenceOf(before: string, after: string): DifferenceLine[] {
  const a = before.trimEnd().split("\n");
  const b = after.trimEnd().split("\n");
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  const most = Math.min(a.length, b.length) - head;
  while (tail < most && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const middle = changes(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  return shortened([...same(a.slice(0, head)), ...middle, ...same(a.slice(a.length - tail))]);
}

type Line = { sign: " " | "-" | "+"; text: string };

const marked = (sign: Line["sign"]) => (lines: readonly string[]): Line[] =>
  lines.map((text) => ({ sign, text }));
const same = marked(" ");

/** What changed between lines that begin and end differently: all but their longest common subsequence. */
function changes(a: readonly string[], b: readonly string[]): Line[] {
  if (a.length * b.length > PAIRS_MAX) return [...marked("-")(a), ...marked("+")(b)];
  const width = b.length + 1;
  // The length of the longest common subsequence of what follows each pair of places
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const at = i * width + j;
      common[at] = a[i] === b[j]
        ? common[at + width + 1] + 1
        : Math.max(common[at + width], common[at + 1]);
    }
  }
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const at = i * width + j;
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push({ sign: " ", text: a[i++] });
      j++;
    } else if (i < a.length && (j === b.length || common[at + width] >= common[at + 1])) {
      lines.push({ sign: "-", text: a[i++] });
    } else lines.push({ sign: "+", text: b[j++] });
  }
  return lines;
}

function shortened(lines: readonly Line[]): DifferenceLine[] {
  const near = new Uint8Array(lines.length);
  lines.forEach(({ sign }, i) => {
    if (sign !== " ") near.fill(1, Math.max(0, i - AROUND), i + AROUND + 1);
  });
  const shown: DifferenceLine[] = [];
  lines.forEach((line, i) => {
    const last = shown.at(-1);
    if (near[i]) shown.push(line);
    else if (last?.sign === "…") last.count++;
    else shown.push({ sign: "…", count: 1 });
  });
  return shown;
}
