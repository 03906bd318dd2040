/** Small pieces that every page is made of. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { signal } from "@preact/signals";
import { later } from "../browser.ts";
import { t, type TextKey } from "../words.ts";

/** What went well is told for so long. */
const TOLD_MS = 10_000;

/** What a screen reader is told, and everybody sees: until there is something newer, or what went wrong is closed. */
const announcement = signal<{ text: string; bad?: boolean }>({ text: "" });

/** Tells the user something. */
export function announce(text: string, bad = false): void {
  const told = announcement.value = { text, bad };
  if (!bad) later(TOLD_MS, () => announcement.peek() === told && announce(""));
}

/** Where announcements appear. */
export function Announcements() {
  const { text, bad } = announcement.value;
  return (
    <div class="announcements" role="status" aria-live="polite">
      {text && (
        <div class={`announcement ${bad ? "bad" : ""}`}>
          <span>{text}</span>
          <button type="button" class="plain" onClick={() => announce("")}>{t("close")}</button>
        </div>
      )}
    </div>
  );
}

/** The head of a page: what it is, and what can be done. */
export function Head(
  { title, above, children }: {
    title: string;
    above?: ComponentChildren;
    children?: ComponentChildren;
  },
) {
  useEffect(() => {
    document.title = `${title} · Plesio`;
  }, [title]);
  return (
    <header class="head">
      <div>
        {above && <p class="above">{above}</p>}
        <h1 id="title" tabIndex={-1}>{title}</h1>
      </div>
      <div class="actions">{children}</div>
    </header>
  );
}

/** Something went wrong. */
export function Failure({ text }: { text: string }) {
  return <p class="failure" role="alert">{text}</p>;
}

/** Nothing yet. */
export function Waiting() {
  return <p class="waiting" role="status">{t("loading")}</p>;
}

/** A part of a page under a heading of its own. */
export function Card(
  { title, children, class: name = "", actions }: {
    title: string;
    children?: ComponentChildren;
    class?: string;
    actions?: ComponentChildren;
  },
) {
  return (
    <section class={`card ${name}`}>
      <div class="card-head">
        <h2>{title}</h2>
        {actions}
      </div>
      {children}
    </section>
  );
}

/** Names and what they are. */
export function Facts({ facts }: { facts: readonly (readonly [string, ComponentChildren])[] }) {
  const shown = facts.filter(([, value]) =>
    value !== undefined && value !== "" && value !== null && value !== false
  );
  return (
    <dl class="facts">
      {shown.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Words that stand for good, bad, or under way. */
const TONES: readonly (readonly [RegExp, string])[] = [
  [
    /^(Running|Ready|Active|Bound|Available|True|Complete|Completed|Succeeded|Healthy|Normal)$/,
    "good",
  ],
  [/^(Failed|Error|.*BackOff|.*Err.*|Evicted|OOMKilled|Lost|NotReady.*|Warning|Unhealthy)$/, "bad"],
  [
    /^(Pending|ContainerCreating|Terminating|Init:.*|Unknown|Progressing|PodInitializing|.*Disabled)$/,
    "busy",
  ],
];

/** Which tone a word has. */
export function toneOf(word: string): string {
  return TONES.find(([pattern]) => pattern.test(word))?.[1] ?? "";
}

/** A word of a status, with its tone. */
export function Badge({ word }: { word: string }) {
  return <span class={`badge ${toneOf(word)}`}>{word}</span>;
}

/** A dialog that has the keyboard while it is open. */
export function Dialog(
  { title, children, close, wide }: {
    title: string;
    children: ComponentChildren;
    close: () => void;
    wide?: boolean;
  },
) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    box.current?.showModal();
  }, []);
  return (
    <dialog class={wide ? "wide" : ""} ref={box} aria-label={title} onClose={close}>
      <h2>{title}</h2>
      {children}
    </dialog>
  );
}

/** What may be wider or higher than its place: it scrolls there, by the keyboard too. */
export function Scrolling(
  { label, class: name = "scroll", children }: {
    label: string;
    class?: "scroll" | "scroller";
    children: ComponentChildren;
  },
) {
  return <div class={name} tabIndex={0} role="region" aria-label={label}>{children}</div>;
}

/** A field and what it is called. */
export function Field(
  { name, children, hint }: { name: string; children: ComponentChildren; hint?: string },
) {
  return (
    <label class="field">
      <span>{name}</span>
      {children}
      {hint && <small>{hint}</small>}
    </label>
  );
}

/** One tab of a row of tabs. */
export interface Tab {
  id: string;
  title: TextKey;
}

/** A row of tabs, each an address of its own. */
export function Tabs(
  { tabs, current, hrefOf, label }: {
    tabs: readonly Tab[];
    current: string;
    hrefOf: (id: string) => string;
    label: string;
  },
) {
  const row = useRef<HTMLElement>(null);
  useEffect(() => {
    // Where they do not all fit, the one that is open is seen
    const { scrollLeft = 0, clientWidth = 0 } = row.current ?? {};
    const { offsetLeft = 0, offsetWidth = 0 } =
      row.current?.querySelector<HTMLElement>("[aria-current]") ?? {};
    const isSeen = offsetLeft >= scrollLeft && offsetLeft + offsetWidth <= scrollLeft + clientWidth;
    if (!isSeen) row.current!.scrollLeft = offsetLeft - (clientWidth - offsetWidth) / 2;
  }, [current]);
  return (
    <nav class="tabs" aria-label={label} ref={row}>
      {tabs.map(({ id, title }) => (
        <a key={id} href={hrefOf(id)} aria-current={id === current ? "page" : undefined}>
          {t(title)}
        </a>
      ))}
    </nav>
  );
}
