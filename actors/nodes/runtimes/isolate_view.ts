/**
 * How an isolate sees its pod, in the order in which it is tried:
 *
 * 1. `mount namespace`: the process gets a root of its own, with the container's writable layer, the
 *    volumes at their paths, its own /etc/hosts and /etc/resolv.conf, and the `deno` binary. As root, or
 *    in a user namespace. No process of the host's outlives its purpose: the shell that mounts becomes
 *    the container by `exec`.
 * 2. `preload`: the process runs in the host's file system and one module maps paths, addresses and names
 *    (`inside/preload.ts`).
 *
 * An exec mounts the same again for its own process; what containers write lies in folders of the host,
 * so both see the same files.
 */
import type { Mount } from "./runtime.ts";

export type ViewName = "mount namespace" | "user namespace" | "preload";

/** A process to be started in a container. */
export interface Launch {
  /** The container's writable layer on the host. */
  root: string;
  mounts: readonly Mount[];
  /** Where our own modules lie on the host. */
  modules: string;
  denoDir: string;
  readOnlyRoot: boolean;
  cwd: string;
  uid?: number;
  gid?: number;
  /** Further groups of the process (fsGroup, supplementalGroups). */
  groups?: readonly number[];
  /** Arguments of `deno`. */
  args: readonly string[];
  env: ReadonlyMap<string, string>;
  /** Files to write the pid to. */
  joins: readonly string[];
  /** The terminal to use as standard streams. */
  tty?: string;
}

/** A command line of the host. */
export interface HostCommand {
  command: string;
  args: string[];
  cwd?: string;
  env: Record<string, string>;
}

/** Where our modules lie inside. */
export const INSIDE = "/.plesio";
export const DENO_INSIDE = "/usr/bin/deno";
export const DENO_DIR_INSIDE = "/deno-dir";
/** Where the program lies inside that gives a process its user and groups. */
const SETPRIV_INSIDE = "/.setpriv";

/** Finds the best view of this machine by trying it. */
export async function chooseView(scratch: string, modules: string): Promise<ViewName> {
  if (Deno.build.os !== "linux") return "preload";
  const views: ViewName[] = Deno.uid() === 0
    ? ["mount namespace", "user namespace"]
    : ["user namespace"];
  for (const view of views) {
    const root = `${scratch}/${view.replaceAll(" ", "-")}`;
    try {
      prepareRoot(root, []);
      const launch: Launch = {
        root,
        mounts: [],
        modules,
        denoDir: modules,
        readOnlyRoot: false,
        cwd: "/",
        args: ["--version"],
        env: new Map(),
        joins: [],
      };
      const { command, args, env } = hostCommand(view, launch);
      const out = await new Deno.Command(command, { args, env, clearEnv: true, stderr: "null" })
        .output();
      if (out.success && new TextDecoder().decode(out.stdout).startsWith("deno ")) return view;
    } catch {
      // A tool is missing; the next view needs less.
    }
  }
  return "preload";
}

/** Variables that a shell has of its own and hands on: they are none of the container's. */
export const OF_SHELLS = ["PWD", "OLDPWD", "SHLVL", "_"];

const DEVICES = ["null", "zero", "full", "random", "urandom"];
const LIBRARIES = ["/lib", "/lib32", "/lib64", "/libx32"];

/** Makes the folders and files that the mounts of a root go onto. */
export function prepareRoot(root: string, mounts: readonly Mount[]): void {
  const folders = [
    "usr/bin",
    "usr/lib",
    "proc",
    "dev",
    "etc",
    "tmp",
    "root",
    "var/run",
    "deno-dir",
  ];
  for (const folder of [...folders, INSIDE.slice(1)]) {
    Deno.mkdirSync(`${root}/${folder}`, { recursive: true });
  }
  Deno.chmodSync(`${root}/tmp`, 0o1777);
  for (const device of DEVICES) touch(`${root}/dev/${device}`);
  touch(`${root}${DENO_INSIDE}`);
  touch(`${root}${SETPRIV_INSIDE}`);
  link("usr/bin", `${root}/bin`);
  link("/proc/self/fd", `${root}/dev/fd`);
  for (const [n, name] of ["stdin", "stdout", "stderr"].entries()) {
    link(`/proc/self/fd/${n}`, `${root}/dev/${name}`);
  }
  for (const library of LIBRARIES) {
    const target = linkOf(library);
    if (target) link(target, `${root}${library}`);
    else if (isFolder(library)) Deno.mkdirSync(`${root}${library}`, { recursive: true });
    if (isFolder(`/usr${library}`)) Deno.mkdirSync(`${root}/usr${library}`, { recursive: true });
  }
  for (const { hostPath, containerPath } of mounts) {
    const path = `${root}${containerPath}`;
    if (isFolder(hostPath)) Deno.mkdirSync(path, { recursive: true });
    else {
      Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      touch(path);
    }
  }
}

