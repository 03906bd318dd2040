import { assert, assertEquals } from "@std/assert";
import { openDatabase, RealClock } from "../../kv/mod.ts";
import { createKinds } from "../kinds/mod.ts";
import { ApiError, type KubeObject } from "../machinery/types.ts";
import { createApi, objectCodec } from "../mod.ts";
import {
  ADMIN,
  CONFIG_MAPS,
  core,
  CRDS,
  definitionOf,
  type Fixture,
  NAMESPACES,
  openApi,
} from "./fixture_test.ts";
import type { Client, Target } from "../client/contract.ts";

const EVENTS = core("events");
const WIDGETS = { group: "example.com", version: "v1", plural: "widgets" };

const definition = definitionOf("widgets", "Widget", {
  scope: "Namespaced",
  schema: { "x-kubernetes-preserve-unknown-fields": true },
});

function bodyOf({ resource }: Target, i: number): object {
  if (resource.plural === "widgets") {
    return { apiVersion: "example.com/v1", kind: "Widget", metadata: { name: `o${i}` } };
  }
  if (resource.plural !== "events") return { metadata: { name: `o${i}` } };
  return {
    metadata: { name: `o${i}` },
    involvedObject: { kind: "Pod", namespace: "default", name: "p" },
    reason: "Tested",
  };
}

async function fill(client: Client, target: Target, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) await client.create(target, bodyOf(target, i));
}

async function defined(f: Fixture): Promise<void> {
  await f.client.create({ resource: CRDS }, definition);
  for (let i = 0; i < 100; i++) {
    const served = await f.client.list({ resource: WIDGETS }).catch(() => undefined);
    if (served) return;
    await f.clock.turn();
  }
  throw new Error("widgets are not served");
}

/** Lists page by page; the first page's revision is that of all. */
async function pages(client: Client, target: Target, token?: string) {
  const names: string[] = [];
  const revisions = new Set<string | undefined>();
  let next: string | undefined = token;
  do {
    const list = await client.list<KubeObject>(target, { limit: 2, continue: next });
    names.push(...list.items.map((item) => item.metadata.name));
    revisions.add(list.metadata.resourceVersion);
    next = list.metadata.continue;
  } while (next);
  return { names, revisions };
}

const KINDS = [["objects", CONFIG_MAPS], ["events", EVENTS], [
  "custom resources",
  WIDGETS,
]] as const;

for (const [what, resource] of KINDS) {
  Deno.test(`continue: pages of ${what} show one revision, whatever is written meanwhile`, async () => {
    await using f = await openApi();
    if (resource === WIDGETS) await defined(f);
    const target = { resource, namespace: "default" };
    await fill(f.client, target, 0, 5);
    const first = await f.client.list<KubeObject>(target, { limit: 2 });
    assertEquals(first.metadata.remainingItemCount, 3);
    await fill(f.client, target, 5, 8);
    await f.client.delete({ ...target, name: "o3" });
    const rest = await pages(f.client, target, first.metadata.continue);
    assertEquals(rest.names, ["o2", "o3", "o4"]);
    assertEquals([...rest.revisions], [first.metadata.resourceVersion]);
  });

  Deno.test(`continue: a token of ${what} whose history is gone is 410, with another that goes on now`, async () => {
    await using f = await openApi();
    if (resource === WIDGETS) await defined(f);
    const target = { resource, namespace: "default" };
    await fill(f.client, target, 0, 5);
    const first = await f.client.list<KubeObject>(target, { limit: 2 });
    await f.client.delete({ ...target, name: "o3" });
    await fill(f.client, target, 5, 6);
    const store = resource === EVENTS ? f.database.events : f.database.objects;
    await store.compact({ keepRevisions: 0, keepMs: 0 });
    const refused = await f.client.list(target, { limit: 2, continue: first.metadata.continue })
      .then(() => undefined, (error) => error as ApiError);
    assert(refused instanceof ApiError);
    assertEquals([refused.code, refused.reason], [410, "Expired"]);
    const token = refused.status.metadata.continue;
    assert(token, "no other token");
    const rest = await pages(f.client, target, token);
    assertEquals(rest.names, ["o2", "o4", "o5"]);
  });
}

Deno.test("continue: a token outlives its server", async () => {
  const folder = await Deno.makeTempDir();
  const open = async () => {
    const clock = new RealClock();
    const database = await openDatabase<KubeObject>({
      path: `${folder}/cluster.db`,
      codec: objectCodec,
      clock,
    });
    const authorizer = {
      authorize: () => ({ allowed: true }),
      rules: () => ({ rules: [], errors: [] }),
    };
    const api = createApi({ database, kinds: createKinds(), clock, authorizer });
    return { database, client: api.client(ADMIN) };
  };
  const target = { resource: CONFIG_MAPS, namespace: "default" };
  const before = await open();
  await before.client.create({ resource: NAMESPACES }, { metadata: { name: "default" } });
  await fill(before.client, target, 0, 5);
  const first = await before.client.list<KubeObject>(target, { limit: 2 });
  await before.client.delete({ ...target, name: "o3" });
  await before.database.close();
  const after = await open();
  const rest = await pages(after.client, target, first.metadata.continue);
  assertEquals(rest.names, ["o2", "o3", "o4"]);
  assertEquals([...rest.revisions], [first.metadata.resourceVersion]);
  await after.database.close();
  await Deno.remove(folder, { recursive: true });
});
