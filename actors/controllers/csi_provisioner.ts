/**
 * Makes volumes of configured storage drivers for claims, and deletes them when they are released: what
 * external-provisioner does beside a driver of its own.
 *
 * Its keys: `claim/<namespace>/<name>`, `volume/<name>`.
 *
 * Behaviour matched: kubernetes-csi/external-provisioner (names, annotations, parameters, events).
 */
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { ApiError, type KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  CSI_NODES,
  NODES,
  type Outcome,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  STORAGE_CLASSES,
  targetOf,
  VOLUME_ATTACHMENTS,
} from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import {
  classOf,
  PROVISIONED_BY,
  SELECTED_NODE,
  STORAGE_PROVISIONER,
} from "./persistent_volumes.ts";
import type { FreeController } from "./ports.ts";
import { createOnce, provisionedVolume, watchProvisioning } from "./provisioning.ts";
import {
  boundVolume,
  Retries,
  runErrand,
  secretsOf,
  type StorageDriver,
  type StorageDrivers,
  type VolumeWish,
} from "./storage_drivers.ts";

const PREFIX = "csi.storage.k8s.io/";
const FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer";
const CONFLICTS_MAX = 5;
const SECRET_NAME = "volume.kubernetes.io/provisioner-deletion-secret-name";
const SECRET_NAMESPACE = "volume.kubernetes.io/provisioner-deletion-secret-namespace";

interface State {
  retries: Retries;
}

export function csiProvisioner(drivers: StorageDrivers): FreeController {
  return {
    name: "csi-provisioner",
    account: "csi-controller",
    component: "csi-provisioner",
    workers: 4,
    behaviour: {
      start(context): State {
        const { informers } = context;
        for (const read of [NODES, CSI_NODES, STORAGE_CLASSES, VOLUME_ATTACHMENTS]) {
          informers.for(read);
        }
        watchProvisioning(context);
        return { retries: new Retries() };
      },
      handle: (key, state, context) => handle(key, { drivers, state, context }),
    },
  };
}

interface Scope {
  drivers: StorageDrivers;
  state: State;
  context: ActorContext;
}

async function handle(key: string, scope: Scope): Promise<Outcome> {
  const name = key.slice(key.indexOf("/") + 1);
  const isClaim = key.startsWith("claim/");
  const { informers } = scope.context;
  const object = informers.for(isClaim ? PERSISTENT_VOLUME_CLAIMS : PERSISTENT_VOLUMES).get(name);
  if (!object) return scope.state.retries.done(key);
  const wanted = isClaim ? provisionerOf(object) : released(object);
  if (!wanted) return scope.state.retries.done(key);
  return await runErrand(scope.drivers, scope.state.retries, {
    key,
    driver: wanted,
    needs: "create",
    run: (driver) =>
      isClaim ? provision(object, driver, scope.context) : remove(object, driver, scope.context),
    failed: ({ message }) => {
      const why = isClaim
        ? `failed to provision volume with StorageClass "${object.spec.storageClassName}": ${message}`
        : message;
      const reason = isClaim ? "ProvisioningFailed" : "VolumeFailedDelete";
      scope.context.recorder.event(object, "Warning", reason, why);
    },
  });
}

/** Who is to make a volume for a claim that has none. */
function provisionerOf({ metadata, spec }: Obj): string | undefined {
  if (spec.volumeName || metadata.deletionTimestamp) return undefined;
  return metadata.annotations?.[STORAGE_PROVISIONER];
}

/** Who is to delete a volume that nobody has any more. */
function released({ metadata, spec, status }: Obj): string | undefined {
  if (!spec.csi || status?.phase !== "Released") return undefined;
  if (spec.persistentVolumeReclaimPolicy !== "Delete") return undefined;
  return metadata.annotations?.[PROVISIONED_BY];
}

// --- making -----------------------------------------------------------------------------------------------

