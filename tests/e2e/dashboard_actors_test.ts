/**
 * The dashboard's pages of the cluster's inside, driven in Chromium: actors at work, held back and let go on; an object of the
 * past by the slider; a Deployment's story with every part that had to do with it. `SCREENSHOTS=folder` keeps pictures.
 */
import { assert, assertEquals } from "@std/assert";
import type { Page } from "playwright-core";
import { Cluster } from "../../mod.ts";
import {
  assertNoFaults,
  go,
  logIn,
  lookAround,
  LOOKS,
  noBrowser,
  openPage,
  type Place,
  startBrowser,
  type World,
} from "./dashboard_fixture.ts";

const reason = noBrowser();
if (reason) console.log(`dashboard_actors_test: skipped, ${reason}`);

const DEPLOYMENTS = { resource: { group: "apps", version: "v1", plural: "deployments" } };
const labels = { app: "web" };
const WEB = {
  metadata: { name: "web" },
  spec: {
    replicas: 2,
    selector: { matchLabels: labels },
    template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "nginx" }] } },
  },
};
const PARTS = [
  "API server",
  "deployment controller",
  "replica set controller",
  "scheduler",
  "node",
];
const WEB_PAGE = "object/apps/deployments/default/web";

/** Pages and panels, by what shows that they are there. */
const PLACES: readonly Place[] = [
  ["actors-map", "actors?actor=controller/deployment", ".actor-map .map-pod"],
  ["actors-table", "actors?view=table", ".plain-table tbody tr"],
  ["actors-messages", "actors?view=messages", ".plain-table tbody tr, main > p"],
  ["story", `${WEB_PAGE}?tab=story`, ".hop"],
  ["history", `${WEB_PAGE}?tab=history`, ".difference .added"],
  ["past", `${WEB_PAGE}?at=PAST`, ".time.past"],
  ["past-list", "list/core/pods?at=PAST", ".time.past"],
  ["diff", "diff?from=PAST", ".diff-objects a"],
];
const scale = ({ cluster }: World, replicas: number) =>
  cluster.client.patch({ ...DEPLOYMENTS, namespace: "default", name: "web" }, {
    type: "merge",
    body: { spec: { replicas } },
  });

/** Waits for an expression; the page's policy lets nobody evaluate one within it. */
async function becomesTrue(page: Page, expression: string): Promise<void> {
  while (!await page.evaluate(expression)) await page.waitForTimeout(20);
}

async function actorsAtWork(world: World, page: Page): Promise<void> {
  await go(world, page, "actors?view=messages");
  await page.getByRole("heading", { name: "Actors" }).waitFor();
  const deployed = world.cluster.client.create({ ...DEPLOYMENTS, namespace: "default" }, WEB);
  const rows = page.locator(".plain-table tbody tr");
  await rows.filter({ hasText: "controller/deployment" }).first().waitFor();
  await rows.filter({ hasText: "scheduler/default" }).first().waitFor();
  await rows.filter({ hasText: "node/plesio-host" }).first().waitFor();
  const revision = (await deployed).metadata.resourceVersion!;
  const because = rows.filter({ hasText: "controller/deployment" }).filter({ hasText: revision });
  await because.first().waitFor();
  await go(world, page, "actors");
  await page.locator(".map-pod.good").nth(1).waitFor();
  // A message is seen to fly: the canvas is not empty for a while
  const drawn = becomesTrue(
    page,
    `(() => {
    const canvas = document.querySelector(".actor-map canvas");
    if (!canvas.width) return false;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((byte) => byte > 0);
  })()`,
  );
  await scale(world, 3);
  await drawn;
  await page.locator(".map-pod.good").nth(2).waitFor();
}

async function heldBack(world: World, page: Page): Promise<void> {
  await go(world, page, "actors?actor=controller/replicaset");
  const card = page.locator(".one-actor");
  await card.getByRole("button", { name: "Pause" }).click();
  await card.getByText("Paused").waitFor();
  await scale(world, 4);
  await card.getByText("1 waiting").waitFor();
  assertEquals(await page.locator(".map-pod").count(), 3);
  await card.getByRole("button", { name: "Step" }).click();
  await page.locator(".map-pod").nth(3).waitFor();
  await card.getByRole("button", { name: "Resume" }).click();
  await card.getByText("Running").waitFor();
}

