/** Chromium before a cluster's dashboard: where it is, how pages are looked at, what must not happen on them. */
import { assertEquals } from "@std/assert";
import axe from "axe-core";
import type { Cluster } from "../../mod.ts";
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
async function overflow(page: Page): Promise<number> {
  const root = "document.documentElement";
  return await page.evaluate(`${root}.scrollWidth - ${root}.clientWidth`) as number;
}

/** A language, a theme and a width. */
export interface Look {
  name: string;
  options: BrowserContextOptions;
}

/** Each theme, language and width is in one of these. */
export const LOOKS: readonly Look[] = [
  { name: "en-light", options: { locale: "en-US", colorScheme: "light" } },
  {
    name: "ko-dark-phone",
    options: { locale: "ko-KR", colorScheme: "dark", viewport: { width: 390, height: 844 } },
  },
];

/** A page or a panel: its name, its address, and what shows that it is there. */
export type Place = readonly [name: string, address: string, shown: string];

/** A cluster, a browser before it, and where the dashboard lies. */
export interface World {
  cluster: Cluster;
  browser: Browser;
  base: string;
}

/** Opens the dashboard by a new link. */
export async function logIn({ cluster }: World, page: Page): Promise<void> {
  await page.goto(await cluster.loginLink());
  await page.locator("main .tile").first().waitFor();
}

/** Goes to a page. */
export async function go({ base }: World, page: Page, address: string): Promise<void> {
  await page.goto(`${base}#/${address}`);
}

/** Looks at every place: nothing goes wrong there, none has a finding of the accessibility check or is too wide. */
export async function lookAround(
  world: World,
  look: Look,
  places: readonly Place[],
): Promise<void> {
  const looked = await openPage(world.browser, new URL(world.base).origin, look.options);
  const { page } = looked;
  await logIn(world, page);
  for (const [name, address, shown] of places) {
    await go(world, page, address);
    await page.locator(shown).first().waitFor();
    assertEquals([look.name, name, await violations(page)], [look.name, name, []]);
    assertEquals([look.name, name, await overflow(page)], [look.name, name, 0]);
    await picture(page, `${name}-${look.name}`);
  }
  assertNoFaults(looked);
  await page.context().close();
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
