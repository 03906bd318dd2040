/**
 * Opening what a database lies in: memory (`:memory:`), a SQLite file, what Deno KV opens by default (""),
 * the URL of a service that speaks KV Connect, or a cluster of etcd:
 * `etcd://host[:port][,host[:port]…][/prefix]`, and `etcds://…[?ca=FILE][&cert=FILE&key=FILE]` over TLS.
 *
 * A file is checked before Deno KV sees it, because that would create its tables in any SQLite database and
 * its error for all else says little. It is locked, so that a second process is refused; vacuumed when more
 * than half of it is free; and has its sealing key beside it. A database elsewhere has it in itself, or in
 * the environment (PLESIO_SEAL_KEY): then who can read the database cannot read its Secrets.
 *
 * This is the only file of `kv/` that touches files.
 */

import { RealClock } from "./clock.ts";
import { ConnectStore } from "./connect_client.ts";
import { DatabaseError } from "./contract.ts";
import { databaseError } from "./committer.ts";
import { EtcdStore } from "./etcd.ts";
import { EtcdMembers } from "./etcd_members.ts";
import { keysGiven } from "./keyring.ts";
import { ETCD_STORE_BYTES_MAX, KV_MUTATIONS_MAX, VACUUM_FREE_BYTES_MIN } from "./limits.ts";
import { remoteKv } from "./remote_kv.ts";
import { ownKeys, sealKeyId } from "./seal.ts";

/** An opened database. */
export interface Backend {
  readonly kv: Deno.Kv;
  /** Where the sealing keys lie: beside the file or in the environment; else in the database. */
  readonly keys?: KeyPlace;
  /** Hard bound of a store here, unless told otherwise (default `STORE_BYTES_MAX`). */
  readonly bytesMax?: number;
  /** Closes the database and frees the file. */
  close(): void;
}

/** Where a database's own sealing keys are kept. */
export interface KeyPlace {
  /** As messages name it. */
  readonly name: string;
  read(): Promise<Uint8Array>;
  /** Puts other keys in the place of these, all or none. */
  write(keys: Uint8Array): Promise<void>;
}

/** Whether a path names a file rather than memory or a service. */
export function isFile(path: string): boolean {
  return path !== "" && !/^:\w+:$/.test(path) && !/^\w+:\/\//.test(path);
}

/** A process's own folder while it lives, where it shares its database with others. */
export interface Life {
  /** Who had the folder before, and is dead. */
  readonly former: string | undefined;
  /** From now on the folder is this one's. */
  begin(holder: string): void;
  /** Frees the folder. The system does so too, however the process ends. */
  close(): void;
}

/**
 * Takes a folder for this process alone. Who had it before is dead then, whatever its lease says: what it led and held
 * need not wait for that. Throws DatabaseError where another process lives in it.
 */
export function lifeIn(folder: string): Life {
  const path = `${folder}/process`;
  makeFolder(path);
  const lock = lockFile(path, true);
  let former: string | undefined;
  try {
    former = Deno.readTextFileSync(path).trim() || undefined;
  } catch {
    // Nobody has lived here
  }
  return {
    former,
    begin: (holder) => Deno.writeTextFileSync(path, holder, { mode: 0o600 }),
    close: () => lock.close(),
  };
}

/** Opens `path`. Throws DatabaseError when it cannot be used. */
export async function openBackend(
  path: string,
  options: { owner: boolean; newKey: () => Uint8Array },
): Promise<Backend> {
  if (!isFile(path)) {
    const backend = await openService(path);
    // Memory keeps its key where it keeps everything.
    return path.startsWith(":") ? backend : { ...backend, keys: keysOfEnvironment() };
  }
  makeFolder(path);
  const lock = lockFile(path, options.owner);
  try {
    if (options.owner) await prepareFile(path);
    const isNew = sizeOf(path) === 0;
    if (isNew) createPrivately(path);
    const keyPath = path + ".key";
    if (isNew && sizeOf(keyPath) === 0) keepSealKey(keyPath, options.newKey());
    readSealKeys(path);
    const kv = await openKv(path);
    return {
      kv,
      keys: {
        name: `"${keyPath}"`,
        read: () => Promise.resolve(readSealKeys(path)),
        write: (keys) => Promise.resolve(replaceSealKeys(keyPath, keys)),
      },
      close: () => {
        kv.close();
        lock.close();
      },
    };
  } catch (error) {
    lock.close();
    throw error;
  }
}

