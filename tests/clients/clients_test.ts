/**
 * Clients as people have them, unmodified, each driven by a small program of ours: `@kubernetes/client-node`, Go's
 * client-go with protobuf, Python's `kubernetes`. They are skipped where their language or library is
 * missing, never in CI.
 */
import { assert, assertEquals } from "@std/assert";
import { Server } from "../e2e/server.ts";

const HERE = new URL("./", import.meta.url);
const CI = Deno.env.get("CI") === "true";
/** npx puts other folders first on the PATH: whoever installed the library says for which Python. */
const PYTHON = Deno.env.get("PYTHON") ?? "python3";

async function run(command: string, args: string[], options: Deno.CommandOptions = {}) {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    stdout: "piped",
    stderr: "piped",
    ...options,
  }).output();
  return {
    success,
    text: new TextDecoder().decode(stdout),
    errors: new TextDecoder().decode(stderr),
  };
}

async function has(command: string, ...args: string[]): Promise<boolean> {
  return await run(command, args).then(({ success }) => success, () => false);
}

const go = await has("go", "version");
const python = await has(PYTHON, "-c", "import kubernetes");

Deno.test({
  name: "client-go: a shared informer with protobuf sees every event, a Deployment becomes ready",
  // Needs Go and the modules that go.mod names
  ignore: !go && !CI,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "plesio-go-" });
    const built = await run("go", ["build", "-o", `${folder}/informer`, "."], {
      cwd: new URL("go/", HERE),
    });
    assert(built.success, built.errors);
    await using server = await Server.start({ flags: ["--runtime", "simulated"] });
    const { text, success, errors } = await run(`${folder}/informer`, [], {
      env: { KUBECONFIG: server.kubeconfig },
    });
    await Deno.remove(folder, { recursive: true });
    assert(success, text + errors);
    assertEquals(text, "synced\nevents 20 10 20\ndeployment ready\ndone\n");
  },
});

Deno.test({
  name: "python: lists, watches, execs",
  // Needs Python's package `kubernetes`
  ignore: !python && !CI,
  async fn() {
    await using server = await Server.start();
    const script = new URL("python_client.py", HERE).pathname;
    const { text, success, errors } = await run(PYTHON, [script], {
      env: { KUBECONFIG: server.kubeconfig },
    });
    assert(success, text + errors);
    assertEquals(text, "nodes 2\nwatched ADDED MODIFIED DELETED\nexec 42\nnot found\n");
  },
});

Deno.test("client-node: typed calls, informer, logs, exec, port-forward", async () => {
  await using server = await Server.start();
  const program = new URL("client_node.ts", HERE).pathname;
  const { text, success, errors } = await run(Deno.execPath(), ["run", "-A", program], {
    env: { KUBECONFIG: server.kubeconfig },
  });
  assert(success, text + errors);
  assertEquals(text.trim().split("\n"), [
    "typed create, read, patch, conflict",
    "informer, with its connection broken in between",
    "log, followed",
    "exec, with its exit code",
    "port-forward",
  ]);
});
