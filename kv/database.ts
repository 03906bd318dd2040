/**
 * Everything in one database: objects, events, mail, terms, settings. `openDatabase` checks what it finds
 * (format, sealing key, owner) before it touches anything.
 */

import { type Backend, isFile, openBackend } from "./open.ts";
import type { Clock } from "./clock.ts";
import { hexOf, WRITER_BYTES } from "./codec.ts";
import { databaseError } from "./committer.ts";
import { type Codec, type Database, DatabaseError, type Store, TooLargeError } from "./contract.ts";
import { EventsExpiry } from "./expiry.ts";
import { FORMAT_KEY, SEAL_KEY, SETTING_PREFIX, settingKey } from "./keys.ts";
import { LeaseTerms } from "./lease.ts";
import {
  EVENTS_BYTES_MAX,
  EVENTS_TTL_MS,
  SETTING_BYTES_MAX,
  STORE_BYTES_MAX,
  STORE_BYTES_MIN,
} from "./limits.ts";
import { patiently } from "./patience.ts";
import { MemoryKv } from "./memory_kv.ts";
import { MailboxQueue, type MailTransport, NativeQueue } from "./queue.ts";
import { SEAL_KEY_BYTES, Sealer } from "./seal.ts";
import { restoreInto, takeSnapshot } from "./snapshot.ts";
import { type LogStore, openStore } from "./store.ts";

/** The format that this version writes. Older ones are migrated, newer ones refused. */
export const FORMAT_VERSION = 1;

/** How to open a database. */
export interface DatabaseOptions<T> {
  /**
   * `":memory:"` (default), `":simulated:"` (memory that never leaves the microtask queue: `MemoryKv`), a
   * file, the URL of a KV Connect service, or "" for Deno's default.
   */
  path?: string;
  /** An opened Deno KV to use instead of a path; closed with the database. */
  kv?: Deno.Kv;
  codec: Codec<T>;
  /** The codec of the events store (default: `codec`). */
  eventsCodec?: Codec<T>;
  clock: Clock;
  /** Which keys' values are sealed at rest (default: none). */
  sealed?: (key: string) => boolean;
  /** 32 bytes. Default: a file beside the database, or else a record in it. */
  sealKey?: Uint8Array;
  /** No other process uses the database (default: true for memory and files, false for the rest). */
  owner?: boolean;
  /** Hard bound of objects and their history (default `STORE_BYTES_MAX`). */
  bytesMax?: number;
  /** The same for events (default `EVENTS_BYTES_MAX`). */
  eventsBytesMax?: number;
  /** How long events live (default an hour). */
  eventsTtlMs?: number;
  /** Bytes of history in memory (default `HISTORY_BYTES_MAX`). */
  historyBytesMax?: number;
  /** History to keep where there is room (defaults `KEEP_REVISIONS`, `KEEP_MS`). */
  keepRevisions?: number;
  keepMs?: number;
  /** How mail travels (default: mailbox; see `queue.ts` for what is wrong with native). */
  queue?: "native" | "mailbox";
  /** How long a lease lasts (default `LEASE_MS`). */
  leaseMs?: number;
  /** A snapshot to begin with. The database must be empty. */
  restore?: Uint8Array;
}

/** What the database says of itself. */
interface FormatRecord {
  readonly format: number;
  readonly clusterId: string;
  readonly createdMs: number;
  /** A sealed word: opens with the right key only. */
  readonly probe: Uint8Array;
}

const SIMULATED_PATH = ":simulated:";
const PROBE_PATH = "plesio";

/**
 * Opens a database, or begins one. Throws DatabaseError when it is in use, torn, of a newer format, sealed
 * by another key, or not ours.
 *
 * @example
 * ```ts ignore
 * const database = await openDatabase({ path: "plesio.db", codec, clock: new RealClock() });
 * const revision = await database.objects.write((draft) => draft.put("/registry/a/b", value));
 * await database.close();
 * ```
 */
