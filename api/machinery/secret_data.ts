/** The data of a Secret, which travels as base64. */
import type { DeepReadonly, KubeObject } from "./types.ts";

/** A value of it as text; what is no UTF-8 becomes the replacement character. Throws for what is no base64. */
export function secretText(value: string): string {
  return new TextDecoder().decode(Uint8Array.fromBase64(value));
}

/** All of it as texts. */
export function secretTexts(secret: DeepReadonly<KubeObject>): Record<string, string> {
  const data = (secret.data ?? {}) as Record<string, string>;
  return Object.fromEntries(Object.entries(data).map(([key, text]) => [key, secretText(text)]));
}
