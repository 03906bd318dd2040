/**
 * Volumes of storage drivers: attached where the driver wants that, staged once for the node, published for each pod,
 * and the same way back (pkg/volume/csi/csi_attacher.go, csi_mounter.go, csi_block.go, expander.go).
 *
 * What is needed on the way back lies beside the volume (`vol_data.json`), so that a node that comes back, or a pod
 * that is gone from the API, finds it. Stage and unstage of one volume happen in turn; a volume is unstaged when no
 * pod's folder names it any more.
 */
import { createHash } from "node:crypto";
import type { Client } from "../../../api/client/contract.ts";
import { parseQuantity } from "../../../api/machinery/quantity.ts";
import { secretTexts } from "../../../api/machinery/secret_data.ts";
import {
  ApiError,
  type DeepReadonly,
  type Json,
  type KubeObject,
  type ResourceId,
} from "../../../api/machinery/types.ts";
import type { Clock } from "../../../kv/clock.ts";
import type { Recorder } from "../../runtime/mod.ts";
import type { FileSystem } from "../figures.ts";
import type { MessageOf } from "../../../api/client/grpc_messages.ts";
import { MountError } from "../ports.ts";
import { CLAIMS, type Pod, SECRETS } from "../types.ts";
import type { Source } from "./claims.ts";
import type { MadeVolume } from "./container_mounts.ts";
import type { CsiDrivers, Driver } from "./csi_drivers.ts";
import { accessModeOf, type CSI, USAGE_UNIT } from "./csi_messages.ts";
import { giveToGroup } from "./ownership.ts";
import type { PodTokens } from "./tokens.ts";
import { driverMissing, type VolumePlace, type VolumeRequest } from "./volume_kinds.ts";

const CSI_DRIVERS = { group: "storage.k8s.io", version: "v1", plural: "csidrivers" } as const;
const ATTACHMENTS = {
  group: "storage.k8s.io",
  version: "v1",
  plural: "volumeattachments",
} as const;

const DATA = "vol_data.json";
const PLUGIN = "kubernetes.io~csi";
const TOKENS = "csi.storage.k8s.io/serviceAccount.tokens";
/** How long one attempt waits for an attacher, and how often it looks. */
const ATTACH_MS_MAX = 10_000;
const ATTACH_LOOK_MS = 200;
/** How often volumes are published again whose driver wants that. */
const REPUBLISH_MS = 60_000;
/** How often a volume in use is looked at whether it has grown: nothing tells a node of its claims. */
const GROW_LOOK_MS = 15_000;

/** What is remembered of a volume of a pod. Names as upstream's. */
interface VolumeData {
  specVolID: string;
  volumeHandle: string;
  driverName: string;
  nodeName: string;
  attachmentID: string;
  volumeLifecycleMode: "Persistent" | "Ephemeral";
  /** Where it was published (ours alone). */
  target: string;
}

/** What is remembered of a volume that is staged. */
interface Staged {
  volumeHandle: string;
  driverName: string;
  staging: string;
}

/** What it needs. */
export interface CsiVolumesOptions {
  /** The node's folder: `pods` and `plugins` lie in it. */
  folder: string;
  nodeName: string;
  client: Client;
  clock: Clock;
  recorder: Recorder;
  drivers: CsiDrivers;
  tokens: PodTokens;
  /** Called when what the node uses has changed. */
  used?(): void;
}

type Capability = MessageOf<typeof CSI.messages, "VolumeCapability">;
type Obj = DeepReadonly<KubeObject>;

/** A volume on its way to a pod. */
interface Journey {
  request: VolumeRequest;
  driver: Driver;
  /** The CSIDriver object, where there is one. */
  facts: Obj | undefined;
  handle: string;
  /** The pod names it itself: it lives as long as the pod. */
  inline: boolean;
  /** What the attacher said of it. */
  publishContext?: Readonly<Record<string, string>>;
  /** Where it is staged, for drivers that stage. */
  staging?: string;
}

/** See the module's text. */
export class CsiVolumes {
  readonly #options: CsiVolumesOptions;
  /** The work on each volume, one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>();
  /** Volumes that nobody may detach from the node. */
  readonly #used = new Set<string>();