/** The command line of a process. */
export function hostCommand(view: ViewName, launch: Launch): HostCommand {
  const env = Object.fromEntries(launch.env);
  if (view === "preload") {
    const { args, cwd } = launch;
    const deno = Deno.execPath();
    const lines = [...joinLines(launch), ttyLine(launch), `exec "$@"`].filter((l) => l);
    if (lines.length === 1) return { command: deno, args: [...args], cwd, env };
    const script = lines.join("\n");
    return { command: "/bin/sh", args: ["-c", script, "sh", deno, ...args], cwd, env };
  }
  const lines = [
    "set -e",
    ...joinLines(launch),
    ttyLine(launch),
    // The container's own PATH must not decide which `mount` this is.
    `p=$PATH; PATH=/usr/sbin:/usr/bin:/sbin:/bin`,
    ...mountLines(launch, view),
    `s=$(command -v setpriv || :); u=$(command -v unshare)`,
    `PATH=$p; unset ${OF_SHELLS.join(" ")}`,
    ...execLines(launch, view),
  ];
  const flags = view === "user namespace" ? ["-r", "-m"] : ["-m"];
  const shell = ["/bin/sh", "-c", lines.filter((l) => l).join("\n"), "sh", ...launch.args];
  // Mounts of the host reach a namespace only where a volume asks for them; none of its own ever leaves it.
  const propagation = launch.mounts.some(crosses) ? "slave" : "private";
  const command = ["unshare", ...flags, "--propagation", propagation, "--", ...shell];
  return { command: absolute(command[0]), args: command.slice(1), env };
}

/** The last lines: the shell becomes the container, with its root, user and groups. */
function execLines(launch: Launch, view: ViewName): string[] {
  const root = `$u --root=${quote(launch.root)} --wd=${quote(launch.cwd)}`;
  const plain = `exec \${s:+$s --pdeathsig KILL} ${root}${userFlags(launch, view)} ` +
    `${DENO_INSIDE} "$@"`;
  const { groups = [], uid = 0, gid = 0 } = launch;
  // A user namespace has no groups to give.
  if (groups.length === 0 || view !== "mount namespace") return [plain];
  const of = `--reuid=${uid} --regid=${gid} --groups=${groups.join(",")} --pdeathsig KILL`;
  return [
    `if [ -n "$s" ]; then PATH=/usr/sbin:/usr/bin:/sbin:/bin`,
    `mount --bind "$s" ${quote(`${launch.root}${SETPRIV_INSIDE}`)}; PATH=$p`,
    `exec ${root} ${SETPRIV_INSIDE} ${of} -- ${DENO_INSIDE} "$@"; fi`,
    plain,
  ];
}

/** Whether mounts that the host makes later are to be seen through a mount. An isolate makes none itself. */
function crosses({ propagation = "None" }: Mount): boolean {
  return propagation !== "None";
}

function userFlags(launch: Launch, view: ViewName): string {
  // Inside a user namespace there is only one user.
  if (view !== "mount namespace") return "";
  const uid = launch.uid ? ` -S ${launch.uid}` : "";
  return (launch.gid ? ` -G ${launch.gid}` : "") + uid;
}

function joinLines(launch: Launch): string[] {
  return launch.joins.map((file) => `echo $$ > ${quote(file)}`);
}

function ttyLine(launch: Launch): string {
  return launch.tty ? `exec 0<>${quote(launch.tty)} 1>&0 2>&0` : "";
}

function mountLines(launch: Launch, view: ViewName): string[] {
  const { root } = launch;
  const at = (path: string) => quote(`${root}${path}`);
  const lines = [`mount --bind ${quote(root)} ${quote(root)}`];
  const bind = (from: string, path: string, readOnly: boolean) => {
    lines.push(`mount --rbind ${quote(from)} ${at(path)}`);
    if (!readOnly) return;
    // In a user namespace flags that the mount already has must be named again.
    const again = `mount -o remount,bind,ro ${at(path)}`;
    const locked = `mount -o remount,bind,ro,nosuid,nodev ${at(path)}`;
    lines.push(view === "user namespace" ? `${again} 2>/dev/null || ${locked}` : again);
  };
  lines.push(`mount --bind -o ro /usr/lib ${at("/usr/lib")}`);
  for (const library of LIBRARIES) {
    if (isFolder(`/usr${library}`) && library !== "/lib") {
      lines.push(`mount --bind -o ro /usr${library} ${at(`/usr${library}`)}`);
    }
    if (!linkOf(library) && isFolder(library)) {
      lines.push(`mount --bind -o ro ${library} ${at(library)}`);
    }
  }
  lines.push(`mount --bind ${quote(Deno.execPath())} ${at(DENO_INSIDE)}`);
  for (const device of DEVICES) lines.push(`mount --bind /dev/${device} ${at(`/dev/${device}`)}`);
  lines.push(`mount --rbind /proc ${at("/proc")}`);
  lines.push(`mount --bind ${quote(launch.modules)} ${at(INSIDE)}`);
  lines.push(`mount --bind ${quote(launch.denoDir)} ${at(DENO_DIR_INSIDE)}`);
  const mounts = [...launch.mounts].sort((a, b) => a.containerPath.length - b.containerPath.length);
  if (launch.readOnlyRoot) lines.push(`mount -o remount,bind,ro ${quote(root)}`);
  for (const mount of mounts) {
    bind(mount.hostPath, mount.containerPath, mount.readOnly);
    const path = at(mount.containerPath);
    if (!crosses(mount)) lines.push(`mount --make-rprivate ${path}`);
    if (!mount.recursiveReadOnly) continue;
    // The list is read whole before it changes.
    lines.push(
      `m=$(cut -d' ' -f5 /proc/self/mountinfo); for n in $m; do case $n in ${path}/*) ` +
        `mount -o remount,bind,ro "$n";; esac; done`,
    );
  }
  return lines;
}

/** A word for the shell. */
export function quote(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function absolute(command: string): string {
  for (const folder of ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]) {
    if (isFile(`${folder}/${command}`)) return `${folder}/${command}`;
  }
  return command;
}

function touch(path: string): void {
  Deno.openSync(path, { create: true, write: true }).close();
}

function link(target: string, path: string): void {
  try {
    Deno.symlinkSync(target, path);
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
}

function linkOf(path: string): string | undefined {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return undefined; // no link, or nothing at all
  }
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
