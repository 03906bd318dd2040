/**
 * What an isolate runs, from image, command and args: pure. An image is a module specifier, or
 * `denoland/deno`, whose entrypoint is the real image's: a Deno subcommand or flag first means
 * `deno …`, anything else is the command itself. A command is `deno`, or one of a few that we bring
 * along (`inside/commands.ts`); everything else is not found, as in an image that lacks it.
 *
 * Permission flags in the arguments are replaced by what the SecurityContext grants.
 */

/** What is to be run: arguments of the `deno` binary, and code that must lie in a file first. */
export interface Program {
  args: string[];
  /** Where among the arguments the program's own file or module is. */
  scriptAt?: number;
  /** `deno eval`: run as a file, because `eval` itself grants every permission. */
  code?: { text: string; extension: string };
}

/** What the arguments are completed with. */
export interface Grants {
  /** `--allow-…`, `--deny-…`. */
  permissions: readonly string[];
  /** The module that runs first. */
  preload: string;
  /** The module of the commands that we bring along. */
  commands: string;
  /** Where `deno serve` listens unless told. */
  host?: string;
  /** Subcommands that run what they like are refused unless this is set. */
  privileged: boolean;
  /** The binary, for a shell that runs `deno`. */
  deno: string;
}

/** Commands that `inside/commands.ts` knows. */
export const COMMANDS: readonly string[] = [
  "sh",
  "cat",
  "ls",
  "env",
  "printenv",
  "echo",
  "true",
  "false",
  "sleep",
  "tar",
  "test",
  "pwd",
  "hostname",
  "mkdir",
  "rm",
  "wasm",
];

const SUBCOMMANDS = new Set(
  ("run serve test bench eval repl task add approve-scripts audit bundle cache check ci clean compile " +
    "completions coverage create deploy doc fmt info init install i jupyter lint lsp outdated pack " +
    "publish remove rm sandbox transpile types uninstall update upgrade vendor why x help json_reference")
    .split(" "),
);

/** Images that are a module. */
const MODULE = /^(npm:|jsr:|https?:|file:|data:)/;
const DENO_IMAGE =
  /^(?:docker\.io\/|index\.docker\.io\/)?denoland\/deno(?::[\w.-]+)?(?:@sha256:[0-9a-f]+)?$/;

/** Whether an isolate can run an image. */
export function isIsolateImage(image: string): boolean {
  return MODULE.test(image) || DENO_IMAGE.test(image);
}

/** Whether an image is a module specifier. */
export function isModule(image: string): boolean {
  return MODULE.test(image);
}

/** Whether a module is one of WebAssembly: a program for WASI, which `wasm` runs. */
export function isWasm(image: string): boolean {
  return /^(https?:|file:)/.test(image) && /\.wasm$/.test(new URL(image).pathname);
}

/** A command that is not in an isolate's image. */
export class NotFoundError extends Error {
  override name = "NotFoundError";
  constructor(command: string) {
    super(`exec: "${command}": executable file not found in $PATH`);
  }
}

/** The words that a container runs: entrypoint and command of the image, replaced as Kubernetes does. */
export function wordsOf(
  image: string,
  command: readonly string[] | undefined,
  args: readonly string[] | undefined,
  /** Where a module of WebAssembly lies, as the container sees it. */
  wasm?: string,
): string[] {
  if (command?.length) return [...command, ...(args ?? [])];
  if (wasm !== undefined) return ["wasm", wasm, ...(args ?? [])];
  if (isModule(image)) return ["deno", "run", image, ...(args ?? [])];
  const words = args?.length ? [...args] : ["eval", "console.log('Welcome to Deno!')"];
  const deno = words[0].startsWith("-") || SUBCOMMANDS.has(words[0]);
  return deno ? ["deno", ...words] : words;
}

