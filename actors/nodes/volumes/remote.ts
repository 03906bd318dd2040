/**
 * Volumes of other machines that the host's own tools bring: NFS by `mount`, iSCSI by `iscsiadm`. Where a tool is
 * missing, or the kernel cannot, the pod's Event says so and the pod waits (pkg/volume/nfs, pkg/volume/iscsi).
 */
import type { Clock } from "../../../kv/clock.ts";
import {
  failureOf,
  formatAndMount,
  type HostTools,
  mountByTool,
  type ToolResult,
} from "./host_tools.ts";
import type { MadeVolume } from "./container_mounts.ts";
import type { Source } from "./claims.ts";

/** How long a disk may take to appear after a login. */
const DEVICE_MS_MAX = 10_000;
const DEVICE_LOOK_MS = 250;
const ISCSI_PORT = "3260";
/** Remembers, beside the mount, what has to be logged out of. */
const ISCSI_RECORD = "iscsi.json";

/** What remote volumes are made with. */
export interface RemoteTools {
  tools: HostTools;
  clock: Clock;
  /** The values of the Secret that a source names. */
  secret(name: string, namespace?: string): Promise<ReadonlyMap<string, string>>;
  isMounted(path: string): boolean;
}

/** An NFS export at a folder. */
export async function setupNfs(
  source: Source,
  folder: string,
  { tools, isMounted }: RemoteTools,
): Promise<MadeVolume> {
  const { server, path } = source.spec;
  const made = { path: folder, readOnly: source.readOnly };
  if (isMounted(folder)) return made;
  await Deno.mkdir(folder, { recursive: true, mode: 0o750 });
  const host = server.includes(":") ? `[${server}]` : server;
  const options = [...source.readOnly ? ["ro"] : [], ...source.volume?.spec.mountOptions ?? []];
  try {
    const target = folder;
    await mountByTool(tools, { type: "nfs", source: `${host}:${path}`, target, options });
  } catch (error) {
    await Deno.remove(folder);
    throw error;
  }
  return made;
}

interface IscsiRecord {
  iqn: string;
  portals: string[];
  iface: string;
}

/** A disk of an iSCSI target, formatted if need be and mounted at a folder, or as a device. */
export async function setupIscsi(
  source: Source,
  folder: string,
  ports: RemoteTools,
): Promise<MadeVolume> {
  const { isMounted } = ports;
  const path = `${folder}/mount`;
  if (!source.block && isMounted(path)) return { path, readOnly: source.readOnly };
  const { spec } = source;
  const record: IscsiRecord = {
    iqn: spec.iqn,
    portals: [spec.targetPortal, ...spec.portals ?? []].map(withPort),
    iface: spec.iscsiInterface || "default",
  };
  await Deno.mkdir(folder, { recursive: true, mode: 0o750 });
  await Deno.writeTextFile(`${folder}/${ISCSI_RECORD}`, JSON.stringify(record));
  const device = await attach(source, record, ports);
  if (source.block) return { path: device, readOnly: source.readOnly, block: true };
  await Deno.mkdir(path, { recursive: true, mode: 0o750 });
  const options = [source.readOnly ? "ro" : "rw", ...source.volume?.spec.mountOptions ?? []];
  await formatAndMount(ports.tools, { device, target: path, fsType: spec.fsType, options });
  return { path, readOnly: source.readOnly };
}

function withPort(portal: string): string {
  return /:\d+$/.test(portal) && !/^[\da-f:]+$/i.test(portal) ? portal : `${portal}:${ISCSI_PORT}`;
}

/** Logs in to each portal; resolves with the disk's path by the first that has it. */
async function attach(source: Source, record: IscsiRecord, ports: RemoteTools): Promise<string> {
  const { tools, clock } = ports;
  const { iqn, iface } = record;
  const shown = await tools("iscsiadm", ["-m", "iface", "-I", iface, "-o", "show"]);
  if (shown.code !== 0) throw new Error(failureOf("iscsiadm", shown));
  let last = "";
  for (const portal of record.portals) {
    try {
      await login(source, { portal, iqn, iface }, ports);
    } catch (error) {
      last = (error as Error).message;
      continue;
    }
    const address = portal.replaceAll(/[[\]]/g, "");
    const path = `/dev/disk/by-path/ip-${address}-iscsi-${iqn}-lun-${source.spec.lun ?? 0}`;
    if (await appears(path, clock)) return path;
    last = `Timed out waiting for device at path ${path} after ${DEVICE_MS_MAX / 1000}s`;
  }
  throw new Error(`failed to get any path for iscsi disk, last err seen:\n${last}`);
}

