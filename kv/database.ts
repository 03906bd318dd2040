/**
 * Everything in one database: objects, events, mail, terms, settings. `openDatabase` checks what it finds
 * (format, sealing key, owner) before it touches anything.
 */

import { type Backend, isFile, type KeyPlace, type Life, lifeIn, openBackend } from "./open.ts";
import type { Clock } from "./clock.ts";
import { hexOf, WRITER_BYTES } from "./codec.ts";
import { databaseError } from "./committer.ts";
import {
  type Codec,
  type Database,
  DatabaseError,
  type FindSealing,
  type ForkOptions,
  type KeptSealing,
  type Sealing,
  type Store,
} from "./contract.ts";
import { EventsExpiry } from "./expiry.ts";
import {
  type FormatRecord,
  KeyRing,
  keysGiven,
  keysInDatabase,
  PROBE_PATH,
  type SealedStore,
  settingPath,
  upgradeSettings,
} from "./keyring.ts";
import { FORMAT_KEY, MARK_PREFIX, SEAL_KEY, settingKey } from "./keys.ts";
import { LeaseTerms } from "./lease.ts";
import { EVENTS_BYTES_MAX, EVENTS_TTL_MS, STORE_BYTES_MAX, STORE_BYTES_MIN } from "./limits.ts";
import { MemoryKv } from "./memory_kv.ts";
import { ProcessTable } from "./processes.ts";
import { MailboxQueue, type MailTransport, NativeQueue } from "./queue.ts";
import { SEAL_KEY_BYTES } from "./seal.ts";
import { SEALING_SETTING, Settings } from "./settings.ts";
import { restoreInto, takeSnapshot } from "./snapshot.ts";
import { fromSorted } from "./btree.ts";
import { StoredItem } from "./item.ts";
import { type Ground, groundOf, type LogStore, openStore } from "./store.ts";

/** The format that this version writes. Older ones are migrated, newer ones refused. */
export const FORMAT_VERSION = 3;

/** How to open a database. */
export interface DatabaseOptions<T> {
  /**
   * `":memory:"` (default), `":simulated:"` (memory that never leaves the microtask queue: `MemoryKv`), a
   * file, the URL of a KV Connect service or of an etcd (`open.ts`), or "" for Deno's default.
   */
  path?: string;
  /** An opened Deno KV to use instead of a path; closed with the database. */
  kv?: Deno.Kv;
  codec: Codec<T>;
  /** The codec of the events store (default: `codec`). */
  eventsCodec?: Codec<T>;
  clock: Clock;
  /** Which keys' values are sealed at rest by the database's own key (default: none). */
  sealed?: (key: string) => boolean;
  /** The same said in full: which values are sealed by what, or what finds that (default: by `sealed`). */
  sealing?: Sealing | FindSealing;
  /** 32 bytes for each own key, the newest first. Default: a file beside the database, or else a record in it. */
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
  /**
   * A folder that is this process's alone, where others share the database: the process that had it before is known to be
   * dead by that, before its lease lapses (default: it is waited for).
   */
  lifeIn?: string;
  /** How long a lease lasts (default `LEASE_MS`). */
  leaseMs?: number;
  /** A snapshot to begin with. The database must be empty. */
  restore?: Uint8Array;
  /** A state to begin with, at its own revisions. The database must be empty. */
  state?: StateGiven;
}

/** A state as somebody outside has it, to begin a database with. */
export interface StateGiven {
  readonly clusterId: string;
  readonly objects: StoreGiven;
  readonly events: StoreGiven;
}

/** The state of one store: what lies in it, in order of keys, at a revision that was committed at a time. */
export interface StoreGiven {
  readonly revision: number;
  readonly time: number;
  readonly items: readonly { key: string; revision: number; bytes: Uint8Array }[];
}

/** What another database begins with. */
interface DatabaseGround<T> {
  readonly clusterId: string;
  readonly objects: Ground<T>;
  readonly events: Ground<T>;
  readonly settings: readonly (readonly [string, Uint8Array])[];
}

