/** A terminal's screen in the page, and the keyboard of whoever sits before it. */
import type { VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { soon } from "../browser.ts";
import { t } from "../words.ts";
import { exec, type ExecOptions, type Execution } from "./exec.ts";
import { sentBy } from "./keys.ts";
import { type Line, Screen } from "./screen.ts";
import type { Colour, Style } from "./style.ts";

const COLUMNS_MIN = 20;
const ROWS = 24;

/** A terminal in which a command runs. */
export function TerminalView(
  { pod, container, command, ended }: Pick<
    ExecOptions,
    "pod" | "container" | "command" | "ended"
  >,
) {
  const box = useRef<HTMLDivElement>(null);
  const input = useRef<HTMLTextAreaElement>(null);
  const [, draw] = useState(0);
  const running = useRef<{ screen: Screen; program: Execution } | undefined>(undefined);
  useLayoutEffect(() => {
    let drawing = false;
    let alive = true;
    const redraw = () => {
      if (drawing || !alive) return;
      drawing = true;
      soon(() => {
        drawing = false;
        if (alive) draw((n) => n + 1);
      });
    };
    const screen = new Screen(columnsOf(box.current!), ROWS, (text) => program.send(text));
    const resize = () => {
      const columns = columnsOf(box.current!);
      if (columns !== screen.columns) screen.resize(columns, ROWS);
      program.resize(screen.columns, screen.rows);
      redraw();
    };
    const program = exec({
      pod,
      container,
      command,
      write(text) {
        screen.write(text);
        redraw();
      },
      ended: (why) => alive && ended(why),
      opened() {
        resize();
        input.current?.focus();
      },
    });
    running.current = { screen, program };
    const watched = new ResizeObserver(resize);
    watched.observe(box.current!);
    return () => {
      alive = false;
      watched.disconnect();
      program.close();
    };
  }, []);
  useEffect(() => {
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  });
  return (
    <div class="terminal" role="group" aria-label={t("panel.terminal")}>
      <div class="terminal-lines" ref={box} onClick={() => input.current?.focus()}>
        {running.current && <Lines screen={running.current.screen} />}
      </div>
      <Keyboard input={input} running={running} />
    </div>
  );
}

function columnsOf(box: HTMLElement): number {
  // One character of the box's own letters
  const probe = document.createElement("span");
  probe.textContent = "0".repeat(10);
  box.append(probe);
  const width = probe.getBoundingClientRect().width / 10;
  probe.remove();
  return Math.max(COLUMNS_MIN, Math.floor((box.clientWidth - 18) / (width || 8)));
}

function Keyboard(
  { input, running }: {
    input: { current: HTMLTextAreaElement | null };
    running: { current: { screen: Screen; program: Execution } | undefined };
  },
) {
  const typed = (event: KeyboardEvent) => {
    const { screen, program } = running.current!;
    if (event.isComposing) return;
    const text = sentBy(event, screen.applicationKeys);
    if (text === undefined) return;
    event.preventDefault();
    program.send(text);
  };
  const entered = (event: Event) => {
    const field = event.currentTarget as HTMLTextAreaElement;
    // A syllable of Korean is sent when it is whole
    if ((event as InputEvent).isComposing) return;
    running.current!.program.send(field.value.replace(/\n/g, "\r"));
    field.value = "";
  };
  const pasted = (event: ClipboardEvent) => {
    event.preventDefault();
    const { screen, program } = running.current!;
    const text = (event.clipboardData?.getData("text") ?? "").replace(/\r?\n/g, "\r");
    program.send(screen.bracketedPaste ? `\x1b[200~${text}\x1b[201~` : text);
  };
  return (
    <textarea
      class="terminal-input"
      ref={input}
      rows={1}
      aria-label={t("terminal.input")}
      autocomplete="off"
      autocapitalize="off"
      spellcheck={false}
      onKeyDown={typed}
      onInput={entered}
      onCompositionEnd={entered}
      onPaste={pasted}
    />
  );
}

/** Lines that have left the screen change no more: what shows them is made once. */
const KEPT = new WeakMap<Line, VNode>();
let keptLines = 0;

function keptLine(line: Line): VNode {
  let made = KEPT.get(line);
  if (!made) KEPT.set(line, made = <OneLine key={`s${keptLines++}`} line={line} />);
  return made;
}

function Lines({ screen }: { screen: Screen }) {
  const { scrollback, lines, x, y, cursorShown } = screen;
  return (
    <>
      {scrollback.map(keptLine)}
      {lines.map((line, i) => (
        <OneLine key={i} line={line} cursor={cursorShown && i === y ? x : undefined} />
      ))}
    </>
  );
}

/** Cells that look the same are one piece. */
function OneLine({ line, cursor }: { line: Line; cursor?: number }) {
  const pieces: { text: string; style: Style; cursor: boolean }[] = [];
  line.forEach(({ text, style }, i) => {
    const last = pieces.at(-1);
    const here = i === cursor;
    if (last && last.style === style && !last.cursor && !here) last.text += text;
    else pieces.push({ text, style, cursor: here });
  });
  return (
    <div class="terminal-line">
      {pieces.map(({ text, style, cursor: here }, i) => (
        <span key={i} class={here ? "cursor" : undefined} style={cssOf(style)}>{text}</span>
      ))}
    </div>
  );
}

function cssOf({ front, back, bold, dim, italic, underline, inverse }: Style) {
  const colour = (one: Colour | undefined) => typeof one === "number" ? `var(--ansi-${one})` : one;
  const [ink, paper] = inverse
    ? [colour(back) ?? "var(--terminal-back)", colour(front) ?? "var(--terminal-front)"]
    : [colour(front), colour(back)];
  return {
    color: ink,
    background: paper,
    fontWeight: bold ? "bold" : undefined,
    opacity: dim ? 0.7 : undefined,
    fontStyle: italic ? "italic" : undefined,
    textDecoration: underline ? "underline" : undefined,
  };
}
