/** The store's figures: `deno bench -A --unstable-kv kv/store_bench.ts`. Objects of 3 KB throughout. */

import * as btree from "./btree.ts";
import { type Codec, type Database, openDatabase, RealClock } from "./mod.ts";
import { StoredItem } from "./item.ts";

interface Thing {
  name: string;
  pad: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const codec: Codec<Thing> = {
  encode: (thing) => encoder.encode(JSON.stringify(thing)),
  decode: (bytes) => JSON.parse(decoder.decode(bytes)),
  stamp: (thing) => thing,
};
const pad = "x".repeat(2_950);
const key = (i: number) => `/registry/pods/default/web-${String(i % 50_000).padStart(6, "0")}`;

const folder = await Deno.makeTempDir({ prefix: "plesio-bench-" });
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

function open(path = ":memory:"): Promise<Database<Thing>> {
  return openDatabase({ path, codec, clock: new RealClock() });
}

const items = Array.from(
  { length: 50_000 },
  (_, i) => new StoredItem(key(i), i + 1, new Uint8Array(0), codec),
);
const full = btree.fromSorted(items);
let at = 0;

Deno.bench("map: put into 50,000", { group: "map" }, () => {
  btree.set(full, items[at++ % items.length]);
});
Deno.bench("map: get of 50,000", { group: "map" }, () => {
  btree.get(full, items[at++ % items.length].key);
});
Deno.bench("map: scan of 8,500", { group: "map" }, () => {
  let left = 8_500;
  for (const _ of btree.scan(full, "/registry/pods/", undefined)) if (--left === 0) break;
});
Deno.bench("map: count a prefix of 50,000", { group: "map" }, () => {
  btree.rank(full, "/registry/pods0");
});

Deno.bench("open and close :memory:", { group: "open" }, async () => {
  await (await open()).close();
});

const file = await open(`${folder}/one.db`);
const memory = await open();
for (const [name, { objects }] of Object.entries({ file, memory })) {
  Deno.bench(`write: one by one, ${name}`, { group: "write" }, async () => {
    const i = at++;
    await objects.write((draft) => draft.put(key(i), { name: "web", pad }));
  });
  Deno.bench(`write: 1,000 at once, ${name}`, { group: "write 1,000" }, async () => {
    const writes: Promise<number>[] = [];
    for (let n = 0; n < 1_000; n++) {
      const i = at++;
      writes.push(objects.write((draft) => draft.put(key(i), { name: "web", pad })));
    }
    await Promise.all(writes);
  });
}

const watched = await open();
for (let i = 0; i < 50; i++) {
  void (async () => {
    for await (const _ of watched.objects.watch({ prefix: "/registry/pods/", after: 0 }));
  })();
}
for (let i = 0; i < 200; i++) {
  void (async () => {
    const prefix = `/registry/secrets/default/secret-${i}`;
    for await (const _ of watched.objects.watch({ prefix, after: 0 }));
  })();
}
Deno.bench(
  "write: one by one, memory, 50 watchers and 200 of others",
  { group: "write" },
  async () => {
    const i = at++;
    await watched.objects.write((draft) => draft.put(key(i), { name: "web", pad }));
  },
);
