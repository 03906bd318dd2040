/** The `fieldPath` of a rule: `.spec.names['a']`, below the node that the rule stands at. */

const STEP = /\.([^.[\]]+|[.[\]])|\['((?:[^'\\]|\\.)*)'\]/y;
const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "'": "'",
  "\\": "\\",
};

/** How the nodes of a schema are looked at. */
export interface Walk<T> {
  /** The fields that a node names, where it names any. */
  properties(node: T): Readonly<Record<string, T>> | undefined;
  /** What a node says of all others. */
  values(node: T): T | undefined;
}

/** The path as errors show it (`spec.names.a`); undefined where it leads to nothing in the schema. */
export function normalFieldPath<T>(node: T, text: string, walk: Walk<T>): string | undefined {
  let out = "";
  let at: T | undefined = node;
  STEP.lastIndex = 0;
  while (STEP.lastIndex < text.length) {
    const step = STEP.exec(text);
    const name = step && (step[1] ?? unescaped(step[2]));
    if (name === null || name === undefined || at === undefined) return undefined;
    const fields: Readonly<Record<string, T>> | undefined = walk.properties(at);
    if (fields) {
      at = Object.hasOwn(fields, name) ? fields[name] : undefined;
      out += out ? `.${name}` : name;
    } else {
      at = walk.values(at);
      out += `[${name}]`;
    }
    if (at === undefined) return undefined;
  }
  return out;
}

function unescaped(text: string): string | undefined {
  let bad = false;
  const out = text.replace(/\\(.)/gs, (_, letter) => {
    bad ||= !Object.hasOwn(ESCAPES, letter);
    return ESCAPES[letter] ?? "";
  });
  return bad ? undefined : out;
}
