/**
 * The rules of the house, as a test: who may import whom, where time and I/O may appear, how large a file
 * and a function may be, what names are not used. A rule that matters is in this file; the reasons are in
 * the README under "Decisions".
 */
import { assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);
const FOLDERS = ["kv", "api", "actors", "tests"];

/** Each folder and what it may import beside itself; the longest matching folder counts. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  "kv": [],
  "api/machinery": [],
  "api/kinds": ["api/machinery"],
  "api/client": ["api/kinds", "api/machinery"],
  "api/auth": ["api/client", "api/kinds", "api/machinery"],
  "api/cis": ["api/auth", "api/client", "api/kinds", "api/machinery"],
  "api/web": ["api/client", "api/kinds", "api/machinery"],
  "api/server": ["api/auth", "api/client", "api/kinds", "api/machinery", "kv"],
  "api/plesio": [
    "api/server",
    "api/auth",
    "api/client",
    "api/kinds",
    "api/machinery",
    "api/web",
    "kv",
  ],
  "api/config": ["api/auth", "api/client", "api/joining", "api/kinds", "api/machinery"],
  "api/joining": ["api/auth", "api/client", "api/kinds", "api/machinery"],
  "api": [
    "api/plesio",
    "api/server",
    "api/config",
    "api/auth",
    "api/client",
    "api/kinds",
    "api/machinery",
    "kv",
  ],
  "actors/runtime": ["api/client", "api/machinery"],
  "actors/scheduler": ["actors/runtime", "api/client", "api/kinds", "api/machinery"],
  "actors/controllers": ["actors/runtime", "api/client", "api/kinds", "api/machinery"],
  "actors/nodes": ["actors/runtime", "api/client", "api/kinds", "api/machinery"],
  "actors": [
    "actors/runtime",
    "actors/scheduler",
    "actors/controllers",
    "actors/nodes",
    "api/client",
    "api/kinds",
    "api/machinery",
  ],
};
// What puts all parts together may name all of them, and is named by mod.ts alone.
MAY_IMPORT["actors/cluster"] = Object.keys(MAY_IMPORT);
/** Contracts: pages of types that anybody may name, and a guard against the host. */
const CONTRACTS = [
  "kv/http2_client.ts",
  "kv/contract.ts",
  "kv/clock.ts",
  "api/client/contract.ts",
  "api/client/node_api.ts",
  "api/client/outbound.ts",
];

