/**
 * Cells of `kubectl get`: the pieces that many kinds' columns share, with the texts upstream's table printer
 * uses (`<none>`, `<unknown>`, `<unset>`). Pure functions of the object and the time.
 */

import type { Column, DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { age } from "../../machinery/time.ts";

/** An object as columns see it. */
export type Row = DeepReadonly<KubeObject>;

/** The value of a cell. */
export type Cell = string | number | boolean | null;

/** Makes a column. `priority` 1 shows with `-o wide` only. */
export function column(
  name: string,
  cell: (object: Row, now: number) => Cell,
  options: { type?: Column["type"]; format?: string; priority?: number; description?: string } = {},
): Column {
  const { type = "string", ...rest } = options;
  return { name, type, cell, ...rest };
}

/** The first column of nearly every kind. */
export const NAME_COLUMN: Column = column("Name", (object) => object.metadata.name ?? "", {
  format: "name",
  description: "Name of the object, unique within its namespace",
});

/** How long ago the object was created. */
export const AGE_COLUMN: Column = column(
  "Age",
  (object, now) => age(object.metadata.creationTimestamp, now),
  { description: "Time since the object was created" },
);

// deno-lint-ignore no-explicit-any -- fields of decoded JSON
type Any = any;

/** The names of a template's containers, joined. */
export function containerNames(template: Any): string {
  return (template?.spec?.containers ?? []).map((c: Any) => c.name ?? "").join(",");
}

/** The images of a template's containers, joined. */
export function containerImages(template: Any): string {
  return (template?.spec?.containers ?? []).map((c: Any) => c.image ?? "").join(",");
}

/** The wide columns of kinds with a pod template. */
export function templateColumns(template: (object: Row) => Any): Column[] {
  return [
    column("Containers", (object) => containerNames(template(object)), {
      priority: 1,
      description: "Names of the template's containers",
    }),
    column("Images", (object) => containerImages(template(object)), {
      priority: 1,
      description: "Images of the template's containers",
    }),
  ];
}

/** `a,b,c + 2 more...` of a list of which three are shown. */
export function listWithMore(list: readonly string[], count: number, max: number): string {
  const text = list.join(",");
  return count > max ? `${text} + ${count - max} more...` : text;
}
