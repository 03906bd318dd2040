import { assertEquals, assertThrows } from "@std/assert";
import { parseYaml, parseYamlDocuments, toYaml, YamlError } from "./yaml.ts";

Deno.test("documents become JSON values", () => {
  const { value, duplicates } = parseYaml("a: 1\nb: [x, 'y']\nc: |\n  t\nd: 2026-01-01\ne: ~\n");
  assertEquals(value, { a: 1, b: ["x", "y"], c: "t\n", d: "2026-01-01", e: null });
  assertEquals(duplicates, []);
  assertEquals(parseYamlDocuments("a: 1\n---\nb: 2\n"), [{ a: 1 }, { b: 2 }]);
});

Deno.test("a key that occurs twice is reported with its line", () => {
  const { value, duplicates } = parseYaml("a: 1\nb:\n  c: 1\n  c: 2\n");
  assertEquals(value, { a: 1, b: { c: 2 } });
  assertEquals(duplicates, ['yaml: unmarshal errors:\n  line 4: key "c" already set in map']);
});

Deno.test("aliases are copied and merge keys merged", () => {
  const { value } = parseYaml("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz: [*x, *x]\n");
  const { y, z } = value as { y: unknown; z: object[] };
  assertEquals(y, { a: 1, b: 3 });
  assertEquals(z[0] === z[1], false);
});

Deno.test("bombs, depth and bad syntax are refused", () => {
  let bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
  for (let i = 1; i < 9; i++) {
    bomb += `a${i}: &a${i} [${Array(9).fill(`*a${i - 1}`).join(",")}]\n`;
  }
  assertThrows(() => parseYaml(bomb), YamlError, "excessive aliasing");
  assertThrows(() => parseYaml("[".repeat(5000)), YamlError);
  assertThrows(() => parseYaml("a: ["), YamlError, "error converting YAML to JSON: yaml: line ");
  assertThrows(() => parseYaml("a: .inf"), YamlError, "unsupported value");
});

Deno.test("values are written with sorted keys", () => {
  assertEquals(
    toYaml({ b: 1, a: { d: "true", c: ["x"] } }),
    "a:\n  c:\n  - x\n  d: 'true'\nb: 1\n",
  );
});