const SIMULATED_PATH = ":simulated:";

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
  const life = options.lifeIn && !owner ? lifeIn(options.lifeIn) : undefined;
  let opened: Backend;
  try {
    opened = given !== undefined
      ? backendOf(given)
      : await openBackend(path, { owner, newKey: () => clock.bytes(SEAL_KEY_BYTES) });
  } catch (error) {
    life?.close();
    throw error;
  }
  const backend = life ? { ...opened, close: () => (opened.close(), life.close()), life } : opened;
  try {
    const { state } = options;
    return await openOn(backend, owner, options, state && groundGiven(state, options));
  } catch (error) {
    backend.close();
    throw databaseError(error);
  }
}

function backendOf(kv: Deno.Kv): Backend {
  return { kv, close: () => kv.close() };
}

/** A state that is given, as a ground. */
function groundGiven<T>(
  { clusterId, objects, events }: StateGiven,
  { codec, eventsCodec = codec }: DatabaseOptions<T>,
): DatabaseGround<T> {
  const ground = ({ revision, time, items }: StoreGiven, codec: Codec<T>): Ground<T> => {
    const stored = items.map((i) => new StoredItem(i.key, i.revision, i.bytes, codec));
    return { ...groundOf(revision, fromSorted(stored)), time };
  };
  return {
    clusterId,
    objects: ground(objects, codec),
    events: ground(events, eventsCodec),
    settings: [],
  };
}

function checkOptions<T>(options: DatabaseOptions<T>): void {
  for (const name of ["bytesMax", "eventsBytesMax"] as const) {
    const value = options[name];
    if (value === undefined || value >= STORE_BYTES_MIN) continue;
    throw new RangeError(`Cannot bound a store to ${value} bytes: the least is ${STORE_BYTES_MIN}`);
  }
}

