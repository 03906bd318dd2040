/**
 * The few commands that an isolate's image has besides `deno`, in TypeScript, under the container's own
 * permissions: `sh -c` of simple commands, cat, ls, env, echo, test, sleep, tar and the like. Enough for
 * probes, hooks, `kubectl cp` and a look around; no more.
 */
import { COMMANDS, type Grants, programOf } from "../isolate_program.ts";
import { inside, insideText } from "./preload.ts";
import { Shell } from "./shell.ts";
import { tar } from "./tar.ts";
import { wasm } from "./wasm.ts";

/** Where a command reads and writes. */
export interface Streams {
  input(): Promise<Uint8Array>;
  out(bytes: Uint8Array | string): void;
  err(text: string): void;
}

type Command = (args: string[], io: Streams) => Promise<number> | number;

const encoder = new TextEncoder();

function writeAll(file: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array | string) {
  const all = typeof bytes === "string" ? encoder.encode(bytes) : bytes;
  for (let at = 0; at < all.length;) at += file.writeSync(all.subarray(at));
}

/** The process's own streams. */
export const PROCESS: Streams = {
  input: async () => new Uint8Array(await new Response(Deno.stdin.readable).arrayBuffer()),
  out: (bytes) => writeAll(Deno.stdout, bytes),
  err: (text) => writeAll(Deno.stderr, text),
};

function reason(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "No such file or directory";
  if (error instanceof Deno.errors.NotCapable || error instanceof Deno.errors.PermissionDenied) {
    return "Permission denied";
  }
  return (error as Error).message;
}

async function cat(args: string[], io: Streams): Promise<number> {
  let code = 0;
  for (const path of args.length ? args : ["-"]) {
    try {
      io.out(path === "-" ? await io.input() : Deno.readFileSync(path));
    } catch (error) {
      io.err(`cat: ${path}: ${reason(error)}\n`);
      code = 1;
    }
  }
  return code;
}

function ls(args: string[], io: Streams): number {
  const flags = args.filter((a) => a.startsWith("-")).join("");
  const paths = args.filter((a) => !a.startsWith("-"));
  let code = 0;
  for (const path of paths.length ? paths : ["."]) {
    try {
      const isFolder = Deno.statSync(path).isDirectory && !flags.includes("d");
      const names = isFolder ? [...Deno.readDirSync(path)].map((e) => e.name).sort() : [path];
      if (paths.length > 1 && isFolder) io.out(`${path}:\n`);
      for (const name of names) {
        if (isFolder && name.startsWith(".") && !/[aA]/.test(flags)) continue;
        const full = isFolder ? `${path.replace(/\/$/, "")}/${name}` : name;
        io.out((flags.includes("l") ? long(full) : "") + name + "\n");
      }
    } catch (error) {
      io.err(`ls: ${path}: ${reason(error)}\n`);
      code = 1;
    }
  }
  return code;
}

function long(path: string): string {
  const info = Deno.lstatSync(path);
  const kind = info.isSymlink ? "l" : info.isDirectory ? "d" : "-";
  const bits = [..."rwxrwxrwx"].map((c, i) => (info.mode ?? 0) >> (8 - i) & 1 ? c : "-").join("");
  const time = info.mtime?.toISOString().slice(0, 16).replace("T", " ") ?? "";
  return `${kind}${bits} ${String(info.size).padStart(8)} ${time} `;
}

function test(args: string[]): number {
  const words = args.at(-1) === "]" ? args.slice(0, -1) : args;
  const stat = (path: string, check: (info: Deno.FileInfo) => boolean) => {
    try {
      return check(Deno.statSync(path));
    } catch {
      return false;
    }
  };
  const truth = (w: string[]): boolean => {
    if (w[0] === "!") return !truth(w.slice(1));
    if (w.length <= 1) return !!w[0];
    const [a, b, c] = w;
    if (w.length === 2) {
      if (a === "-e") return stat(b, () => true);
      if (a === "-f") return stat(b, (i) => i.isFile);
      if (a === "-d") return stat(b, (i) => i.isDirectory);
      if (a === "-s") return stat(b, (i) => i.size > 0);
      if (a === "-n") return b.length > 0;
      if (a === "-z") return b.length === 0;
    }
    const numbers: Record<string, boolean> = {
      "-eq": +a === +c,
      "-ne": +a !== +c,
      "-lt": +a < +c,
      "-le": +a <= +c,
      "-gt": +a > +c,
      "-ge": +a >= +c,
    };
    return b === "=" || b === "==" ? a === c : b === "!=" ? a !== c : numbers[b] ?? false;
  };
  return truth(words) ? 0 : 1;
}

