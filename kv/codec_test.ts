/** Log records and seals, byte by byte. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type ChangeRecord,
  cutChunks,
  decodeHead,
  decodeRecord,
  DELETE,
  encodeHead,
  encodeRecord,
  fitsInline,
  joinChunks,
  PUT,
} from "./codec.ts";
import { DatabaseError } from "./contract.ts";
import { CAUSE_TEXT_BYTES_MAX, KEY_LENGTH_MAX, KV_VALUE_BYTES_MAX } from "./limits.ts";
import { SEAL_BYTES_MAX, Sealer } from "./seal.ts";

const group = { writer: "0123456789abcdef", batch: 7 };
const time = 1_767_225_600_000;
const chunks = { id: "00112233445566778899aabbccddeeff", count: 48, length: 3_000_000 };

const cause = {
  trace: "0af7651916cd43dd8448eb211c80319c",
  because: 2 ** 45,
  by: "controller/日本",
  verb: "patch/status",
};
const body = new Uint8Array([7]);

const RECORDS: Record<string, ChangeRecord> = {
  "a put": {
    kind: PUT,
    form: 0,
    key: "/a/b",
    previous: 0,
    time,
    body: new Uint8Array([1, 2]),
  },
  "a sealed put": {
    kind: PUT,
    form: 2,
    key: "/é/日本",
    previous: 2 ** 40,
    time,
    body: new Uint8Array(3),
  },
  "the first of a group": {
    kind: PUT,
    form: 0,
    key: "/a",
    previous: 1,
    time,
    group,
    body: new Uint8Array(0),
  },
  "a chunked one": { kind: PUT, form: 0, key: "/a", previous: 1, time, group, chunks },
  "one with a cause": { kind: PUT, form: 2, key: "/日", previous: 1, time, cause, body },
  "one with all that there is": {
    kind: PUT,
    form: 0,
    key: "/a",
    previous: 1,
    time,
    group,
    chunks,
    cause,
  },
  "a delete": { kind: DELETE, form: 0, key: "/a", previous: 9, time },
};

for (const [name, record] of Object.entries(RECORDS)) {
  Deno.test(`decodeRecord() gives back ${name}`, () => {
    const bytes = encodeRecord(record);
    const absent = { group: undefined, chunks: undefined, cause: undefined, body: undefined };
    assertEquals(decodeRecord(bytes, 1), { ...absent, ...record });
    for (const length of [0, 1, 11, bytes.length - (record.body?.length ?? 0) - 1]) {
      assertThrows(() => decodeRecord(bytes.slice(0, length), 5), DatabaseError, "revision 5");
    }
  });
}

Deno.test("encodeRecord() cuts a cause's texts, and is no record to whoever knows format 2", () => {
  const long = { ...cause, by: "b".repeat(CAUSE_TEXT_BYTES_MAX + 1), verb: "日".repeat(99) };
  const bytes = encodeRecord({ ...RECORDS["a delete"], cause: long });
  const kept = decodeRecord(bytes, 1).cause!;
  assertEquals(kept.by, "b".repeat(CAUSE_TEXT_BYTES_MAX));
  assertEquals(kept.verb, "日".repeat(Math.floor(CAUSE_TEXT_BYTES_MAX / 3)));
  assertEquals([kept.trace, kept.because], [cause.trace, cause.because]);
  // It refused forms of sealing above 4 as torn.
  assert(bytes[0] > 4);
});

Deno.test("a record that is said to fit does", () => {
  const key = "/" + "日".repeat(KEY_LENGTH_MAX - 1);
  for (let size = 60_000; size <= KV_VALUE_BYTES_MAX; size += 7) {
    if (!fitsInline(key, size)) continue;
    const record = {
      ...RECORDS["a sealed put"],
      key,
      group,
      cause: { ...cause, by: "日".repeat(100), verb: "x".repeat(1000) },
      body: new Uint8Array(size + SEAL_BYTES_MAX),
    };
    const { length } = encodeRecord(record);
    if (length > KV_VALUE_BYTES_MAX) throw new Error(`${size} bytes became ${length}`);
  }
});

Deno.test("decodeHead() gives back the head, and nothing else", () => {
  const head = { revision: 5, keys: 3, liveBytes: 99, sum: 12, writer: group.writer, batch: 4 };
  assertEquals(decodeHead(encodeHead(head)), head);
  for (const wrong of [undefined, "head", new Uint8Array(3)]) {
    assertThrows(() => decodeHead(wrong), DatabaseError, "torn");
  }
});

Deno.test("joinChunks() needs every chunk", () => {
  const body = new Uint8Array(150_000).map((_, i) => i % 251);
  const parts = cutChunks(body);
  const where = { id: chunks.id, count: parts.length, length: body.length };
  assertEquals(joinChunks(parts, where), body);
  assertThrows(() => joinChunks(parts.slice(1), where), DatabaseError, "missing");
  assertThrows(() => joinChunks([...parts, parts[0]], where), DatabaseError, "missing");
});

Deno.test("Sealer opens what it sealed, under the same key and path only", () => {
  let drawn = 0;
  const nonce = (length: number) => new Uint8Array(length).fill(++drawn);
  const sealer = new Sealer([new Uint8Array(32).fill(1)], nonce);
  const plain = new TextEncoder().encode("treasure");
  const sealed = sealer.seal("/s/1", plain);
  assertEquals(sealer.open("/s/1", sealed), plain);
  assertEquals(sealer.open("/s/1", sealer.seal("/s/1", new Uint8Array(0))), new Uint8Array(0));
  assertThrows(() => sealer.open("/s/2", sealed), DatabaseError, "/s/2");
  const other = new Sealer([new Uint8Array(32).fill(2)], nonce);
  assertThrows(() => other.open("/s/1", sealed), DatabaseError, "its sealing key");
  for (let i = 0; i < sealed.length; i++) {
    const changed = sealed.slice();
    changed[i] ^= 1;
    assertThrows(() => sealer.open("/s/1", changed), DatabaseError);
  }
  assertThrows(() => sealer.open("/s/1", sealed.slice(0, 20)), DatabaseError);
  assertThrows(() => new Sealer([new Uint8Array(15)], nonce), DatabaseError, "15 bytes");
});
