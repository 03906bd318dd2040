/**
 * What keeps browsers' pages apart. The dashboard has this server's origin, and so would every page of a pod, a node or an
 * aggregated server that somebody opens through it: such a page could read what the dashboard keeps, and ask as whoever
 * looks at it. Therefore:
 *
 * - What others answer is given to a browser as a page without an origin (CSP's `sandbox`): it runs its scripts and
 *   sends its forms, but nothing of this origin is its own, nor can it read what this origin answers it.
 * - It gets none of the cookies of this host, and can leave none; nor can it say what browsers keep for a whole origin.
 * - A client certificate is added by browsers by themselves, whoever makes them ask. It does not count for what a page of
 *   another site, or without an origin, has them ask.
 *
 * Other clients see what was answered, unchanged.
 */
import type { Credentials } from "../auth/contract.ts";
import type { Reply } from "./http.ts";

type Asking = Pick<Credentials, "header">;

/** What such a page may: all that does not need an origin. */
export const SANDBOX =
  "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads";

/** What browsers take for the whole origin that says it, and keep. */
const OF_ORIGIN: ReadonlySet<string> = new Set([
  "alt-svc",
  "clear-site-data",
  "nel",
  "origin-agent-cluster",
  "report-to",
  "reporting-endpoints",
  "set-cookie",
  "strict-transport-security",
]);

/** Whether a browser asks. Those that do not say how a page asks (before 2023) accept XHTML where they may draw it. */
export function isBrowser(asking: Asking): boolean {
  return asking.header("sec-fetch-mode") !== undefined ||
    asking.header("accept")?.includes("application/xhtml+xml") === true;
}

/** What others answered, as a browser may have it. */
export function confined(headers: Reply["headers"]): Reply["headers"] {
  for (const name of OF_ORIGIN) delete headers[name];
  // Of several policies each counts: what a page says of itself stays
  const own = headers["content-security-policy"] ?? [];
  headers["content-security-policy"] = [own, SANDBOX].flat();
  return headers;
}

/**
 * Whether a browser asks for a page of another site, or one without an origin, in a way that changes something or lets
 * that page read the answer: those name their origin. What does not is led here by a link, or draws a picture.
 */
export function isForStranger(asking: Asking): boolean {
  const origin = asking.header("origin");
  if (origin === undefined) return false;
  return origin === "null" || /^(cross|same)-site$/.test(asking.header("sec-fetch-site") ?? "");
}