/** Opens a database that processes share (no file: see `isFile`), for what lies beside the stores. */
export async function openShared(path: string): Promise<Deno.Kv> {
  return (await openService(path)).kv;
}

async function openService(path: string): Promise<Backend> {
  if (/^etcds?:/.test(path)) return await etcdBackend(path);
  const kv = /^https?:/.test(path) ? connectKv(path) : await openKv(path);
  return { kv, close: () => kv.close() };
}

/** In the environment: sealing keys of 32 bytes each, the newest first, in base64. */
const SEAL_KEY_VARIABLE = "PLESIO_SEAL_KEY";

/** The sealing keys that the environment gives for a database elsewhere, so that they do not lie in it. */
function keysOfEnvironment(): KeyPlace | undefined {
  const text = Deno.env.get(SEAL_KEY_VARIABLE);
  if (!text) return undefined;
  try {
    return keysGiven(Uint8Array.fromBase64(text.trim()), SEAL_KEY_VARIABLE);
  } catch {
    throw new DatabaseError(
      `${SEAL_KEY_VARIABLE} is not in base64: \`openssl rand -base64 32\` makes one`,
    );
  }
}

/** A database by KV Connect. Its token comes by the environment, as Deno's own client has it. */
function connectKv(url: string): Deno.Kv {
  const token = Deno.env.get("DENO_KV_ACCESS_TOKEN");
  if (!token) {
    throw new DatabaseError(
      `Cannot open the database "${url}": set DENO_KV_ACCESS_TOKEN to its access token`,
    );
  }
  const clock = new RealClock();
  return remoteKv(new ConnectStore({ url, token, clock }), clock, KV_MUTATIONS_MAX);
}

/** What lies below a cluster of etcd that others use, too. */
const ETCD_PREFIX = "/plesio";
const ETCD_PORT = 2379;
const ETCD_FILES = ["ca", "cert", "key"] as const;

/** A database in etcd. */
async function etcdBackend(url: string): Promise<Backend> {
  const refuse = (why: string) => new DatabaseError(`Cannot open the database "${url}": ${why}`);
  const found = /^(etcds?):\/\/([^/?#@]+)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(url);
  if (found === null) {
    throw refuse("such a URL is etcd://host:port,host:port/prefix, or etcds://… with ?ca=FILE");
  }
  const [, scheme, hosts, path = "", query = ""] = found;
  const parameters = new URLSearchParams(query);
  const tls: Record<string, Uint8Array> = {};
  for (const [name, file] of parameters) {
    if (scheme !== "etcds" || !(ETCD_FILES as readonly string[]).includes(name)) {
      throw refuse(`there is no parameter "${name}" (etcds:// has ${ETCD_FILES.join(", ")})`);
    }
    try {
      tls[name] = Deno.readFileSync(file);
    } catch (error) {
      throw refuse(`its ${name} cannot be read: ${textOf(error)}`);
    }
  }
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw refuse("a certificate (cert) and its key (key) come together");
  }
  const members = hosts.split(",").map((host) =>
    /:\d+$/.test(host) ? host : `${host}:${ETCD_PORT}`
  );
  const clock = new RealClock();
  const name = path.replace(/\/+$/, "") || ETCD_PREFIX;
  const prefix = new TextEncoder().encode(`${decodeURIComponent(name)}/`);
  const cluster = await EtcdMembers.of({
    members,
    tls: scheme === "etcds" ? tls : undefined,
    clock,
  });
  const kv = remoteKv(new EtcdStore(cluster, prefix, clock), clock, KV_MUTATIONS_MAX);
  return { kv, bytesMax: ETCD_STORE_BYTES_MAX, close: () => kv.close() };
}

async function openKv(path: string): Promise<Deno.Kv> {
  try {
    return await Deno.openKv(path === "" ? undefined : path);
  } catch (error) {
    throw new DatabaseError(`Cannot open the database "${path}": ${textOf(error)}`, {
      cause: error,
    });
  }
}

function makeFolder(path: string): void {
  const at = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  if (at <= 0) return;
  try {
    Deno.mkdirSync(path.slice(0, at), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new DatabaseError(
      `Cannot make the folder of the database "${path}": ${textOf(error)}`,
      { cause: error },
    );
  }
}

/**
 * Takes the lock of a database file: for itself alone as an owner, else beside others that are none. The
 * system gives it up when the process ends, however it ends.
 */
function lockFile(path: string, isAlone: boolean): Deno.FsFile {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path + ".lock", { create: true, write: true, mode: 0o600 });
  } catch (error) {
    throw new DatabaseError(`Cannot lock the database "${path}": ${textOf(error)}`, {
      cause: error,
    });
  }
  if (file.tryLockSync(isAlone)) return file;
  file.close();
  throw new DatabaseError(
    `The database "${path}" is in use by another process: one process owns a database file`,
  );
}

