/** The lines by which two texts differ, with what lies around them. */
import { lineGroups } from "../../kinds/rules/unified_diff.ts";

/** One line: the same in both, only before, only after, or a gap of so many lines that are the same. */
export type DifferenceLine =
  | { sign: " " | "-" | "+"; text: string }
  | { sign: "…"; count: number };

/** The difference of two texts, without what is far from any change. */
export function differenceOf(before: string, after: string): DifferenceLine[] {
  const [a, b] = [before, after].map((text) => text.trimEnd().split("\n"));
  const shown: DifferenceLine[] = [];
  const show = (sign: " " | "-" | "+", lines: readonly string[]) => {
    for (const text of lines) shown.push({ sign, text });
  };
  let told = 0;
  const leaveOut = (to: number) => {
    if (to > told) shown.push({ sign: "…", count: to - told });
  };
  for (const group of lineGroups(a, b)) {
    leaveOut(group[0].a[0]);
    for (const step of group) {
      if (step.same) show(" ", a.slice(...step.a));
      else {
        show("-", a.slice(...step.a));
        show("+", b.slice(...step.b));
      }
      told = step.a[1];
    }
  }
  leaveOut(a.length);
  return shown;
}