  constructor(options: CsiVolumesOptions) {
    this.#options = options;
  }

  /** `kubernetes.io/csi/<driver>^<handle>` of the volumes that must not be detached. */
  inUse(): string[] {
    return [...this.#used].sort();
  }

  #setUsed(volume: string, used: boolean): void {
    if (this.#used.has(volume) === used) return;
    if (used) this.#used.add(volume);
    else this.#used.delete(volume);
    this.#options.used?.();
  }

  #inTurn<T>(volume: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(volume) ?? Promise.resolve()).then(work, work);
    const settled = turn.catch(() => {});
    this.#turns.set(volume, settled);
    void settled.then(() => {
      if (this.#turns.get(volume) === settled) this.#turns.delete(volume);
    });
    return turn;
  }

  async #find(resource: ResourceId, name: string, namespace?: string): Promise<Obj | undefined> {
    try {
      return await this.#options.client.get<KubeObject>({ resource, name, namespace });
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return undefined;
      throw error;
    }
  }

  // --- to the pod -----------------------------------------------------------------------------------------

  /** Brings a volume to its pod. */
  async setup(request: VolumeRequest): Promise<MadeVolume> {
    const { source } = request;
    const inline = !source.volume;
    const driver = this.#options.drivers.get(source.spec.driver);
    if (!driver) throw noDriver(source, inline);
    const facts = await this.#find(CSI_DRIVERS, driver.name);
    const handle = inline ? inlineHandle(request) : source.spec.volumeHandle;
    const journey: Journey = { request, driver, facts, handle, inline };
    checkLifecycle(journey);
    return await this.#inTurn(uniqueName(driver.name, handle), async () => {
      if (!inline) {
        await this.#attached(journey);
        await this.#stage(journey);
      }
      const made = await this.#publish(journey);
      if (!inline) await this.#expandIfGrown(journey, made.path);
      return made;
    });
  }

  /** Waits until the attacher has done its work. */
  async #attached(journey: Journey): Promise<void> {
    const { request: { source, pod }, driver, facts, handle } = journey;
    const { nodeName, clock } = this.#options;
    if (facts?.spec.attachRequired === false) return;
    this.#setUsed(uniqueName(driver.name, handle), true);
    const name = attachmentName(handle, driver.name, nodeName);
    for (let waited = 0; waited <= ATTACH_MS_MAX; waited += ATTACH_LOOK_MS) {
      const attachment = await this.#find(ATTACHMENTS, name);
      if (attachment?.status?.attached && !attachment.metadata.deletionTimestamp) {
        journey.publishContext = attachment.status.attachmentMetadata ?? {};
        return;
      }
      await clock.sleep(ATTACH_LOOK_MS);
    }
    const why = "timed out waiting for the condition";
    const outer = nameInPod(pod, source);
    throw new MountError(
      source.name,
      why,
      `Unable to attach or mount volumes: unmounted volumes=[${outer}], ` +
        `unattached volumes=[${outer}], failed to process volumes=[]: ${why}`,
    );
  }

  /** Makes it ready on the node, once for all pods, where the driver does that. */
  async #stage(journey: Journey): Promise<void> {
    const { request: { source, pod }, driver, handle, publishContext } = journey;
    const { spec, volume, block, name } = source;
    const fail = (why: string) => {
      const step = block ? "MapVolume.SetUpDevice" : "MountVolume.MountDevice";
      const text = `${step} failed for volume "${name}" : ${why}`;
      return new MountError(name, why, text);
    };
    try {
      if (!await driver.can("stage")) return;
      const data = this.#stagedFolder(driver.name, handle);
      const staging = block
        ? `${this.#options.folder}/plugins/kubernetes.io/csi/volumeDevices/staging/${name}`
        : `${data}/globalmount`;
      const secrets = await this.#secrets(spec.nodeStageSecretRef, "NodeStageSecretRef");
      await Deno.mkdir(data, { recursive: true, mode: 0o750 });
      await Deno.mkdir(staging, { recursive: true, mode: 0o750 });
      const remembered: Staged = { volumeHandle: handle, driverName: driver.name, staging };
      await Deno.writeTextFile(`${data}/${DATA}`, JSON.stringify(remembered));
      await driver.client.call("NodeStageVolume", {
        volumeId: handle,
        publishContext: { ...publishContext },
        stagingTargetPath: staging,
        capability: await capabilityOf(driver, source, pod.spec.securityContext?.fsGroup),
        secrets,
        volumeContext: { ...spec.volumeAttributes },
      });
      journey.staging = staging;
    } catch (error) {
      if (volume) throw fail((error as Error).message);
      throw error;
    }
  }

  async #publish(journey: Journey): Promise<MadeVolume> {
    const { request, driver, handle, inline, publishContext, staging } = journey;
    const { source, pod } = request;
    const { spec, block, readOnly } = source;
    const { nodeName } = this.#options;
    const reference = spec.nodePublishSecretRef;
    const named = reference && inline
      ? { name: reference.name, namespace: pod.metadata.namespace }
      : reference;
    const secrets = await this.#secrets(named, "NodePublishSecretRef");
    const volumeContext = { ...spec.volumeAttributes, ...podInfo(journey) };
    const tokens = await this.#tokens(journey);
    Object.assign(
      journey.facts?.spec.serviceAccountTokenInSecrets ? secrets : volumeContext,
      tokens,
    );
    const { target, data } = this.#places(request, block);
    await Deno.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true, mode: 0o750 });
    await Deno.mkdir(data, { recursive: true, mode: 0o750 });
    const remembered: VolumeData = {
      specVolID: source.name,
      volumeHandle: handle,
      driverName: driver.name,
      nodeName,
      attachmentID: attachmentName(handle, driver.name, nodeName),
      volumeLifecycleMode: inline ? "Ephemeral" : "Persistent",
      target,
    };
    await Deno.writeTextFile(`${data}/${DATA}`, JSON.stringify(remembered));
    const group = pod.spec.securityContext?.fsGroup;
    await driver.client.call("NodePublishVolume", {
      volumeId: handle,
      publishContext: { ...publishContext },
      ...(staging && { stagingTargetPath: staging }),
      targetPath: target,
      capability: await capabilityOf(driver, source, group),
      readonly: readOnly,
      secrets,
      volumeContext,
    });
    if (block) return { path: target, readOnly, block: true };
    if (group !== undefined && !await driver.can("mountGroup") && groupApplies(journey)) {
      const policy = pod.spec.securityContext?.fsGroupChangePolicy;
      await giveToGroup(target, { gid: group, readOnly: false, policy });
    }
    return { path: target, readOnly };
  }

  /** Where a volume is published, and where what is known of it lies. */
  #places({ pod, source, folder }: VolumePlace, block: boolean) {
    if (!block) return { target: `${folder}/mount`, data: folder };
    const { uid } = pod.metadata;
    const root = this.#options.folder;
    return {
      target: `${root}/plugins/kubernetes.io/csi/volumeDevices/publish/${source.name}/${uid}`,
      data: `${root}/pods/${uid}/volumeDevices/${PLUGIN}/${source.name}`,
    };
  }

  #stagedFolder(driver: string, handle: string): string {
    const name = createHash("sha256").update(handle).digest("hex");
    return `${this.#options.folder}/plugins/kubernetes.io/csi/${driver}/${name}`;
  }

  async #secrets(
    reference: { name: string; namespace?: string } | undefined,
    field: string,
  ): Promise<Record<string, string>> {
    if (!reference) return {};
    const { name, namespace } = reference;
    const secret = await this.#find(SECRETS, name, namespace);
    if (!secret) {
      throw new Error(
        `fetching ${field} ${namespace}/${name} failed: kubernetes.io/csi: failed to find the secret ` +
          `${name} in the namespace ${namespace} with error: secrets "${name}" not found`,
      );
    }
    return secretTexts(secret);
  }

  /** Tokens of the pod's account for the audiences that the driver names. */
  async #tokens({ request: { pod }, facts }: Journey): Promise<Record<string, string>> {
    const wanted = (facts?.spec.tokenRequests ?? []) as readonly {
      audience: string;
      expirationSeconds?: number;
    }[];
    if (wanted.length === 0) return {};
    const made: Record<string, object> = {};
    for (const { audience, expirationSeconds } of wanted) {
      const request = { audience: audience || undefined, expirationSeconds };
      const { token, expirationTimestamp } = await this.#options.tokens.token(pod, request);
      made[audience] = { token, expirationTimestamp };
    }
    return { [TOKENS]: JSON.stringify(made) };
  }

  /**
   * Publishes again what its driver wants published again, and grows what has grown; resolves with ms until the next
   * time.
   */
  async refresh(request: VolumeRequest): Promise<number | undefined> {
    const { source } = request;
    const driver = this.#options.drivers.get(source.spec.driver);
    if (!driver) return GROW_LOOK_MS;
    const facts = await this.#find(CSI_DRIVERS, driver.name);
    if (facts?.spec.requiresRepublish) {
      await this.setup(request);
      return REPUBLISH_MS;
    }
    if (!source.volume || !await driver.can("expand")) return undefined;
    const handle = source.spec.volumeHandle as string;
    await this.#inTurn(uniqueName(driver.name, handle), async () => {
      const staged = await readData<Staged>(this.#stagedFolder(driver.name, handle));
      const journey = { request, driver, facts, handle, inline: false, staging: staged?.staging };
      await this.#expandIfGrown(journey, this.#places(request, source.block).target);
    });
    return GROW_LOOK_MS;
  }

  /** What its driver says of a volume that is published; undefined where it says nothing. */
  async measure(request: VolumePlace): Promise<FileSystem | undefined> {
    const { source } = request;
    const driver = this.#options.drivers.get(source.spec.driver);
    if (source.block || !driver || !await driver.can("measure")) return undefined;
    const handle = source.volume ? source.spec.volumeHandle : inlineHandle(request);
    const staged = await readData<Staged>(this.#stagedFolder(driver.name, handle));
    const { usage = [] } = await driver.client.call("NodeGetVolumeStats", {
      volumeId: handle,
      volumePath: this.#places(request, false).target,
      ...(staged && { stagingTargetPath: staged.staging }),
    });
    const bytes = usage.find(({ unit }) => unit === USAGE_UNIT.bytes) ?? {};
    const inodes = usage.find(({ unit }) => unit === USAGE_UNIT.inodes) ?? {};
    return {
      capacityBytes: bytes.total ?? 0,
      availableBytes: bytes.available ?? 0,
      usedBytes: bytes.used ?? 0,
      inodes: inodes.total ?? 0,
      inodesFree: inodes.available ?? 0,
      inodesUsed: inodes.used ?? 0,
    };
  }

  // --- growing --------------------------------------------------------------------------------------------

  /** Lets the driver grow what is on a disk that has grown, and says so in the claim. */
  async #expandIfGrown(journey: Journey, path: string): Promise<void> {
    const { request: { source, pod }, driver, handle, staging } = journey;
    const { client, recorder } = this.#options;
    const volume = source.volume!;
    const { namespace, name, uid } = volume.spec.claimRef;
    const storage = volume.spec.capacity?.storage as string | undefined;
    const claim = await this.#find(CLAIMS, name, namespace);
    const has = claim?.status?.capacity?.storage as string | undefined;
    if (!claim || claim.metadata.uid !== uid || !storage || !has) return;
    const wanted = parseQuantity(storage);
    if (parseQuantity(has).compare(wanted) >= 0 || !await driver.can("expand")) return;
    const of = `for volume "${source.name}"`;
    if (source.readOnly) {
      const text = `MountVolume.NodeExpandVolume failed ${of} requested read-only file system`;
      for (const one of [pod, claim]) {
        recorder.event(one, "Warning", "FileSystemResizeFailed", text);
      }
      return;
    }
    const secrets = await this.#secrets(source.spec.nodeExpandSecretRef, "NodeExpandSecretRef");
    try {
      await driver.client.call("NodeExpandVolume", {
        volumeId: handle,
        volumePath: path,
        capacityRange: { requiredBytes: wanted.value() },
        ...(staging && { stagingTargetPath: staging }),
        capability: await capabilityOf(driver, source, undefined),
        secrets,
      });
    } catch (error) {
      const why = (error as Error).message;
      recorder.event(pod, "Warning", "VolumeResizeFailed", `NodeExpandVolume failed ${of}: ${why}`);
      throw error;
    }
    const conditions = ((claim.status!.conditions ?? []) as { type: string }[])
      .filter(({ type }) => !RESIZE_CONDITIONS.has(type));
    const status: Record<string, Json> = { capacity: { storage }, conditions };
    if (claim.status!.allocatedResourceStatuses) {
      status.allocatedResourceStatuses = { storage: null };
    }
    await client.patch({ resource: CLAIMS, namespace, name, subresource: "status" }, {
      type: "merge",
      body: {
        metadata: { uid },
        status,
      },
    });
    const text = `MountVolume.NodeExpandVolume succeeded ${of} ${this.#options.nodeName}`;
    for (const one of [pod, claim]) {
      recorder.event(one, "Normal", "FileSystemResizeSuccessful", text);
    }
  }

  // --- and back -------------------------------------------------------------------------------------------

  /** Takes the volumes of a pod's folder back. Rejects while a driver that has to do it is away. */
  async teardown(podFolder: string): Promise<void> {
    for (const kind of ["volumes", "volumeDevices"]) {
      const folder = `${podFolder}/${kind}/${PLUGIN}`;
      for (const name of await namesIn(folder)) {
        const data = await readData<VolumeData>(`${folder}/${name}`);
        if (!data) continue;
        const volume = uniqueName(data.driverName, data.volumeHandle);
        await this.#inTurn(volume, () => this.#leave(`${folder}/${name}`, data));
      }
    }
  }

  async #leave(folder: string, data: VolumeData): Promise<void> {
    const { driverName, volumeHandle, target, volumeLifecycleMode } = data;
    const driver = this.#options.drivers.get(driverName);
    if (!driver) {
      throw new Error(
        "kubernetes.io/csi: Unmounter.TearDownAt failed to get CSI client: " +
          driverMissing(driverName),
      );
    }
    await driver.client.call("NodeUnpublishVolume", { volumeId: volumeHandle, targetPath: target });
    await removeEmpty(target);
    await Deno.remove(`${folder}/${DATA}`);
    await removeEmpty(folder);
    if (volumeLifecycleMode === "Persistent") await this.#unstage(driver, volumeHandle);
  }

  /** Takes a volume from the node when no pod has it any more. */
  async #unstage(driver: Driver, handle: string): Promise<void> {
    if (await this.#isPublished(driver.name, handle)) return;
    const folder = this.#stagedFolder(driver.name, handle);
    const staged = await readData<Staged>(folder);
    if (staged) {
      const { staging } = staged;
      await driver.client.call("NodeUnstageVolume", {
        volumeId: handle,
        stagingTargetPath: staging,
      });
      await removeEmpty(staging);
      await Deno.remove(`${folder}/${DATA}`);
      await removeEmpty(folder);
    }
    this.#setUsed(uniqueName(driver.name, handle), false);
  }

  /** Whether a pod's folder on the disk names it. */
  async #isPublished(driver: string, handle: string): Promise<boolean> {
    const pods = `${this.#options.folder}/pods`;
    for (const uid of await namesIn(pods)) {
      for (const kind of ["volumes", "volumeDevices"]) {
        const folder = `${pods}/${uid}/${kind}/${PLUGIN}`;
        for (const name of await namesIn(folder)) {
          const data = await readData<VolumeData>(`${folder}/${name}`);
          if (data?.driverName === driver && data.volumeHandle === handle) return true;
        }
      }
    }
    return false;
  }

  /** Takes away what a driver staged for pods that are gone: their node was away when they went. */
  async sweep(name: string): Promise<void> {
    const driver = this.#options.drivers.get(name);
    const folder = `${this.#options.folder}/plugins/kubernetes.io/csi/${name}`;
    for (const hash of await namesIn(folder)) {
      const data = await readData<Staged>(`${folder}/${hash}`);
      if (!driver || !data) continue;
      const { volumeHandle } = data;
      await this.#inTurn(
        uniqueName(name, volumeHandle),
        () => this.#unstage(driver, volumeHandle),
      );
    }
  }
}

