/**
 * Editing a kubeconfig's text in place: entries of lists are put, replaced or taken out line by line, so that
 * comments, order and notation of everything else stay as their owner wrote them. Works on the block style
 * that every tool writes; the caller checks the result and has another way for what is written otherwise.
 */
import { parse, stringify } from "@std/yaml";

/** One change of a list: the entry of that name becomes `entry`, or goes when there is none. */
export interface ListChange {
  section: string;
  name: string;
  entry?: Record<string, unknown>;
}

/** The text with the changes made; undefined when it is not written in a style this understands. */
export function editText(
  text: string,
  changes: readonly ListChange[],
  currentContext: string | undefined,
): string | undefined {
  let lines = text.split("\n");
  while (lines.length > 0 && lines[lines.length - 1].trim() === "") lines.pop();
  for (const change of changes) {
    const edited = editList(lines, change);
    if (!edited) return undefined;
    lines = edited;
  }
  if (currentContext !== undefined) {
    const line = stringify({ "current-context": currentContext }).trimEnd();
    const at = lines.findIndex((l) => l.startsWith("current-context:"));
    if (at < 0) lines.push(line);
    else lines[at] = line;
  }
  return `${lines.join("\n")}\n`;
}

function editList(lines: readonly string[], change: ListChange): string[] | undefined {
  const { section, entry } = change;
  const at = lines.findIndex((line) => line.startsWith(`${section}:`));
  if (at < 0) return entry ? [...lines, `${section}:`, ...render(entry, "")] : [...lines];
  const rest = lines[at].slice(section.length + 1).replace(/#.*$/, "").trim();
  if (rest === "[]" || rest === "null" || rest === "~") {
    if (!entry) return [...lines];
    return [...lines.slice(0, at), `${section}:`, ...render(entry, ""), ...lines.slice(at + 1)];
  }
  if (rest !== "") return undefined;
  const items = itemsOf(lines, at + 1);
  if (!items) return undefined;
  const { indent, ranges, end } = items;
  const found = ranges.find(([from, to]) => nameOf(lines.slice(from, to)) === change.name);
  const added = entry ? render(entry, indent) : [];
  if (!found) return [...lines.slice(0, end), ...added, ...lines.slice(end)];
  const head = lines.slice(0, found[0]);
  if (!entry && ranges.length === 1) head[at] = `${section}: []`;
  return [...head, ...added, ...lines.slice(found[1])];
}

interface Items {
  indent: string;
  ranges: [number, number][];
  /** The line after the last item. */
  end: number;
}

/** Where the items of a block list are that begins at a line. */
function itemsOf(lines: readonly string[], from: number): Items | undefined {
  let indent = "";
  const starts: number[] = [];
  let end = from;
  for (let i = from; i < lines.length; i++) {
    const line = lines[i];
    const text = line.trim();
    if (text === "" || text.startsWith("#")) continue;
    const item = /^( *)-( |$)/.exec(line);
    if (starts.length === 0) {
      if (!item) break;
      indent = item[1];
    }
    if (item && item[1] === indent) starts.push(i);
    else if (line.length - line.trimStart().length <= indent.length) break;
    end = i + 1;
  }
  const ranges = starts.map((start, i): [number, number] => {
    // Comments before the next item are the next item's.
    let stop = starts[i + 1] ?? end;
    while (stop > start && /^\s*(#|$)/.test(lines[stop - 1])) stop--;
    return [start, stop];
  });
  return { indent, ranges, end };
}

function nameOf(item: readonly string[]): unknown {
  try {
    const [entry] = parse(item.join("\n")) as { name?: unknown }[];
    return entry?.name;
  } catch {
    return undefined;
  }
}

function render(entry: Record<string, unknown>, indent: string): string[] {
  const lines = stringify([entry], { lineWidth: -1 }).trimEnd().split("\n");
  return lines.map((line: string) => indent + line);
}
