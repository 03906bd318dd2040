/**
 * The dashboard: a program for browsers, written in TypeScript under `app/`, bundled by `deno task web` into
 * `dist/files.js`, which the API server serves under `/dashboard/`.
 *
 * - **No power of its own.** The files are for everybody; what they show comes through the ordinary API with the
 *   credentials of whoever sits there, and RBAC decides what that is.
 * - **Nothing from elsewhere.** Every script and style is one of the files here; the policy below lets a browser
 *   load no others, run no inline script and talk to no other server.
 * - **The bundle is in the repository**, so that a start needs neither network nor a further command; a test bundles
 *   anew and fails where it is stale (`bundle_test.ts`).
 *
 * Reading order of the program: `app/main.tsx`, `app/pages.ts` (a table of pages; a page is a file and a row),
 * `app/live.ts` (lists that follow the server), `app/asked.ts` (what is asked once), `app/panels.ts` (what an object's
 * page shows, by kind).
 */
import { FILES } from "./dist/files.js";

/** A file of the dashboard as it is served. */
export interface DashboardFile {
  readonly type: string;
  readonly text: string;
}

/** Media types by the ends of names. */
const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** What every file is sent with. */
export const DASHBOARD_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  "cache-control": "no-cache",
};

/** The file of a name; `""` is the first page. */
export function dashboardFile(name: string): DashboardFile | undefined {
  const found = name || "index.html";
  if (!Object.hasOwn(FILES, found)) return undefined;
  return { type: TYPES[found.slice(found.lastIndexOf(".") + 1)], text: FILES[found] };
}