/** The program that some words are. Throws NotFoundError. */
export function programOf(words: readonly string[], grants: Grants): Program {
  const [path = "", ...rest] = words;
  const name = path.replace(/^(?:\/usr\/local\/bin|\/usr\/bin|\/bin)\//, "");
  if (name === "deno") return denoProgram(rest, grants);
  if (!COMMANDS.includes(name)) throw new NotFoundError(path);
  const flags = ["run", "--no-config", "--quiet", "--no-lock", ...grants.permissions];
  if (!grants.privileged) flags.push(`--allow-run=${grants.deno}`);
  return { args: [...flags, `--preload=${grants.preload}`, grants.commands, name, ...rest] };
}

/** Options of `deno run` and its like whose value is the next word. */
const WITH_VALUE = new Set(
  ("--ext --import-map -c --config --cert --min-dep-age --minimum-dependency-age --location --seed " +
    "--preload --require --conditions --host --port --inspect-publish-uid --node-modules-linker " +
    "--eval --eval-file --filter").split(" "),
);
const PERMISSION =
  /^(--(allow|deny|ignore)-(?!scripts)|-[ARWNEIS]+(=|$)|-P(=|$)|--permission-set|--no-prompt$)/;
/** Subcommands that run a program under the flags that they are given. */
const RUNNERS = new Set(["run", "serve", "test", "bench"]);
/** Subcommands that run programs of their own choice. */
const UNBOUND = new Set([
  "task",
  "x",
  "install",
  "i",
  "create",
  "jupyter",
  "upgrade",
  "lsp",
  "sandbox",
]);

function denoProgram(args: readonly string[], grants: Grants): Program {
  if (!args.length) return { args: ["repl", ...grants.permissions] };
  let subcommand = args[0], rest = args.slice(1);
  if (!SUBCOMMANDS.has(subcommand)) {
    if (/^(--version|-V|--help|-h)$/.test(subcommand)) return { args: [...args] };
    subcommand = "run";
    rest = [...args];
  }
  const { options, words } = split(rest);
  const kept = options.filter((option) => !PERMISSION.test(option));
  if (subcommand === "eval") return evalProgram(kept, words, grants);
  if (subcommand === "repl") return { args: ["repl", ...kept, ...grants.permissions, ...words] };
  if (RUNNERS.has(subcommand)) {
    const flags = [...kept, ...grants.permissions, `--preload=${grants.preload}`];
    if (subcommand === "serve" && grants.host) {
      const at = flags.findIndex((f) => /^--host(=|$)/.test(f));
      const wildcard = at < 0 || /^(--host=)?(0\.0\.0\.0|::|localhost)$/.test(flags[at]);
      if (wildcard) flags.push(`--host=${grants.host}`);
    }
    return { args: [subcommand, ...flags, ...words], scriptAt: flags.length + 1 };
  }
  if (UNBOUND.has(subcommand) && !grants.privileged) {
    throw new NotFoundError(`deno ${subcommand}`);
  }
  return { args: [...args] };
}

function evalProgram(options: string[], words: readonly string[], grants: Grants): Program {
  const print = options.some((o) => o === "-p" || o === "--print");
  let extension = "mts";
  const kept: string[] = [];
  for (let i = 0; i < options.length; i++) {
    const option = options[i];
    if (option === "-p" || option === "--print") continue;
    if (option === "--ext") extension = options[++i] ?? extension;
    else if (option.startsWith("--ext=")) extension = option.slice(6);
    else kept.push(option);
  }
  const [code = "", ...rest] = words;
  const flags = [...kept, ...grants.permissions, `--preload=${grants.preload}`];
  return {
    args: ["run", "--no-config", ...flags, CODE, ...rest],
    code: { text: print ? `console.log(${code})` : code, extension },
  };
}

/** Stands for the file that holds the code until its name is known. */
export const CODE = "\0code";

/** Options before the first word that is none, and the words. */
function split(args: readonly string[]): { options: string[]; words: string[] } {
  let i = 0;
  while (i < args.length && args[i].startsWith("-") && args[i] !== "-" && args[i] !== "--") {
    i += WITH_VALUE.has(args[i]) ? 2 : 1;
  }
  return { options: args.slice(0, i), words: args.slice(i) };
}

/** What a container may do. */
export interface SecurityFacts {
  privileged: boolean;
  /** Its own address; absent where it shares the host's network. */
  ip?: string;
  /** Its own root: the whole of it may be read and (unless read-only) written. */
  ownRoot: boolean;
  readOnlyRoot: boolean;
  /** Paths that may be read and written where it has no root of its own, or only a read-only one. */
  readable: readonly string[];
  writable: readonly string[];
}

/** The permission flags of a container. */
export function permissionsOf(facts: SecurityFacts): string[] {
  if (facts.privileged) return ["--allow-all", "--no-prompt"];
  const flags = ["--no-prompt", "--allow-env", "--allow-sys", "--allow-import", "--allow-net"];
  // What the preload module does not map must not reach the machine's own addresses.
  if (facts.ip) flags.push("--deny-net=0.0.0.0,127.0.0.1,[::],[::1]");
  if (facts.ownRoot) {
    flags.push("--allow-read", "--deny-read=/proc");
    if (facts.readOnlyRoot) flags.push(...list("--allow-write", facts.writable));
    else flags.push("--allow-write", "--deny-write=/proc");
  } else {
    flags.push(...list("--allow-read", facts.readable), ...list("--allow-write", facts.writable));
  }
  return flags;
}

function list(flag: string, paths: readonly string[]): string[] {
  return paths.length ? [`${flag}=${paths.map((p) => p.replaceAll(",", ",,")).join(",")}`] : [];
}
