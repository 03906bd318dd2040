/**
 * Who sits here. The token lives in this tab alone: it is not in a cookie, so that no other page can spend it, and is
 * forgotten with the tab. Pages that pods answer may be opened in the same tab, but have not this origin
 * (`api/server/browsers.ts`), and therefore nothing that is kept here. A link's code comes in the fragment, which browsers
 * send nowhere, and leaves the address at once.
 */
import { signal } from "@preact/signals";
import { send, tab } from "./browser.ts";
import type { TextKey } from "./words.ts";

const KEY = "token";

/** The bearer token; empty: nobody has logged in. */
export const token = signal(tab.getItem(KEY) ?? "");

/** Why there is none, where there is something to say. */
export const refusal = signal<TextKey | undefined>(undefined);

/** Takes a token, from now on. */
export function enter(text: string): void {
  refusal.value = undefined;
  tab.setItem(KEY, text);
  token.value = text;
}

/** Forgets the token; `why` is told on the page where one logs in. */
export function leave(why?: TextKey): void {
  const had = token.value;
  tab.removeItem(KEY);
  token.value = "";
  refusal.value = why;
  // The server forgets it too, if it gave it
  if (had && !why) {
    void send(
      new Request("login", { method: "DELETE", headers: { authorization: `Bearer ${had}` } }),
    ).catch(() => undefined);
  }
}

/** Uses the code of a log-in link, if the address has one. */
export async function enterByLink(): Promise<void> {
  const code = /^#login=([\w-]+)$/.exec(location.hash)?.[1];
  if (!code) return;
  history.replaceState(null, "", "#/");
  const answer = await send(
    new Request("login", { method: "POST", body: JSON.stringify({ code }) }),
  ).catch(() => undefined);
  if (answer?.ok) enter((await answer.json()).token);
  else leave(answer ? "login.used" : "login.unreachable");
}

/** The token of a pasted text: itself, or that of a kubeconfig's user. */
export function tokenIn(text: string): string | undefined {
  const found = /^\s*"?token"?:\s*["']?([^\s"',]+)/m.exec(text)?.[1] ?? text.trim();
  return /^[\w.~+/=-]+$/.test(found) ? found : undefined;
}
