import { assertEquals } from "@std/assert";
import { LANGUAGES, TEXTS } from "./texts.ts";

Deno.test("every text is there in every language, with the same {names}", () => {
  const wrong = Object.entries(TEXTS).filter(([, texts]) => {
    const names = texts.map((text) => (text.match(/\{\w+\}/g) ?? []).sort().join());
    return texts.length !== LANGUAGES.length || texts.some((text) => text.trim() === "") ||
      new Set(names).size > 1;
  });
  assertEquals(wrong, []);
});

Deno.test("Korean texts are Korean", () => {
  // Names that are the same in both
  const same = new Set(["YAML"]);
  const wrong = Object.values(TEXTS).filter(([, korean]) =>
    !/[가-힣]/.test(korean) && !same.has(korean) && !/^(\{\w+\}|[^\w])*$/.test(korean)
  );
  assertEquals(wrong, []);
});

Deno.test("every text is used, and every text that is used is there", async () => {
  const used = new Set<string>();
  const sources: string[] = [];
  const walk = async (folder: URL) => {
    for await (const entry of Deno.readDir(folder)) {
      const url = new URL(entry.name + (entry.isDirectory ? "/" : ""), folder);
      if (entry.isDirectory) await walk(url);
      else if (/\.tsx?$/.test(entry.name) && !/^texts/.test(entry.name)) {
        sources.push(await Deno.readTextFile(url));
      }
    }
  };
  await walk(new URL("./", import.meta.url));
  const text = sources.join("\n");
  for (const key of Object.keys(TEXTS)) {
    const family = `${key.slice(0, key.lastIndexOf(".") + 1)}\${`;
    if (text.includes(`"${key}"`) || key.includes(".") && text.includes(family)) used.add(key);
  }
  assertEquals(Object.keys(TEXTS).filter((key) => !used.has(key)), []);
});