async function openOn<T>(
  backend: Backend & { life?: Life },
  owner: boolean,
  options: DatabaseOptions<T>,
  ground?: DatabaseGround<T>,
): Promise<Database<T>> {
  const { kv } = backend;
  const { clock, codec, historyBytesMax, keepRevisions, keepMs } = options;
  const place = await findKeys(backend, options);
  const keys = await KeyRing.open({ kv, clock, place, sealing: sealingOf(options) });
  const { sealer } = keys;
  let format = await findFormat(kv, clock, keys);
  const settings = new Settings({ kv, clock, keys });
  const { sealing: find } = options;
  if (typeof find === "function") {
    const change: KeptSealing["change"] = async (next) =>
      (await settings.change(SEALING_SETTING, next)).value;
    await keys.find(() => find({ change }));
  }
  if (options.restore !== undefined) {
    await restoreInto({ kv, codec, sealer, clock, bytes: options.restore });
    format = await findFormat(kv, clock, keys);
  }
  for (const [name, value] of ground?.settings ?? []) {
    await kv.set(settingKey(name), sealer.seal(settingPath(name), value));
  }
  const clusterId = ground?.clusterId ?? format.clusterId;
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
    reloadKeys: () => keys.reloadKeys(),
    historyBytesMax,
    writer: hexOf(clock.bytes(WRITER_BYTES)),
  };
  const objects = await openStore<T>({
    ...shared,
    space: "o",
    codec,
    bytesMax: options.bytesMax ?? backend.bytesMax ?? STORE_BYTES_MAX,
    keepRevisions,
    keepMs,
    ground: ground?.objects,
  });
  const events = await openStore<T>({
    ...shared,
    space: "e",
    codec: options.eventsCodec ?? codec,
    bytesMax: options.eventsBytesMax ?? EVENTS_BYTES_MAX,
    rememberMs: options.eventsTtlMs ?? EVENTS_TTL_MS,
    termsRoot: () => objects.root(),
    ground: ground?.events,
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
  const marking = owner ? undefined : shared.writer;
  keys.start(
    [
      sealedStore(objects, codec, marking),
      sealedStore(events, options.eventsCodec ?? codec, marking),
    ],
    format,
  );
  const processes = owner ? undefined : new ProcessTable({ kv, clock, terms });
  const { former } = backend.life ?? {};
  if (former !== undefined) await processes?.bury(former);
  backend.life?.begin(terms.holder);
  const fork = (ground: DatabaseGround<T>, clock: Clock) =>
    forkOn(ground, { ...options, clock, sealing: keys.sealing });
  const parts = { backend, objects, events, queue, terms, expiry, keys, settings, clock };
  return new LogDatabase({ ...parts, processes, fork, writer: shared.writer });
}

/** Opens a database in memory on another one's state. */
function forkOn<T>(ground: DatabaseGround<T>, options: DatabaseOptions<T>): Promise<Database<T>> {
  const own = { sealKey: undefined, restore: undefined, state: undefined, queue: undefined };
  return openOn(backendOf(new MemoryKv().open()), true, { ...options, ...own }, ground);
}

/** What the key ring may do to a store. */
function sealedStore<T>(store: LogStore<T>, codec: Codec<T>, writer?: string): SealedStore {
  return {
    ...(writer && { mark: () => store.mark("seals", writer) }),
    log: store.log as SealedStore["log"],
    revisionOf: (key) => store.view().get(key)?.revision,
    rewrite: (key, revision) =>
      store.write((draft) => {
        const item = draft.get(key);
        if (item?.revision === revision) draft.put(key, codec.decode(item.bytes, revision));
      }),
  };
}

function sealingOf<T>({ sealing, sealed }: DatabaseOptions<T>): Sealing {
  if (typeof sealing === "object") return sealing;
  return {
    keys: [],
    of: (path) => sealed?.(path) ? "own" : undefined,
    fingerprint: "own",
  };
}

interface DatabaseParts<T> {
  backend: Backend;
  objects: LogStore<T>;
  events: LogStore<T>;
  queue: MailTransport;
  terms: LeaseTerms;
  expiry: EventsExpiry<T>;
  keys: KeyRing;
  settings: Settings;
  clock: Clock;
  fork: (ground: DatabaseGround<T>, clock: Clock) => Promise<Database<T>>;
  processes: ProcessTable | undefined;
  /** This process, as its marks name it. */
  writer: string;
}

class LogDatabase<T> implements Database<T> {
  readonly objects: Store<T>;
  readonly events: Store<T>;
  readonly queue: MailTransport;
  readonly terms: LeaseTerms;
  readonly settings: Database<T>["settings"];
  readonly seals: Database<T>["seals"];
  readonly processes: Database<T>["processes"];
  readonly #parts: DatabaseParts<T>;
  readonly #settings: Settings;
  #closed: Promise<void> | undefined;

  constructor(parts: DatabaseParts<T>) {
    this.objects = parts.objects;
    this.events = parts.events;
    this.queue = parts.queue;
    this.terms = parts.terms;
    this.#parts = parts;
    this.seals = parts.keys;
    this.processes = parts.processes;
    const { objects, processes, writer } = parts;
    this.#settings = parts.settings;
    const change = async (name: string, next: (kept?: Uint8Array) => Promise<Uint8Array>) => {
      const { value, changed } = await this.#settings.change(name, next);
      if (changed && processes) await objects.mark(name, writer);
      return value;
    };
    this.settings = {
      get: (name) => this.#settings.get(name),
      set: async (name, value) => void await change(name, () => Promise.resolve(value)),
      change,
      follow: (listener) =>
        parts.objects.onGroup(({ changes }) => {
          for (const { item: { key, bytes } } of changes) {
            if (!key.startsWith(MARK_PREFIX)) continue;
            const writer = JSON.parse(new TextDecoder().decode(bytes));
            if (writer !== parts.writer) listener(key.slice(MARK_PREFIX.length));
          }
        }),
    };
  }

  async fork({ clock, at, eventsOf }: ForkOptions): Promise<Database<T>> {
    const { objects, events } = this.#parts;
    // What was answered elsewhere is in it, too.
    await Promise.all([objects.fresh(), events.fresh()]);
    const settings = await this.#settings.all();
    const { clusterId } = objects;
    if (at === undefined) {
      const ground = { clusterId, objects: objects.ground(), events: events.ground(), settings };
      return await this.#parts.fork(ground, clock);
    }
    const then = await objects.groundAt(at);
    const told = await events.groundBy(eventsOf ?? then.time);
    const ground = { clusterId, objects: then, events: told, settings };
    return await this.#parts.fork(ground, clock);
  }

  async snapshot(): Promise<Uint8Array> {
    const { objects, events, clock } = this.#parts;
    // What was answered elsewhere is in it, too.
    await Promise.all([objects.fresh(), events.fresh()]);
    const settings = await this.#settings.all();
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
    const { expiry, terms, queue, objects, events, backend, keys, processes } = this.#parts;
    await keys.close();
    await expiry.close();
    await processes?.close();
    await terms.close();
    await queue.close();
    await Promise.all([objects.close(), events.close()]);
    backend.close();
  }
}

/** Where the database's own keys are; makes the first where there is nothing yet. */
async function findKeys<T>(backend: Backend, options: DatabaseOptions<T>): Promise<KeyPlace> {
  const { kv } = backend;
  if (options.sealKey) return keysGiven(options.sealKey);
  if (backend.keys) return backend.keys;
  const found = await kv.get<Uint8Array>(SEAL_KEY);
  if (found.value === null) {
    const isNew = (await kv.get(FORMAT_KEY)).value === null;
    if (!isNew) throw new DatabaseError("The database is sealed by a key that was not given");
    // Another process may be faster: then its key is the one.
    await kv.atomic().check(found).set(SEAL_KEY, options.clock.bytes(SEAL_KEY_BYTES)).commit();
  }
  return keysInDatabase(kv);
}

/** Reads what the database says of itself; says so itself in an empty one. */
async function findFormat(kv: Deno.Kv, clock: Clock, keys: KeyRing): Promise<FormatRecord> {
  const entry = await kv.get<FormatRecord>(FORMAT_KEY);
  if (entry.versionstamp === null) return await beginFormat(kv, clock, keys);
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
  if (record.format === 1) {
    await upgradeSettings(kv, keys.sealer, entry, FORMAT_VERSION);
    return await findFormat(kv, clock, keys);
  }
  keys.sealer.open(PROBE_PATH, record.probe);
  if (record.format < FORMAT_VERSION) {
    // Records of format 2 are as they are now, without causes: only what they may be is told.
    const next = { ...record, format: FORMAT_VERSION };
    await kv.atomic().check(entry).set(FORMAT_KEY, next).commit();
    return await findFormat(kv, clock, keys);
  }
  return record;
}

async function beginFormat(kv: Deno.Kv, clock: Clock, keys: KeyRing): Promise<FormatRecord> {
  for await (const { key } of kv.list({ start: [new Uint8Array()], end: [true] }, { limit: 2 })) {
    if (key[0] === SEAL_KEY[0]) continue;
    // Another process may have begun it since
    if ((await kv.get(FORMAT_KEY)).versionstamp !== null) return await findFormat(kv, clock, keys);
    throw new DatabaseError("The database is not Plesio's: it holds something else");
  }
  const record: FormatRecord = {
    format: FORMAT_VERSION,
    clusterId: clock.uuid(),
    createdMs: clock.now(),
    probe: keys.sealer.seal(PROBE_PATH, new TextEncoder().encode("plesio")),
    sealing: keys.fingerprint,
  };
  const begun = await kv.atomic().check({ key: FORMAT_KEY, versionstamp: null })
    .set(FORMAT_KEY, record).commit();
  return begun.ok ? record : await findFormat(kv, clock, keys);
}
