/**
 * A database's sealing keys: where they lie, how others come into use while it runs, and how what was sealed by
 * older ones is sealed anew.
 *
 * Sealing anew changes no revision and no event: a record is replaced by one with the same content. Only a value
 * in chunks is written again, as its newest revision; its former ones need their key until history forgets them.
 *
 * Order of a rotation, so that a crash at any point loses nothing: the new key is on disk before anything is
 * sealed by it; an old key goes only when nothing needs it any more.
 */

import type { Clock } from "./clock.ts";
import { encodeRecord } from "./codec.ts";
import { DatabaseError, type SealCount, type Sealing, type Seals } from "./contract.ts";
import { FORMAT_KEY, SEAL_KEY, SETTING_PREFIX, settingKey } from "./keys.ts";
import { KV_VALUE_BYTES_MAX, RESEAL_BATCH } from "./limits.ts";
import type { Log, LogRecord } from "./log.ts";
import type { KeyPlace } from "./open.ts";
import { patiently } from "./patience.ts";
import { FIRST_FORM, keyIdOf, ownKeys, PLAIN, SEAL_KEY_BYTES, Sealer } from "./seal.ts";

/** What the database says of itself. */
export interface FormatRecord {
  readonly format: number;
  readonly clusterId: string;
  readonly createdMs: number;
  /** A sealed word: opens with the right key only. */
  readonly probe: Uint8Array;
  /** How everything is sealed; absent while some of it may be sealed otherwise. */
  readonly sealing?: string;
}

/** The path that the probe is bound to. */
export const PROBE_PATH = "plesio";
/** What the key of the first form is called: values of that form do not name it. */
const FIRST_ID = "first";

/** A store whose log is sealed. */
export interface SealedStore {
  readonly log: Log<unknown>;
  /** The newest revision of a key. */
  revisionOf(key: string): number | undefined;
  /** Tells other processes that the keys are others from here on; undefined where there are none. */
  mark?(): Promise<void>;
  /** Writes a value anew, if `revision` is still its newest. */
  rewrite(key: string, revision: number): Promise<void>;
}

/** What a key ring is made of. */
export interface KeyRingOptions {
  kv: Deno.Kv;
  clock: Clock;
  place: KeyPlace;
  sealing: Sealing;
}

/** See the module's text. */
export class KeyRing implements Seals {
  readonly sealer: Sealer;
  readonly #o: KeyRingOptions;
  #sealing: Sealing;
  #own: readonly Uint8Array[];
  #stores: readonly SealedStore[] = [];
  #migrating: Promise<number> = Promise.resolve(0);
  #closed = false;
  /** Finds the sealing, where something is asked for it. */
  #find: (() => Promise<Sealing>) | undefined;

  private constructor(options: KeyRingOptions, own: readonly Uint8Array[]) {
    this.#o = options;
    this.#sealing = options.sealing;
    this.#own = own;
    this.sealer = new Sealer(own, (length) => options.clock.bytes(length), options.sealing);
  }

  /** Reads the keys. Throws DatabaseError when there are none or they are torn. */
  static async open(options: KeyRingOptions): Promise<KeyRing> {
    const { place } = options;
    return new KeyRing(options, ownKeys(await place.read(), place.name));
  }

