/**
 * emptyDir: a folder of the pod's own, in memory (tmpfs) or in huge pages where its medium says so
 * (pkg/volume/emptydir/empty_dir.go). What is there already stays: a pod that comes back finds its files.
 *
 * Who may not mount gives a folder for `Memory`: the size limit is then kept by eviction alone. Huge pages are
 * refused.
 */
import { parseQuantity } from "../../../api/machinery/quantity.ts";
import type { Pod } from "../types.ts";
import { KernelError, type Mounts } from "./kernel.ts";

const MODE = 0o777;
const HUGE = "HugePages";
const HUGE_RESOURCE = "hugepages-";
const EINVAL = 22;

/** What a folder of a pod is to be. */
export interface EmptyDir {
  medium?: string;
  sizeLimit?: string | number;
}

/** Where it is made. */
export interface EmptyDirPlace {
  mounts: Mounts | undefined;
  /** The node's allocatable memory: no folder in memory is larger. */
  allocatableMemory: string | undefined;
}

/** Makes it, or finds it as it was. */
export async function makeEmptyDir(
  path: string,
  { medium = "", sizeLimit }: EmptyDir,
  pod: Pod,
  { mounts, allocatableMemory }: EmptyDirPlace,
): Promise<void> {
  const isNew = await makeFolder(path);
  if (medium === "") return;
  const isHuge = medium === HUGE || medium.startsWith(`${HUGE}-`);
  if (medium !== "Memory" && !isHuge) throw new Error(`unknown storage medium "${medium}"`);
  if (isHuge && !mounts) {
    throw new Error(`medium ${medium} needs a node that may mount: it runs without root`);
  }
  if (!mounts || (!isNew && mounts.under(path).some((point) => point.path === path))) return;
  if (isHuge) return mounts.mount("hugetlbfs", path, `pagesize=${pageSizeOf(medium, pod)}`);
  const size = memoryLimit(pod, sizeLimit, allocatableMemory);
  mountMemory(mounts, path, size);
}

/** Resolves with whether it was not there. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    if ((await Deno.lstat(path)).isDirectory) return false;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  await Deno.mkdir(path, { recursive: true });
  await Deno.chmod(path, MODE);
  return true;
}

function mountMemory(mounts: Mounts, path: string, bytes: number): void {
  const size = bytes > 0 ? `size=${bytes}` : "";
  try {
    // What is secret in it must not reach the disk by swapping.
    mounts.mount("tmpfs", path, [size, "noswap"].filter((word) => word).join(","));
  } catch (error) {
    if (!(error instanceof KernelError) || error.errno !== EINVAL) throw error;
    mounts.mount("tmpfs", path, size); // a kernel before 6.4
  }
}

/** The least of: the node's memory, the memory that the pod's containers may use, the volume's own limit. */
export function memoryLimit(
  pod: Pod,
  sizeLimit: string | number | undefined,
  allocatable: string | undefined,
): number {
  const bounds = [allocatable, podMemory(pod), sizeLimit]
    .map((bound) => bound === undefined ? 0 : parseQuantity(bound).value())
    .filter((bytes) => bytes > 0);
  return bounds.length ? Math.min(...bounds) : 0;
}

/** What all containers together may use; undefined when the pod has no limit, nor each of them. */
function podMemory({ spec }: Pod): number | undefined {
  const ofPod = spec.resources?.limits?.memory;
  if (ofPod !== undefined) return parseQuantity(ofPod).value();
  let sum = 0;
  for (const { resources } of spec.containers) {
    const limit = resources?.limits?.memory;
    if (limit === undefined) return undefined;
    sum += parseQuantity(limit).value();
  }
  const first = (spec.initContainers ?? []).map(({ resources }) =>
    parseQuantity(resources?.limits?.memory ?? 0).value()
  );
  return Math.max(sum, ...first);
}

/** The size of the pages, by the medium's name or by what the containers ask for. */
export function pageSizeOf(medium: string, pod: Pod): string {
  const sizes = new Set<string>();
  for (const { resources } of [...pod.spec.containers, ...pod.spec.initContainers ?? []]) {
    for (const name of Object.keys(resources?.requests ?? resources?.limits ?? {})) {
      if (name.startsWith(HUGE_RESOURCE)) sizes.add(name.slice(HUGE_RESOURCE.length));
    }
  }
  const wanted = medium === HUGE
    ? [...sizes]
    : [...sizes].filter((size) =>
      parseQuantity(size).compare(parseQuantity(medium.slice(HUGE.length + 1))) === 0
    );
  if (wanted.length > 1) {
    throw new Error(
      `medium: ${medium} can't be used if container requests multiple huge page sizes`,
    );
  }
  if (wanted.length === 0) {
    throw new Error(
      `medium ${medium}: hugePages storage requested, but there is no resource request for huge pages`,
    );
  }
  // The kernel knows K, M and G.
  return wanted[0].replace(/i$/, "");
}
