/**
 * What can only be checked beside upstream's sources: that the generated files are those of the modules,
 * and that upstream's own samples of every kind come out the same, field for field and byte for byte.
 * Ignored where the modules are not there (`deno task gen` says how to get them).
 */
import { assertEquals } from "@std/assert";
import { fromProtobuf, toEnvelope, unwrapUnknown } from "../machinery/protobuf.ts";
import { decodeWith } from "../machinery/schema.ts";
import { generate, sources } from "./generate.ts";
import { packages } from "./generated/schemas/mod.ts";
import { schemas } from "./schemas.ts";

const roots = await sources();

Deno.test({
  name: "the generated files are up to date",
  ignore: roots === undefined,
  fn() {
    const stale: string[] = [];
    for (const [name, text] of generate(roots!)) {
      const path = new URL(`./generated/${name}`, import.meta.url);
      if (Deno.readTextFileSync(path) !== text) stale.push(name);
    }
    assertEquals(stale, [], "run deno task gen");
  },
});

/** The schema of a sample such as `apps.v1.Deployment.json`, if we have one. */
function schemaOf(file: string): string | undefined {
  const [, group, version, kind] = file.match(/^(.*)\.(v\d\w*)\.(\w+)\.json$/)!;
  const known = packages[`${group.split(".")[0]}_${version}`];
  for (const prefix of [known?.[0], "io.k8s.apimachinery.pkg.apis.meta.v1"]) {
    if (prefix && schemas[`${prefix}.${kind}`]) return `${prefix}.${kind}`;
  }
  return undefined;
}

Deno.test({
  name: "upstream's samples decode, encode and come back unchanged",
  ignore: roots === undefined,
  fn() {
    const folder = `${roots!["k8s.io/api"]}/testdata/HEAD`;
    let compared = 0;
    for (const { name } of Deno.readDirSync(folder)) {
      if (!name.endsWith(".json") || name.includes(".after_") || name.includes("WatchEvent")) {
        continue;
      }
      const schema = schemaOf(name);
      if (!schema) continue;
      const sample = JSON.parse(Deno.readTextFileSync(`${folder}/${name}`));
      const bytes = Deno.readFileSync(`${folder}/${name.replace(/json$/, "pb")}`);
      const { object, unknown } = decodeWith(schemas, schema, sample);
      assertEquals(unknown, [], name);
      assertEquals(object, sample, name);
      const { apiVersion, kind, raw } = unwrapUnknown(bytes);
      assertEquals({ apiVersion, kind, ...fromProtobuf(schemas, schema, raw) }, sample, name);
      assertEquals(toEnvelope(schemas, schema, object).toHex(), bytes.toHex(), name);
      compared++;
    }
    assertEquals(compared >= 120, true, `${compared} samples`);
  },
});