  /** Seals from now on by what is found, and finds it again whenever keys may be others. */
  async find(find: () => Promise<Sealing>): Promise<void> {
    this.#find = find;
    this.#sealing = await find();
    this.sealer.use(this.#own, this.#sealing);
  }

  /** What is sealed by what. */
  get sealing(): Sealing {
    return this.#sealing;
  }

  /** How everything is to be sealed, as a short text. */
  get fingerprint(): string {
    return `${this.sealer.ids[0]} ${this.#sealing.fingerprint}`;
  }

  /** The stores are open: what a former run left half done goes on. */
  start(stores: readonly SealedStore[], format: FormatRecord): void {
    this.#stores = stores;
    if (format.sealing !== this.fingerprint) this.#migrate();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#migrating.catch(() => {});
  }

  ids(): readonly string[] {
    return this.sealer.ids;
  }

  async count(): Promise<readonly SealCount[]> {
    const counts = new Map<string, number>();
    for (const { log } of this.#stores) {
      for await (const record of this.#records(log)) {
        const id = sealedBy(record);
        counts.set(id, (counts.get(id) ?? 0) + 1);
      }
    }
    return [...counts].map(([id, values]) => ({ id, values }));
  }

  async rotate(): Promise<void> {
    const { place, clock } = this.#o;
    const before = await place.read();
    const next = new Uint8Array(SEAL_KEY_BYTES + before.length);
    next.set(clock.bytes(SEAL_KEY_BYTES));
    next.set(before, SEAL_KEY_BYTES);
    ownKeys(next, place.name);
    await place.write(next);
    // Nobody seals by the former key any more once this has landed
    for (const store of this.#stores) await store.mark?.();
    await this.reload();
    await this.migrated();
  }

  async reload(given?: Sealing): Promise<void> {
    const { place, clock } = this.#o;
    const own = ownKeys(await place.read(), place.name);
    const sealing = given ?? await this.#find?.() ?? this.#sealing;
    if (sealing === this.#sealing && sameKeys(own, this.#own)) return;
    const next = new Sealer(own, (length) => clock.bytes(length), sealing);
    const known = new Set(next.ids);
    for (const { id, values } of await this.count()) {
      if (id === "" || known.has(id)) continue;
      if (id === FIRST_ID && own.some((key) => sameBytes(key, this.#own[this.#own.length - 1]))) {
        continue;
      }
      throw new DatabaseError(
        `Cannot do without the sealing key ${id}: ${values} value${values === 1 ? "" : "s"} ` +
          "are sealed by it",
      );
    }
    // While both are known, what is bound to the key of the database itself changes over.
    this.sealer.use([...own, ...this.#own.filter((key) => !own.some((k) => sameBytes(k, key)))]);
    await this.#resealSettings();
    this.sealer.use(own, sealing);
    this.#own = own;
    this.#sealing = sealing;
    this.#migrate();
  }

  /** Reads and finds the keys anew; true when there are others now: for values that another process sealed. */
  async reloadKeys(): Promise<boolean> {
    const { place } = this.#o;
    const own = ownKeys(await place.read(), place.name);
    const isOther = !sameKeys(own, this.#own);
    if (isOther) this.sealer.use(this.#own = own);
    const sealing = await this.#find?.() ?? this.#sealing;
    if (sealing === this.#sealing) return isOther;
    this.sealer.use(own, this.#sealing = sealing);
    return true;
  }

  migrated(): Promise<number> {
    return this.#migrating;
  }

  async drop(): Promise<void> {
    await this.migrated();
    const [newest, ...older] = this.#own;
    if (older.length === 0) return;
    const { place } = this.#o;
    const mine = new Sealer(this.#own, () => new Uint8Array());
    const dropped = new Set([...mine.ids.slice(1), FIRST_ID]);
    for (const { id, values } of await this.count()) {
      if (!dropped.has(id)) continue;
      throw new DatabaseError(
        `Cannot drop the sealing key ${id}: ${values} value${values === 1 ? "" : "s"} of history ` +
          "still need it; try again when history has been compacted",
      );
    }
    await place.write(newest);
    this.#own = [newest];
    this.sealer.use([newest]);
  }

  /** Seals everything anew that would be sealed otherwise today; after what is under way. */
  #migrate(): void {
    const run = this.#migrating.catch(() => 0).then(() => this.#migrateAll());
    // Who asks for the outcome hears of a failure; the next start tries again in any case.
    run.catch(() => {});
    this.#migrating = run;
  }

  async #migrateAll(): Promise<number> {
    await this.#resealSettings();
    const { fingerprint } = this;
    let sealed = 0;
    for (const store of this.#stores) sealed += await this.#migrateStore(store);
    if (this.#closed || fingerprint !== this.fingerprint) return sealed;
    await this.#mark(fingerprint);
    return sealed;
  }

  async #migrateStore(store: SealedStore): Promise<number> {
    const { clock } = this.#o;
    let batch: LogRecord[] = [];
    let sealed = 0;
    const flush = async () => {
      sealed += await this.#resealBatch(store, batch);
      batch = [];
      await clock.turn();
    };
    for await (const record of this.#records(store.log)) {
      if (sealedBy(record) === this.sealer.idFor(record.key)) continue;
      batch.push(record);
      if (batch.length === RESEAL_BATCH) await flush();
      if (this.#closed) return sealed;
    }
    if (batch.length > 0) await flush();
    return sealed;
  }

  /** Replaces records by ones of the same content; those that another process deleted or replaced are left. */
  async #resealBatch({ log, ...store }: SealedStore, batch: readonly LogRecord[]): Promise<number> {
    const { kv, clock } = this.#o;
    let sealed = 0;
    for (const record of batch) {
      const next = record.chunks === undefined ? await this.#resealed(log, record) : undefined;
      if (next === undefined) {
        if (store.revisionOf(record.key) === record.revision) {
          await store.rewrite(record.key, record.revision);
          sealed++;
        }
        continue;
      }
      const { key, versionstamp } = record.entry!;
      const op = kv.atomic().check({ key, versionstamp }).set(key, next);
      if ((await patiently(clock, () => op.commit())).ok) sealed++;
    }
    return sealed;
  }

  /** The record with its value sealed as it would be today; undefined when that does not fit. */
  async #resealed(log: Log<unknown>, record: LogRecord): Promise<Uint8Array | undefined> {
    const plain = await log.body(record);
    const body = this.sealer.store(record.key, plain!);
    const next = encodeRecord({ ...record, form: this.sealer.formFor(record.key), body });
    return next.length > KV_VALUE_BYTES_MAX ? undefined : next;
  }

  /** Settings and the probe: always sealed by the newest own key. */
  async #resealSettings(): Promise<void> {
    const { kv, clock } = this.#o;
    const newest = this.sealer.ids[0];
    for await (
      const { key, value, versionstamp } of kv.list<Uint8Array>({ prefix: SETTING_PREFIX })
    ) {
      if (keyIdOf(value) === newest) continue;
      const path = settingPath(key[1] as string);
      const next = this.sealer.seal(path, this.sealer.open(path, value));
      const op = kv.atomic().check({ key, versionstamp }).set(key, next);
      await patiently(clock, () => op.commit());
    }
    const format = await kv.get<FormatRecord>(FORMAT_KEY);
    if (format.value === null || keyIdOf(format.value.probe) === newest) return;
    const probe = this.sealer.seal(PROBE_PATH, this.sealer.open(PROBE_PATH, format.value.probe));
    const { sealing: _, ...record } = format.value;
    const op = kv.atomic().check(format).set(FORMAT_KEY, { ...record, probe });
    await patiently(clock, () => op.commit());
  }

  async #mark(sealing: string): Promise<void> {
    const { kv, clock } = this.#o;
    const format = await kv.get<FormatRecord>(FORMAT_KEY);
    if (format.value === null) return;
    const op = kv.atomic().check(format).set(FORMAT_KEY, { ...format.value, sealing });
    await patiently(clock, () => op.commit());
  }

  /** Every record with a value. */
  async *#records(log: Log<unknown>): AsyncGenerator<LogRecord> {
    let count = 0;
    for await (const record of log.all()) {
      if (record.body === undefined && record.chunks === undefined) continue;
      if (record.form === PLAIN && this.sealer.idFor(record.key) === "") continue;
      if (++count % RESEAL_BATCH === 0) await this.#o.clock.turn();
      // The key of a value in chunks is in its first chunk.
      yield record.chunks === undefined
        ? record
        : { ...record, body: await log.firstBytes(record) };
    }
  }
}

/** The id of the key that a record's value is sealed by; "" when it is not. */
function sealedBy({ form, body }: LogRecord): string {
  if (form === PLAIN) return "";
  return form === FIRST_FORM ? FIRST_ID : keyIdOf(body!);
}

/** The path that a setting is bound to. */
export function settingPath(name: string): string {
  return "setting/" + name;
}

/** Opens everything that a database of format 1 sealed and seals it so that it names its key. */
export async function upgradeSettings(
  kv: Deno.Kv,
  sealer: Sealer,
  found: Deno.KvEntry<FormatRecord>,
  format: number,
): Promise<void> {
  const reseal = (path: string, value: Uint8Array) =>
    sealer.seal(path, sealer.openFirst(path, value));
  const probe = reseal(PROBE_PATH, found.value.probe);
  const op = kv.atomic().check(found).set(FORMAT_KEY, { ...found.value, format, probe });
  for await (
    const { key, value, versionstamp } of kv.list<Uint8Array>({ prefix: SETTING_PREFIX })
  ) {
    const name = key[1] as string;
    op.check({ key, versionstamp }).set(settingKey(name), reseal(settingPath(name), value));
  }
  // Another process that was faster has done the same.
  await op.commit();
}

/** The place of keys in the database itself, where nothing else is safe from losing them. */
export function keysInDatabase(kv: Deno.Kv): KeyPlace {
  let read: Deno.KvEntryMaybe<Uint8Array>;
  return {
    name: "the database",
    async read() {
      read = await kv.get<Uint8Array>(SEAL_KEY);
      if (read.value === null) throw new DatabaseError("The sealing key is gone from the database");
      return read.value;
    },
    async write(keys) {
      // What was made of keys that are others by now would lose one of them
      const { ok } = await kv.atomic().check(read).set(SEAL_KEY, keys).commit();
      if (!ok) {
        throw new DatabaseError(
          "Cannot change the sealing keys: another process has changed them meanwhile; try again",
        );
      }
    },
  };
}

/** Keys that the caller keeps. */
export function keysGiven(keys: Uint8Array, name = "what was given"): KeyPlace {
  return {
    name,
    read: () => Promise.resolve(keys),
    write: () =>
      Promise.reject(
        new DatabaseError(
          "Cannot change the sealing keys: they were given by the caller, who may open the database " +
            "with a new one in front of the old ones",
        ),
      ),
  };
}

function sameKeys(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((key, i) => sameBytes(key, b[i]));
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
