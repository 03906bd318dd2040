import { assert, assertEquals } from "@std/assert";
import { writeKubeconfigs } from "./files.ts";

const access = { server: "https://x", authorityPem: "", certificatePem: "", keyPem: "" };

Deno.test({
  name: "writeKubeconfigs() writes to a pipe and leaves it one",
  ignore: Deno.build.os === "windows",
  async fn() {
    const folder = await Deno.makeTempDir();
    const pipe = `${folder}/pipe`;
    await new Deno.Command("mkfifo", { args: [pipe] }).output();
    const reading = new Deno.Command("cat", { args: [pipe] }).output();
    await writeKubeconfigs(access, { file: pipe, own: undefined });
    const read = new TextDecoder().decode((await reading).stdout);
    assert(read.includes("https://x"));
    assertEquals((await Deno.stat(pipe)).isFile, false);
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test("writeKubeconfigs() replaces a file in one step, for its owner's eyes", async () => {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/a/kubeconfig`;
  await writeKubeconfigs(access, { file, own: undefined });
  await writeKubeconfigs({ ...access, server: "https://y" }, { file, own: undefined });
  assert((await Deno.readTextFile(file)).includes("https://y"));
  if (Deno.build.os !== "windows") assertEquals((await Deno.stat(file)).mode! & 0o777, 0o600);
  await Deno.remove(folder, { recursive: true });
});
