import { assert, assertEquals } from "@std/assert";
import { gzipSync } from "node:zlib";
import { built, lying } from "./build.ts";
import { FILES } from "./dist/files.js";

/** What a browser fetches at first, compressed. */
const GZIPPED_BYTES_MAX = 300 * 1024;

Deno.test("the bundle in the repository is what its sources make", async () => {
  assert(await built() === await lying(), "api/web/dist/files.js is stale: run `deno task web`");
});

Deno.test("the bundle is small", () => {
  const sizes = Object.values(FILES).map((text) => gzipSync(text).length);
  const total = sizes.reduce((a, b) => a + b);
  assert(total < GZIPPED_BYTES_MAX, `${total} bytes`);
});

Deno.test("the bundle names no other server", () => {
  // Namespaces of XML are names, not addresses; the YAML library says in an error where its authors hear of it
  const named = Object.values(FILES).flatMap((text) => text.match(/https?:\/\/[\w.-]+/g) ?? [])
    .filter((url) => !/^https?:\/\/(www\.w3\.org|github\.com)$/.test(url));
  assertEquals(named, []);
});