/** The conditions by which a claim says that it grows. */
const RESIZE_CONDITIONS = new Set([
  "Resizing",
  "FileSystemResizePending",
  "ControllerResizeError",
  "NodeResizeError",
]);

/** How kubelets call a volume. */
function uniqueName(driver: string, handle: string): string {
  return `kubernetes.io/csi/${driver}^${handle}`;
}

/** An attachment's name: attachers and controllers compute it, too. */
function attachmentName(handle: string, driver: string, node: string): string {
  return `csi-${createHash("sha256").update(`${handle}${driver}${node}`).digest("hex")}`;
}

/** What a driver calls a volume that lives with its pod. */
function inlineHandle({ pod, source }: VolumePlace): string {
  const hash = createHash("sha256").update(`${pod.metadata.uid}${source.name}`);
  return `csi-${hash.digest("hex")}`;
}

function nameInPod({ spec }: Pod, { volume, name }: Source): string {
  const claim = volume?.spec.claimRef?.name;
  const found = spec.volumes?.find(({ persistentVolumeClaim }) =>
    persistentVolumeClaim?.claimName === claim
  );
  return found?.name ?? name;
}

function noDriver({ name, spec, block }: Source, inline: boolean): MountError {
  const missing = driverMissing(spec.driver);
  const step = block ? "MapVolume" : "MountVolume";
  const [what, why] = inline
    ? ["SetUp", "mounter.SetUpAt failed to get CSI client"]
    : block
    ? ["SetUpDevice", "blockMapper.SetUpDevice failed to get CSI client"]
    : ["MountDevice", "attacher.MountDevice failed to create newCsiDriverClient"];
  const text = `kubernetes.io/csi: ${why}: ${missing}`;
  return new MountError(name, text, `${step}.${what} failed for volume "${name}" : ${text}`);
}

