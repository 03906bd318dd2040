/**
 * Long lists in a short document: only what can be seen of them, and a little around it, has elements. Rows are of one
 * height, so that where a row lies is arithmetic; screen readers are told the true count and place.
 */
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

/** Rows made beyond those that can be seen, on each side. */
const AROUND = 8;
/** Browsers stop at some ten million pixels; beyond this many rows places are scaled. */
const HEIGHT_MAX = 8_000_000;

/** What is seen of a list. */
export interface Seen {
  first: number;
  last: number;
  /** Where the first row lies, in pixels. */
  offset: number;
  height: number;
}

/** Which rows are made, where one has scrolled so far. */
export function seenOf(
  { count, rowHeight, top, view }: { count: number; rowHeight: number; top: number; view: number },
): Seen {
  const full = count * rowHeight;
  const height = Math.min(full, HEIGHT_MAX);
  const scale = full > height ? (full - view) / (height - view) : 1;
  const at = Math.min(top * scale, Math.max(0, full - view));
  const first = Math.max(0, Math.floor(at / rowHeight) - AROUND);
  const last = Math.min(count, Math.ceil((at + view) / rowHeight) + AROUND);
  return { first, last, offset: top - at + first * rowHeight, height };
}

/** Properties of `Virtual`. */
export interface VirtualProps {
  count: number;
  rowHeight: number;
  label: string;
  /** Stays above the rows. */
  head?: ComponentChildren;
  row: (index: number) => ComponentChildren;
  class?: string;
  role?: "table" | "log";
  columns?: number;
  /** Keeps to the end as long as one is there. */
  stick?: boolean;
}

/** A list of any length. */
export function Virtual(
  { count, rowHeight, label, head, row, role = "table", columns, stick, class: name = "" }:
    VirtualProps,
) {
  const box = useRef<HTMLDivElement>(null);
  const [{ top, view }, look] = useState({ top: 0, view: 600 });
  const measure = () => {
    const { scrollTop = 0, clientHeight = 600 } = box.current ?? {};
    look((old) =>
      old.top === scrollTop && old.view === clientHeight
        ? old
        : { top: scrollTop, view: clientHeight }
    );
  };
  useLayoutEffect(() => {
    measure();
    const watched = new ResizeObserver(measure);
    watched.observe(box.current!);
    return () => watched.disconnect();
  }, []);
  const seen = seenOf({ count, rowHeight, top, view });
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (stick && atEnd.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [count, stick]);
  const scrolled = () => {
    // The last scrolling may be told of when the list has gone
    if (!box.current) return;
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    atEnd.current = scrollHeight - scrollTop - clientHeight < rowHeight;
    measure();
  };
  const rows = [];
  for (let i = seen.first; i < seen.last; i++) rows.push(row(i));
  const table = role === "table";
  return (
    <div
      class={`virtual ${name}`}
      ref={box}
      role={role}
      aria-label={label}
      aria-rowcount={table ? count + 1 : undefined}
      aria-colcount={table ? columns : undefined}
      aria-live={table ? undefined : "off"}
      tabIndex={0}
      onScroll={scrolled}
      onKeyDown={table ? arrows : undefined}
    >
      {head}
      <div
        class="virtual-space"
        role={table ? "rowgroup" : undefined}
        style={{ height: `${seen.height}px` }}
      >
        <div
          class="virtual-rows"
          role={table ? "presentation" : undefined}
          style={{ transform: `translateY(${seen.offset}px)` }}
        >
          {rows}
        </div>
      </div>
    </div>
  );
}

/** Up and down go from row to row. */
function arrows(event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const box = event.currentTarget as HTMLElement;
  if (!step) return;
  const links = [...box.querySelectorAll<HTMLElement>(".virtual-rows [role=row] a:first-of-type")];
  const at = links.indexOf(document.activeElement as HTMLElement);
  if (at < 0 && document.activeElement !== box) return;
  const next = at < 0 ? links[0] : links[at + step];
  if (!next) return;
  event.preventDefault();
  next.focus({ preventScroll: false });
}
