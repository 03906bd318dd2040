/**
 * `deno task start` as a person meets it: what it says, what it writes, how it stops, what it does about
 * mistakes. Each test has a process, a folder and a port of its own.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { RawConnection } from "./raw_http.ts";
import { freePort, Server } from "./server.ts";

const ROOT = new URL("../../", import.meta.url);
const decoder = new TextDecoder();
const encoder = new TextEncoder();

async function json(server: Server, method: string, path: string, body?: object) {
  const connection = await RawConnection.open(server.access);
  const answer = await connection.request(
    method,
    path,
    body && encoder.encode(JSON.stringify(body)),
  );
  const value = JSON.parse(decoder.decode(answer.body));
  connection.close();
  return { status: answer.status, value };
}

async function until(what: string, seconds: number, look: () => Promise<boolean>): Promise<number> {
  const since = performance.now();
  while (!await look()) {
    if (performance.now() - since > seconds * 1000) {
      throw new Error(`not within ${seconds} s: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return performance.now() - since;
}

async function readyNodes(server: Server): Promise<number> {
  const { value } = await json(server, "GET", "/api/v1/nodes");
  return value.items.filter((
    node: { status: { conditions?: { type: string; status: string }[] } },
  ) => node.status.conditions?.some((c) => c.type === "Ready" && c.status === "True")).length;
}

/** Runs the command to its end. */
async function run(flags: string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "mod.ts", "start", ...flags],
    cwd: ROOT,
    env,
    stdout: "piped",
    stderr: "piped",
  }).output();
  return { code, said: decoder.decode(stdout) + decoder.decode(stderr) };
}

