/**
 * The victim of `kill_store_test.ts` and `shared_store_test.ts`: writes to a database from several clients at
 * once and prints a line for every write that was answered, until it is killed.
 */

import { openDatabase, RealClock, type Store } from "../../kv/mod.ts";
import { type Thing, thingCodec } from "../contracts/store.ts";

/** Revisions that the victim's compaction keeps: more than one life writes. */
const KEEP = 3_000;

const [path, life, keep = String(KEEP)] = Deno.args;
const database = await openDatabase({ path, codec: thingCodec, clock: new RealClock() });
const store = database.objects;
const encoder = new TextEncoder();

function say(line: string): void {
  const bytes = encoder.encode(line + "\n");
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

async function client(name: number, objects: Store<Thing>): Promise<never> {
  for (let i = 0;; i++) {
    const key = `/things/${name}/${i % 5}`;
    // Now and then an object that needs chunks, and a delete.
    const pad = "x".repeat(i % 17 === 0 ? 90_000 : i % 3000);
    const isDelete = i % 7 === 6;
    const answer = await objects.write((draft) => {
      const count = (draft.get(key)?.value.count ?? 0) + 1;
      if (isDelete) return { revision: draft.delete(key), count: -1 };
      return { revision: draft.put(key, { name: `${life}/${name}/${i}`, count, pad }), count };
    });
    if (answer.revision !== undefined) {
      say(`ack ${key} ${answer.revision} ${isDelete ? "-" : `${life}/${name}/${i}`}`);
    }
  }
}

say(`open ${store.view().revision}`);
for (let name = 0; name < 8; name++) void client(name, store);
for (;;) {
  await new Promise((resolve) => setTimeout(resolve, 30));
  await store.compact({ keepRevisions: Number(keep), keepMs: 0 });
}
