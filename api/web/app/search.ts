/** Searching for words: what is found has all of them, in any order and case. */

/** Those of which a text is found; all where nothing is searched for. */
export function matching<T>(
  all: Iterable<T>,
  search: string,
  textOf: (one: T) => string,
): readonly T[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [...all];
  if (words.length === 0) return found;
  return found.filter((one) => {
    const text = textOf(one).toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
