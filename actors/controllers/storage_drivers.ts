/**
 * Storage drivers whose controller calls this cluster makes itself: what the sidecars of such a driver do elsewhere
 * (external-provisioner, -attacher, -resizer). Drivers that bring their own sidecars are none of these: those act
 * through the API like everybody.
 */
import { secretTexts } from "../../api/machinery/secret_data.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  isGone,
  type Outcome,
  PERSISTENT_VOLUMES,
  SECRETS,
} from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";

/** What a volume is to be used for. */
export interface VolumeUse {
  accessModes: readonly string[];
  block: boolean;
  fsType: string;
  mountOptions: readonly string[];
}

/** A volume that is wished for. */
export interface VolumeWish extends VolumeUse {
  name: string;
  bytes: number;
  parameters: Readonly<Record<string, string>>;
  secrets: Secrets;
  /** Where it may be, the best first; absent where the driver does not care. */
  places?: readonly Readonly<Record<string, string>>[];
  /** What it begins with: another volume's content, or a snapshot's. */
  from?: { volume: string } | { snapshot: string };
}

/** A volume as its driver made it. */
export interface MadeVolume {
  handle: string;
  /** 0: as many as were wished for. */
  bytes: number;
  context: Readonly<Record<string, string>>;
  places: readonly Readonly<Record<string, string>>[];
}

export type Secrets = Readonly<Record<string, string>>;

/** A driver's controller service. Calls reject with what the driver says. */
export interface StorageDriver {
  readonly name: string;
  can(what: "create" | "publish" | "expand" | "places"): Promise<boolean>;
  create(wish: VolumeWish): Promise<MadeVolume>;
  delete(handle: string, secrets: Secrets): Promise<void>;
  /** Attaches; resolves with what the node's service is to be told. */
  attach(
    volume: {
      handle: string;
      use: VolumeUse;
      readOnly: boolean;
      context: Secrets;
      secrets: Secrets;
    },
    node: string,
  ): Promise<Record<string, string>>;
  detach(handle: string, node: string, secrets: Secrets): Promise<void>;
  /** Resolves with whether the node has something left to do. */
  expand(
    volume: { handle: string; use: VolumeUse; secrets: Secrets },
    bytes: number,
  ): Promise<{ bytes: number; onNode: boolean }>;
}

/** The drivers that were configured. */
export interface StorageDrivers {
  /** The one of a name; `unknown` while one that may be it has not said its name. */
  find(name: string): Promise<StorageDriver | "unknown" | undefined>;
}

/** What is asked of a driver. */
export interface Errand {
  /** What the controller has in hand: what failed is tried again by it, later each time. */
  key: string;
  driver: string;
  /** Without this ability it is not the driver's to do. */
  needs?: Parameters<StorageDriver["can"]>[0];
  /** Rejects with what went wrong. Not called while there is no such driver. */
  run(driver: StorageDriver): Promise<void>;
  /** Tells of an error. */
  failed(error: Error, driver: StorageDriver): Promise<void> | void;
}

/** Does an errand: what every controller of storage drivers does around its calls. */
export async function runErrand(
  drivers: StorageDrivers,
  retries: Retries,
  { key, driver: name, needs, run, failed }: Errand,
): Promise<Outcome> {
  const driver = await drivers.find(name);
  if (driver === "unknown") return { afterMs: DRIVER_AGAIN_MS };
  if (!driver || (needs && !await driver.can(needs))) return;
  try {
    await run(driver);
    retries.done(key);
  } catch (error) {
    if (isGone(error)) return; // another event comes, or nothing is left to be done
    await failed(error as Error, driver);
    return retries.failed(key);
  }
}

/** How soon a driver that has not said its name is asked again. */
export const DRIVER_AGAIN_MS = 5_000;
/** First and longest wait after a driver refused. */
const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 300_000;

/** How long each thing that failed waits until it is tried again. */
export class Retries {
  readonly #pauses = new Map<string, number>();

  failed(key: string): Outcome {
    const pause = Math.min(RETRY_MS_MAX, (this.#pauses.get(key) ?? RETRY_MS_MIN / 2) * 2);
    this.#pauses.set(key, pause);
    return { afterMs: pause };
  }

  done(key: string): void {
    this.#pauses.delete(key);
  }
}

/** What a persistent volume says of its use. */
export function useOf({ spec }: Obj): VolumeUse {
  return {
    accessModes: spec.accessModes ?? [],
    block: spec.volumeMode === "Block",
    fsType: spec.csi?.fsType ?? "",
    mountOptions: spec.mountOptions ?? [],
  };
}

/** The values of a Secret; none where none is named. */
export async function secretsOf(
  reference: { name: string; namespace: string } | undefined,
  { client }: ActorContext,
): Promise<Record<string, string>> {
  if (!reference) return {};
  const { name, namespace } = reference;
  try {
    const secret = await client.get<KubeObject>({ resource: SECRETS, namespace, name });
    return secretTexts(secret);
  } catch (error) {
    if (!isGone(error)) throw error;
    throw new Error(
      `error getting secret ${name} in namespace ${namespace}: secrets "${name}" not found`,
    );
  }
}

/** The volume that a claim is bound to, and that names it too. */
export function boundVolume(claim: Obj, { informers }: ActorContext): Obj | undefined {
  const volume = informers.for(PERSISTENT_VOLUMES).get(claim.spec.volumeName ?? "");
  return volume?.spec.claimRef?.uid === claim.metadata.uid ? volume : undefined;
}