function sizeOf(path: string): number {
  try {
    const { isFile, size } = Deno.statSync(path);
    if (!isFile) throw new DatabaseError(`Cannot use "${path}" as a database: it is not a file`);
    return size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    if (error instanceof DatabaseError) throw error;
    throw new DatabaseError(`Cannot read the database "${path}": ${textOf(error)}`, {
      cause: error,
    });
  }
}

/** An empty file that only its owner can read. */
function createPrivately(path: string): void {
  try {
    Deno.openSync(path, { create: true, write: true, mode: 0o600 }).close();
  } catch (error) {
    throw new DatabaseError(`Cannot make the database "${path}": ${textOf(error)}`, {
      cause: error,
    });
  }
}

const SQLITE_MAGIC = "SQLite format 3\0";

/**
 * What Deno KV reads by itself after opening, in a thread where damage ends the whole process. (Damage
 * elsewhere is found when the log is read; checking every page would take a second per 100 MB.)
 */
const PROBES = [
  "SELECT * FROM migration_state",
  "SELECT * FROM data_version",
  "SELECT * FROM queue_running",
  "SELECT * FROM queue ORDER BY ts LIMIT 100",
  "SELECT expiration_ms FROM kv WHERE expiration_ms >= 0 LIMIT 1",
  "SELECT version FROM kv LIMIT 1",
];

/** Refuses what is no database of ours, and vacuums what is mostly empty. */
async function prepareFile(path: string): Promise<void> {
  const size = sizeOf(path);
  if (size === 0) return;
  const header = readHeader(path);
  if (new TextDecoder("latin1").decode(header.subarray(0, 16)) !== SQLITE_MAGIC) {
    throw new DatabaseError(`Cannot use "${path}": it is not a database`);
  }
  const view = new DataView(header.buffer);
  const pageBytes = view.getUint16(16) === 1 ? 65_536 : view.getUint16(16);
  const pages = view.getUint32(28);
  const freePages = view.getUint32(36);
  if (size < pages * pageBytes && sizeOf(path + "-wal") === 0) {
    throw new DatabaseError(
      `The database "${path}" is torn: it has ${size} bytes of ${pages * pageBytes}`,
    );
  }
  const { DatabaseSync } = await import("node:sqlite");
  let database: InstanceType<typeof DatabaseSync> | undefined;
  try {
    database = new DatabaseSync(path);
    const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
    const names = new Set(tables.map(({ name }) => name));
    if (names.size > 0 && !(names.has("kv") && names.has("data_version"))) {
      throw new DatabaseError(`Cannot use "${path}": it is a database of something else`);
    }
    for (const probe of names.size > 0 ? PROBES : []) database.prepare(probe).all();
    if (freePages * 2 > pages && freePages * pageBytes > VACUUM_FREE_BYTES_MIN) vacuum(database);
  } catch (error) {
    if (error instanceof DatabaseError) throw error;
    if (/locked|busy|full|I\/O/.test(textOf(error))) throw databaseError(error);
    throw new DatabaseError(`The database "${path}" is torn: ${textOf(error)}`, { cause: error });
  } finally {
    database?.close();
  }
}