function env(args: string[], io: Streams): number {
  if (args.length) return missing(args[0], io);
  for (const [name, value] of Object.entries(Deno.env.toObject())) io.out(`${name}=${value}\n`);
  return 0;
}

function printenv(args: string[], io: Streams): number {
  if (!args.length) return env([], io);
  const value = Deno.env.get(args[0]);
  if (value === undefined) return 1;
  io.out(`${value}\n`);
  return 0;
}

function echo(args: string[], io: Streams): number {
  const bare = args[0] === "-n";
  io.out((bare ? args.slice(1) : args).join(" ") + (bare ? "" : "\n"));
  return 0;
}

async function sleep(args: string[], io: Streams): Promise<number> {
  const units: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400 };
  const match = /^(\d+(?:\.\d+)?)([smhd]?)$/.exec(args[0] ?? "");
  if (args[0] === "infinity") return await new Promise(() => setInterval(() => {}, 1e6));
  if (!match) {
    io.err(`sleep: invalid time interval '${args[0] ?? ""}'\n`);
    return 1;
  }
  const seconds = Number(match[1]) * units[match[2] || "s"];
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  return 0;
}

function folders(args: string[], io: Streams): number {
  const recursive = args.includes("-p");
  for (const path of args.filter((a) => !a.startsWith("-"))) {
    try {
      Deno.mkdirSync(path, { recursive });
    } catch (error) {
      io.err(`mkdir: ${path}: ${reason(error)}\n`);
      return 1;
    }
  }
  return 0;
}

function rm(args: string[], io: Streams): number {
  const flags = args.filter((a) => a.startsWith("-")).join("");
  let code = 0;
  for (const path of args.filter((a) => !a.startsWith("-"))) {
    try {
      Deno.removeSync(path, { recursive: /[rR]/.test(flags) });
    } catch (error) {
      if (flags.includes("f") && error instanceof Deno.errors.NotFound) continue;
      io.err(`rm: ${path}: ${reason(error)}\n`);
      code = 1;
    }
  }
  return code;
}

/** `deno …` from a shell: the same program as if the container had started it. */
async function deno(args: string[], io: Streams): Promise<number> {
  const grants = inside.grants as Grants;
  const program = programOf(["deno", ...args], grants);
  let words = program.args;
  if (program.code) {
    const file = Deno.makeTempFileSync({ suffix: `.${program.code.extension}` });
    Deno.writeTextFileSync(file, program.code.text);
    words = words.map((w) => w === "\0code" ? file : w);
  }
  const child = new Deno.Command(Deno.execPath(), {
    args: words,
    env: { PLESIO_ISOLATE: insideText!.replace(/"parent":\d+/, `"parent":${Deno.pid}`) },
    stdin: "inherit",
    stdout: io === PROCESS ? "inherit" : "piped",
    stderr: "inherit",
  }).spawn();
  if (io !== PROCESS) { for await (const chunk of child.stdout) io.out(chunk); }
  return (await child.status).code;
}

function missing(name: string, io: Streams): number {
  io.err(`sh: ${name}: not found\n`);
  return 127;
}

const TABLE: Record<string, Command> = {
  cat,
  ls,
  env,
  printenv,
  echo,
  sleep,
  test,
  "[": test,
  tar,
  rm,
  deno,
  wasm: (args) => wasm(args, reason),
  mkdir: folders,
  true: () => 0,
  ":": () => 0,
  false: () => 1,
  pwd: (_args, io) => (io.out(`${Deno.cwd()}\n`), 0),
  hostname: (_args, io) => (io.out(`${Deno.env.get("HOSTNAME") ?? Deno.hostname()}\n`), 0),
  sh: (args, io) => new Shell(run, io).start(args),
};

/** Runs one command; 127 when there is no such one. */
export async function run(words: string[], io: Streams): Promise<number> {
  const name = words[0].replace(/^(?:\/usr\/local\/bin|\/usr\/bin|\/bin)\//, "");
  const command = Object.hasOwn(TABLE, name) ? TABLE[name] : undefined;
  if (!command) return missing(words[0], io);
  return await command(words.slice(1), io);
}

if (import.meta.main) {
  if (!COMMANDS.includes(Deno.args[0])) Deno.exit(missing(Deno.args[0] ?? "", PROCESS));
  Deno.exit(await run([...Deno.args], PROCESS));
}
