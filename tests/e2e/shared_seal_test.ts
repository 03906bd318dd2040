/** The sealing key of a database that processes share, in the environment of processes. */

import { assert, assertEquals } from "@std/assert";
import { KvServer, TOKEN } from "../kv_server.ts";

const OPENER = `
  import { openDatabase, RealClock } from "${new URL("../../kv/mod.ts", import.meta.url)}";
  import { thingCodec } from "${new URL("../contracts/store.ts", import.meta.url)}";
  try {
    const sealed = () => true;
    const database = await openDatabase({
      path: Deno.args[0], codec: thingCodec, clock: new RealClock(), sealed,
    });
    await database.objects.write((draft) => draft.put("/a/1", { name: "hidden treasure" }));
    console.log(database.objects.view().revision, database.seals.ids().length);
    await database.close();
  } catch (error) {
    console.log(error.name, error.message);
  }
`;

/** A cluster as `deno serve` has it. */
const SERVED = `
  const { default: served } = await import("${new URL("../../mod.ts", import.meta.url)}");
  const answer = await served.fetch(new Request("https://cluster.test/healthz"));
  console.log(await answer.text());
  Deno.exit(0);
`;

/** Opens the database in a process of its own; returns what it says. */
async function opened(url: string, key?: string, text = OPENER): Promise<string> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--unstable-kv", "--ext=ts", "-", url],
    cwd: new URL("../..", import.meta.url).pathname,
    env: {
      DENO_KV_ACCESS_TOKEN: TOKEN,
      PLESIO_KV: url,
      PLESIO_FLAGS: "--nodes 0 --components api",
      ...(key && { PLESIO_SEAL_KEY: key }),
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const program = new Response(text).body!;
  const [{ stdout }] = await Promise.all([process.output(), program.pipeTo(process.stdin)]);
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("a shared database is sealed by the environment's key, which is not in it", async () => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-shared-seal-" });
  const data = `${folder}/shared.db`;
  const server = await KvServer.start({ data });
  const [key, other] = [1, 2].map((n) => new Uint8Array(32).fill(n).toBase64());
  try {
    assertEquals(await opened(server.url, key), "1 1");
    assertEquals(await opened(server.url, key), "2 1");
    const missing = await opened(server.url);
    assert(
      missing.startsWith("DatabaseError The database is sealed by a key that was not"),
      missing,
    );
    const wrong = await opened(server.url, other);
    assert(/^UnknownKeyError .*is not among those that were given/.test(wrong), wrong);
    // A new key in front of the old one is taken up.
    const both = Uint8Array.fromBase64(other).toHex() + Uint8Array.fromBase64(key).toHex();
    assertEquals(await opened(server.url, Uint8Array.fromHex(both).toBase64()), "3 2");
    assert((await opened(server.url, "!")).includes("PLESIO_SEAL_KEY is not in base64"));
    assert((await opened(server.url, btoa("short"))).includes("PLESIO_SEAL_KEY has 5 bytes"));
  } finally {
    await server.stop();
  }
  const bytes = new TextDecoder("latin1").decode(await Deno.readFile(data));
  assert(!bytes.includes("hidden treasure") && !bytes.includes("\x01".repeat(32)));
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a served cluster is sealed by the environment's key, too", async () => {
  const server = await KvServer.start({ data: ":memory:" });
  const key = new Uint8Array(32).fill(1).toBase64();
  try {
    assertEquals(await opened(server.url, key, SERVED), "ok");
    const missing = await opened(server.url);
    assert(
      missing.startsWith("DatabaseError The database is sealed by a key that was not"),
      missing,
    );
  } finally {
    await server.stop();
  }
});
