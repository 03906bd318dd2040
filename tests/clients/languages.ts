/**
 * What clients are built and fetched with: whether a language is on this machine, and its libraries by name from
 * its own registry. What takes long to make is kept in a folder between runs.
 */

const HOME = Deno.env.get("HOME") ?? "/tmp";
/** Programs that were fetched and built. */
export const KEPT = Deno.env.get("PLESIO_CLIENTS") ?? `${HOME}/.cache/plesio-clients`;
/** npx puts other folders first on the PATH: whoever installed the library says for which Python. */
export const PYTHON = Deno.env.get("PYTHON") ?? "python3";

/** How a program ended, and what it said. */
export interface Ended {
  success: boolean;
  code: number;
  text: string;
  errors: string;
}

/** What a program is started with besides its arguments. */
export interface RunOptions {
  cwd?: string | URL;
  env?: Record<string, string>;
  /** Its standard input (default: none). */
  input?: string;
  /** Ended when it takes longer (default 300,000 ms). */
  timeoutMs?: number;
}

/** Runs a program to its end. */
export async function run(
  command: string,
  args: readonly string[],
  { input, timeoutMs = 300_000, ...options }: RunOptions = {},
): Promise<Ended> {
  const child = new Deno.Command(command, {
    args: [...args],
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    ...options,
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input)).catch(() => undefined);
    await writer.close().catch(() => undefined);
  }
  const { success, code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const decoder = new TextDecoder();
  return { success, code, text: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

/** Runs a program that must succeed; throws with what it said. */
export async function must(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  const ended = await run(command, args, options);
  if (ended.success) return ended;
  throw new Error(`${command} ${args.join(" ")}: exit ${ended.code}\n${ended.text}${ended.errors}`);
}

async function lacks(command: string, args: string[], why: string): Promise<string | undefined> {
  const there = await run(command, args).then(({ success }) => success, () => false);
  return there ? undefined : why;
}

/** Languages and tools: why a client that needs one is skipped, or undefined. */
export const LACKS: Readonly<Record<string, () => Promise<string | undefined>>> = {
  deno: () => Promise.resolve(undefined),
  go: () => lacks("go", ["version"], "no Go on this machine"),
  python: () =>
    lacks(PYTHON, ["-c", "import kubernetes"], "no Python with the package kubernetes (PYTHON)"),
  curl: () => lacks("curl", ["--version"], "no curl on this machine"),
  jdk: () => lacks("javac", ["--version"], "no Java compiler on this machine"),
  java: () => lacks("mvn", ["--version"], "no Java with Maven on this machine"),
  cargo: () => lacks("cargo", ["--version"], "no Rust on this machine"),
  ruby: () =>
    lacks(
      "ruby",
      ["-e", "require 'kubeclient'"],
      "no Ruby with kubeclient (Debian's ruby-kubeclient)",
    ),
  kubectl: () => lacks("kubectl", ["version", "--client"], "no kubectl on this machine"),
};

const built = new Map<string, Promise<string>>();

function once(key: string, make: () => Promise<string>): Promise<string> {
  let made = built.get(key);
  if (!made) built.set(key, made = make());
  return made;
}

/** Builds the Go program in a folder of `tests/clients`; answers with its path. Tests are compiled by `-c`. */
export function goBuild(folder: string, { test = false } = {}): Promise<string> {
  return once(`go ${folder} ${test}`, async () => {
    await Deno.mkdir(`${KEPT}/go`, { recursive: true });
    const output = `${KEPT}/go/${folder.replaceAll("/", "-")}${test ? ".test" : ""}`;
    const cwd = new URL(`${folder}/`, import.meta.url);
    const command = test ? ["test", "-c"] : ["build"];
    await must("go", [...command, "-o", output, "."], { cwd, timeoutMs: 1_500_000 });
    return output;
  });
}

/** Builds the Rust program in a folder of `tests/clients`; answers with its path. */
export function cargoBuild(folder: string, program: string): Promise<string> {
  return once(`cargo ${folder}`, async () => {
    const target = `${KEPT}/rust`;
    const cwd = new URL(`${folder}/`, import.meta.url);
    const args = ["build", "--locked", "--target-dir", target];
    await must("cargo", args, { cwd, timeoutMs: 1_500_000 });
    return `${target}/debug/${program}`;
  });
}

/** Fetches what a `pom.xml` in a folder of `tests/clients` names; answers with the class path. */
export function mavenClasses(folder: string): Promise<string> {
  return once(`maven ${folder}`, async () => {
    await Deno.mkdir(KEPT, { recursive: true });
    const file = `${KEPT}/${folder}.classpath`;
    const cwd = new URL(`${folder}/`, import.meta.url);
    const goal = "dependency:build-classpath";
    await must("mvn", ["-q", "-B", goal, `-Dmdep.outputFile=${file}`], { cwd, timeoutMs: 900_000 });
    return (await Deno.readTextFile(file)).trim();
  });
}

/** Fetches and builds a Go program by its name and version; answers with its path. */
export function goInstall(name: string, version: string): Promise<string> {
  return once(`${name}@${version}`, async () => {
    const folder = `${KEPT}/${name.replaceAll("/", "-")}@${version}`;
    const path = `${folder}/${name.slice(name.lastIndexOf("/") + 1).replace(/^v\d+$/, "")}`;
    const found = await firstFile(folder);
    if (found) return found;
    await Deno.mkdir(folder, { recursive: true });
    const env = { GOBIN: folder, GOFLAGS: "-buildvcs=false" };
    await must("go", ["install", `${name}@${version}`], { env, timeoutMs: 1_500_000 });
    return await firstFile(folder) ?? path;
  });
}

async function firstFile(folder: string): Promise<string | undefined> {
  try {
    for await (const entry of Deno.readDir(folder)) {
      if (entry.isFile) return `${folder}/${entry.name}`;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return undefined;
}
