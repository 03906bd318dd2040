/**
 * The uid that a client certificate gives its holder: an attribute of the subject of Kubernetes' own
 * (1.3.6.1.4.1.57683.2). Names are read from DER, not from the text somebody made of them: a text could say more.
 */

/** The attribute's object identifier, encoded. */
const UID_TYPE = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xc2, 0x53, 0x02];

const SEQUENCE = 0x30;
const SET = 0x31;
const OBJECT_IDENTIFIER = 0x06;
/** The version of a certificate, `[0]`. */
const VERSION = 0xa0;

/** String types, with how their bytes are read. */
const STRINGS: Readonly<Record<number, string>> = {
  0x0c: "utf-8",
  0x12: "latin1",
  0x13: "latin1",
  0x14: "latin1",
  0x16: "latin1",
  0x1e: "utf-16be",
};

interface Element {
  tag: number;
  content: Uint8Array;
  /** What is left after it. */
  rest: Uint8Array;
}

/** The first element of `bytes`. Throws TypeError when they end too early. */
function element(bytes: Uint8Array): Element {
  let length = bytes[1];
  let at = 2;
  if (length > 0x7f) {
    const count = length & 0x7f;
    if (count === 0 || count > 4) throw new TypeError("a length that is no length");
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + bytes[at++];
  }
  // Also where the bytes ended before a length was read: comparing with NaN
  if (!(at + length <= bytes.length)) throw new TypeError("an element that has no end");
  return {
    tag: bytes[0],
    content: bytes.subarray(at, at + length),
    rest: bytes.subarray(at + length),
  };
}

function* elements(bytes: Uint8Array): Generator<Element> {
  while (bytes.length) {
    const next = element(bytes);
    yield next;
    bytes = next.rest;
  }
}

/** The content of the subject: the sixth field, the version not counted. */
function subjectOf(raw: Uint8Array): Uint8Array {
  const fields = [...elements(element(element(raw).content).content)];
  const at = fields[0]?.tag === VERSION ? 5 : 4;
  if (fields[at]?.tag !== SEQUENCE) throw new TypeError("a certificate without a subject");
  return fields[at].content;
}

/** The holder's uid; undefined: none is given. Throws TypeError for what is no uid, and for several. */
export function certificateUid(raw: Uint8Array): string | undefined {
  const found: string[] = [];
  for (const set of elements(subjectOf(raw))) {
    if (set.tag !== SET) throw new TypeError("a name that is no set");
    for (const { content } of elements(set.content)) {
      const type = element(content);
      if (type.tag !== OBJECT_IDENTIFIER || !same(type.content, UID_TYPE)) continue;
      const value = element(type.rest);
      const encoding = STRINGS[value.tag];
      if (!encoding) throw new TypeError("unable to parse UID into a string");
      found.push(new TextDecoder(encoding).decode(value.content));
    }
  }
  if (found.length > 1) {
    throw new TypeError(`expected 1 UID, but found multiple: [${found.join(" ")}]`);
  }
  if (found[0] === "") throw new TypeError("UID cannot be an empty string");
  return found[0];
}

function same(bytes: Uint8Array, wanted: readonly number[]): boolean {
  return bytes.length === wanted.length && wanted.every((byte, i) => bytes[i] === byte);
}
