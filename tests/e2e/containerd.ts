/**
 * A containerd of the tests' own: its own root, state, socket, CNI folder and images, in namespaces of its
 * own (network, mounts, processes), so that nothing of the machine's is touched and nothing is left behind.
 * A file's tests start themselves again in there and show what came of it.
 */
import {
  archiveOf,
  busyboxFiles,
  denoImage,
  type ImageRecipe,
  pauseImage,
  webImage,
} from "./images.ts";

const INSIDE = "PLESIO_TEST_CONTAINERD";
const BUSYBOX = "/bin/busybox";
const PAUSE = "registry.k8s.io/pause:3.8";
const PROGRAMS = ["containerd", "ctr", "runc", "unshare", "ip", "nft"];
const PLUGINS = "/usr/lib/cni";
/** How long containerd may take to answer. */
const READY_MS = 20_000;

/** The images of the tests, by the names that manifests use. */
export const IMAGES = {
  busybox: "busybox:1.35",
  web: "nginx:1.27",
  newer: "nginx:1.28",
  deno: "denoland/deno:2.9.6",
  /** Runs as a user by number, and by name. */
  numbered: "numbered:1",
  named: "named:1",
  /** Has an entrypoint and default words for it. */
  entry: "entry:1",
};

/** The command of a container that stays until it is told to go, and goes at once. */
export const LIVES = [
  "sh",
  "-c",
  "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done",
];

/** deno with these arguments, in namespaces of its own where a containerd may be. */
export function inside(args: readonly string[]): Deno.Command {
  const namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  return new Deno.Command("unshare", {
    args: [...namespaces, "--propagation", "private", "--", Deno.execPath(), ...args],
    env: { [INSIDE]: "1", NO_COLOR: "1" },
    stderr: "piped",
  });
}

/** Why there can be no containerd here; undefined when there can. */
export async function missing(): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "only Linux has containers";
  if (Deno.uid() !== 0) return "only root may run containerd";
  for (const program of PROGRAMS) {
    const found = await new Deno.Command("/bin/sh", { args: ["-c", `command -v ${program}`] })
      .output();
    if (!found.success) return `this machine has no ${program}`;
  }
  const file = async (path: string) => !!await Deno.stat(path).catch(() => undefined);
  if (!await file(`${PLUGINS}/bridge`)) return `this machine has no CNI plugins in ${PLUGINS}`;
  const { stdout } = await new Deno.Command("ldd", { args: [BUSYBOX] }).output()
    .catch(() => ({ stdout: new TextEncoder().encode("=>") }));
  if (new TextDecoder().decode(stdout).includes("=>")) return `${BUSYBOX} is not static`;
  return undefined;
}

/** Registers a file's tests where there is a containerd. Elsewhere one test says why not, never in CI. */
export async function withContainerd(file: string, register: () => void): Promise<void> {
  if (Deno.env.has(INSIDE)) return register();
  const path = new URL(file).pathname;
  const name = path.slice(path.lastIndexOf("/") + 1);
  const reason = await missing();
  Deno.test({
    name: `${name} on a containerd of its own${reason ? ` (left out: ${reason})` : ""}`,
    ignore: reason !== undefined && !Deno.env.get("CI"),
    fn: async () => {
      if (reason) throw new Error(reason);
      const { code, stdout, stderr } = await inside(
        ["test", "-A", "--no-check", path, ...filterOf(Deno.args)],
      ).output();
      const text = new TextDecoder();
      const said = text.decode(stdout) + text.decode(stderr);
      if (code !== 0) throw new Error(said);
      console.log(said.split("\n").filter((line) => /\.\.\. |passed/.test(line)).join("\n"));
    },
  });
}

/** `deno test … -- --only=NAME` runs the tests of that name alone. */
function filterOf(args: readonly string[]): string[] {
  const only = args.find((arg) => arg.startsWith("--only="));
  return only ? [`--filter=${only.slice("--only=".length)}`] : [];
}

/** See the module's text. */
export class Containerd {
  readonly folder: string;
  #process: Deno.ChildProcess;

  private constructor(folder: string, process: Deno.ChildProcess) {
    this.folder = folder;
    this.#process = process;
  }

  get endpoint(): string {
    return `unix://${this.folder}/containerd.sock`;
  }

  get cniFolder(): string {
    return `${this.folder}/cni`;
  }

  get logs(): string {
    return `${this.folder}/logs`;
  }

  /** With which a node runs its containers here. */
  get runtime() {
    return { endpoint: this.endpoint, cniFolder: this.cniFolder, logs: this.logs };
  }

