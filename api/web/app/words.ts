/** Which language is spoken, and how a text of the table is said in it. */
import { computed, signal } from "@preact/signals";
import { humanDuration } from "../../machinery/time.ts";
import { liked } from "./browser.ts";
import { LANGUAGES, TEXTS } from "./texts.ts";

export type Language = typeof LANGUAGES[number];
export type TextKey = keyof typeof TEXTS;

function first(): Language {
  const known = liked.getItem("language") ?? navigator.language.slice(0, 2);
  return LANGUAGES.find((one) => one === known) ?? LANGUAGES[0];
}

/** The language, for all to see. */
export const language = signal<Language>(first());

const column = computed(() => LANGUAGES.indexOf(language.value));

/** Speaks another one from now on. */
export function speak(next: Language): void {
  language.value = next;
  liked.setItem("language", next);
}

/** A text, its `{names}` filled in. */
export function t(key: TextKey, values: Readonly<Record<string, string | number>> = {}): string {
  const text: string = TEXTS[key][column.value];
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** How long ago, as kubectl writes it. */
export function ago(time: string | undefined, now: number): string {
  if (!time) return "";
  return humanDuration(Math.max(0, now - Date.parse(time)));
}

/** A moment in the user's own way. */
export function moment(time: string | number): string {
  return new Date(time).toLocaleString(language.value);
}

/** Milliseconds as people read them. */
export function ms(value: number): string {
  if (value < 1) return value === 0 ? "0 ms" : `${value.toFixed(2)} ms`;
  if (value < 1_000) return `${Math.round(value)} ms`;
  return value < 120_000 ? `${(value / 1_000).toFixed(1)} s` : humanDuration(value);
}

/** A part of the cluster, as stories name it. */
export function partText(part: string): string {
  const controller = /^(.+) controller$/.exec(part)?.[1];
  if (controller) return t("part.controller", { kind: controller });
  return part === "API server" || part === "scheduler" || part === "node"
    ? t(`part.${part}`)
    : part;
}
