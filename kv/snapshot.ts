/**
 * A snapshot: the whole state in one file, in the clear, and back.
 *
 * Layout: a line of magic, then frames (4 bytes length, bytes), then an empty frame and the SHA-256 of all
 * before it. The first frame is JSON about the rest; each further one is a kind byte (`o`, `e`, `s`), the
 * revision (8 bytes), the length of the key (2), the key, the value. A frame of kind `c` is the cause of a revision;
 * its key is the kind of what was written. Whoever does not know causes passes over those.
 *
 * A restored store goes on at a revision far beyond the snapshot's, and its log is compacted up to there:
 * clients that saw a future which the restore undid are told to list again instead of being shown other
 * objects under revisions they know.
 *
 * A snapshot holds Secrets and the cluster's keys in the clear: guard it like the database's key, or seal it by a
 * passphrase (`snapshot_envelope.ts`).
 */

import { createHash } from "node:crypto";
import * as btree from "./btree.ts";
import { type Codec, DatabaseError } from "./contract.ts";
import type { Clock } from "./clock.ts";
import { decodeCause, encodeCause, encodeHead, INTERNAL_PUT, PUT } from "./codec.ts";
import { ChunkWriter } from "./chunks.ts";
import { StoredItem } from "./item.ts";
import { changeKey, FORMAT_KEY, headKey, oldestKey, settingKey, type Space } from "./keys.ts";
import { GROUP_BYTES_WANTED, GROUP_WRITES_MAX, RESTORE_REVISION_JUMP } from "./limits.ts";
import { Log } from "./log.ts";
import { settingPath } from "./keyring.ts";
import type { Sealer } from "./seal.ts";
import type { Change, Root } from "./state.ts";

const MAGIC = "plesio snapshot 1\n";
const DIGEST_BYTES = 32;

/** What goes into a snapshot. */
export interface SnapshotSource<T> {
  clusterId: string;
  objects: { revision: number; root: Root<T> };
  events: { revision: number; root: Root<T> };
  settings: readonly (readonly [string, Uint8Array])[];
}

interface Preface {
  readonly clusterId: string;
  readonly o: number;
  readonly e: number;
}

/** One object, setting or cause. */
interface Entry {
  readonly kind: "o" | "e" | "s" | "c";
  readonly revision: number;
  readonly key: string;
  readonly bytes: Uint8Array;
}

/** Objects copied between two turns of the event loop. */
const OBJECTS_PER_TURN = 500;

/** The bytes of a snapshot. Lets others run in between: the source is a state that stays as it is. */
export async function takeSnapshot<T>(
  source: SnapshotSource<T>,
  clock: Clock,
): Promise<Uint8Array> {
  const preface: Preface = {
    clusterId: source.clusterId,
    o: source.objects.revision,
    e: source.events.revision,
  };
  const frames: Uint8Array[] = [
    encoder.encode(MAGIC),
    framed(encoder.encode(JSON.stringify(preface))),
  ];
  for (const [kind, { root }] of [["o", source.objects], ["e", source.events]] as const) {
    for (const { key, revision, bytes, cause } of btree.scan(root, "", undefined)) {
      frames.push(framed(frameOf({ kind, revision, key, bytes })));
      if (cause) {
        frames.push(framed(frameOf({ kind: "c", revision, key: kind, bytes: encodeCause(cause) })));
      }
      if (frames.length % OBJECTS_PER_TURN === 0) await clock.turn();
    }
  }
  for (const [key, bytes] of source.settings) {
    frames.push(framed(frameOf({ kind: "s", revision: 0, key, bytes })));
  }
  frames.push(new Uint8Array(4));
  const hash = createHash("sha256");
  const whole = new Uint8Array(frames.reduce((sum, { length }) => sum + length, DIGEST_BYTES));
  let at = 0;
  for (let i = 0; i < frames.length; i++) {
    hash.update(frames[i]);
    whole.set(frames[i], at);
    at += frames[i].length;
    if (i % OBJECTS_PER_TURN === 0) await clock.turn();
  }
  whole.set(hash.digest(), at);
  return whole;
}

/** A frame behind its length. */
function framed(frame: Uint8Array): Uint8Array {
  const whole = new Uint8Array(4 + frame.length);
  new DataView(whole.buffer).setUint32(0, frame.length);
  whole.set(frame, 4);
  return whole;
}

function frameOf({ kind, revision, key, bytes }: Entry): Uint8Array {
  const keyBytes = encoder.encode(key);
  const frame = new Uint8Array(11 + keyBytes.length + bytes.length);
  const view = new DataView(frame.buffer);
  frame[0] = kind.charCodeAt(0);
  view.setFloat64(1, revision);
  view.setUint16(9, keyBytes.length);
  frame.set(keyBytes, 11);
  frame.set(bytes, 11 + keyBytes.length);
  return frame;
}

