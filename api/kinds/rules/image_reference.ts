/**
 * Image references, as far as defaulting needs them: does an image name the moving tag `latest`?
 * The grammar is the distribution project's (name, tag, digest); what does not parse has no tag, so that a
 * module specifier such as `https://example.com/mod.ts` is not taken for `latest`.
 */

const DOMAIN =
  "(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*" +
  "|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?)";
const COMPONENT = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const REFERENCE = new RegExp(
  `^(?:${DOMAIN}/)?${COMPONENT}(?:/${COMPONENT})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?` +
    "(@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?$",
);
/** A name, its tag and its digest together: longer references are refused by every registry. */
const REFERENCE_LENGTH_MAX = 1024;
/** Of the name with its registry; what is longer does not parse. */
const NAME_LENGTH_MAX = 255;

/** Whether the image, as a registry client reads it, means the tag `latest`. */
export function namesLatest(image: string): boolean {
  if (image.length === 0 || image.length > REFERENCE_LENGTH_MAX) return false;
  const match = REFERENCE.exec(image);
  if (match === null) return false;
  const suffix = (match[1]?.length ?? 0) + (match[2]?.length ?? 0);
  if (image.length - suffix > NAME_LENGTH_MAX) return false;
  if (match[1] !== undefined) return match[1] === ":latest";
  return match[2] === undefined;
}

/** The pull policy of an image that states none. */
export function defaultPullPolicy(image: unknown): "Always" | "IfNotPresent" {
  return typeof image === "string" && namesLatest(image) ? "Always" : "IfNotPresent";
}
