/** Reads the file of an incident (`plesio/export.ts`), and makes the database that it tells of. */
import {
  type Cause,
  type Database,
  DatabaseError,
  type ManualClock,
  type Replayed,
  replayed,
  type StoreGiven,
} from "../kv/mod.ts";
import type { KubeObject } from "./machinery/types.ts";
import { objectCodec } from "./server/codec.ts";

interface Head {
  plesio: string;
  format: number;
  clusterId: string;
  from: { revision: number; time: number; events: number };
}

interface Line {
  end?: number;
  store: "objects" | "events";
  revision: number;
  state?: string;
  time?: number;
  put?: string;
  delete?: string;
  object?: object;
  cause?: Cause;
}

/** The newest format that this version reads. */
const FORMAT_MAX = 1;
const encoder = new TextEncoder();

/** Makes the database of an incident. Throws DatabaseError for what is no such file, or not all of it. */
export async function replayIncident(
  file: Uint8Array,
): Promise<{ database: Database<KubeObject>; clock: ManualClock }> {
  const { head, lines } = read(file);
  const { from, clusterId } = head;
  const state = (name: Line["store"], revision: number): StoreGiven => ({
    revision,
    time: from.time,
    items: lines.filter((line) => line.state !== undefined && line.store === name)
      .map((line) => ({ key: line.state!, revision: line.revision, bytes: bytesOf(line.object!) })),
  });
  const changes = lines.filter((line) => line.time !== undefined).map((line): Replayed => {
    const { store, revision, time, cause, object } = line;
    const key = line.put ?? line.delete;
    const type = key === undefined ? undefined : line.put === undefined ? "delete" : "put";
    return { store, revision, time: time!, cause, type, key, bytes: object && bytesOf(object) };
  });
  const objects = state("objects", from.revision);
  return await replayed(
    objectCodec,
    { clusterId, objects, events: state("events", from.events) },
    changes,
  );
}

function bytesOf(object: object): Uint8Array {
  return encoder.encode(JSON.stringify(object));
}

function read(file: Uint8Array): { head: Head; lines: Line[] } {
  const texts = new TextDecoder().decode(file).split("\n").filter((text) => text !== "");
  let head: Head;
  let lines: Line[];
  try {
    head = JSON.parse(texts[0]);
    if (head.plesio !== "incident") throw new TypeError("another file");
  } catch {
    throw new DatabaseError("Cannot replay: this is not the file of an incident");
  }
  if (head.format > FORMAT_MAX) {
    throw new DatabaseError(
      `Cannot replay format ${head.format}: this version knows up to ${FORMAT_MAX}`,
    );
  }
  try {
    lines = texts.slice(1).map((text) => JSON.parse(text));
  } catch (error) {
    throw new DatabaseError(`Cannot replay: a line is torn (${(error as Error).message})`);
  }
  if (lines.pop()?.end !== lines.length + 1) {
    throw new DatabaseError("Cannot replay: the file was cut short");
  }
  return { head, lines };
}
