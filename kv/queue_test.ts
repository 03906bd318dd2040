/** The mailbox over a database that takes its time. */

import { assertEquals } from "@std/assert";
import { ManualClock } from "./clock.ts";
import { MAIL_PREFIX } from "./keys.ts";
import { MemoryKv } from "./memory_kv.ts";
import { MailboxQueue } from "./queue.ts";

Deno.test("MailboxQueue delivers once what was delivered while it looked into the mailbox", async () => {
  const kv = new MemoryKv().open();
  const [isRead, mayGoOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const list = kv.list.bind(kv);
  let looks = 0;
  kv.list = ((...args: Parameters<typeof list>) => {
    const found = list(...args);
    // After the looks at the beginning and for the mail, this one sees the record, and takes long to tell.
    if (++looks !== 3) return found;
    return (async function* () {
      for await (const entry of found) {
        isRead.resolve();
        await mayGoOn.promise;
        yield entry;
      }
    })();
  }) as typeof kv.list;
  const clock = new ManualClock();
  const queue = new MailboxQueue({ kv, clock, shared: false });
  const mail = { to: "actor", key: "a" };
  const handled = Promise.withResolvers<void>();
  let deliveries = 0;
  queue.listen(() => {
    deliveries++;
    return handled.promise;
  });
  await queue.send(mail);
  while (deliveries === 0) await clock.turn();
  queue.sent([mail]);
  await isRead.promise;
  handled.resolve();
  const left = async () => (await Array.fromAsync(list({ prefix: MAIL_PREFIX }))).length;
  while (await left() > 0) await clock.turn();
  mayGoOn.resolve();
  for (let i = 0; i < 10; i++) await clock.turn();
  await queue.close();
  assertEquals(deliveries, 1);
});
