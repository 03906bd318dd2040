/**
 * The short hash that tells pod templates apart: FNV-1a over the template, written with upstream's safe
 * alphabet (no vowels, so that no word appears by chance). Pure.
 */

const ALPHABET = "bcdfghjklmnpqrstvwxz2456789";

/** FNV-1a, 32 bits, as upstream's `fnv.New32a`. */
export function fnv32a(bytes: Uint8Array, hash = 0x811c9dc5): number {
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash >>> 0;
}

/** Each character of a text as one of the safe alphabet, as upstream's `rand.SafeEncodeString`. */
export function safeEncode(text: string): string {
  let out = "";
  for (let i = 0; i < text.length; i++) out += ALPHABET[text.charCodeAt(i) % ALPHABET.length];
  return out;
}

/** JSON with sorted keys and without what is absent or empty, so that equal templates are equal texts. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const map = value as Record<string, unknown>;
  const parts: string[] = [];
  for (const key of Object.keys(map).sort()) {
    if (map[key] === undefined || map[key] === null) continue;
    parts.push(`${JSON.stringify(key)}:${canonicalJson(map[key])}`);
  }
  return `{${parts.join(",")}}`;
}

/** The hash of a template; `collisions` makes another one of the same template. */
export function templateHash(template: unknown, collisions?: number): string {
  let hash = fnv32a(new TextEncoder().encode(canonicalJson(template)));
  if (collisions !== undefined) {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setUint32(0, collisions, true);
    hash = fnv32a(bytes, hash);
  }
  return safeEncode(String(hash));
}
