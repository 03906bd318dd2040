/** Facts that were recorded of a kube-apiserver, one a line, and what answers are compared with them by. */

// deno-lint-ignore no-explicit-any -- objects of any kind
type Obj = any;
/** Steps to a place in an object. */
export type Path = (string | number)[];

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const ADDRESS = /10\.(9[6-9]|10\d|11[01])\.\d+\.\d+/g;
const TIME = /202[4-9]-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g;
const ERROR_TIME =
  /20[23]\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000 UTC( m=[+\d.]+)?)?/g;
const TOKEN_VOLUME = /kube-api-access-\w{5}/g;
const TOKEN_MASK = "kube-api-access-X";
/** Fields of metadata that differ from run to run. */
export const UNSTABLE = [
  "uid",
  "resourceVersion",
  "creationTimestamp",
  "managedFields",
  "selfLink",
  "deletionTimestamp",
];

/** A message without what differs from run to run. */
export function maskText(text: string): string {
  return text.replace(UUID, "UID").replace(ERROR_TIME, "TIME").replace(TOKEN_VOLUME, TOKEN_MASK)
    .replace(/resourceVersion\\?":\\?"\d+/g, 'resourceVersion":"RV').replace(ADDRESS, "CLUSTERIP");
}

/** An object without what differs from run to run. */
export function mask(object: Obj): Obj {
  const { metadata, ...rest } = object;
  const meta = { ...metadata };
  for (const field of UNSTABLE) delete meta[field];
  const text = JSON.stringify(metadata ? { ...rest, metadata: meta } : rest);
  return JSON.parse(
    text.replace(UUID, "UID").replace(TOKEN_VOLUME, TOKEN_MASK)
      .replace(ADDRESS, "CLUSTERIP").replace(TIME, "TIME")
      .replace(/"(nodePort|healthCheckNodePort)":3[0-2]\d{3}/g, '"$1":"P"'),
  );
}

/** The object with some places set anew. */
export function changed(object: Obj, set: readonly [Path, Obj?][]): Obj {
  const copy = structuredClone(object);
  for (const change of set) {
    const [path, value] = change;
    let at = copy;
    path.slice(0, -1).forEach((step, i) => {
      if (typeof at[step] !== "object" || at[step] === null) {
        at[step] = typeof path[i + 1] === "number" ? [] : {};
      }
      at = at[step];
    });
    const last = path[path.length - 1];
    if (change.length === 2) at[last] = structuredClone(value);
    else if (Array.isArray(at)) at.splice(last as number, 1);
    else delete at[last];
  }
  return copy;
}

/** The value with its keys in order. */
export function sorted(value: Obj): Obj {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

/** The texts of an answer's warnings. */
export function warningsOf(response: Response): string[] {
  const header = response.headers.get("warning") ?? "";
  return header.split(/, (?=299 - ")/).filter(Boolean).map((text) => JSON.parse(text.slice(6)));
}

/** The facts in a file. */
export async function lines<T>(name: string): Promise<T[]> {
  const text = await Deno.readTextFile(new URL(name, import.meta.url));
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}