export async function openDatabase<T>(options: DatabaseOptions<T>): Promise<Database<T>> {
  checkOptions(options);
  const { clock, path = ":memory:" } = options;
  const isAlone = path === ":memory:" || path === SIMULATED_PATH || isFile(path);
  const owner = options.owner ?? (options.kv === undefined && isAlone);
  const given = options.kv ?? (path === SIMULATED_PATH ? new MemoryKv().open() : undefined);
  const backend = given !== undefined
    ? backendOf(given)
    : await openBackend(path, { owner, newKey: () => clock.bytes(SEAL_KEY_BYTES) });
  try {
    return await openOn(backend, owner, options);
  } catch (error) {
    backend.close();
    throw databaseError(error);
  }
}

function backendOf(kv: Deno.Kv): Backend {
  return { kv, close: () => kv.close() };
}

function checkOptions<T>(options: DatabaseOptions<T>): void {
  for (const name of ["bytesMax", "eventsBytesMax"] as const) {
    const value = options[name];
    if (value === undefined || value >= STORE_BYTES_MIN) continue;
    throw new RangeError(`Cannot bound a store to ${value} bytes: the least is ${STORE_BYTES_MIN}`);
  }
}

async function openOn<T>(
  backend: Backend,
  owner: boolean,
  options: DatabaseOptions<T>,
): Promise<Database<T>> {
  const { kv } = backend;
  const { clock, codec, historyBytesMax, keepRevisions, keepMs } = options;
  const sealer = await findSealer(backend, options);
  const format = await findFormat(kv, clock, sealer);
  if (options.restore !== undefined) {
    await restoreInto({ kv, codec, sealer, sealed: options.sealed, clock, bytes: options.restore });
  }
  const clusterId = (await findFormat(kv, clock, sealer)).clusterId ?? format.clusterId;
  const queue = options.queue === "native"
    ? new NativeQueue({ kv, clock })
    : new MailboxQueue({ kv, clock, shared: !owner });
  const shared = {
    kv,
    clock,
    clusterId,
    owner,
    mail: queue,
    sealer,
    historyBytesMax,
    writer: hexOf(clock.bytes(WRITER_BYTES)),
  };
  const objects = await openStore<T>({
    ...shared,
    space: "o",
    codec,
    sealed: options.sealed,
    bytesMax: options.bytesMax ?? STORE_BYTES_MAX,
    keepRevisions,
    keepMs,
  });
  const events = await openStore<T>({
    ...shared,
    space: "e",
    codec: options.eventsCodec ?? codec,
    bytesMax: options.eventsBytesMax ?? EVENTS_BYTES_MAX,
    rememberMs: options.eventsTtlMs ?? EVENTS_TTL_MS,
    termsRoot: () => objects.root(),
  }).catch(async (error) => {
    await objects.close();
    throw error;
  });
  const terms = new LeaseTerms({
    store: objects,
    kv,
    clock,
    owner,
    holder: clock.uuid(),
    leaseMs: options.leaseMs,
  });
  const expiry = new EventsExpiry(events, clock, options.eventsTtlMs ?? EVENTS_TTL_MS);
  return new LogDatabase({ backend, objects, events, queue, terms, expiry, sealer, clock });
}

interface DatabaseParts<T> {
  backend: Backend;
  objects: LogStore<T>;
  events: LogStore<T>;
  queue: MailTransport;
  terms: LeaseTerms;
  expiry: EventsExpiry<T>;
  sealer: Sealer;
  clock: Clock;
}

class LogDatabase<T> implements Database<T> {
  readonly objects: Store<T>;
  readonly events: Store<T>;
  readonly queue: MailTransport;
  readonly terms: LeaseTerms;
  readonly settings: Database<T>["settings"];
  readonly #parts: DatabaseParts<T>;
  #closed: Promise<void> | undefined;

  constructor(parts: DatabaseParts<T>) {
    this.objects = parts.objects;
    this.events = parts.events;
    this.queue = parts.queue;
    this.terms = parts.terms;
    this.#parts = parts;
    const { kv } = parts.backend;
    this.settings = {
      get: (name) => getSetting(kv, parts.sealer, name),
      set: (name, value) =>
        patiently(parts.clock, () => setSetting(kv, parts.sealer, { name, value })).catch(
          (error) => {
            throw databaseError(error);
          },
        ),
    };
  }

