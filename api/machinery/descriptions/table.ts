/**
 * How descriptions are written down: a line `# Type: what it is`, then a line `field: what it means` for each of its
 * fields. `# A, B` begins the fields that both have.
 */

/** Descriptions by type, and by `Type.field`. */
export interface Descriptions {
  types: Record<string, string>;
  fields: Record<string, string>;
}

/** Reads a text of descriptions. */
export function describedIn(text: string): Descriptions {
  const types: Record<string, string> = {};
  const fields: Record<string, string> = {};
  let about: string[] = [];
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const [, head, name, said] = /^(# )?(.*?): (.*)$/.exec(line) ?? ["", "# ", line.slice(2), ""];
    if (head) {
      about = name.split(", ");
      if (said) { for (const type of about) types[type] = said; }
    } else for (const type of about) fields[`${type}.${name}`] = said;
  }
  return { types, fields };
}
