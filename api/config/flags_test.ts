import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { FLAGS, helpText, readFlags, UsageError } from "./flags.ts";

Deno.test("readFlags() gives every flag its default", () => {
  const flags = readFlags([]);
  assertEquals(flags.port, 6443);
  assertEquals(flags.memory, false);
  assertEquals(flags.data, undefined);
  assertEquals(flags.components, ["api", "controllers", "scheduler", "nodes", "network"]);
});

Deno.test("readFlags() reads values of each type", () => {
  const flags = readFlags([
    "--port=0",
    "--nodes",
    "3",
    "--memory",
    "--no-beta",
    "--components",
    "api",
    "--components=nodes,network",
    "--log-format=json",
  ]);
  assertEquals([flags.port, flags.nodes, flags.memory, flags.beta], [0, 3, true, false]);
  assertEquals(flags.components, ["api", "nodes", "network"]);
  assertEquals(flags["log-format"], "json");
  assertEquals(readFlags(["--memory=false"]).memory, false);
});

Deno.test("readFlags() says what is wrong with a mistake", () => {
  const cases: [string[], string][] = [
    [["--port", "x"], '--port must be a number from 0 to 65535, not "x"'],
    [["--port"], "--port needs a value"],
    [["--wrong"], 'Unknown flag "--wrong"; --help lists them'],
    [["serve"], 'Unexpected argument "serve"; flags begin with --'],
    [["--no-port"], "--port has a value: it cannot be switched off"],
    [["--memory=maybe"], '--memory must be true or false, not "maybe"'],
    [["--runtime", "docker"], '--runtime must be one of auto, isolate, simulated, not "docker"'],
  ];
  for (const [args, message] of cases) {
    assertEquals(assertThrows(() => readFlags(args), UsageError).message, message);
  }
});

Deno.test("helpText() has a line for every flag", () => {
  const text = helpText();
  for (const name in FLAGS) assertStringIncludes(text, `--${name}`);
});