async function login(
  source: Source,
  { portal, iqn, iface }: { portal: string; iqn: string; iface: string },
  { tools, secret }: RemoteTools,
): Promise<void> {
  const sessions = await tools("iscsiadm", ["-m", "session"]);
  if (sessions.code === 0 && hasSession(sessions.output, portal, iqn)) return;
  const must = (what: string, result: ToolResult) => {
    if (result.code === 0) return;
    throw new Error(
      `iscsi: failed to ${what} output: ${result.output}, err ${failureOf("iscsiadm", result)}`,
    );
  };
  const discovery = ["-m", "discoverydb", "-t", "sendtargets", "-p", portal, "-I", iface];
  const node = ["-m", "node", "-p", portal, "-T", iqn, "-I", iface];
  await tools("iscsiadm", [...discovery, "-o", "new"]);
  const { secretRef, chapAuthDiscovery, chapAuthSession } = source.spec;
  const values = secretRef ? await secret(secretRef.name, secretRef.namespace) : new Map();
  const chap = async (base: string[], prefix: string) => {
    const set = async (name: string, value: string) =>
      must(
        `update ${name}`,
        await tools("iscsiadm", [...base, "-o", "update", "-n", name, "-v", value]),
      );
    await set(`${prefix}authmethod`, "CHAP");
    for (const [name, value] of values) if (name.startsWith(prefix)) await set(name, value);
  };
  if (chapAuthDiscovery) await chap(discovery, "discovery.sendtargets.auth.");
  const found = await tools("iscsiadm", [...discovery, "--discover"]);
  if (found.code !== 0) await tools("iscsiadm", [...discovery, "-o", "delete"]);
  must(`sendtargets to portal ${portal}`, found);
  if (chapAuthSession) await chap(node, "node.session.auth.");
  const entered = await tools("iscsiadm", [...node, "--login"]);
  if (entered.code !== 0) await tools("iscsiadm", [...node, "-o", "delete"]);
  must("attach disk: Error:", entered);
  // A machine that boots must not wait for targets that nobody uses yet.
  await tools("iscsiadm", [...node, "-o", "update", "-n", "node.startup", "-v", "manual"]);
}

/** A line: `tcp: [1] 10.0.0.1:3260,1 iqn.2001-04.com.example:x (non-flash)`. */
function hasSession(output: string, portal: string, iqn: string): boolean {
  return output.split("\n").some((line) => {
    const [, , at = "", name] = line.split(" ");
    return at.split(",")[0] === portal && name === iqn;
  });
}

async function appears(path: string, clock: Clock): Promise<boolean> {
  for (let waited = 0; waited <= DEVICE_MS_MAX; waited += DEVICE_LOOK_MS) {
    try {
      await Deno.stat(path);
      return true;
    } catch {
      await clock.sleep(DEVICE_LOOK_MS);
    }
  }
  return false;
}

/** Logs out of a target when no other volume of the node uses it. */
export async function teardownIscsi(
  folder: string,
  { tools, inUse }: { tools: HostTools; inUse(iqn: string): Promise<boolean> },
): Promise<void> {
  let record: IscsiRecord;
  try {
    record = JSON.parse(await Deno.readTextFile(`${folder}/${ISCSI_RECORD}`));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  await Deno.remove(`${folder}/${ISCSI_RECORD}`);
  if (await inUse(record.iqn)) return;
  for (const portal of record.portals) {
    const node = ["-m", "node", "-p", portal, "-T", record.iqn, "-I", record.iface];
    await tools("iscsiadm", [...node, "--logout"]);
    await tools("iscsiadm", [...node, "-o", "delete"]);
  }
}

/** The target that a volume's folder remembers. */
export async function iscsiTarget(folder: string): Promise<string | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(`${folder}/${ISCSI_RECORD}`)).iqn;
  } catch {
    return undefined; // not one of iSCSI
  }
}