/** Rewrites the file without its free pages. That takes room of its own, for a moment. */
function vacuum(database: { exec(sql: string): void }): void {
  try {
    database.exec("VACUUM");
  } catch {
    // A large file is better than none: the next start tries again.
  }
}

function readHeader(path: string): Uint8Array {
  try {
    using file = Deno.openSync(path, { read: true });
    const header = new Uint8Array(100);
    file.readSync(header);
    return header;
  } catch (error) {
    throw new DatabaseError(`Cannot read the database "${path}": ${textOf(error)}`, {
      cause: error,
    });
  }
}

/** The keys in `<path>.key`. A database without them cannot be read, so that nothing goes on without them. */
function readSealKeys(path: string): Uint8Array {
  const keyPath = path + ".key";
  try {
    return Deno.readFileSync(keyPath);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new DatabaseError(
        `The sealing key "${keyPath}" is missing: without it the database "${path}" cannot be read`,
      );
    }
    throw new DatabaseError(`Cannot read the sealing key "${keyPath}": ${textOf(error)}`, {
      cause: error,
    });
  }
}

/** Writes a new key, whole and on disk before its database can hold anything that needs it. */
function keepSealKey(keyPath: string, key: Uint8Array): void {
  try {
    const draft = draftOf(keyPath, key);
    try {
      placeKey(draft, keyPath);
    } finally {
      Deno.removeSync(draft);
    }
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return;
    throw new DatabaseError(`Cannot write the sealing key "${keyPath}": ${textOf(error)}`, {
      cause: error,
    });
  }
}

/**
 * Puts a new key in front of those beside a database file, whether the database is in use or not; returns its id
 * and where it lies. Throws DatabaseError.
 */
export function addSealKey(path: string, key: Uint8Array): { id: string; place: string } {
  const place = path + ".key";
  const before = readSealKeys(path);
  const keys = new Uint8Array(key.length + before.length);
  keys.set(key);
  keys.set(before, key.length);
  ownKeys(keys, `"${place}"`);
  replaceSealKeys(place, keys);
  return { id: sealKeyId({ algorithm: "aesgcm", secret: key }), place };
}

/** Puts other keys in the place of those that are there, in one step. */
function replaceSealKeys(keyPath: string, keys: Uint8Array): void {
  try {
    Deno.renameSync(draftOf(keyPath, keys), keyPath);
  } catch (error) {
    throw new DatabaseError(`Cannot write the sealing key "${keyPath}": ${textOf(error)}`, {
      cause: error,
    });
  }
}

/** A file beside another, with these bytes on disk, for its owner's eyes only. */
function draftOf(keyPath: string, bytes: Uint8Array): string {
  const folder = keyPath.slice(
    0,
    Math.max(keyPath.lastIndexOf("/"), keyPath.lastIndexOf("\\")) + 1,
  );
  const draft = Deno.makeTempFileSync({ dir: folder || ".", prefix: ".key-" });
  using file = Deno.openSync(draft, { write: true });
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
  file.syncSync();
  return draft;
}

/** Gives a file its name. One that is taken stays: another process was faster, and its key is the one. */
function placeKey(draft: string, keyPath: string): void {
  try {
    Deno.linkSync(draft, keyPath);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) throw error;
    // A file system without links.
    Deno.copyFileSync(draft, keyPath);
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