/** Takes a snapshot apart. Throws DatabaseError when it is none or torn. */
export function readSnapshot(whole: Uint8Array): { preface: Preface; entries: Entry[] } {
  const body = whole.subarray(0, whole.length - DIGEST_BYTES);
  const magic = decoder.decode(whole.subarray(0, MAGIC.length));
  if (magic !== MAGIC) throw new DatabaseError("Cannot restore: this is not a Plesio snapshot");
  const digest = createHash("sha256").update(body).digest();
  if (!digest.every((byte, i) => byte === whole[body.length + i])) {
    throw new DatabaseError("Cannot restore: the snapshot is torn or was changed");
  }
  const view = new DataView(whole.buffer, whole.byteOffset, whole.byteLength);
  let preface: Preface | undefined;
  const entries: Entry[] = [];
  for (let at = MAGIC.length;;) {
    const length = view.getUint32(at);
    if (length === 0) break;
    const frame = whole.subarray(at + 4, at + 4 + length);
    if (preface === undefined) preface = JSON.parse(decoder.decode(frame)) as Preface;
    else {
      const frameView = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
      const keyEnd = 11 + frameView.getUint16(9);
      entries.push({
        kind: String.fromCharCode(frame[0]) as Entry["kind"],
        revision: frameView.getFloat64(1),
        key: decoder.decode(frame.subarray(11, keyEnd)),
        bytes: frame.subarray(keyEnd),
      });
    }
    at += 4 + length;
  }
  return { preface: preface!, entries };
}

/** What a restore needs. */
export interface RestoreOptions<T> {
  kv: Deno.Kv;
  codec: Codec<T>;
  /** Seals what the new database is to have sealed: the snapshot holds it in the clear. */
  sealer: Sealer;
  clock: Clock;
  bytes: Uint8Array;
}

/** Writes a snapshot into an empty database. Throws DatabaseError when it is not empty. */
export async function restoreInto<T>(options: RestoreOptions<T>): Promise<void> {
  const { kv, sealer } = options;
  const { preface, entries } = readSnapshot(options.bytes);
  for (const space of ["o", "e"] as const) {
    if ((await kv.get(headKey(space))).versionstamp === null) continue;
    throw new DatabaseError("Cannot restore into a database that is in use: use an empty one");
  }
  for (const { kind, key, bytes } of entries) {
    if (kind === "s") await kv.set(settingKey(key), sealer.seal(settingPath(key), bytes));
  }
  for (const space of ["e", "o"] as const) {
    await restoreStore(options, {
      space,
      revision: preface[space],
      entries: entries.filter(({ kind }) => kind === space),
      causes: entries.filter(({ kind, key }) => kind === "c" && key === space),
    });
  }
  const format = await kv.get<object>(FORMAT_KEY);
  await kv.set(FORMAT_KEY, { ...format.value, clusterId: preface.clusterId });
}

async function restoreStore<T>(
  options: RestoreOptions<T>,
  part: { space: Space; revision: number; entries: Entry[]; causes: Entry[] },
): Promise<void> {
  const { kv, codec, sealer, clock } = options;
  const { space, entries } = part;
  const log = new Log<T>({ kv, space, codec, sealer });
  await log.clear();
  const mark = { writer: "0".repeat(16), batch: 0 };
  const time = clock.now();
  const causes = new Map(
    part.causes.map(({ revision, bytes }) => [revision, decodeCause(bytes).cause]),
  );
  const ordered = [...entries].sort((a, b) => a.revision - b.revision);
  let op = kv.atomic();
  let bytes = 0;
  let count = 0;
  let liveBytes = 0;
  let sum = 0;
  for (const { key, revision, bytes: value } of ordered) {
    const item = new StoredItem<T>(key, revision, value, codec);
    item.cause = causes.get(revision);
    const kind = key.startsWith("/") ? PUT : INTERNAL_PUT;
    const change: Change<T> = { kind, item, previous: undefined, withBody: true };
    const chunks = await chunksOf(log, clock, change);
    const record = log.record(change, { time, group: mark, chunks });
    op.set(changeKey(space, revision), record);
    bytes += record.length;
    liveBytes += item.size;
    sum = (sum + revision) % 0x1_0000_0000;
    if (++count < GROUP_WRITES_MAX && bytes < GROUP_BYTES_WANTED) continue;
    await op.commit();
    op = kv.atomic();
    bytes = count = 0;
  }
  await op.commit();
  const revision = part.revision + RESTORE_REVISION_JUMP;
  const head = { ...mark, revision, keys: entries.length, liveBytes, sum };
  // The head comes last: a restore that did not get here leaves a database without one.
  await kv.atomic().set(oldestKey(space), revision).set(headKey(space), encodeHead(head)).commit();
}

async function chunksOf<T>(log: Log<T>, clock: Clock, change: Change<T>) {
  if (log.fits(change.item.key, change.item.bytes)) return undefined;
  const writer = new ChunkWriter(log, clock);
  if (writer.find([change]) === undefined) await writer.write();
  return writer.find([change])!.get(change)!.chunks;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
