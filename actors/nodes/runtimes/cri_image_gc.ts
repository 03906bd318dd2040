/**
 * Removes images that nobody uses when the disk they lie on is full: above 85% of it those that were used
 * longest ago go, until 80% are reached (`pkg/kubelet/images/image_gc_manager.go`). One that has just come
 * is left alone: its container may still be on the way. So is the image of sandboxes.
 */
import type { Clock } from "../../../kv/clock.ts";
import type { FileSystem } from "../figures.ts";
import type { RpcClient } from "../../../api/client/grpc.ts";
import type { CRI, Cri } from "./cri_messages.ts";

/** Percent of the disk at which images begin to go, and at which no more do. */
export const USED_HIGH = 85;
export const USED_LOW = 80;
/** Between two looks. */
export const IMAGE_GC_MS = 5 * 60_000;
/** An image is there so long at least before it may go. */
export const IMAGE_AGE_MS_MIN = 2 * 60_000;

/** Bytes of a file system. */
export interface DiskSpace {
  capacity: number;
  available: number;
}

/** As `df` counts it: what a file system reserves is neither used nor free, and no image that goes frees it. */
export function spaceOf({ usedBytes, availableBytes }: FileSystem): DiskSpace {
  return { capacity: usedBytes + availableBytes, available: availableBytes };
}

export interface ImageGcOptions {
  client: Pick<RpcClient<typeof CRI.messages>, "call">;
  clock: Pick<Clock, "now">;
  /** Of the file system that a path is on. */
  space(path: string): Promise<DiskSpace>;
  /** Told when less can be freed than must be. */
  failed(reason: string, message: string): void;
}

/** See the module's text. */
export class ImageGc {
  readonly #options: ImageGcOptions;
  /** When an image was first seen, and when a container of it was last there. */
  #seen = new Map<string, { firstAt: number; usedAt: number }>();

  constructor(options: ImageGcOptions) {
    this.#options = options;
  }

  /** Removes every image that nobody uses and that has not just come; resolves with the bytes that were freed. */
  async removeUnused(): Promise<number> {
    const now = this.#options.clock.now();
    const { images = [] } = await this.#options.client.call("ListImages", {});
    const used = await this.#note(images, now);
    return await this.#free(images.filter((image) => !used.has(image.id ?? "")), Infinity, now);
  }

  /** Looks once; resolves with the bytes that were freed. */
  async run(): Promise<number> {
    const { client, clock, space, failed } = this.#options;
    const now = clock.now();
    const { images = [] } = await client.call("ListImages", {});
    const used = await this.#note(images, now);
    const { imageFilesystems = [] } = await client.call("ImageFsInfo", {});
    const path = imageFilesystems[0]?.fsId?.mountpoint;
    if (!path) return 0;
    const { capacity, available } = await space(path);
    if (capacity <= 0) return 0;
    const percent = 100 - Math.floor(available * 100 / capacity);
    if (percent < USED_HIGH) return 0;
    const wanted = Math.floor(capacity * (100 - USED_LOW) / 100) - available;
    const freed = await this.#free(
      images.filter((image) => !used.has(image.id ?? "")),
      wanted,
      now,
    );
    if (freed < wanted) {
      failed(
        "FreeDiskSpaceFailed",
        "Failed to garbage collect required amount of images. Attempted to free " +
          `${wanted} bytes, but only found ${freed} bytes eligible to free.`,
      );
    }
    return freed;
  }

  /** Notes which images there are; returns those that a container uses. */
  async #note(images: readonly Cri<"Image">[], now: number): Promise<Set<string>> {
    const { containers = [] } = await this.#options.client.call("ListContainers", {});
    const names = new Set(containers.flatMap(({ imageRef, image }) => [imageRef, image?.image]));
    const used = new Set<string>();
    const seen = new Map<string, { firstAt: number; usedAt: number }>();
    for (const { id = "", repoTags = [], repoDigests = [] } of images) {
      const known = this.#seen.get(id) ?? { firstAt: now, usedAt: 0 };
      if ([id, ...repoTags, ...repoDigests].some((name) => names.has(name))) {
        used.add(id);
        known.usedAt = now;
      }
      seen.set(id, known);
    }
    this.#seen = seen;
    return used;
  }

  async #free(unused: Cri<"Image">[], wanted: number, now: number): Promise<number> {
    const seenOf = ({ id = "" }: Cri<"Image">) => this.#seen.get(id)!;
    unused.sort((a, b) =>
      seenOf(a).usedAt - seenOf(b).usedAt || seenOf(a).firstAt - seenOf(b).firstAt
    );
    let freed = 0;
    for (const image of unused) {
      if (freed >= wanted) break;
      if (now - seenOf(image).firstAt < IMAGE_AGE_MS_MIN || isKept(image)) continue;
      await this.#options.client.call("RemoveImage", { image: { image: image.id } });
      this.#seen.delete(image.id ?? "");
      freed += image.size ?? 0;
    }
    return freed;
  }
}

/** Runtimes before 1.7 do not say that they need the image of their sandboxes. */
function isKept({ pinned, repoTags = [] }: Cri<"Image">): boolean {
  return !!pinned || repoTags.some((name) => /\/pause:/.test(name));
}
