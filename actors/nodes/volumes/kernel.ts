/**
 * Mounts of this machine, by the C library (FFI): a pod's volumes are made in microseconds, and a path in a
 * volume is opened so that no symbolic link in it can lead out (openat2, RESOLVE_BENEATH).
 *
 * Only root on Linux may mount; `hostMounts()` is undefined elsewhere and volumes are plain folders then. Network
 * file systems are mounted by the host's own tools (`remote.ts`), which know their servers.
 */

/** A line of /proc/self/mountinfo. */
export interface MountPoint {
  readonly path: string;
  readonly type: string;
  readonly source: string;
  /** Options of the mount and of its file system, as the kernel writes them. */
  readonly options: readonly string[];
}

/** What volumes need of a kernel. */
export interface Mounts {
  /** Mounts a file system; `data` are its own options (`size=1,mode=700`). */
  mount(type: string, target: string, data: string): void;
  /** Shows `source` at `target` too, with what is mounted below it. */
  bind(source: string, target: string): void;
  /**
   * Takes away what is mounted there last; a mount in use goes when it is no longer used. `lazy` does not even wait
   * for the file system: that of another machine may never answer again.
   */
  unmount(target: string, lazy?: boolean): void;
  /** What is mounted at a folder or below it, in the order in which it was mounted. */
  under(folder: string): MountPoint[];
  /** Opens a path in a folder; whoever gets the descriptor closes it. */
  openBeneath(folder: string, path: string): Opened;
  /** Makes a folder and those above it in `folder`; returns nothing that a link could have moved. */
  makeBeneath(folder: string, path: string, mode: number): void;
}

/** A thing of a volume, held so that nobody can put another in its place. */
export interface Opened {
  /** A name for it that only this process can change. */
  readonly path: string;
  close(): void;
}

const SYMBOLS = {
  mount: { parameters: ["buffer", "buffer", "buffer", "u64", "buffer"], result: "i32" },
  umount2: { parameters: ["buffer", "i32"], result: "i32" },
  open: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  mkdirat: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  fchmodat: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  syscall: { parameters: ["i64", "i64", "buffer", "buffer", "i64"], result: "i64" },
  __errno_location: { parameters: [], result: "pointer" },
} as const;

const MS_BIND = 0x1000n;
const MS_REC = 0x4000n;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const SYS_OPENAT2 = 437n;
const RESOLVE_BENEATH = 8n;
const RESOLVE_NO_MAGICLINKS = 2n;
/** The kernel's names of what goes wrong, in the C library's words. */
const ERRORS: Record<number, string> = {
  1: "Operation not permitted",
  2: "No such file or directory",
  12: "Cannot allocate memory",
  13: "Permission denied",
  16: "Device or resource busy",
  17: "File exists",
  18: "Invalid cross-device link",
  19: "No such device",
  20: "Not a directory",
  22: "Invalid argument",
  28: "No space left on device",
  40: "Too many levels of symbolic links",
};
const ENOENT = 2, EBUSY = 16, EEXIST = 17, EINVAL = 22;

/** File systems that a call may wait for: their server is elsewhere, or a program. */
const REMOTE = /^(nfs|cifs|smb|ceph|fuse|glusterfs|9p)/;

/** A call that the kernel refused. */
export class KernelError extends Error {
  override name = "KernelError";
  readonly errno: number;
  constructor(what: string, errno: number) {
    super(`${what}: ${ERRORS[errno] ?? `error ${errno}`}`);
    this.errno = errno;
  }
}

const text = (value: string) => new TextEncoder().encode(`${value}\0`);

let found: Mounts | undefined | null = null;

/** This machine's mounts; undefined where they may not be changed. */
export function hostMounts(): Mounts | undefined {
  if (found === null) found = mayMount() ? new LinuxMounts() : undefined;
  return found;
}

function mayMount(): boolean {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return false;
  try {
    // CAP_SYS_ADMIN: root of a container often lacks it.
    const caps = /^CapEff:\s*(\w+)/m.exec(Deno.readTextFileSync("/proc/self/status"))?.[1] ?? "0";
    return (BigInt(`0x${caps}`) >> 21n & 1n) === 1n;
  } catch {
    return false; // nothing says that it may
  }
}

class LinuxMounts implements Mounts {
  readonly #c = Deno.dlopen("libc.so.6", SYMBOLS).symbols;