  /** The same, on a command line. */
  get flags(): string[] {
    return [
      ["--container-runtime-endpoint", this.endpoint],
      ["--cni-conf-dir", this.cniFolder],
      ["--pod-logs-dir", this.logs],
    ].flat();
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Starts one with images. */
  static async start(images: readonly (keyof typeof IMAGES)[]): Promise<Containerd> {
    const folder = await Deno.makeTempDir({ prefix: "plesio-containerd-" });
    await run("ip", "link", "set", "lo", "up");
    // Where plugins and shims keep names that are the whole machine's.
    for (const shared of ["/run/netns", "/run/containerd"]) {
      await Deno.mkdir(shared, { recursive: true });
      const { success, text } = await run("mount", "-t", "tmpfs", "none", shared);
      if (!success) throw new Error(text);
    }
    await Deno.mkdir(`${folder}/cni`);
    await Deno.writeTextFile(`${folder}/config.toml`, configOf(folder));
    const made = new Containerd(folder, spawn(folder));
    await made.#ready();
    const busybox = await Deno.readFile(BUSYBOX);
    await made.#import(pauseImage(busybox, PAUSE));
    for (const image of images) await made.#import(await recipeOf(image, busybox));
    return made;
  }

  async #ready(): Promise<void> {
    const end = performance.now() + READY_MS;
    while (!(await this.ctr("version")).success) {
      if (performance.now() > end) {
        throw new Error(`containerd does not answer:\n${await this.log()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #import(recipe: ImageRecipe): Promise<void> {
    const file = `${this.folder}/image.tar`;
    await Deno.writeFile(file, await archiveOf(recipe));
    const { success, text } = await this.ctr("-n", "k8s.io", "images", "import", file);
    await Deno.remove(file);
    if (!success) throw new Error(`cannot import ${recipe.names}: ${text}`);
  }

  /** Runs `ctr`. */
  async ctr(...args: string[]): Promise<{ success: boolean; text: string }> {
    return await run("ctr", "-a", `${this.folder}/containerd.sock`, ...args);
  }

  async log(): Promise<string> {
    return (await Deno.readTextFile(`${this.folder}/containerd.log`)).slice(-5000);
  }

  /** Kills it, as a crash does; what it runs runs on. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.status;
  }

  /** Starts it again after `kill`. */
  async restart(): Promise<void> {
    this.#process = spawn(this.folder);
    await this.#ready();
  }

  /** Ends it and removes its folder. Its containers go with the processes' namespace, and their mounts with theirs. */
  async stop(): Promise<void> {
    await this.kill();
    await Deno.remove(this.folder, { recursive: true }).catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function configOf(folder: string): string {
  const cri = `plugins."io.containerd.grpc.v1.cri"`;
  return `version = 2
root = "${folder}/root"
state = "${folder}/state"
[grpc]
  address = "${folder}/containerd.sock"
[ttrpc]
  address = "${folder}/containerd.sock.ttrpc"
[${cri}]
  sandbox_image = "${PAUSE}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [${cri}.cni]
    bin_dir = "${PLUGINS}"
    conf_dir = "${folder}/cni"
`;
}

function spawn(folder: string): Deno.ChildProcess {
  return new Deno.Command("/bin/sh", {
    args: ["-c", `exec containerd -c ${folder}/config.toml >>${folder}/containerd.log 2>&1`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
}

/** Runs a program to its end. */
export async function run(program: string, ...args: string[]) {
  const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
  const text = new TextDecoder();
  return { success, text: (text.decode(stdout) + text.decode(stderr)).trim() };
}

async function recipeOf(
  image: keyof typeof IMAGES,
  busybox: Uint8Array,
): Promise<ImageRecipe> {
  const library = `docker.io/library/${IMAGES[image]}`;
  switch (image) {
    case "web":
    case "newer":
      return webImage(busybox, library, `I am ${IMAGES[image]}`);
    case "deno":
      return await denoImage(busybox, `docker.io/${IMAGES.deno}`);
    case "numbered":
      return { names: [library], files: busyboxFiles(busybox), cmd: ["sh"], user: "101" };
    case "named":
      return { names: [library], files: busyboxFiles(busybox), cmd: ["sh"], user: "web" };
    case "entry":
      return {
        names: [library],
        files: busyboxFiles(busybox),
        entrypoint: ["/bin/echo", "entrypoint"],
        cmd: ["default", "words"],
      };
    case "busybox":
      return { names: [library], files: busyboxFiles(busybox), cmd: ["sh"] };
  }
}