async function provision(claim: Obj, driver: StorageDriver, context: ActorContext): Promise<void> {
  const { recorder, informers } = context;
  const storageClass = classOf(claim, context);
  if (storageClass?.provisioner !== driver.name) return;
  const { namespace, name, uid } = claim.metadata;
  const volumeName = `pvc-${uid}`;
  if (informers.for(PERSISTENT_VOLUMES).get(volumeName)) return;
  const waits = storageClass.volumeBindingMode === "WaitForFirstConsumer";
  if (waits && !claim.metadata.annotations?.[SELECTED_NODE]) return;
  recorder.event(
    claim,
    "Normal",
    "Provisioning",
    `External provisioner is provisioning volume for claim "${namespace}/${name}"`,
  );
  const { wish, deletion, references } = await wishFor(claim, { storageClass, driver }, context);
  const made = await driver.create(wish);
  const storage = made.bytes > 0
    ? sizeText(made.bytes)
    : claim.spec.resources?.requests?.storage as string;
  const volume = provisionedVolume(claim, storageClass, {
    name: volumeName,
    provisioner: driver.name,
    storage,
    places: made.places,
    annotations: {
      [SECRET_NAME]: deletion?.name ?? "",
      [SECRET_NAMESPACE]: deletion?.namespace ?? "",
    },
    finalizers: [FINALIZER],
    source: {
      csi: {
        driver: driver.name,
        volumeHandle: made.handle,
        volumeAttributes: made.context,
        ...(wish.block ? {} : { fsType: wish.fsType }),
        ...references,
      },
    },
  });
  await createOnce(context, PERSISTENT_VOLUMES, volume);
  const text = `Successfully provisioned volume ${volumeName}`;
  recorder.event(claim, "Normal", "ProvisioningSucceeded", text);
}

/** What the driver is asked for, and the Secrets that the class names for what comes later. */
async function wishFor(
  claim: Obj,
  { storageClass, driver }: { storageClass: Obj; driver: StorageDriver },
  context: ActorContext,
) {
  const name = `pvc-${claim.metadata.uid}`;
  const parameters = (storageClass.parameters ?? {}) as Readonly<Record<string, string>>;
  const secret = (kind: string) => secretReference(parameters, kind, claim, name);
  const deletion = secret("provisioner");
  const wish: VolumeWish = {
    name,
    bytes: parseQuantity(claim.spec.resources?.requests?.storage ?? "0").value(),
    accessModes: claim.spec.accessModes ?? [],
    block: claim.spec.volumeMode === "Block",
    fsType: parameters[`${PREFIX}fstype`] ?? "",
    mountOptions: storageClass.mountOptions ?? [],
    parameters: Object.fromEntries(
      Object.entries(parameters).filter(([key]) => !key.startsWith(PREFIX)),
    ),
    secrets: await secretsOf(deletion, context),
    places: await driver.can("places") ? placesFor(claim, driver, context) : undefined,
    from: await contentOf(claim, driver, context),
  };
  const references = Object.fromEntries(
    Object.entries({
      controllerPublishSecretRef: secret("controller-publish"),
      nodeStageSecretRef: secret("node-stage"),
      nodePublishSecretRef: secret("node-publish"),
      controllerExpandSecretRef: secret("controller-expand"),
      nodeExpandSecretRef: secret("node-expand"),
    }).filter(([, reference]) => reference),
  );
  return { wish, deletion, references };
}

/** The Secret that a class's parameters name for a purpose, with what they say of the claim filled in. */
export function secretReference(
  parameters: Readonly<Record<string, string>>,
  kind: string,
  claim: Obj,
  volumeName: string,
): { name: string; namespace: string } | undefined {
  const [name, namespace] = [`${kind}-secret-name`, `${kind}-secret-namespace`]
    .map((key) => parameters[PREFIX + key]);
  if (!name && !namespace) return undefined;
  if (!name || !namespace) {
    throw new Error(
      `failed to get name and namespace template from params: either name and namespace for ${kind} secrets ` +
        "specified, Both must be specified",
    );
  }
  const values: Record<string, string> = {
    "pv.name": volumeName,
    "pvc.name": claim.metadata.name,
    "pvc.namespace": claim.metadata.namespace ?? "",
  };
  const filled = (template: string) =>
    template.replaceAll(/\$\{([^}]*)\}/g, (_, key: string) => {
      const annotation = /^pvc\.annotations\['(.*)'\]$/.exec(key)?.[1];
      const value = annotation ? claim.metadata.annotations?.[annotation] : values[key];
      if (value === undefined) throw new Error(`error resolving value "${template}": no "${key}"`);
      return value;
    });
  return { name: filled(name), namespace: filled(namespace) };
}

