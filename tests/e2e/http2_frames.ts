/** HTTP/2 by hand, for clients that no library would be: frames, and headers without compression. */

const encoder = new TextEncoder();
const PREFACE = encoder.encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const END_STREAM = 1;
const END_HEADERS = 4;

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(9 + payload.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, payload.length << 8 | type);
  out[4] = flags;
  view.setUint32(5, stream);
  out.set(payload, 9);
  return out;
}

/** What a client says first: the preface and empty settings. */
export function hello(): Uint8Array {
  return new Uint8Array([...PREFACE, ...frame(SETTINGS, 0, 0, new Uint8Array())]);
}

/** A length below 127 as HPACK writes it, or a longer one. */
function sized(text: string): number[] {
  const bytes = encoder.encode(text);
  if (bytes.length < 127) return [bytes.length, ...bytes];
  const length: number[] = [127];
  let rest = bytes.length - 127;
  while (rest >= 128) {
    length.push(rest % 128 + 128);
    rest = Math.floor(rest / 128);
  }
  return [...length, rest, ...bytes];
}

/** A GET that opens a stream. Odd numbers are a client's. */
export function getRequest(stream: number, path: string, token: string): Uint8Array {
  const payload = [
    0x82, // :method GET
    0x87, // :scheme https
    0x04, // :path, as follows
    ...sized(path),
    0x01, // :authority, as follows
    ...sized("kubernetes"),
    0x00, // a name, and a value
    ...sized("authorization"),
    ...sized(`Bearer ${token}`),
  ];
  return frame(HEADERS, END_STREAM | END_HEADERS, stream, new Uint8Array(payload));
}

/** Gives a stream up. */
export function reset(stream: number): Uint8Array {
  return frame(RST_STREAM, 0, stream, new Uint8Array([0, 0, 0, 8]));
}

/** HTTP/2's code for a client that asks too much. */
export const ENHANCE_YOUR_CALM = 11;
/** What a frame that tells a client to go has behind its length; the last stream follows, and why. */
const GOAWAY = [7, 0, 0, 0, 0, 0];

/** Why a server tells its client to go, if these bytes of its do. */
export function goawayIn(bytes: Uint8Array): number | undefined {
  for (let at = 0; at + GOAWAY.length + 8 <= bytes.length; at++) {
    if (GOAWAY.every((byte, i) => bytes[at + i] === byte)) return bytes[at + GOAWAY.length + 7];
  }
  return undefined;
}
