/**
 * What containers do in behaviours, described once: a line of shell that busybox runs on containerd, and the same in
 * TypeScript for isolates. A mere line is for both: isolates have a small shell of their own.
 */
import { IMAGES, LIVES } from "../containerd.ts";
import { DENO } from "../node_fixture.ts";
import type { Manifest, RuntimeName } from "./behaviour.ts";

/** A program's forms. Without a shell's it needs the image of Deno on every runtime. */
export interface Program {
  sh?: string;
  ts: string;
}

/** What every program in TypeScript may use. */
const PRELUDE = `
const read = (path) => Deno.readTextFileSync(path);
const write = (path, text, more) => Deno.writeTextFileSync(path, text, more);
const tried = (f) => { try { f(); return "ok" } catch (e) { return e.name } };
const say = (...words) => console.log(...words);
const stay = () => setInterval(() => {}, 1 << 30);
const on = (name, f) => Deno.addSignalListener(name, f);
`;

/** Stays until it is told to go, and goes at once. */
export const STAY: Program = {
  sh: LIVES[2],
  ts: `on("SIGTERM", () => Deno.exit(0)); stay();`,
};

/** Does one thing, and stays then. */
export function thenStay(program: string | Program): Program {
  const first = typeof program === "string" ? both(program) : program;
  return { sh: `${first.sh}; ${STAY.sh}`, ts: `${first.ts}; ${STAY.ts}` };
}

/** Lines of shell without variables, as both forms: `echo … > …`, and nothing else. */
function both(line: string): Program {
  const parsed = /^echo (-n )?(\S+)(?: (>>?) (\S+))?$/.exec(line);
  if (!parsed) throw new TypeError(`Cannot say "${line}" in TypeScript: it is no echo`);
  const [, bare, word, into, path] = parsed;
  const text = JSON.stringify(word + (bare ? "" : "\n"));
  const append = JSON.stringify({ append: into === ">>" });
  const ts = path
    ? `write(${JSON.stringify(path)}, ${text}, ${append})`
    : `say(${JSON.stringify(word)})`;
  return { sh: line, ts };
}

/** Answers each request on a port by HTTP with its pod's name, or these words. */
export function serve(port: number, words?: string): Program {
  const text = words === undefined ? "$(hostname)" : words;
  const folder = `/tmp/www${port}`;
  const answer = words === undefined ? `Deno.env.get("HOSTNAME")` : JSON.stringify(words);
  return {
    sh: `mkdir -p ${folder}; echo -n "${text}" > ${folder}/index.html; ` +
      `exec httpd -f -p ${port} -h ${folder}`,
    ts: `Deno.serve({ port: ${port} }, () => new Response(${answer}));`,
  };
}

/** Prints what an address answers, or "no answer". */
export function get(url: string): Program {
  return {
    sh: `timeout 2 wget -qO- ${url} || echo no answer`,
    ts: `
      const signal = AbortSignal.timeout(2000);
      const text = fetch(${JSON.stringify(url)}, { signal }).then((answer) => answer.text());
      await Deno.stdout.write(new TextEncoder().encode(await text.catch(() => "no answer\\n")));`,
  };
}

/** One after the other. */
export function all(...programs: readonly Program[]): Program {
  return {
    sh: programs.map(({ sh }) => sh).join("; "),
    ts: programs.map(({ ts }) => `{ ${ts} }`).join("\n"),
  };
}

/** Prints a file. */
export function cat(path: string): Program {
  return {
    sh: `cat ${path}`,
    ts: `Deno.stdout.writeSync(Deno.readFileSync(${JSON.stringify(path)}));`,
  };
}

/** Prints of each path its mode in octal digits, its user and its group. */
export function modes(...paths: string[]): Program {
  return {
    sh: `stat -L -c '%n %a %u %g' ${paths.join(" ")}`,
    ts: `for (const path of ${JSON.stringify(paths)}) {
      const { mode, uid, gid } = Deno.statSync(path);
      say(path, (mode & 0o7777).toString(8), uid, gid);
    }`,
  };
}

/** Prints the user and the group that it runs as. */
export const WHO: Program = {
  sh: "echo $(id -u) $(id -g)",
  ts: "say(Deno.uid(), Deno.gid())",
};

/** Prints `ok` if a file can be written, and what else is the case if not. */
export function tries(path: string): Program {
  return {
    sh: `echo x 2>/dev/null > ${path} && echo ok || echo refused`,
    ts: `say(tried(() => write(${JSON.stringify(path)}, "x")) === "ok" ? "ok" : "refused")`,
  };
}

/** The words of a program's command on a runtime. */
export function wordsOf(run: string | Program, runtime: RuntimeName): string[] {
  if (typeof run === "string") return ["sh", "-c", run];
  if (runtime === "isolate" || run.sh === undefined) {
    return ["deno", "eval", "--unstable-net", PRELUDE + run.ts];
  }
  return ["sh", "-c", run.sh];
}

/** A manifest for a runtime: every `run` in it becomes a command, a container without an image gets one. */
export function forRuntime(manifest: Manifest, runtime: RuntimeName): Manifest {
  if (Array.isArray(manifest)) return manifest.map((one) => forRuntime(one, runtime));
  if (typeof manifest !== "object" || manifest === null) return manifest;
  const { run, containerd, isolate, ...rest } = manifest;
  const own = runtime === "containerd" ? containerd : isolate;
  const made: Manifest = {};
  for (const [key, value] of Object.entries({ ...rest, ...own })) {
    made[key] = forRuntime(value, runtime);
  }
  if (run !== undefined) made.command = wordsOf(run, runtime);
  for (const list of ["containers", "initContainers", "ephemeralContainers"]) {
    for (const container of Array.isArray(made[list]) ? made[list] : []) {
      container.image ??= container.command?.[0] === "deno" || runtime === "isolate"
        ? DENO
        : IMAGES.busybox;
    }
  }
  return made;
}
