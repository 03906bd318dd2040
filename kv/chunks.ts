/**
 * Objects that do not fit into one value of Deno KV: their bytes go into chunks under a random id, written
 * before the write that needs them enters a group, so that no group waits for them.
 *
 * The write runs again when they are there. If it then asks for the same bytes, the chunks are used; if
 * the object changed meanwhile, new ones are written and the old ones deleted. Chunks that were left
 * behind by a crash are swept (`compact.ts`).
 *
 * An object that others keep changing would be written in vain for ever: after a few attempts its chunks go
 * along in the group's own commit, as far as one commit can hold them.
 */

import type { Clock } from "./clock.ts";
import { CHUNK_ID_BYTES, type Chunks, cutChunks, hexOf } from "./codec.ts";
import { deleteChunks } from "./compact.ts";
import { chunkKey } from "./keys.ts";
import { CHUNK_ATTEMPTS_AHEAD, CHUNKS_PER_COMMIT, GROUP_BYTES_MAX } from "./limits.ts";
import type { Log } from "./log.ts";
import { patiently } from "./patience.ts";
import type { Change } from "./state.ts";

interface Prepared {
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly chunks: Chunks;
  isWritten: boolean;
}

/** Where the bytes of a change are. */
export interface Placed {
  readonly chunks: Chunks;
  /** What the group's commit must write of them; nothing if they are there already. */
  readonly parts?: readonly Uint8Array[];
}

/** The chunks of one write. */
export class ChunkWriter<T> {
  attempts = 0;
  readonly #log: Log<T>;
  readonly #clock: Clock;
  #prepared: Prepared[] = [];
  #due: { key: string; bytes: Uint8Array }[] = [];

  constructor(log: Log<T>, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Whether there is something to write. */
  get isDue(): boolean {
    return this.#due.length > 0;
  }

  /** Where the bytes of these changes are; undefined (and `isDue`) when some are not written yet. */
  find(changes: readonly Change<T>[]): Map<Change<T>, Placed> | undefined {
    if (this.attempts >= CHUNK_ATTEMPTS_AHEAD) {
      const carried = this.#carry(changes);
      if (carried !== undefined) return carried;
    }
    const found = new Map<Change<T>, Placed>();
    const used = new Set<Prepared>();
    this.#due = [];
    for (const change of changes) {
      const { key, bytes } = change.item;
      const one = this.#prepared.find((prepared) =>
        prepared.isWritten && !used.has(prepared) && prepared.key === key &&
        isEqual(prepared.bytes, bytes)
      );
      if (one === undefined) this.#due.push({ key, bytes });
      else {
        used.add(one);
        found.set(change, { chunks: one.chunks });
      }
    }
    if (this.#due.length === 0) return found;
    const stale = this.#prepared.filter((prepared) => !used.has(prepared));
    this.#prepared = [...used];
    this.#delete(stale);
    return undefined;
  }

  /** The chunks of these changes for the group's own commit; undefined when one commit cannot hold them. */
  #carry(changes: readonly Change<T>[]): Map<Change<T>, Placed> | undefined {
    const bytes = changes.reduce((sum, { item }) => sum + item.bytes.length, 0);
    if (bytes > GROUP_BYTES_MAX / 2) return undefined;
    this.drop();
    this.#due = [];
    this.#log.mayHaveChunks = true;
    return new Map(changes.map((change) => [change, this.#cut(change.item)]));
  }

  /** An object's bytes as they are stored, in pieces, and where they will be. */
  #cut({ key, bytes }: { key: string; bytes: Uint8Array }): Required<Placed> {
    const stored = this.#log.stored(key, bytes);
    const form = this.#log.formFor(key);
    const id = hexOf(this.#clock.bytes(CHUNK_ID_BYTES));
    const parts = cutChunks(stored);
    return { chunks: { id, count: parts.length, length: stored.length, form }, parts };
  }

  /** Writes what is due. */
  async write(): Promise<void> {
    this.attempts++;
    this.#log.mayHaveChunks = true;
    const due = this.#due;
    this.#due = [];
    for (const { key, bytes } of due) {
      const { chunks, parts } = this.#cut({ key, bytes });
      const { id } = chunks;
      const prepared = { key, bytes, chunks, isWritten: false };
      this.#prepared.push(prepared);
      for (let at = 0; at < parts.length; at += CHUNKS_PER_COMMIT) {
        await patiently(this.#clock, () => {
          const op = this.#log.kv.atomic();
          for (let i = at; i < Math.min(at + CHUNKS_PER_COMMIT, parts.length); i++) {
            op.set(chunkKey(this.#log.space, id, i), parts[i]);
          }
          return op.commit();
        });
      }
      prepared.isWritten = true;
    }
  }

  /** Ids of all chunks written for this write. */
  *ids(): Generator<string> {
    for (const { chunks } of this.#prepared) yield chunks.id;
  }

  /** The write was refused: nobody needs its chunks. */
  drop(): void {
    this.#delete(this.#prepared);
    this.#prepared = [];
  }

  #delete(prepared: readonly Prepared[]): void {
    for (const { chunks } of prepared) {
      deleteChunks(this.#log.kv, this.#log.space, chunks.id).catch(() => {
        // The sweep finds them later.
      });
    }
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