  #errno(): number {
    return new Deno.UnsafePointerView(this.#c.__errno_location()!).getInt32();
  }

  #mount(source: string, target: string, type: string, flags: bigint, data: string): void {
    const done = this.#c.mount(text(source), text(target), text(type), flags, text(data));
    if (done !== 0) throw new KernelError(`mount of ${type || source} at ${target}`, this.#errno());
  }

  mount(type: string, target: string, data: string): void {
    this.#mount(type === "hugetlbfs" ? "nodev" : type, target, type, 0n, data);
  }

  bind(source: string, target: string): void {
    this.#mount(source, target, "", MS_BIND | MS_REC, "");
  }

  unmount(target: string, lazy = false): void {
    const flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0);
    if (this.#c.umount2(text(target), flags) === 0) return;
    let errno = this.#errno();
    if (errno === EBUSY) {
      if (this.#c.umount2(text(target), UMOUNT_NOFOLLOW | MNT_DETACH) === 0) return;
      errno = this.#errno();
    }
    // Nothing is mounted there (any more), or there is no such place.
    if (errno === EINVAL || errno === ENOENT) return;
    throw new KernelError(`unmount of ${target}`, errno);
  }

  under(folder: string): MountPoint[] {
    return parseMountInfo(Deno.readTextFileSync("/proc/self/mountinfo"))
      .filter(({ path }) => path === folder || path.startsWith(`${folder}/`));
  }

  openBeneath(folder: string, path: string): Opened {
    const at = this.#folder(folder);
    try {
      return this.#held(this.#openat(at, path));
    } finally {
      this.#c.close(at);
    }
  }

  #folder(path: string): number {
    const fd = this.#c.open(text(path), O_PATH | O_CLOEXEC, 0);
    if (fd < 0) throw new KernelError(`open of ${path}`, this.#errno());
    return fd;
  }

  #openat(at: number, path: string): number {
    const how = new BigUint64Array([
      BigInt(O_PATH | O_CLOEXEC),
      0n,
      RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    ]);
    const size = BigInt(how.byteLength);
    const bytes = new Uint8Array(how.buffer);
    const fd = Number(this.#c.syscall(SYS_OPENAT2, BigInt(at), text(path), bytes, size));
    if (fd < 0) throw new KernelError(`open of ${path}`, this.#errno());
    return fd;
  }

  #held(fd: number): Opened {
    return { path: `/proc/${Deno.pid}/fd/${fd}`, close: () => void this.#c.close(fd) };
  }

  makeBeneath(folder: string, path: string, mode: number): void {
    let at = this.#folder(folder);
    try {
      for (const part of path.split("/").filter((word) => word && word !== ".")) {
        const name = text(part);
        if (this.#c.mkdirat(at, name, mode) === 0) {
          // The process' own mask must not decide who may use it.
          this.#c.fchmodat(at, name, mode, 0);
        } else if (this.#errno() !== EEXIST) {
          throw new KernelError(`mkdir of ${path}`, this.#errno());
        }
        const next = this.#openat(at, part);
        this.#c.close(at);
        at = next;
      }
    } finally {
      this.#c.close(at);
    }
  }
}

/** Reads the kernel's list of mounts. */
export function parseMountInfo(content: string): MountPoint[] {
  const points: MountPoint[] = [];
  for (const line of content.split("\n")) {
    const [left, right] = line.split(" - ");
    if (!right) continue;
    const own = left.split(" ");
    const [type, source, options = ""] = right.split(" ");
    points.push({
      path: unescape(own[4]),
      type,
      source: unescape(source),
      options: [...own[5].split(","), ...options.split(",")],
    });
  }
  return points;
}

/** Blanks and the like are written as three octal digits. */
function unescape(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(parseInt(code, 8)));
}

/**
 * Takes away everything that is mounted at or below a folder, the last first; says how many there were. Throws when
 * something is left: whoever would remove the folder then would remove what is mounted in it.
 */
export function unmountAll(mounts: Mounts, folder: string): number {
  let count = 0;
  // Mounts may lie on top of one another at one place: each is listed.
  for (const { path, type } of mounts.under(folder).reverse()) {
    mounts.unmount(path, REMOTE.test(type));
    count++;
  }
  const left = mounts.under(folder);
  if (left.length) throw new Error(`${left[0].path} is still mounted (${left[0].type})`);
  return count;
}
