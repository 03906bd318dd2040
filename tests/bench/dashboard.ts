/**
 * What the dashboard costs the browser that shows it, before a server of its own: until the first page has content, with
 * thousands of pods on the map of actors, and along a list of ten thousand. A long task is one that holds a page for
 * more than 50 ms: nothing that somebody types or clicks is heard meanwhile.
 */
import type { Page } from "playwright-core";
import { noBrowser, openPage, startBrowser } from "../e2e/dashboard_fixture.ts";
import { Server } from "../e2e/server.ts";
import { deploy, post } from "./load.ts";
import { median } from "./median.ts";

const NODES = 120;
export const MAP_PODS = 5_000;
/** Pods that start while the map is looked at. */
export const MOVING_PODS = 500;
export const LIST_PODS = 10_000;
const PAINTS = 5;
/** How long the map is looked at while they start. */
const WATCHED_MS = 8_000;
const SCROLLS = 60;

/** Milliseconds. */
export interface DashboardFigures {
  paintMs: number;
  /** The longest task while the map opens, and while pods start under it. */
  mapOpensMs: number;
  mapMovesMs: number;
  /** Pictures a second meanwhile. */
  mapFrames: number;
  /** The longest task while one scrolls, and pictures a second. */
  scrollMs: number;
  scrollFrames: number;
}

/** Counts long tasks and pictures from now on. */
const METER = `
  globalThis.meter = { longest: 0, frames: 0, since: performance.now() };
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) meter.longest = Math.max(meter.longest, duration);
  }).observe({ type: "longtask" });
  requestAnimationFrame(function next() {
    meter.frames++;
    requestAnimationFrame(next);
  });
`;

/** What was counted since the last look. */
async function counted(page: Page): Promise<{ longest: number; frames: number }> {
  return await page.evaluate(`(() => {
    const { longest, frames, since } = meter;
    const seconds = (performance.now() - since) / 1000;
    Object.assign(meter, { longest: 0, frames: 0, since: performance.now() });
    return { longest, frames: frames / seconds };
  })()`) as { longest: number; frames: number };
}

/** Measures them; a text: why it cannot. */
export async function dashboardFigures(): Promise<DashboardFigures | string> {
  const why = noBrowser();
  if (why) return why;
  await using server = await Server.start({
    flags: ["--nodes", String(NODES), "--runtime", "simulated"],
  });
  const browser = await startBrowser();
  const { hostname, port } = server.access;
  const base = `https://${hostname}:${port}/dashboard/`;
  try {
    const paints: number[] = [];
    for (let i = 0; i < PAINTS; i++) {
      const { page } = await openPage(browser, base);
      await page.goto(base);
      await page.locator("main.login").waitFor();
      const paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime";
      paints.push(await page.evaluate(paint) as number);
      await page.context().close();
    }
    const { page } = await openPage(browser, base);
    await page.addInitScript(METER);
    const { code } = await post(server.access, "/plesio/v1/login", {});
    await page.goto(`${base}#login=${code}`);
    await page.locator("main .tile").first().waitFor();
    await deploy(server.access, 1, MAP_PODS);
    await page.waitForTimeout(1_000);
    await counted(page);
    await page.goto(`${base}#/actors`);
    await page.locator(".actor-map .map-pod, .actor-map .map-node").first().waitFor();
    await page.waitForTimeout(2_000);
    const { longest: mapOpensMs } = await counted(page);
    const moving = deploy(server.access, 1, MOVING_PODS, "moving");
    await page.waitForTimeout(WATCHED_MS);
    const map = await counted(page);
    await moving;
    await deploy(server.access, 1, LIST_PODS - MAP_PODS - MOVING_PODS, "more");
    await page.goto(`${base}#/list/core/pods`);
    await page.getByText(`${LIST_PODS} of ${LIST_PODS}`).waitFor();
    const box = (await page.locator(".virtual").boundingBox())!;
    await page.mouse.move(box.x + 100, box.y + 200);
    await counted(page);
    for (let i = 0; i < SCROLLS; i++) {
      await page.mouse.wheel(0, i % 10 === 9 ? 40_000 : 900);
      await page.waitForTimeout(30);
    }
    const list = await counted(page);
    return {
      paintMs: median(paints),
      mapOpensMs,
      mapMovesMs: map.longest,
      mapFrames: map.frames,
      scrollMs: list.longest,
      scrollFrames: list.frames,
    };
  } finally {
    await browser.close();
  }
}

if (import.meta.main) console.log(await dashboardFigures());
