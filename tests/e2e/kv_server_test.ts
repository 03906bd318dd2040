/** `deno task kv-server` as people start it. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { openShared } from "../../kv/open.ts";
import { KvServer, TOKEN } from "../kv_server.ts";

Deno.env.set("DENO_KV_ACCESS_TOKEN", TOKEN);

Deno.test("kv-server keeps a file, to itself alone, and says what is wrong", async () => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-kv-server-" });
  const data = `${folder}/shared.db`;
  try {
    const server = await KvServer.start({ data });
    assert(/^http:\/\/127\.0\.0\.1:\d+\/$/.test(server.url), server.url);
    const kv = await openShared(server.url);
    const { versionstamp } = await kv.set(["a"], { one: 1 });
    const port = Number(new URL(server.url).port);
    await assertRejects(() => KvServer.start({ data }), Error, "in use by another process");
    await assertRejects(
      () => KvServer.start({ data: `${folder}/b.db`, port }),
      Error,
      "kv-server: ",
    );
    await assertRejects(
      () => KvServer.start({ data, token: "" }),
      Error,
      "Set DENO_KV_ACCESS_TOKEN",
    );
    await assertRejects(
      () => KvServer.start({ data: ":memory:", token: "short" }),
      Error,
      "at least 12",
    );
    await assertRejects(() => KvServer.start({ data: "http://a/" }), Error, "Cannot serve");
    await assertRejects(() => KvServer.start({ data, port: 70_000 }), Error, "deno task kv-server");
    assertEquals((await server.stop("SIGTERM")).code, 0);
    const again = await KvServer.start({ data, port });
    const found = await kv.get(["a"]);
    assertEquals([found.value, found.versionstamp], [{ one: 1 }, versionstamp]);
    kv.close();
    await again.stop();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
