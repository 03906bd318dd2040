/** Chromium before a cluster's dashboard: where it is, how pages are looked at, what must not happen on them. */
import { assertEquals } from "@std/assert";
import axe from "axe-core";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const CHROMIUM = "/usr/bin/chromium";
const TIMEOUT_MS = 20_000;

/** Why there is no browser to drive; undefined: there is one. */
export function noBrowser(): string | undefined {
  try {
    Deno.statSync(CHROMIUM);
  } catch {
    return `Debian's chromium is not installed (${CHROMIUM})`;
  }
}

/** Starts the browser. */
export async function startBrowser(): Promise<Browser> {
  // As root there is no sandbox of its own; it sees this cluster alone
  const sandbox = Deno.uid() === 0 ? ["--no-sandbox"] : [];
  return await chromium.launch({ executablePath: CHROMIUM, args: sandbox });
}

/** A page, and what went wrong on it. */
export interface Looked {
  page: Page;
  /** Exceptions, broken policies, and requests to anybody else. */
  faults: string[];
}

/** Opens a page of its own context. */
export async function openPage(
  browser: Browser,
  origin: string,
  options: BrowserContextOptions = {},
): Promise<Looked> {
  const context = await browser.newContext({
    // Its authority is the cluster's own
    ignoreHTTPSErrors: true,
    locale: "en-US",
    viewport: { width: 1280, height: 800 },
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(`exception: ${error.message}`));
  page.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) faults.push(message.text());
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!/^(blob|about|data):/.test(url) && !url.startsWith(origin)) faults.push(`asked ${url}`);
  });
  return { page, faults };
}

/** The accessibility check's findings on what is shown, one line each. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate("axe.run()") as axe.AxeResults;
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

/** Whether the page is wider than the window. */
export async function overflow(page: Page): Promise<number> {
  const root = "document.documentElement";
  return await page.evaluate(`${root}.scrollWidth - ${root}.clientWidth`) as number;
}

/** Keeps a picture where `SCREENSHOTS` names a folder. */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = Deno.env.get("SCREENSHOTS");
  if (folder) await page.screenshot({ path: `${folder}/${name}.png` });
}

/** Asserts that nothing went wrong. */
export function assertNoFaults({ faults }: Looked): void {
  assertEquals(faults, []);
}
