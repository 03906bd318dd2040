/**
 * Images of the tests, made here without any registry: a folder of files becomes a docker-archive that
 * `ctr images import` takes. They are of what Debian has (busybox-static) and of this process's own deno;
 * they stand in for those that people's manifests name.
 */

/** A file of an image: text or bytes, or where it leads to. */
export interface ImageFile {
  path: string;
  content?: string | Uint8Array;
  link?: string;
  /** 0644 unless told. */
  mode?: number;
}

/** An image to be made. */
export interface ImageRecipe {
  /** Full names: `docker.io/library/nginx:1.27`. */
  names: readonly string[];
  files: readonly ImageFile[];
  entrypoint?: readonly string[];
  cmd?: readonly string[];
  env?: readonly string[];
  user?: string;
  workingDir?: string;
}

const BLOCK = 512;
const encoder = new TextEncoder();

/** A tar of files, folders before what is in them. */
export function tarOf(files: readonly ImageFile[]): Uint8Array<ArrayBuffer> {
  const folders = new Set<string>();
  const parts: Uint8Array[] = [];
  for (const file of files) {
    const path = file.path.replace(/^\//, "");
    const names = path.split("/").slice(0, -1);
    for (let n = 1; n <= names.length; n++) {
      const folder = `${names.slice(0, n).join("/")}/`;
      if (folders.has(folder)) continue;
      folders.add(folder);
      parts.push(header(folder, { type: "5", mode: folder === "tmp/" ? 0o1777 : 0o755, size: 0 }));
    }
    if (path === "") continue;
    if (file.link !== undefined) {
      parts.push(header(path, { type: "2", mode: 0o777, size: 0, link: file.link }));
      continue;
    }
    const bytes = typeof file.content === "string"
      ? encoder.encode(file.content)
      : file.content ?? new Uint8Array();
    if (path.endsWith("/")) continue;
    parts.push(header(path, { type: "0", mode: file.mode ?? 0o644, size: bytes.length }), bytes);
    parts.push(new Uint8Array((BLOCK - bytes.length % BLOCK) % BLOCK));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function header(
  name: string,
  { type, mode, size, link = "" }: { type: string; mode: number; size: number; link?: string },
): Uint8Array {
  const bytes = new Uint8Array(BLOCK);
  const put = (at: number, text: string) => bytes.set(encoder.encode(text), at);
  const octal = (value: number, width: number) => value.toString(8).padStart(width - 1, "0") + "\0";
  if (name.length > 99 || link.length > 99) throw new Error(`too long for a tar: ${name}`);
  put(0, name);
  put(100, octal(mode, 8));
  put(108, octal(0, 8));
  put(116, octal(0, 8));
  put(124, octal(size, 12));
  put(136, octal(0, 12));
  put(148, " ".repeat(8));
  put(156, type);
  put(157, link);
  put(257, "ustar\0" + "00");
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  put(148, sum.toString(8).padStart(6, "0") + "\0 ");
  return bytes;
}

async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** A docker-archive of one image. */
export async function archiveOf(recipe: ImageRecipe): Promise<Uint8Array<ArrayBuffer>> {
  const { names, files, entrypoint, cmd, env = [], user, workingDir } = recipe;
  const layer = tarOf(files);
  const config = JSON.stringify({
    architecture: Deno.build.arch === "aarch64" ? "arm64" : "amd64",
    os: "linux",
    config: {
      Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ...env],
      ...(entrypoint ? { Entrypoint: entrypoint } : {}),
      ...(cmd ? { Cmd: cmd } : {}),
      ...(user ? { User: user } : {}),
      ...(workingDir ? { WorkingDir: workingDir } : {}),
    },
    rootfs: { type: "layers", diff_ids: [`sha256:${await digestOf(layer)}`] },
  });
  const configName = `${await digestOf(encoder.encode(config))}.json`;
  const manifest = [{ Config: configName, RepoTags: names, Layers: ["layer.tar"] }];
  return tarOf([
    { path: "layer.tar", content: layer },
    { path: configName, content: config },
    { path: "manifest.json", content: JSON.stringify(manifest) },
  ]);
}

/** Commands that busybox has names for here. */
const APPLETS = "sh ash cat ls echo true false sleep env id hostname stty wget nc nslookup tar " +
  "httpd grep sed head tail wc mkdir rm touch chmod stat mount df ps kill date dd seq test ip ping " +
  "cut sort timeout tr find xargs sync yes expr printf readlink mknod chown pwd whoami awk od";

/** Files of every image with a shell. */
export function busyboxFiles(busybox: Uint8Array): ImageFile[] {
  return [
    { path: "bin/busybox", content: busybox, mode: 0o755 },
    ...APPLETS.split(" ").map((name) => ({ path: `bin/${name}`, link: "/bin/busybox" })),
    // Debian's busybox has no printenv.
    { path: "bin/printenv", content: '#!/bin/sh\nenv | sed -n "s/^$1=//p"\n', mode: 0o755 },
    { path: "etc/passwd", content: "root:x:0:0:root:/root:/bin/sh\nweb:x:101:101::/:/bin/sh\n" },
    { path: "etc/group", content: "root:x:0:\nweb:x:101:\nextra:x:50000:web\n" },
    { path: "tmp/.keep", content: "" },
    { path: "root/.keep", content: "" },
  ];
}

/** The image that holds a pod's namespaces: waits, and takes over orphans. */
export function pauseImage(busybox: Uint8Array, name: string): ImageRecipe {
  const wait = 'trap "exit 0" TERM INT; while :; do sleep 100000 & wait $!; done';
  return { names: [name], files: busyboxFiles(busybox), entrypoint: ["/bin/sh", "-c", wait] };
}

/** Serves a page on port 80 and logs to standard output, as nginx does. */
export function webImage(busybox: Uint8Array, name: string, page: string): ImageRecipe {
  return {
    names: [name],
    files: [...busyboxFiles(busybox), { path: "www/index.html", content: page }],
    cmd: ["/bin/httpd", "-f", "-v", "-p", "80", "-h", "/www"],
  };
}

/** Like denoland/deno: deno for its own commands, anything else as it is. */
export async function denoImage(busybox: Uint8Array, name: string): Promise<ImageRecipe> {
  const entry = `#!/bin/sh
case "$1" in
  bench|bundle|cache|check|coverage|doc|eval|fmt|help|info|lint|repl|run|serve|task|test|types|-*) exec deno "$@" ;;
esac
exec "$@"
`;
  const files = [
    ...busyboxFiles(busybox),
    { path: "bin/docker-entrypoint.sh", content: entry, mode: 0o755 },
    { path: "usr/bin/deno", content: await Deno.readFile(Deno.execPath()), mode: 0o755 },
    ...await librariesOf(Deno.execPath()),
  ];
  return {
    names: [name],
    files,
    entrypoint: ["/bin/docker-entrypoint.sh"],
    cmd: ["eval", "console.log('Welcome to Deno!')"],
    env: ["DENO_DIR=/deno-dir/", "DENO_NO_UPDATE_CHECK=1"],
  };
}

/** The shared libraries that a program of this machine loads. */
async function librariesOf(program: string): Promise<ImageFile[]> {
  const { stdout } = await new Deno.Command("ldd", { args: [program] }).output();
  const paths = new TextDecoder().decode(stdout).matchAll(/(\/[^\s()]+) \(0x/g);
  const files: ImageFile[] = [];
  for (const [, path] of paths) {
    files.push({ path, content: await Deno.readFile(path), mode: 0o755 });
  }
  return files;
}
