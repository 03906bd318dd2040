/**
 * The dashboard, driven in Chromium before a whole cluster: log in by the link, deploy, watch a rollout and undo it, read
 * logs, type in a terminal; every page in both languages and themes and at a phone's width, without a finding of the
 * accessibility check; ten thousand rows. `SCREENSHOTS=folder` keeps pictures.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Page } from "playwright-core";
import { Cluster } from "../../mod.ts";
import {
  assertNoFaults,
  go,
  logIn,
  type Look,
  lookAround,
  LOOKS,
  noBrowser,
  openPage,
  picture,
  type Place,
  startBrowser,
  violations,
  type World,
} from "./dashboard_fixture.ts";
import { waiting } from "./until.ts";

const until = waiting({ withinMs: 10_000 });

const reason = noBrowser();
if (reason) console.log(`dashboard_test: skipped, ${reason}`);

const ROWS = 10_000;
/** Elements of a row are few; so are the rows that are made. */
const ROWS_MADE_MAX = 60;
const ISOLATE = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "talker", namespace: "default" },
  spec: {
    containers: [{
      name: "main",
      image: "denoland/deno:2.9.6",
      args: ["eval", "let n = 0; setInterval(() => console.log('tick', n++), 200)"],
    }],
  },
};
const TOO_LARGE = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "large", namespace: "default" },
  spec: {
    containers: [{ name: "c", image: "nginx", resources: { requests: { cpu: "900" } } }],
  },
};
const core = (plural: string) => ({ group: "", version: "v1", plural });

/** Every page and every panel, by what shows that it is there. */
const PLACES: readonly Place[] = [
  ["overview", "", "main .tile"],
  ["deploy", "deploy", "main textarea"],
  ["pods", "list/core/pods", "main .virtual-rows a"],
  ["nodes", "list/core/nodes", "main .virtual-rows a"],
  ["summary", "object/apps/deployments/default/web", "main .facts"],
  ["rollout", "object/apps/deployments/default/web?tab=rollout", "main progress"],
  ["pods-of", "object/apps/deployments/default/web?tab=pods", "main .virtual-rows a"],
  ["family", "object/apps/deployments/default/web?tab=family", "main .tree a"],
  ["yaml", "object/apps/deployments/default/web?tab=yaml", "main textarea.code"],
  ["explanation", "object/core/pods/default/large?tab=explanation", "main table"],
  ["logs", "object/core/pods/default/talker?tab=logs", "main .log-line"],
  ["terminal", "object/core/pods/default/talker?tab=terminal", "main form"],
  ["proxy", "object/core/pods/default/talker?tab=proxy", "main form"],
  ["metrics", "object/core/pods/default/talker?tab=metrics", "main svg"],
  ["allocated", "object/core/nodes/-/plesio-0?tab=allocated", "main progress"],
];
/** The rest, for whoever wants pictures of all. */
const FURTHER_LOOKS: readonly Look[] = [
  { name: "ko-dark", options: { locale: "ko-KR", colorScheme: "dark" } },
  { name: "en-phone", options: { viewport: { width: 390, height: 844 } } },
];

async function loggingIn(world: World): Promise<void> {
  const { browser, base, cluster } = world;
  const looked = await openPage(browser, new URL(base).origin);
  const { page } = looked;
  await page.goto(base);
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  assertEquals(await violations(page), []);
  await page.getByRole("textbox").fill("no token at all");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("There is no token in this text.").waitFor();
  const link = await cluster.loginLink();
  await page.goto("about:blank");
  await page.goto(link);
  await page.getByText("kubernetes-admin").waitFor();
  assert(!page.url().includes("login="), "the code leaves the address");
  const token = await page.evaluate("sessionStorage.getItem('token')") as string;
  const paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
  console.log(`first paint after ${Math.round(await page.evaluate(paint) as number)} ms`);
  // Another tab, the same link: it is spent
  const again = await openPage(browser, new URL(base).origin);
  await again.page.goto(link);
  await again.page.getByText("This link has been used or is too old").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  const headers = { authorization: `Bearer ${token}` };
  await until("logging out ends the token", async () => {
    const after = await cluster.api.fetch(new Request("https://plesio/api/v1/pods", { headers }));
    return after.status === 401;
  });
  // Anybody's token opens what that user may see
  const given = await cluster.client.create(
    {
      resource: core("serviceaccounts"),
      namespace: "default",
      name: "default",
      subresource: "token",
    },
    { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} },
  );
  await page.getByRole("textbox").fill(
    `users:\n- user:\n    token: ${(given as any).status.token}\n`,
  );
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("system:serviceaccount:default:default", { exact: true }).waitFor();
  await go(world, page, "list/core/secrets");
  await page.getByText("secrets is forbidden").waitFor();
  assertNoFaults(looked);
}