/** Where the host's clock, chance, network, files and processes may be touched. */
const IMPURE_ALLOWED = [
  "mod.ts",
  "api/seal_key.ts",
  "api/backup.ts",
  "api/serve_host.ts",
  "api/cis/program.ts",
  "kv/clock.ts",
  "kv/open.ts",
  "kv/connect_client.ts",
  "kv/connect_server.ts",
  "kv/etcd_members.ts",
  "kv/http2_client.ts",
  "kv/mod.ts",
  "api/server/listen.ts",
  "api/server/files.ts",
  "api/config/command.ts",
  "api/config/files.ts",
  "api/web/build.ts",
  "api/web/app/browser.ts",
  "api/kinds/generate",
  "actors/cluster/",
  "actors/nodes/joining/host.ts",
  "actors/nodes/runtimes/",
  "actors/nodes/network/",
  "actors/nodes/volumes/",
  "tests/",
];
const IMPURE: readonly [RegExp, string][] = [
  [/\bDate\.now\(/, "Date.now"],
  [/\bnew Date\(\)/, "new Date()"],
  [/\bperformance\.now\(/, "performance.now"],
  [/(?<![.\w])set(Timeout|Interval)\(/, "setTimeout"],
  [/\bMath\.random\(/, "Math.random"],
  [/\bcrypto\.(randomUUID|getRandomValues)\(/, "crypto's randomness"],
  [/(?<![.\w#"'`])fetch\((?!\w+\??:)/, "fetch"],
  [/\bDeno\.(?!test|bench|Kv\b|KvKey|KvEntry|AtomicOperation)[a-z]\w*\(/, "Deno.*"],
  [/from "node:(fs|net|http|https|http2|tls|dgram|child_process|os|sqlite|timers)/, "node I/O"],
];

/** Larger than a file should be, on purpose: tables of data and generated code. */
const SIZE_EXEMPT = /generated\/|bootstrap_roles|\.golden\.|stages\//;
const FILE_LINES_MAX = 800;
const FUNCTION_LINES_MAX = 70;
const BANNED = /\b(util|utils|helper|helpers|common|misc|manager|base|impl)\b/;

interface Source {
  path: string;
  text: string;
  lines: string[];
}

function* walk(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(new URL(`${folder}/`, ROOT))) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* walk(path);
    else if (/\.tsx?$/.test(entry.name)) yield path;
  }
}

function load(path: string): Source {
  const text = Deno.readTextFileSync(new URL(path, ROOT));
  return { path, text, lines: text.split("\n") };
}

const roots = [...Deno.readDirSync(ROOT)].filter((e) => e.isFile && e.name.endsWith(".ts")).map((
  e,
) => e.name);
const sources = [...roots, ...FOLDERS.flatMap((folder) => [...walk(folder)])].map(load);
const product = sources.filter(({ path }) => !path.startsWith("tests/"));
const plain = product.filter(({ path }) =>
  !/_(test|bench)\.ts$/.test(path) && !path.includes("/generated/")
);

/** Every relative import of a file, as paths from the root. */
function importsOf({ path, text }: Source): { target: string; type: boolean }[] {
  const found: { target: string; type: boolean }[] = [];
  const statements = text.matchAll(/^(?:import|export)\s(type\s)?[^;]*?from\s+"(\.[^"]+)"/gms);
  for (const [, type, specifier] of statements) {
    const target = new URL(specifier, new URL(path, ROOT)).href.slice(ROOT.href.length);
    found.push({ target, type: type !== undefined });
  }
  for (const [, specifier] of text.matchAll(/\bimport\("(\.[^"]+)"\)/g)) {
    found.push({
      target: new URL(specifier, new URL(path, ROOT)).href.slice(ROOT.href.length),
      type: false,
    });
  }
  return found;
}

function homeOf(path: string): string | undefined {
  return Object.keys(MAY_IMPORT).filter((folder) => path.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length)[0];
}

Deno.test("imports follow the table of who may import whom", () => {
  const wrong: string[] = [];
  for (const source of plain) {
    const home = homeOf(source.path);
    if (!home) continue;
    for (const { target, type } of importsOf(source)) {
      const there = homeOf(target);
      if (there === home || CONTRACTS.includes(target)) continue;
      if (type && target.startsWith("api/")) continue;
      if (!there || !MAY_IMPORT[home].includes(there)) {
        wrong.push(`${source.path} imports ${target}`);
      }
    }
  }
  assertEquals(wrong, []);
});

Deno.test("time, chance and I/O appear only where they are let in", () => {
  const wrong: string[] = [];
  for (const { path, lines } of plain) {
    if (IMPURE_ALLOWED.some((allowed) => path.startsWith(allowed))) continue;
    lines.forEach((line, i) => {
      if (/^\s*(\*|\/\/|\/\*)/.test(line)) return;
      for (const [pattern, name] of IMPURE) {
        if (pattern.test(line)) wrong.push(`${path}:${i + 1} uses ${name}`);
      }
    });
  }
  assertEquals(wrong, []);
});

Deno.test("no file is longer than 800 lines, no function longer than 70", () => {
  const wrong: string[] = [];
  for (const { path, lines } of plain) {
    if (SIZE_EXEMPT.test(path)) continue;
    if (lines.length > FILE_LINES_MAX) wrong.push(`${path} has ${lines.length} lines`);
    for (const { name, at, length } of functionsOf(lines)) {
      if (length > FUNCTION_LINES_MAX) wrong.push(`${path}:${at} ${name} has ${length} lines`);
    }
  }
  assertEquals(wrong, []);
});

/** Functions and methods, found by the indentation that the formatter guarantees. */
function* functionsOf(lines: readonly string[]) {
  const head =
    /^(\s*)(?:export )?(?:default )?(?:static |async |override |get |set )*(function\*? )?([#\w]+)(?:<.*>)?\(.*[{(,]$/;
  for (let i = 0; i < lines.length; i++) {
    const match = head.exec(lines[i]);
    if (!match || /^\s*(if|for|while|switch|return|await|catch|else|super)\b/.test(lines[i])) {
      continue;
    }
    const [, indent, keyword, name] = match;
    if (!keyword && !(indent.length === 2 && lines[i].endsWith("{") && !lines[i].includes("=>"))) {
      continue;
    }
    const end = lines.findIndex((line, j) =>
      j > i && (line === `${indent}}` || line === `${indent}},`)
    );
    if (end > 0) yield { name, at: i + 1, length: end - i + 1 };
  }
}

Deno.test("files are snake_case, without the names of drawers", () => {
  const wrong = product.map(({ path }) => path).filter((path) => {
    const name = path.slice(path.lastIndexOf("/") + 1).replace(/\.tsx?$/, "");
    return !/^[a-z0-9_]+(\.[a-z0-9_]+)*$/.test(name) || BANNED.test(name.replaceAll("_", " "));
  });
  assertEquals(wrong, []);
});

Deno.test("exports do not carry the names of drawers", () => {
  const wrong: string[] = [];
  for (const { path, text } of plain) {
    for (
      const [, name] of text.matchAll(
        /^export (?:async )?(?:function|class|const|interface|type) (\w+)/gm,
      )
    ) {
      const words = name.replace(/([a-z])([A-Z])/g, "$1 $2").replaceAll("_", " ").toLowerCase();
      if (/\b(util|utils|helper|helpers|misc|impl)\b/.test(words)) {
        wrong.push(`${path} exports ${name}`);
      }
    }
  }
  assertEquals(wrong, []);
});

Deno.test("every file says what it is before its first line of code", () => {
  const wrong = plain.filter(({ text }) => !text.startsWith("/**")).map(({ path }) => path);
  assertEquals(wrong, []);
});

Deno.test("no catch is empty, nothing is left to do", () => {
  const wrong: string[] = [];
  for (const { path, lines } of plain) {
    lines.forEach((line, i) => {
      if (/catch\s*(\([^)]*\))?\s*\{\s*\}/.test(line)) {
        wrong.push(`${path}:${i + 1} swallows an error`);
      }
      if (/\b(TODO|FIXME|XXX)\b/.test(line)) wrong.push(`${path}:${i + 1} is left to do`);
    });
  }
  assertEquals(wrong, []);
});