async function intoThePast(world: World, page: Page): Promise<void> {
  await scale(world, 2);
  await go(world, page, WEB_PAGE);
  await page.getByRole("button", { name: "Scale" }).waitFor();
  await page.getByRole("button", { name: "Time" }).click();
  const slider = page.getByRole("slider", { name: "Revision" });
  await slider.waitFor();
  await page.getByText("Now, revision").waitFor();
  // To the left, with the pointer, beyond what the Deployment remembers: there was none
  const box = (await slider.boundingBox())!;
  await page.mouse.move(box.x + box.width - 8, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + 4, box.y + box.height / 2, { steps: 8 });
  await page.mouse.up();
  await page.getByText("The past: revision").waitFor();
  await page.getByText("There is no such object.").waitFor();
  // And to where it had three, with the story's link
  await go(world, page, `${WEB_PAGE}?tab=history`);
  await page.getByRole("row").filter({ hasText: "replicas 2 → 3" }).getByRole("link").click();
  await page.getByText("The past: revision").waitFor();
  const yaml = page.getByRole("textbox", { name: "YAML" });
  await becomesTrue(page, `document.querySelector("textarea.code")?.value.includes("replicas: 3")`);
  assert(!await yaml.isEditable(), "nothing can be changed there");
  assertEquals(await page.getByRole("button", { name: "Scale" }).count(), 0);
  // The keyboard moves it too
  const before = page.url();
  await slider.focus();
  await page.keyboard.press("ArrowLeft");
  await page.waitForURL((url) => url.href !== before);
  await page.getByRole("link", { name: "Back to now" }).click();
  await page.getByRole("button", { name: "Scale" }).waitFor();
}

async function story(world: World, page: Page): Promise<void> {
  await go(world, page, WEB_PAGE);
  await page.getByRole("link", { name: "Story", exact: true }).click();
  const parts = page.getByRole("list", { name: "Who came in when" });
  await parts.waitFor();
  const texts = await parts.getByRole("listitem").allInnerTexts();
  for (const part of PARTS) {
    assert(texts.some((text) => text.startsWith(part)), `${part} is not in ${texts}`);
    assert(await page.locator(".hop").filter({ hasText: part }).count() > 0, part);
  }
  const ready = page.locator(".hop").filter({ hasText: "Pending → Running" }).first();
  await ready.getByRole("link").click();
  await page.getByText("The past: revision").waitFor();
  await page.getByRole("heading", { name: /^web-/ }).waitFor();
}

async function everyLook(world: World): Promise<void> {
  const path = "/apis/apps/v1/namespaces/default/deployments/web";
  const { hops: [{ revision }] } = await world.cluster.story(path);
  const places = PLACES.map(([name, address, shown]): Place => [
    name,
    address.replace("PAST", String(revision)),
    shown,
  ]);
  for (const look of LOOKS) await lookAround(world, look, places);
}

Deno.test(
  "the dashboard's pages of actors, stories and the past",
  { ignore: !!reason },
  async (t) => {
    await using cluster = await Cluster.start({ clock: "real", nodes: 2, actorControl: true });
    const { url } = await cluster.listen({ port: 0 });
    const browser = await startBrowser();
    const world: World = { cluster, browser, base: `${url}/dashboard/` };
    try {
      const looked = await openPage(browser, url);
      await logIn(world, looked.page);
      const step = (name: string, run: (world: World, page: Page) => Promise<void>) =>
        t.step(name, async () => {
          await run(world, looked.page);
          assertNoFaults(looked);
        });
      await step("messages are seen as actors handle them", actorsAtWork);
      await step("an actor is paused, stepped and resumed", heldBack);
      await step("the slider shows an object of the past, and changes nothing there", intoThePast);
      await step("a Deployment's story has every part of the cluster in it", story);
      await t.step("in both languages and themes and at a phone's width", () => everyLook(world));
    } finally {
      await browser.close();
    }
  },
);