/** Where nodes are that have the driver, the chosen node's place first. */
function placesFor(
  claim: Obj,
  driver: StorageDriver,
  { informers }: ActorContext,
): Record<string, string>[] {
  const chosen = claim.metadata.annotations?.[SELECTED_NODE];
  const places = new Map<string, Record<string, string>>();
  const nodes = informers.for(NODES);
  const rows = [...informers.for(CSI_NODES).list()];
  rows.sort((a, b) => Number(b.metadata.name === chosen) - Number(a.metadata.name === chosen));
  for (const { metadata, spec } of rows) {
    const row = spec.drivers?.find((one: { name: string }) => one.name === driver.name);
    const labels = nodes.get(metadata.name)?.metadata.labels ?? {};
    const keys = (row?.topologyKeys ?? []) as readonly string[];
    if (keys.length === 0 || keys.some((key) => labels[key] === undefined)) continue;
    const place = Object.fromEntries(keys.map((key) => [key, labels[key]]));
    places.set(JSON.stringify(place), place);
  }
  return [...places.values()];
}

/** What a volume begins with, by the claim's data source. */
async function contentOf(claim: Obj, driver: StorageDriver, context: ActorContext) {
  const source = claim.spec.dataSource as
    | { apiGroup?: string; kind: string; name: string }
    | undefined;
  if (!source) return undefined;
  const { namespace } = claim.metadata;
  if (source.kind === "PersistentVolumeClaim") {
    const other = context.informers.for(PERSISTENT_VOLUME_CLAIMS).get(
      `${namespace}/${source.name}`,
    );
    const volume = other && boundVolume(other, context);
    if (volume?.spec.csi?.driver === driver.name) return { volume: volume.spec.csi.volumeHandle };
    throw new Error(
      `the source PVC ${source.name} is not bound to a volume of driver ${driver.name}`,
    );
  }
  const group = "snapshot.storage.k8s.io";
  if (source.kind !== "VolumeSnapshot" || source.apiGroup !== group) {
    throw new Error(`data source of kind ${source.kind} is not supported`);
  }
  const { client } = context;
  const named = async (plural: string, name: string, space?: string) =>
    await client.get<KubeObject>({
      resource: { group, version: "v1", plural },
      name,
      namespace: space,
    });
  const { status } = await named("volumesnapshots", source.name, namespace);
  if (!status?.readyToUse) throw new Error(`snapshot ${source.name} is not Ready`);
  const content = await named("volumesnapshotcontents", status.boundVolumeSnapshotContentName);
  return { snapshot: content.status.snapshotHandle as string };
}

/** Bytes as people write them. */
function sizeText(bytes: number): string {
  for (const [unit, name] of [[2 ** 30, "Gi"], [2 ** 20, "Mi"], [2 ** 10, "Ki"]] as const) {
    if (bytes % unit === 0) return `${bytes / unit}${name}`;
  }
  return String(bytes);
}

// --- deleting ---------------------------------------------------------------------------------------------

async function remove(volume: Obj, driver: StorageDriver, context: ActorContext): Promise<void> {
  const { client, informers } = context;
  const target = targetOf(PERSISTENT_VOLUMES, volume);
  // What was seen may be older than what was done.
  const now = await client.get<KubeObject>(target);
  const { name, uid, annotations, finalizers = [], deletionTimestamp } = now.metadata;
  const isOurs = finalizers.includes(FINALIZER);
  if (uid !== volume.metadata.uid || deletionTimestamp && !isOurs) return;
  const attachment = [...informers.for(VOLUME_ATTACHMENTS).list()]
    .find(({ spec }) => spec.source.persistentVolumeName === name);
  if (attachment) {
    const node = attachment.spec.nodeName;
    throw new Error(`persistentvolume ${name} is still attached to node ${node}`);
  }
  const secret = annotations?.[SECRET_NAME];
  const reference = secret
    ? { name: secret, namespace: annotations![SECRET_NAMESPACE] ?? "" }
    : undefined;
  await driver.delete(volume.spec.csi.volumeHandle, await secretsOf(reference, context));
  if (!deletionTimestamp) await client.delete(target, { preconditions: { uid } });
  if (isOurs) await letGo(volume, context);
}

/** Takes our finalizer from a volume; whoever takes another at the same time may have been first. */
async function letGo(volume: Obj, { client }: ActorContext): Promise<void> {
  const target = targetOf(PERSISTENT_VOLUMES, volume);
  for (let tries = 0;; tries++) {
    const { metadata: { uid, resourceVersion, finalizers = [] } } = await client.get(target);
    const rest = finalizers.filter((one) => one !== FINALIZER);
    if (rest.length === finalizers.length) return;
    const metadata = { uid, resourceVersion, finalizers: rest };
    try {
      await client.patch(target, { type: "merge", body: { metadata } });
      return;
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 409 || tries >= CONFLICTS_MAX) throw error;
    }
  }
}