/** A driver must have said that it can do volumes of a pod's own. */
function checkLifecycle({ facts, inline, driver }: Journey): void {
  const mode = inline ? "Ephemeral" : "Persistent";
  const modes: readonly string[] | undefined = facts?.spec.volumeLifecycleModes;
  if (facts ? (modes ?? ["Persistent"]).includes(mode) : !inline) return;
  const why = facts
    ? `only supports [${modes?.map((one) => `"${one}"`).join(" ")}]`
    : "no CSIDriver object";
  throw new Error(
    "kubernetes.io/csi: mounter.SetupAt failed to check volume lifecycle mode: " +
      `volume mode "${mode}" not supported by driver ${driver.name} (${why})`,
  );
}

function podInfo({ request: { pod }, facts, inline }: Journey): Record<string, string> {
  if (!facts?.spec.podInfoOnMount) return {};
  const { name, namespace = "", uid } = pod.metadata;
  return {
    "csi.storage.k8s.io/pod.name": name,
    "csi.storage.k8s.io/pod.namespace": namespace,
    "csi.storage.k8s.io/pod.uid": uid,
    "csi.storage.k8s.io/serviceAccount.name": pod.spec.serviceAccountName ?? "",
    "csi.storage.k8s.io/ephemeral": String(inline),
  };
}

