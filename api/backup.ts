/**
 * A cluster as one file, and back: from any kind of database into any other.
 *
 * - `deno task snapshot --file F [--data .plesio | --kv URL]`: of a database that no process owns: a folder's while
 *   its cluster is stopped; one that processes share, at any time.
 * - `deno task snapshot --file F --kubeconfig FILE`: of a running cluster, over HTTPS, as an administrator.
 * - `deno task restore --file F [--data .plesio | --kv URL]`: into an empty database. Its revisions go on far beyond
 *   those of the snapshot, so that clients who saw a later state list again.
 *
 * With PLESIO_SNAPSHOT_PASSPHRASE in the environment the file is sealed; over HTTPS it has to be. Without, it holds
 * Secrets and the cluster's keys in the clear, for its owner's eyes only.
 */
import { parseArgs } from "node:util";
import { OutboundError } from "./client/outbound.ts";
import { replaceFile } from "./config/files.ts";
import { UsageError } from "./config/flag_types.ts";
import { kubeconfigEndpoint } from "./config/kubeconfig_endpoint.ts";
import type { KubeObject } from "./machinery/types.ts";
import { urlOutbound } from "./mod.ts";
import { openCluster } from "./open_cluster.ts";
import { PASSPHRASE_HEADER } from "./plesio/snapshot.ts";
import {
  type Database,
  DatabaseError,
  RealClock,
  sealSnapshot,
  unsealSnapshot,
} from "../kv/mod.ts";

const HELP = `deno task snapshot --file FILE [--data .plesio | --kv URL | --kubeconfig FILE]
deno task restore --file FILE [--data .plesio | --kv URL]
PLESIO_SNAPSHOT_PASSPHRASE: what the file is sealed by`;

/** How long a server may take to gather and seal its state. */
const ANSWER_MS_MAX = 30 * 60_000;
/** What is told without a stack. */
const KNOWN = [
  DatabaseError,
  OutboundError,
  TypeError,
  UsageError,
  Deno.errors.NotFound,
  Deno.errors.PermissionDenied,
];

/** Does what the arguments say; returns what is to be told. Throws what is `KNOWN`. */
export async function backup(args: string[], passphrase?: string): Promise<string[]> {
  const { values, positionals } = parseArgs({
    args,
    options: {
      file: { type: "string" },
      data: { type: "string" },
      kv: { type: "string" },
      kubeconfig: { type: "string" },
    },
    allowPositionals: true,
  });
  const { file, data, kv, kubeconfig } = values;
  const places = [data, kv, kubeconfig].filter((place) => place !== undefined);
  if (!file || places.length > 1 || positionals.length !== 1) throw new TypeError(HELP);
  const folder = data ?? ".plesio";
  const path = kv ?? `${folder}/cluster.db`;
  switch (positionals[0]) {
    case "snapshot":
      if (kubeconfig) return await ofRunning(kubeconfig, file, passphrase);
      if (kv === undefined) await mustBe(path);
      return await ofDatabase(path, file, passphrase);
    case "restore":
      if (kubeconfig) break;
      return await restore(path, file, passphrase);
  }
  throw new TypeError(HELP);
}

function open(path: string, snapshot?: Uint8Array): Promise<Database<KubeObject>> {
  // What an encryption configuration says otherwise, the cluster does when it starts with it.
  return openCluster({ kv: path, snapshot }, new RealClock());
}

async function ofDatabase(path: string, file: string, passphrase?: string): Promise<string[]> {
  const database = await open(path);
  try {
    const snapshot = await database.snapshot();
    const told = `${describe(database)} of ${path}`;
    if (passphrase === undefined) {
      await replaceFile(file, snapshot);
      return [`Wrote ${told} to ${file}, in the clear: it holds Secrets and the cluster's keys`];
    }
    await replaceFile(file, await sealSnapshot(snapshot, passphrase, new RealClock()));
    return [`Wrote ${told} to ${file}, sealed by the passphrase`];
  } finally {
    await database.close();
  }
}

async function ofRunning(path: string, file: string, passphrase?: string): Promise<string[]> {
  if (passphrase === undefined) {
    throw new TypeError("A running cluster seals its snapshot: set PLESIO_SNAPSHOT_PASSPHRASE");
  }
  if (!/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(passphrase)) {
    throw new TypeError("A passphrase for a running cluster has letters of ASCII alone");
  }
  const endpoint = await kubeconfigEndpoint(path);
  const { status, body } = await urlOutbound(new RealClock()).open(endpoint, {
    method: "GET",
    path: "/plesio/v1/snapshot",
    headers: { [PASSPHRASE_HEADER]: passphrase },
    timeoutMs: ANSWER_MS_MAX,
  });
  const answer = new Response(ReadableStream.from(body), { status });
  if (!answer.ok) {
    throw new TypeError(`${endpoint.url} answers ${status}: ${await textOf(answer)}`);
  }
  await replaceFile(file, await answer.bytes());
  return [`Wrote the state of ${endpoint.url} to ${file}, sealed by the passphrase`];
}

async function textOf(answer: Response): Promise<string> {
  const text = await answer.text();
  try {
    return JSON.parse(text).message;
  } catch {
    return text;
  }
}

async function restore(path: string, file: string, passphrase?: string): Promise<string[]> {
  const snapshot = await unsealSnapshot(await Deno.readFile(file), passphrase);
  const database = await open(path, snapshot);
  try {
    return [`Restored ${describe(database)} into ${path}`];
  } finally {
    await database.close();
  }
}

function describe({ objects, events }: Database<KubeObject>): string {
  const { keys, revision } = objects.stats();
  return `${keys} objects at revision ${revision} and ${events.stats().keys} events`;
}

/** A snapshot makes no database. */
async function mustBe(path: string): Promise<void> {
  const found = await Deno.stat(path).catch(() => undefined);
  if (!found) throw new DatabaseError(`There is no database "${path}"`);
}

if (import.meta.main) {
  try {
    const passphrase = Deno.env.get("PLESIO_SNAPSHOT_PASSPHRASE") || undefined;
    for (const line of await backup(Deno.args, passphrase)) console.log(line);
  } catch (error) {
    const known = KNOWN.some((kind) => error instanceof kind);
    console.error(known ? `backup: ${(error as Error).message}` : error);
    Deno.exit(1);
  }
}