async function deploying(world: World, page: Page): Promise<void> {
  await go(world, page, "deploy");
  await page.getByLabel("Name").fill("web");
  await page.getByLabel("Image").fill("nginx:1.27");
  await page.getByLabel("Replicas").fill("3");
  await page.getByLabel("Port").fill("80");
  await page.getByRole("button", { name: "Write the YAML" }).click();
  await page.getByRole("button", { name: "Dry run" }).click();
  await page.getByText("would be applied (dry run)").first().waitFor();
  await page.getByRole("main").getByRole("button", { name: "Create" }).click();
  await page.getByRole("main").getByRole("link", { name: "web" }).first().click();
  await page.getByRole("link", { name: "Rollout" }).click();
  await page.getByText("Rolled out").waitFor();
  await page.getByRole("table", { name: "Pod" }).getByText("Running").nth(2).waitFor();
}

async function changing(world: World, page: Page): Promise<void> {
  await page.getByRole("link", { name: "YAML" }).click();
  const text = page.locator("textarea.code:enabled");
  await text.fill((await text.inputValue()).replace("nginx:1.27", "nginx:1.28"));
  await page.getByRole("button", { name: "Review the change" }).click();
  const dialog = page.getByRole("dialog");
  assertMatch(await dialog.locator(".added").innerText(), /nginx:1\.28/);
  assertMatch(await dialog.locator(".removed").innerText(), /nginx:1\.27/);
  assertEquals(await violations(page), []);
  await picture(page, "difference");
  await dialog.getByRole("button", { name: "Apply" }).click();
  await page.getByText("Applied.").waitFor();
  await page.getByRole("link", { name: "Rollout" }).click();
  await page.getByRole("row", { name: /^2 current/ }).waitFor();
  await page.getByText("Rolled out").waitFor();
  await page.getByRole("row", { name: /nginx:1\.27/ }).getByRole("button").click();
  await page.getByRole("row", { name: /^3 current .*nginx:1\.27/ }).waitFor();
  await page.getByText("Rolled out").waitFor();
  const target = { resource: { group: "apps", version: "v1", plural: "deployments" } };
  const found: any = await world.cluster.client.get({
    ...target,
    namespace: "default",
    name: "web",
  });
  assertEquals(found.spec.template.spec.containers[0].image, "nginx:1.27");
  await page.getByRole("button", { name: "Scale" }).click();
  await page.getByRole("dialog").getByLabel("Replicas").fill("5");
  await page.getByRole("dialog").getByRole("button", { name: "Scale" }).click();
  await page.getByText("5 / 5").first().waitFor();
}

async function readingLogs(world: World, page: Page): Promise<void> {
  await go(world, page, "object/core/pods/default/talker?tab=logs");
  const lines = page.getByRole("log").locator(".log-line");
  await lines.getByText(/^tick \d+$/).first().waitFor();
  // They go on coming, and the end stays in sight
  const last = Number((await lines.last().innerText()).split(" ").at(-1));
  await lines.getByText(`tick ${last + 5}`, { exact: true }).waitFor();
  await page.getByRole("searchbox").fill("tick 7");
  await lines.getByText("tick 7", { exact: true }).waitFor();
  for (const line of await lines.allInnerTexts()) assertMatch(line, /tick.*7/);
}

async function typing(world: World, page: Page): Promise<void> {
  await go(world, page, "object/core/pods/default/talker?tab=terminal");
  await page.getByRole("button", { name: "Start" }).click();
  await page.locator(".terminal-line", { hasText: "$" }).first().waitFor();
  await page.keyboard.type("echo from $HOSTNAME\r");
  await page.locator(".terminal-line", { hasText: /^from talker/ }).waitFor();
  assertEquals(await violations(page), []);
  await picture(page, "terminal-typed");
  await page.keyboard.type("exit\r");
  await page.getByText("The program has ended.").waitFor();
  // A simulated container has no program to talk to, and says so
  const pods = await world.cluster.client.list({ resource: core("pods"), namespace: "default" }, {
    labelSelector: "app=web",
  });
  await go(world, page, `object/core/pods/default/${pods.items[0].metadata.name}?tab=terminal`);
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByRole("alert").waitFor();
}

async function manyRows(world: World, page: Page): Promise<void> {
  const { cluster } = world;
  const pod = (i: number) => ({
    metadata: { name: `many-${String(i).padStart(5, "0")}`, namespace: "many" },
    // Nobody schedules them: only the list of them counts here
    spec: { schedulerName: "nobody", containers: [{ name: "c", image: "nginx" }] },
  });
  await cluster.client.create({ resource: core("namespaces") }, { metadata: { name: "many" } });
  for (let i = 0; i < ROWS; i += 500) {
    const some = Array.from({ length: Math.min(500, ROWS - i) }, (_, j) => pod(i + j));
    await Promise.all(
      some.map((one) => cluster.client.create({ resource: core("pods"), namespace: "many" }, one)),
    );
  }
  await go(world, page, "list/core/pods");
  await page.getByRole("combobox", { name: "Namespace" }).selectOption("many");
  await page.getByText(`${ROWS} of ${ROWS}`).waitFor();
  const table = page.getByRole("table", { name: "Pod" });
  assertEquals(await table.getAttribute("aria-rowcount"), String(ROWS + 1));
  const rows = table.locator(".virtual-rows [role=row]");
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    await table.evaluate((box: any, part) => box.scrollTop = box.scrollHeight * part, part);
    const index = Math.min(ROWS - 1, Math.round(ROWS * part));
    await table.getByText(`many-${String(index).padStart(5, "0")}`).first().waitFor();
    assert(await rows.count() <= ROWS_MADE_MAX, `${await rows.count()} rows are made`);
  }
  await page.getByRole("searchbox").fill("many-0123");
  await page.getByText(`10 of ${ROWS}`).waitFor();
  assertEquals(await rows.count(), 10);
  // On the map of actors so many are told of by their node
  await go(world, page, "actors");
  await page.locator(".map-node").filter({ hasText: /\d{5} pods/ }).waitFor();
  assertEquals(await page.locator(".map-pod").count(), 0);
  assertEquals(await violations(page), []);
  await picture(page, "actors-many");
  await page.getByRole("link", { name: /^All \d{5} as a list$/ }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Pod" }).waitFor();
}

