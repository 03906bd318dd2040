/**
 * etcd (version 3) as an ordered store of bytes: what our store needs of Deno KV, kept by a cluster of
 * members that survives the loss of any minority.
 *
 * - **Keys**: the prefix, then the key as bytes whose order is Deno KV's (`key_bytes.ts`).
 * - **Values**: how to read them in one byte, then them.
 * - **Versionstamps**: the revision of the key's last change, in 20 hexadecimal digits.
 * - **Reads** are linearizable; several ranges are read in one transaction.
 * - **Commits** are one transaction. etcd takes 128 operations in one (`--max-txn-ops`), but transactions
 *   in it as operations, each with its own: so a commit is as large here as in Deno KV. etcd's bound of a
 *   request, 1.5 MiB, is above the largest commit of a group.
 * - **Watches** begin behind a read of the keys. One that ends begins so again, so old revisions of etcd
 *   are never asked for.
 *
 * etcd keeps every revision until it is compacted, and the log's own compaction is only more revisions to
 * it. So each process has it compacted, every five minutes, up to where it stood five minutes ago, as
 * kube-apiserver does. Whoever keeps something else in the same etcd finds no older history than that.
 * Defragmenting and backups are the operator's.
 */

import type { Clock, Timer } from "./clock.ts";
import type { EtcdMembers } from "./etcd_members.ts";
import { withByte } from "./key_bytes.ts";
import { ETCD_COMPACT_EVERY_MS, ETCD_OPERATIONS_MAX, ETCD_REQUEST_BYTES_MAX } from "./limits.ts";
import { Message, message } from "./protobuf.ts";
import {
  type ByteCommit,
  type ByteEntry,
  type ByteRead,
  type ByteStore,
  Unreachable,
} from "./remote_kv.ts";

const RANGE = 1;
const PUT = 2;
const DELETE_RANGE = 3;
const TXN = 4;
/** Of a comparison: with the revision of a key's last change. */
const MOD = 2;
const DESCENDING = 2;
const DELETED = 1;

/** What is read, as of a revision of etcd. */
interface ReadAt {
  readonly revision: number;
  readonly lists: ByteEntry[][];
}

/** See the module's text. */
export class EtcdStore implements ByteStore {
  readonly name: string;
  readonly #members: EtcdMembers;
  readonly #prefix: Uint8Array;
  readonly #clock: Clock;
  #revision = 0;
  /** Where etcd stood when it was compacted last. */
  #stood = 0;
  #compaction: Timer;

  constructor(members: EtcdMembers, prefix: Uint8Array, clock: Clock) {
    this.name = members.name;
    this.#members = members;
    this.#prefix = prefix;
    this.#clock = clock;
    this.#compaction = this.#compactLater();
  }

