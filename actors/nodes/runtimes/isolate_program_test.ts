import { assertEquals, assertThrows } from "@std/assert";
import {
  type Grants,
  isIsolateImage,
  isWasm,
  NotFoundError,
  permissionsOf,
  programOf,
  wordsOf,
} from "./isolate_program.ts";

const grants: Grants = {
  permissions: ["--allow-net"],
  preload: "/p.ts",
  commands: "/c.ts",
  host: "10.0.0.2",
  privileged: false,
  deno: "/usr/bin/deno",
};

Deno.test("isIsolateImage() knows modules and the node's own image", () => {
  for (const image of ["denoland/deno", "denoland/deno:2.9.6", "docker.io/denoland/deno:alpine"]) {
    assertEquals(isIsolateImage(image), true, image);
  }
  for (const image of ["npm:cowsay", "jsr:@a/b", "https://x/y.ts", "file:///a.ts", "data:,x"]) {
    assertEquals(isIsolateImage(image), true, image);
  }
  for (const image of ["nginx", "denoland/deno-lambda:1", "example.com/denoland/deno", "node:22"]) {
    assertEquals(isIsolateImage(image), false, image);
  }
});

Deno.test("isWasm() knows programs of WebAssembly by their name", () => {
  for (const image of ["https://x/y.wasm", "http://x/y.wasm?v=1", "file:///a/b.wasm"]) {
    assertEquals(isWasm(image), true, image);
  }
  for (const image of ["https://x/y.ts", "nginx.wasm", "npm:x.wasm", "https://x/?y.wasm"]) {
    assertEquals(isWasm(image), false, image);
  }
});

Deno.test("wordsOf() replaces entrypoint and command as Kubernetes does", () => {
  const image = "denoland/deno";
  assertEquals(wordsOf(image, undefined, ["run", "x.ts"]), ["deno", "run", "x.ts"]);
  assertEquals(wordsOf(image, undefined, ["-A", "x.ts"]), ["deno", "-A", "x.ts"]);
  assertEquals(wordsOf(image, undefined, ["deno", "eval", "1"]), ["deno", "eval", "1"]);
  assertEquals(wordsOf(image, ["sleep"], ["3"]), ["sleep", "3"]);
  assertEquals(wordsOf(image, undefined, undefined)[1], "eval");
  assertEquals(wordsOf("npm:cowsay", undefined, ["hi"]), ["deno", "run", "npm:cowsay", "hi"]);
  const wasm = "https://x/y.wasm";
  assertEquals(wordsOf(wasm, undefined, ["hi"], "/dir/y.wasm"), ["wasm", "/dir/y.wasm", "hi"]);
  assertEquals(wordsOf(wasm, ["sleep"], ["3"], "/dir/y.wasm"), ["sleep", "3"]);
});

Deno.test("programOf() replaces permission flags, and only those of deno itself", () => {
  const own = ["--allow-net", "--preload=/p.ts"];
  const cases: [string[], string[]][] = [
    [["deno", "run", "-A", "x.ts", "-A"], ["run", ...own, "x.ts", "-A"]],
    [["deno", "run", "--allow-read=/", "-RW", "--ext", "ts", "x"], [
      "run",
      "--ext",
      "ts",
      ...own,
      "x",
    ]],
    [["deno", "run", "-N=a", "-P", "--deny-env", "--no-prompt", "-q", "x"], [
      "run",
      "-q",
      ...own,
      "x",
    ]],
    [["deno", "x.ts"], ["run", ...own, "x.ts"]],
    [["/usr/bin/deno", "--version"], ["--version"]],
    [["deno", "serve", "x.ts"], ["serve", ...own, "--host=10.0.0.2", "x.ts"]],
    [["deno"], ["repl", "--allow-net"]],
  ];
  for (const [words, args] of cases) assertEquals(programOf(words, grants).args, args);
  const evaluated = programOf(["deno", "eval", "-p", "1+1", "a"], grants);
  assertEquals(evaluated.code, { text: "console.log(1+1)", extension: "mts" });
  assertEquals(evaluated.args.slice(-2), ["\0code", "a"]);
});

Deno.test("programOf() runs our few commands, and finds nothing else", () => {
  const { args } = programOf(["/bin/cat", "x"], grants);
  assertEquals(args.slice(-3), ["/c.ts", "cat", "x"]);
  const error = assertThrows(() => programOf(["bash"], grants), NotFoundError);
  assertEquals(error.message, 'exec: "bash": executable file not found in $PATH');
  assertThrows(() => programOf(["deno", "task", "x"], grants), NotFoundError);
});

Deno.test("permissionsOf() grants its own root, never the machine's addresses", () => {
  const facts = {
    privileged: false,
    ip: "10.0.0.2",
    ownRoot: true,
    readOnlyRoot: false,
    readable: [],
    writable: ["/data"],
  };
  assertEquals(permissionsOf(facts).includes("--deny-net=0.0.0.0,127.0.0.1,[::],[::1]"), true);
  assertEquals(permissionsOf(facts).includes("--allow-write"), true);
  const readOnly = permissionsOf({ ...facts, readOnlyRoot: true });
  assertEquals(readOnly.filter((f) => f.startsWith("--allow-write")), ["--allow-write=/data"]);
  const mapped = permissionsOf({ ...facts, ownRoot: false, readable: ["/a,b"] });
  assertEquals(mapped.includes("--allow-read=/a,,b"), true);
  assertEquals(permissionsOf({ ...facts, privileged: true }), ["--allow-all", "--no-prompt"]);
});
