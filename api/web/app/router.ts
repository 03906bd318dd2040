/** Where one is: the fragment of the address, as a path and a query. */
import { computed, signal } from "@preact/signals";

/** A place. */
export interface Place {
  readonly path: readonly string[];
  readonly query: URLSearchParams;
}

function read(): Place {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return {
    path: path.split("/").filter(Boolean).map(decodeURIComponent),
    query: new URLSearchParams(query),
  };
}

/** Where one is now. */
export const place = signal<Place>(read());

globalThis.addEventListener("hashchange", () => place.value = read());

/** The moment of the past that one looks at; undefined: now. */
export const at = computed(() => place.value.query.get("at") ?? undefined);

/** The address of a place. Whoever looks at the past stays there, unless the query says otherwise. */
export function href(
  path: readonly string[],
  own: Readonly<Record<string, string | undefined>> = {},
): string {
  const query = { at: at.peek(), ...own };
  const kept = Object.entries(query).filter((pair): pair is [string, string] => !!pair[1]);
  const search = kept.length ? `?${new URLSearchParams(kept)}` : "";
  return `#/${path.map(encodeURIComponent).join("/")}${search}`;
}

/** Goes there. `replace` leaves no step behind. */
export function go(address: string, { replace = false } = {}): void {
  if (!replace) location.hash = address;
  else {
    history.replaceState(null, "", address);
    place.value = read();
  }
}

/** The same place with some of its query changed. */
export function changed(query: Readonly<Record<string, string | undefined>>): string {
  const { path, query: old } = place.peek();
  return href(path, { ...Object.fromEntries(old), ...query });
}

/** The group of a path's segment: the core group has no name. */
export const groupSegment = (group: string): string => group || "core";
export const groupOf = (segment: string): string => segment === "core" ? "" : segment;

/** The page of an object. */
export function objectHref(
  { group, plural }: { group: string; plural: string },
  { namespace, name }: { namespace?: string; name: string },
  query?: Readonly<Record<string, string | undefined>>,
): string {
  return href(["object", groupSegment(group), plural, namespace || "-", name], query);
}

/** The page of a kind's list. */
export function listHref(
  { group, plural }: { group: string; plural: string },
  query?: Readonly<Record<string, string | undefined>>,
): string {
  return href(["list", groupSegment(group), plural], query);
}
