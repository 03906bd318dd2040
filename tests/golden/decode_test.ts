/**
 * Golden pairs of decoding: `decode/<case>.input.yaml` and what becomes of it, with warnings or the refusal.
 * `deno test -A tests/golden/decode_test.ts -- --update` rewrites what is expected.
 */
import { assertEquals } from "@std/assert";
import { createKinds } from "../../api/kinds/mod.ts";
import { decode } from "../../api/machinery/schema.ts";
import { ApiError } from "../../api/machinery/types.ts";
import { parseYaml, toYaml } from "../../api/machinery/yaml.ts";

const FOLDER = new URL("./decode/", import.meta.url);
const kinds = createKinds();

function run(text: string): unknown {
  const { value, duplicates } = parseYaml(text);
  const { apiVersion, kind } = value as { apiVersion: string; kind: string };
  const [version, group = ""] = apiVersion.split("/").reverse();
  try {
    const { object, warnings } = decode(kinds.byKind(group, version, kind)!, value, "Warn", duplicates);
    return { warnings, object };
  } catch (error) {
    if (error instanceof ApiError) return { refused: error.message };
    throw error;
  }
}

for (const entry of [...Deno.readDirSync(FOLDER)].sort((a, b) => a.name < b.name ? -1 : 1)) {
  const name = entry.name.match(/^(.*)\.input\.yaml$/)?.[1];
  if (!name) continue;
  Deno.test(`decode ${name}`, () => {
    const made = toYaml(run(Deno.readTextFileSync(new URL(entry.name, FOLDER))));
    const output = new URL(`${name}.output.yaml`, FOLDER);
    if (Deno.args.includes("--update")) Deno.writeTextFileSync(output, made);
    assertEquals(made, Deno.readTextFileSync(output));
  });
}
