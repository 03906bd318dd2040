/**
 * Pseudo terminals by the C library (FFI): the master end as a pair of streams, the path of the other
 * end for the child to open. All masters share one `poll(2)` on a thread of their own: a blocking read
 * for each would use up Deno's threads (PLATFORM.md, section 11).
 */

/** A terminal. */
export interface Pty {
  /** The end that the child opens as its standard streams. */
  readonly path: string;
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  resize(size: { width: number; height: number }): void;
  /** Lets go once what was written is read. */
  close(): void;
}

const SYMBOLS = {
  posix_openpt: { parameters: ["i32"], result: "i32" },
  grantpt: { parameters: ["i32"], result: "i32" },
  unlockpt: { parameters: ["i32"], result: "i32" },
  ptsname: { parameters: ["i32"], result: "pointer" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
} as const;

const DARWIN = Deno.build.os === "darwin";
const O_RDWR_NOCTTY = DARWIN ? 0x20002 : 0x102;
const O_NONBLOCK = DARWIN ? 0x4 : 0x800;
const F_SETFL = 4;
const TIOCSWINSZ = DARWIN ? 0x80087467n : 0x5414n;
const POLLIN = 1;
/** How long one poll waits: a terminal that is opened meanwhile waits no longer than this. */
const POLL_MS = 20;
const BLOCK = 64 * 1024;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
let library: Library | undefined;

function libc(): Library {
  if (library) return library;
  const name = DARWIN ? "libSystem.B.dylib" : "libc.so.6";
  return library = Deno.dlopen(name, SYMBOLS).symbols;
}

interface Master {
  fd: number;
  controller: ReadableStreamDefaultController<Uint8Array>;
  closing: boolean;
  /** Polls without data since it was asked to close: what the child wrote last may still come. */
  idle: number;
  waiting?: () => void;
}

const masters = new Set<Master>();
let polling = false;

/** Opens one; throws where the platform has none. */
export function openPty(): Pty {
  if (Deno.build.os === "windows") throw new Error("terminals are not supported on this platform");
  const c = libc();
  const fd = c.posix_openpt(O_RDWR_NOCTTY);
  if (fd < 0 || c.grantpt(fd) !== 0 || c.unlockpt(fd) !== 0) {
    throw new Error("cannot open a terminal: no pseudo terminals are left");
  }
  const path = new Deno.UnsafePointerView(c.ptsname(fd)!).getCString();
  c.fcntl(fd, F_SETFL, O_NONBLOCK);
  let master: Master;
  const readable = new ReadableStream<Uint8Array>({
    start(controller) {
      master = { fd, controller, closing: false, idle: 0 };
      masters.add(master);
    },
    pull() {
      master.waiting?.();
    },
  }, { highWaterMark: 1 << 20, size: (chunk) => chunk.byteLength });
  const writable = new WritableStream<Uint8Array>({
    write: (chunk) => writeAll(master, chunk),
    // A terminal has no end of input but the character for it.
    close: () => writeAll(master, Uint8Array.of(4)),
  });
  if (!polling) void pollAll();
  return {
    path,
    readable,
    writable,
    resize: ({ width, height }) => {
      const size = new Uint16Array([height, width, 0, 0]);
      if (masters.has(master)) c.ioctl(fd, TIOCSWINSZ, new Uint8Array(size.buffer));
    },
    close: () => void (master.closing = true),
  };
}

async function writeAll(master: Master, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length && masters.has(master);) {
    const rest = chunk.slice(at);
    const written = Number(libc().write(master.fd, rest, BigInt(rest.length)));
    if (written > 0) at += written;
    else await new Promise((resolve) => setTimeout(resolve, 2)); // the child does not read
  }
}

async function pollAll(): Promise<void> {
  polling = true;
  const buffer = new Uint8Array(BLOCK);
  while (masters.size) {
    const all = [...masters];
    const open = all.filter((m) => (m.controller.desiredSize ?? 0) > 0);
    const view = new DataView(new ArrayBuffer(8 * open.length));
    open.forEach((m, i) => {
      view.setInt32(i * 8, m.fd, true);
      view.setInt16(i * 8 + 4, POLLIN, true);
    });
    const bytes = new Uint8Array(view.buffer);
    if (open.length) await libc().poll(bytes, BigInt(open.length), POLL_MS);
    else await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    let read = false;
    open.forEach((master, i) => {
      if (view.getInt16(i * 8 + 6, true)) read = take(master, buffer) || read;
      else if (master.closing) finish(master);
    });
    // A terminal whose child has gone and that nobody has opened yet reports a hang-up at once.
    if (!read) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  polling = false;
}

/** Reads what there is; true when there was something. */
function take(master: Master, buffer: Uint8Array<ArrayBuffer>): boolean {
  const size = Number(libc().read(master.fd, buffer, BigInt(buffer.length)));
  if (size > 0) {
    master.idle = 0;
    try {
      master.controller.enqueue(buffer.slice(0, size));
    } catch {
      master.closing = true; // its reader has cancelled
    }
    return true;
  }
  // -1: nothing yet, or nobody has it open (before the child opened it, and after it ended).
  if (master.closing && ++master.idle > 2) finish(master);
  return false;
}

function finish(master: Master): void {
  masters.delete(master);
  libc().close(master.fd);
  try {
    master.controller.close();
  } catch {
    // Its reader has cancelled.
  }
}
