/**
 * Printing against what Kubernetes 1.36 prints: `tables.json` holds the columns of every kind and, of many objects,
 * the cells of their rows (without ages, which time changes).
 */
import { assertEquals } from "@std/assert";
import { createKinds } from "../../api/kinds/mod.ts";
import { type Cell, printedColumns, tableColumns, tableRow } from "../../api/machinery/table.ts";
import type { KubeObject, RowCondition } from "../../api/machinery/types.ts";

interface Facts {
  columns: Record<string, string[]>;
  rows: { object: KubeObject; cells: Record<string, Cell>; conditions?: RowCondition[] }[];
}

const facts: Facts = JSON.parse(await Deno.readTextFile(new URL("./tables.json", import.meta.url)));
const kinds = createKinds();
const now = Date.parse("2026-11-27T13:00:00Z");

Deno.test("every kind has upstream's columns, and each of them says what it shows", () => {
  for (const kind of kinds.all()) {
    if (!kind.verbs.includes("list") || kind.group === "metrics.k8s.io") continue;
    const name = `${kind.group ? `${kind.group}/` : ""}${kind.version}/${kind.plural}`;
    const columns = tableColumns(kind);
    const lines = columns.map(({ name, type, format, priority }) =>
      [name, type, format, String(priority)].filter(Boolean).join(" | ")
    );
    assertEquals(lines, facts.columns[name], name);
    for (const column of columns) assertEquals(column.description !== "", true, `${name} ${column.name}`);
  }
});

for (const { object, cells, conditions } of facts.rows) {
  Deno.test(`cells of ${object.kind} ${object.metadata.name}`, () => {
    const [version, group = ""] = object.apiVersion.split("/").reverse();
    const kind = kinds.byKind(group, version, object.kind)!;
    const row = tableRow(kind, object, { now });
    const names = printedColumns(kind).map((column) => column.name);
    const found = Object.fromEntries(names.map((name, i) => [name, row.cells[i]]));
    for (const name in cells) assertEquals(found[name], cells[name], name);
    assertEquals(row.conditions, conditions);
  });
}