  async read(ranges: readonly ByteRead[]): Promise<ByteEntry[][]> {
    return (await this.#read(ranges)).lists;
  }

  async commit({ checks, mutations }: ByteCommit): Promise<string | undefined> {
    const operations = mutations.map(({ key, value }) =>
      value === undefined ? message({ [DELETE_RANGE]: message({ 1: this.#key(key) }) }) : message({
        [PUT]: message({ 1: this.#key(key), 2: joined([value.encoding], value.data) }),
      })
    );
    const request = message({
      1: checks.map(({ key, versionstamp }) =>
        message({ 2: MOD, 3: this.#key(key), 6: Number.parseInt(versionstamp ?? "0", 16) })
      ),
      2: nested(operations),
    });
    if (request.length > ETCD_REQUEST_BYTES_MAX) {
      throw new TypeError(`Total mutation size too large (max ${ETCD_REQUEST_BYTES_MAX} bytes)`);
    }
    const answer = await this.#call("KV/Txn", request);
    return answer.number(2) === 1 ? stampOf(revisionOf(answer)) : undefined;
  }

  async *watch(
    keys: readonly Uint8Array[],
    signal: AbortSignal,
  ): AsyncGenerator<(ByteEntry | undefined)[]> {
    const ranges = keys.map((start) => ({ start, end: withByte(start, 0), limit: 1 }));
    const { revision, lists } = await this.#read(ranges);
    const latest: (ByteEntry | undefined)[] = lists.map(([entry]) => entry);
    yield [...latest];
    const places = new Map(keys.map((key, i) => [key.toHex(), i]));
    const requests = keys.map((key) =>
      message({ 1: message({ 1: this.#key(key), 3: revision + 1 }) })
    );
    for await (const bytes of this.#members.stream("/etcdserverpb.Watch/Watch", requests, signal)) {
      const answer = new Message(bytes);
      if (answer.number(4) === 1) {
        const reason = new TextDecoder().decode(answer.bytes(6)) || "it ended the watch";
        throw new Unreachable(`${this.name}: ${reason}`, { isSent: true });
      }
      for (const event of answer.messages(11)) {
        const found = new Message(event.bytes(2));
        const entry = this.#entryOf(found);
        latest[places.get(entry.key.toHex())!] = event.number(1) === DELETED ? undefined : entry;
      }
      if (answer.all(11).length > 0) yield [...latest];
    }
  }

  close(): void {
    this.#compaction.cancel();
    this.#members.close();
  }

  async #read(ranges: readonly ByteRead[]): Promise<ReadAt> {
    const requests = ranges.map(({ start, end, limit, reverse }) =>
      message({
        1: this.#key(start),
        2: this.#key(end),
        3: limit,
        5: reverse ? DESCENDING : undefined,
      })
    );
    if (requests.length === 1) {
      const answer = await this.#call("KV/Range", requests[0]);
      return { revision: revisionOf(answer), lists: [this.#entriesOf(answer)] };
    }
    const answer = await this.#call(
      "KV/Txn",
      message({ 2: requests.map((r) => message({ [RANGE]: r })) }),
    );
    const lists = answer.messages(3).map((one) => this.#entriesOf(new Message(one.bytes(RANGE))));
    return { revision: revisionOf(answer), lists };
  }

  async #call(method: string, request: Uint8Array): Promise<Message> {
    const answer = new Message(await this.#members.call(`/etcdserverpb.${method}`, request));
    this.#revision = Math.max(this.#revision, revisionOf(answer));
    return answer;
  }

  #entriesOf(range: Message): ByteEntry[] {
    return range.messages(2).map((found) => this.#entryOf(found));
  }

  #entryOf(found: Message): ByteEntry {
    const value = found.bytes(5);
    return {
      key: found.bytes(1).subarray(this.#prefix.length),
      value: { encoding: value[0], data: value.subarray(1) },
      versionstamp: stampOf(found.number(3)),
    };
  }

  #key(key: Uint8Array): Uint8Array {
    return joined(this.#prefix, key);
  }

  #compactLater(): Timer {
    return this.#clock.timer("background", ETCD_COMPACT_EVERY_MS, () => {
      this.#compaction = this.#compactLater();
      const upTo = this.#stood;
      this.#stood = this.#revision;
      if (upTo === 0 || upTo === this.#revision) return;
      this.#call("KV/Compact", message({ 1: upTo })).catch(() => {
        // Another process was there before, or etcd cannot be reached: the next time comes.
      });
    });
  }
}

/** Operations as etcd takes them: where there are many, in transactions within the transaction. */
function nested(operations: readonly Uint8Array[]): readonly Uint8Array[] {
  if (operations.length <= ETCD_OPERATIONS_MAX) return operations;
  // Of each transaction and those in it together, etcd counts as many as it allows.
  const size = ETCD_OPERATIONS_MAX / 2;
  const transactions: Uint8Array[] = [];
  for (let at = 0; at < operations.length; at += size) {
    transactions.push(message({ [TXN]: message({ 2: operations.slice(at, at + size) }) }));
  }
  return transactions;
}

function joined(a: ArrayLike<number>, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

function revisionOf(answer: Message): number {
  return new Message(answer.bytes(1)).number(3);
}

function stampOf(revision: number): string {
  return revision.toString(16).padStart(20, "0");
}