/** What goes wrong is said in words, and goes away by itself where it can. */
async function troubles(world: World): Promise<void> {
  const { browser, base, cluster } = world;
  const looked = await openPage(browser, new URL(base).origin, LOOKS[1].options);
  const { page } = looked;
  await logIn(world, page);
  const says = async (name: string, text: string) => {
    await page.getByText(text).first().waitFor();
    assertEquals([name, await violations(page)], [name, []]);
    await picture(page, `trouble-${name}`);
  };
  await go(world, page, "list/nowhere/things");
  await says("kind", "서버에 그런 종류가 없습니다.");
  await go(world, page, "object/core/pods/default/nobody");
  await says("object", "그런 객체가 없습니다.");
  await go(world, page, "list/core/configmaps?labels=none%3Dsuch");
  await page.getByText("0개 중 0개").waitFor();
  await says("empty", "0개 중 0개");
  await go(world, page, "list/core/pods?labels=%3D%3D");
  await page.getByRole("alert").waitFor();
  await picture(page, "trouble-selector");
  await page.context().setOffline(true);
  await go(world, page, "list/core/services");
  await says("gone", "서버에 연결할 수 없습니다.");
  await page.context().setOffline(false);
  await page.getByRole("link", { name: "kubernetes", exact: true }).waitFor();
  assertEquals(await page.getByRole("alert").count(), 0);
  const token = await page.evaluate("sessionStorage.getItem('token')");
  const headers = { authorization: `Bearer ${token}` };
  const end = new Request("https://plesio/dashboard/login", { method: "DELETE", headers });
  assertEquals((await cluster.api.fetch(end)).status, 204);
  await go(world, page, "list/core/secrets");
  await says("expired", "서버가 이 토큰을 받아들이지 않습니다.");
  assertNoFaults(looked);
  await page.context().close();
}

/** By the keyboard alone: past the navigation, along the rows, into an object. */
async function byKeyboard(world: World, page: Page): Promise<void> {
  await go(world, page, "list/core/nodes");
  await page.reload();
  await page.locator(".virtual-rows a").first().waitFor();
  await page.keyboard.press("Tab");
  const active = "document.activeElement.textContent";
  assertEquals(await page.evaluate(active), "Skip to the content");
  await page.keyboard.press("Enter");
  assertEquals(await page.evaluate(active), "Node");
  await page.getByRole("table", { name: "Node" }).focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  assertEquals(await page.evaluate(active), "plesio-1");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "plesio-1" }).waitFor();
}

Deno.test({
  name: "the dashboard in Chromium",
  ignore: reason !== undefined && Deno.env.get("CI") !== "true",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using cluster = await Cluster.start({ clock: "real", runtime: "auto", nodes: 2 });
    const { url } = await cluster.listen({ port: 0 });
    const pods = { resource: core("pods"), namespace: "default" };
    for (const pod of [ISOLATE, TOO_LARGE]) await cluster.client.create(pods, pod);
    const browser = await startBrowser();
    const world: World = { cluster, browser, base: `${url}/dashboard/` };
    try {
      await t.step("logs in by a link, once, and by a token", () => loggingIn(world));
      const looked = await openPage(browser, url);
      const { page } = looked;
      await logIn(world, page);
      await t.step("deploys by a form and shows the rollout", () => deploying(world, page));
      await t.step("edits, shows the difference, undoes, scales", () => changing(world, page));
      await t.step("follows logs and searches them", () => readingLogs(world, page));
      await t.step("runs a shell", () => typing(world, page));
      await t.step("goes by the keyboard", () => byKeyboard(world, page));
      for (const look of Deno.env.has("SCREENSHOTS") ? [...LOOKS, ...FURTHER_LOOKS] : LOOKS) {
        await t.step(
          `every page is accessible: ${look.name}`,
          () => lookAround(world, look, PLACES),
        );
      }
      await t.step("says what is wrong, and goes on when it can", () => troubles(world));
      await t.step("has few elements for ten thousand pods", () => manyRows(world, page));
      assertNoFaults(looked);
    } finally {
      await browser.close();
    }
  },
});
