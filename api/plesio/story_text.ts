/** A story as people read it: a tree, in which each hop stands below what it reacted to, with times at the left. */
import { type Hop, type Named, type Story, treeOf } from "../client/plesio.ts";

/** Columns of the time. */
const TIME_WIDTH = 10;

/** The text, with a line's end behind each line. */
export function storyText(story: Story): string {
  const { hops, missing = [] } = story;
  const lines = [`The story of ${nameOf(story.object)}, since ${story.began}`, ""];
  const { roots, below } = treeOf(hops);
  // A stack, not calls: a story may be as deep as it is long
  const open: { hop: Hop; indent: string; isRoot: boolean; isLast: boolean }[] = [];
  const push = (some: readonly Hop[], indent: string, isRoot: boolean) => {
    for (let i = some.length - 1; i >= 0; i--) {
      open.push({ hop: some[i], indent, isRoot, isLast: i === some.length - 1 });
    }
  };
  push(roots, "", true);
  for (let next; (next = open.pop());) {
    const { hop, indent, isRoot, isLast } = next;
    const branch = isRoot ? "" : isLast ? "└─ " : "├─ ";
    lines.push(`${timeOf(hop)}  ${indent}${branch}${textOf(hop)}`);
    const children = below.get(hop.revision) ?? [];
    // What one thing led to, and that to the next, stays in its column
    const inner = isRoot ? "" : indent + (isLast ? "   " : "│  ");
    push(children, inner, false);
  }
  if (missing.length > 0) lines.push("", ...missing.map((text) => `Not told: ${text}.`));
  return lines.join("\n") + "\n";
}

function timeOf({ sinceMs }: Hop): string {
  return `+${sinceMs} ms`.padStart(TIME_WIDTH);
}

function textOf({ part, by, node, verb, object, what, afterMs, revision }: Hop): string {
  const who = node ? `node ${node}` : part === "API server" && by ? `${part} (${by})` : part;
  const after = afterMs === undefined ? "" : `, after ${afterMs} ms`;
  return `${who}: ${verb} ${nameOf(object)}${what ? `: ${what}` : ""} [${revision}${after}]`;
}

function nameOf({ kind, namespace, name }: Named): string {
  return `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}
