/** How upstream's errors show a body they could not read. */

const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });
const HEX = "0123456789abcdef";

/** How upstream shows the start of a body it could not read. */
export function summarize(body: Uint8Array | string, max = 30): string {
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  if (bytes.length === 0) return "<empty>";
  const head = bytes.subarray(0, max);
  const more = bytes.length > max ? " ..." : "";
  if (bytes[0] === 123) return DECODER.decode(head) + more;
  let hex = "";
  for (const byte of head) hex += HEX[byte >> 4] + HEX[byte & 15];
  return hex + more;
}