  async snapshot(): Promise<Uint8Array> {
    const { objects, events, backend, sealer, clock } = this.#parts;
    const settings: [string, Uint8Array][] = [];
    for await (const { key } of backend.kv.list({ prefix: SETTING_PREFIX })) {
      const name = key[1] as string;
      const value = await getSetting(backend.kv, sealer, name);
      if (value !== undefined) settings.push([name, value]);
    }
    return await takeSnapshot({
      clusterId: objects.clusterId,
      objects: { revision: objects.view().revision, root: objects.root() },
      events: { revision: events.view().revision, root: events.root() },
      settings,
    }, clock);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { expiry, terms, queue, objects, events, backend } = this.#parts;
    await expiry.close();
    await terms.close();
    await queue.close();
    await Promise.all([objects.close(), events.close()]);
    backend.close();
  }
}

async function findSealer<T>(backend: Backend, options: DatabaseOptions<T>): Promise<Sealer> {
  const { kv } = backend;
  const { clock } = options;
  const nonce = (length: number) => clock.bytes(length);
  const given = options.sealKey ?? backend.sealKey;
  if (given !== undefined) return new Sealer(given, nonce);
  const found = await kv.get<Uint8Array>(SEAL_KEY);
  if (found.value !== null) return new Sealer(found.value, nonce);
  const isNew = (await kv.get(FORMAT_KEY)).value === null;
  if (!isNew) {
    throw new DatabaseError("The database is sealed by a key that was not given");
  }
  const key = clock.bytes(SEAL_KEY_BYTES);
  const made = await kv.atomic().check(found).set(SEAL_KEY, key).commit();
  if (made.ok) return new Sealer(key, nonce);
  return new Sealer((await kv.get<Uint8Array>(SEAL_KEY)).value!, nonce);
}

/** Reads what the database says of itself; says so itself in an empty one. */
async function findFormat(kv: Deno.Kv, clock: Clock, sealer: Sealer): Promise<FormatRecord> {
  const entry = await kv.get<FormatRecord>(FORMAT_KEY);
  if (entry.versionstamp === null) return await beginFormat(kv, clock, sealer);
  const record = entry.value;
  if (typeof record?.format !== "number" || typeof record.clusterId !== "string") {
    throw new DatabaseError("The database is not Plesio's: its format record is another's");
  }
  if (record.format > FORMAT_VERSION) {
    throw new DatabaseError(
      `The database has format ${record.format}, this version knows up to ${FORMAT_VERSION}: ` +
        "use a newer version",
    );
  }
  sealer.open(PROBE_PATH, record.probe);
  return record;
}

async function beginFormat(kv: Deno.Kv, clock: Clock, sealer: Sealer): Promise<FormatRecord> {
  for await (const { key } of kv.list({ start: [new Uint8Array()], end: [true] }, { limit: 2 })) {
    if (key[0] === SEAL_KEY[0]) continue;
    throw new DatabaseError("The database is not Plesio's: it holds something else");
  }
  const record: FormatRecord = {
    format: FORMAT_VERSION,
    clusterId: clock.uuid(),
    createdMs: clock.now(),
    probe: sealer.seal(PROBE_PATH, new TextEncoder().encode("plesio")),
  };
  const begun = await kv.atomic().check({ key: FORMAT_KEY, versionstamp: null })
    .set(FORMAT_KEY, record).commit();
  return begun.ok ? record : await findFormat(kv, clock, sealer);
}

async function getSetting(
  kv: Deno.Kv,
  sealer: Sealer,
  name: string,
): Promise<Uint8Array | undefined> {
  const { value } = await kv.get<Uint8Array>(settingKey(name));
  return value === null ? undefined : sealer.open("setting/" + name, value);
}

async function setSetting(
  kv: Deno.Kv,
  sealer: Sealer,
  setting: { name: string; value: Uint8Array },
): Promise<void> {
  const { name, value } = setting;
  if (value.length > SETTING_BYTES_MAX) {
    throw new TooLargeError(
      `Cannot keep a setting of ${value.length} bytes: at most ${SETTING_BYTES_MAX} are allowed`,
      "object",
    );
  }
  await kv.set(settingKey(name), sealer.seal("setting/" + name, value));
}
