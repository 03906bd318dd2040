import { assertEquals, assertMatch } from "@std/assert";
import { nodeApi } from "../server.ts";
import { holdIn } from "./host.ts";
import { systemLogs } from "./system_logs.ts";

/** A machine with a few logs, and a file beside its log folder. */
async function machine() {
  const place = await Deno.makeTempDir();
  const folder = `${place}/log`;
  await Deno.mkdir(`${folder}/pods/web`, { recursive: true });
  await Deno.writeTextFile(`${folder}/pods/web/0.log`, "listening\n");
  await Deno.writeTextFile(`${folder}/a<b>: 1.log`, "<script>\n");
  await Deno.writeTextFile(`${place}/secret`, "key");
  await Deno.symlink("pods/web/0.log", `${folder}/web.log`);
  await Deno.symlink("../secret", `${folder}/stolen.log`);
  return {
    logs: systemLogs(folder),
    folder,
    [Symbol.asyncDispose]: () => Deno.remove(place, { recursive: true }),
  };
}

Deno.test("a machine's log folder is a page of links, and its files are plain text", async () => {
  await using some = await machine();
  const page = await some.logs("");
  assertEquals(page.headers.get("content-type"), "text/html; charset=utf-8");
  const text = await page.text();
  assertMatch(
    text,
    /<a href="a%3Cb%3E%3A%201\.log">a&lt;b&gt;: 1\.log<\/a>\n<a href="pods\/">pods\/<\/a>/,
  );

  const file = await some.logs("a%3Cb%3E%3A%201.log");
  assertEquals(file.headers.get("content-type"), "text/plain; charset=utf-8");
  assertEquals(await file.text(), "<script>\n");
  assertEquals(await (await some.logs("pods/web/0.log")).text(), "listening\n");
});

Deno.test("a folder's address ends with a slash and a file's does not: the other is led there", async () => {
  await using some = await machine();
  const moved = async (path: string) => {
    const { status, headers } = await some.logs(path);
    return [status, headers.get("location")];
  };
  assertEquals(await moved("pods"), [301, "pods/"]);
  assertEquals(await moved("pods/web"), [301, "web/"]);
  assertEquals(await moved("pods/web/0.log/"), [301, "../0.log"]);
});

Deno.test("links within the log folder are followed, what leads out of it is not there", async () => {
  await using some = await machine();
  assertEquals(await (await some.logs("web.log")).text(), "listening\n");
  for (const path of ["stolen.log", "../secret", "..%2Fsecret", "pods/..%2f..%2fsecret"]) {
    const response = await some.logs(path);
    assertEquals([response.status, await response.text()], [404, "404 page not found\n"], path);
  }
});

Deno.test({
  name: "what is held stays what was judged, and a link that comes and goes never leads out",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using some = await machine();
    const path = `${some.folder}/pods/web/0.log`;
    {
      await using held = await holdIn(some.folder, "web.log");
      await Deno.rename(path, `${path}.1`);
      await Deno.symlink("../../../secret", path);
      assertEquals(await Deno.readTextFile(held!.path), "listening\n");
    }
    assertEquals(await holdIn(some.folder, "web.log"), undefined);
    const swap = async () => {
      for (let i = 0; i < 200; i++) {
        const next = `${some.folder}/next`;
        if (i % 2) await Deno.symlink("../../../secret", next);
        else await Deno.link(`${path}.1`, next);
        await Deno.rename(next, path);
      }
    };
    const read = async () => {
      for (let i = 0; i < 200; i++) {
        assertMatch(await (await some.logs("web.log")).text(), /listening|404/);
      }
    };
    await Promise.all([swap(), read(), read()]);
  },
});

Deno.test("what is absent, misspelt or no file is 404", async () => {
  await using some = await machine();
  const pipe = await new Deno.Command("mkfifo", { args: [`${some.folder}/pipe`] }).output();
  assertEquals(pipe.success, true);
  for (const path of ["gone", "gone/", "web.log/x", "%zz", "a%00b", "pipe"]) {
    const response = await some.logs(path);
    assertEquals([response.status, await response.text()], [404, "404 page not found\n"], path);
  }
});

Deno.test("a node that is no machine has an empty log folder", async () => {
  const node = { name: "n", worker: () => undefined, workers: () => [], now: () => 0 };
  const usage = () => Promise.reject(new Error("nobody asks"));
  const api = nodeApi({ ...node, usage });
  const get = async (path: string) => {
    const response = await api.fetch(new Request(`http://node${path}`));
    return [response.status, await response.text()];
  };
  const [status, page] = await get("/logs/");
  assertEquals(status, 200);
  assertMatch(String(page), /<pre>\n<\/pre>/);
  assertEquals(await get("/logs/syslog"), [404, "404 page not found\n"]);
  assertEquals(await get("/logs"), [404, "404 page not found\n"]);
});