function alive(pid: number): boolean {
  try {
    Deno.statSync(`/proc/${pid}`);
    return !/State:\s+Z/.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

Deno.test("start: two nodes, a real program, stop by SIGTERM without a process left, and resume", async () => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-start-" });
  const first = await Server.start({ folder });
  await until("two nodes Ready", 10, async () => await readyNodes(first) === 2);
  await until(
    "the default ServiceAccount",
    10,
    async () =>
      (await json(first, "GET", "/api/v1/namespaces/default/serviceaccounts/default")).status ===
        200,
  );
  const program = {
    name: "c",
    image: "denoland/deno:2.9.6",
    args: ["eval", "setInterval(() => {}, 1000)"],
  };
  const pod = await json(first, "POST", "/api/v1/namespaces/default/pods", {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "program" },
    spec: { containers: [program] },
  });
  assertEquals(pod.status, 201);
  const phase = async (server: Server) =>
    (await json(server, "GET", "/api/v1/namespaces/default/pods/program")).value.status.phase;
  await until("the program runs", 20, async () => await phase(first) === "Running");
  const pids = await first.pids();
  assert(pids.length >= 3, `${pids}`);
  const before = (await json(first, "GET", "/api/v1/pods")).value.metadata.resourceVersion;
  assert(await first.stop() < 3000);
  assertEquals(pids.filter(alive), []);

  const again = await Server.start({ folder, port: first.access.port });
  const after = (await json(again, "GET", "/api/v1/pods")).value;
  assert(Number(after.metadata.resourceVersion) >= Number(before));
  assertEquals(after.items[0].metadata.uid, pod.value.metadata.uid);
  await until(
    "the program runs again",
    30,
    async () => await phase(again) === "Running" && (await again.pids()).length >= 3,
  );
  await again.stop();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("start: an interrupt to the whole group, delivered twice, ends it once", async () => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-group-" });
  const data = `${folder}/data`;
  const port = freePort();
  const group = new Deno.Command("setsid", {
    args: [
      Deno.execPath(),
      "task",
      "start",
      "--data",
      data,
      "--port",
      String(port),
      "--kubeconfig",
      `${folder}/k`,
    ],
    cwd: ROOT,
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let said = "";
  const reading = (async () => {
    for await (const text of group.stdout.pipeThrough(new TextDecoderStream())) said += text;
  })();
  await until("ready", 20, () => Promise.resolve(said.includes("Plesio is ready")));
  const since = performance.now();
  for (let i = 0; i < 2; i++) {
    await new Deno.Command("kill", { args: ["-INT", "--", `-${group.pid}`] }).output();
  }
  await group.status;
  await reading;
  assert(performance.now() - since < 3000);
  assertStringIncludes(said, "Stopping (SIGINT)");
  await Deno.remove(folder, { recursive: true });
});

Deno.test("start: mistakes get a clear error and lose nothing", async (t) => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-errors-" });
  const quiet = ["--kubeconfig", `${folder}/k`, "--nodes", "0"];
  await using server = await Server.start({ flags: ["--nodes", "0"] });

  await t.step("a busy port", async () => {
    const { code, said } = await run(["--memory", "--port", String(server.access.port), ...quiet]);
    assertEquals(code, 1);
    assertStringIncludes(said, "the port is in use");
  });
  await t.step("a database that another process has", async () => {
    const { code, said } = await run([
      "--data",
      `${server.folder}/data`,
      "--port",
      String(freePort()),
      ...quiet,
    ]);
    assertEquals(code, 1);
    assertStringIncludes(said, "cluster.db");
    assertEquals(
      (await json(server, "GET", "/readyz?verbose").catch(() => ({ status: 200 }))).status,
      200,
    );
  });
  for (
    const [name, bytes] of [["foreign", "this is no database at all".repeat(400)], [
      "torn",
      "SQLite format 3\0" + "x".repeat(9000),
    ]]
  ) {
    await t.step(`a ${name} file`, async () => {
      const data = `${folder}/${name}`;
      await Deno.mkdir(data);
      await Deno.writeTextFile(`${data}/cluster.db`, bytes);
      const { code, said } = await run(["--data", data, "--port", String(freePort()), ...quiet]);
      assertEquals(code, 1);
      assertStringIncludes(said, "cluster.db");
      assert(!said.includes("    at "), said);
      assertEquals(await Deno.readTextFile(`${data}/cluster.db`), bytes);
    });
  }
  await t.step("an unreadable kubeconfig of one's own", async () => {
    const own = `${folder}/own`;
    await Deno.writeTextFile(own, "clusters: [not, a\n  kubeconfig");
    const { code, said } = await run(["--memory", "--port", String(freePort()), "--nodes", "0"], {
      KUBECONFIG: own,
    });
    assertEquals(code, 1);
    assertStringIncludes(said, "Cannot read your kubeconfig");
    assertEquals(await Deno.readTextFile(own), "clusters: [not, a\n  kubeconfig");
  });
  for (
    const flags of [["--port", "x"], ["--nodes", "-1"], ["--runtime", "vm"], ["--bogus"], [
      "--controllers",
      "nobody",
    ]]
  ) {
    await t.step(flags.join(" "), async () => {
      const { code, said } = await run(["--memory", ...quiet.slice(0, 2), ...flags]);
      assertEquals(code, 1);
      assert(said.includes("plesio: ") && !said.includes("    at "), said);
    });
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("start: merges its context into one's own kubeconfig and touches nothing else", async () => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-own-" });
  const own = `${folder}/config`;
  const text = [
    "# mine",
    "apiVersion: v1",
    "kind: Config",
    "current-context: work",
    "clusters: [{name: work, cluster: {server: 'https://example.com'}}]",
    "contexts: [{name: work, context: {cluster: work, user: me}}]",
    "users: [{name: me, user: {token: t}}]",
    "",
  ].join("\n");
  await Deno.writeTextFile(own, text, { mode: 0o600 });
  const port = freePort();
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "mod.ts",
      "start",
      "--data",
      `${folder}/data`,
      "--port",
      String(port),
      "--nodes",
      "0",
    ],
    cwd: ROOT,
    env: { KUBECONFIG: own },
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let said = "";
  const reading = (async () => {
    for await (const part of process.stdout.pipeThrough(new TextDecoderStream())) said += part;
  })();
  await until("ready", 20, () => Promise.resolve(said.includes("Plesio is ready")));
  const { parse } = await import("@std/yaml");
  // deno-lint-ignore no-explicit-any -- a kubeconfig
  const merged = parse(await Deno.readTextFile(own)) as any;
  assertEquals(merged.contexts.map((c: { name: string }) => c.name), ["work", "plesio"]);
  assertEquals(merged["current-context"], "plesio");
  assertEquals(merged.users[0], { name: "me", user: { token: "t" } });
  assertEquals((await Deno.stat(own)).mode! & 0o777, 0o600);
  process.kill("SIGTERM");
  await process.status;
  await reading;
  await Deno.remove(folder, { recursive: true });
});