async function capabilityOf(
  driver: Driver,
  { spec, volume, block }: Source,
  group: number | undefined,
): Promise<Capability> {
  const mode = volume?.spec.accessModes?.[0] ?? "ReadWriteOnce";
  const accessMode = { mode: accessModeOf(mode, await driver.can("multiWriter")) };
  if (block) return { block: {}, accessMode };
  const mount = {
    fsType: spec.fsType ?? "",
    mountFlags: [...volume?.spec.mountOptions ?? []],
    ...(group !== undefined && await driver.can("mountGroup") &&
      { volumeMountGroup: String(group) }),
  };
  return { mount, accessMode };
}

/** Whether the node gives a volume to its pod's group, by the driver's policy. */
function groupApplies({ request: { source }, facts, inline }: Journey): boolean {
  const policy = facts?.spec.fsGroupPolicy ?? "ReadWriteOnceWithFSType";
  if (policy === "None" || source.readOnly) return false;
  if (policy === "File") return true;
  if (!source.spec.fsType) return false;
  return inline || (source.volume!.spec.accessModes ?? []).includes("ReadWriteOnce");
}

async function readData<T>(folder: string): Promise<T | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(`${folder}/${DATA}`)) as T;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw error;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Removes a place that its driver should have removed; what is still in it stays. */
async function removeEmpty(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
