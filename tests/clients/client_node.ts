/**
 * `@kubernetes/client-node`, unmodified, against the cluster of KUBECONFIG: typed calls, an informer over a
 * connection that breaks, exec, a followed log, a forwarded port. One line a step, read by the test beside it.
 */
import { assert, assertEquals } from "@std/assert";
import * as k8s from "@kubernetes/client-node";
import { Writable } from "node:stream";
import { createServer } from "node:net";

/** Waits until `look` answers something true. */
async function eventually<T>(what: string, look: () => Promise<T> | T, seconds = 30): Promise<T> {
  const until = Date.now() + seconds * 1000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > until) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function collect(): { stream: Writable; text: () => string } {
  let text = "";
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk;
      done();
    },
  });
  return { stream, text: () => text };
}

const PROGRAM = `
let n = 0;
setInterval(() => console.log("line", n++), 200);
Deno.serve({ port: 8080 }, () => new Response("hello"));
`;

async function step(name: string, run: () => Promise<void>): Promise<void> {
  await run();
  console.log(name);
}

const config = new k8s.KubeConfig();
config.loadFromFile(Deno.env.get("KUBECONFIG")!);
const core = config.makeApiClient(k8s.CoreV1Api);
const namespace = "default";
await eventually(
  "the default ServiceAccount",
  () => core.readNamespacedServiceAccount({ name: "default", namespace }).catch(() => undefined),
);

await step("typed create, read, patch, conflict", async () => {
  const made = await core.createNamespacedConfigMap({
    namespace,
    body: { metadata: { name: "typed" }, data: { a: "1" } },
  });
  assert(made.metadata?.creationTimestamp instanceof Date);
  const patched = await core.patchNamespacedConfigMap(
    { namespace, name: "typed", body: { data: { b: "2" } } },
    k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.MergePatch),
  );
  assertEquals(patched.data, { a: "1", b: "2" });
  const refused = await core.createNamespacedConfigMap({
    namespace,
    body: { metadata: { name: "typed" } },
  }).catch((e) => e);
  assertEquals([refused.code, JSON.parse(refused.body).reason], [409, "AlreadyExists"]);
});

await step("informer, with its connection broken in between", async () => {
  const seen: string[] = [];
  const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: "informed" });
  const informer = k8s.makeInformer(
    config,
    `/api/v1/namespaces/${namespace}/configmaps`,
    list,
    "informed",
  );
  informer.on("add", (object) => seen.push(`add ${object.metadata?.name}`));
  informer.on("delete", (object) => seen.push(`delete ${object.metadata?.name}`));
  informer.on("error", () => setTimeout(() => informer.start(), 50));
  await informer.start();
  const make = (name: string) =>
    core.createNamespacedConfigMap({
      namespace,
      body: { metadata: { name, labels: { informed: "1" } } },
    });
  await make("one");
  await eventually("the first event", () => seen.includes("add one"));
  await informer.stop();
  await make("two");
  await informer.start();
  await eventually("the event missed meanwhile", () => seen.includes("add two"));
  await core.deleteNamespacedConfigMap({ namespace, name: "one" });
  await eventually("the deletion", () => seen.includes("delete one"));
  assertEquals(seen, ["add one", "add two", "delete one"]);
  await informer.stop();
});

await core.createNamespacedPod({
  namespace,
  body: {
    metadata: { name: "program", labels: { app: "program" } },
    spec: {
      containers: [{ name: "c", image: "denoland/deno:2.9.6", args: ["eval", PROGRAM] }],
    },
  },
});
await eventually(
  "the pod runs",
  async () =>
    (await core.readNamespacedPod({ namespace, name: "program" })).status?.phase === "Running",
);

await step("log, followed", async () => {
  const { stream, text } = collect();
  const stop = await new k8s.Log(config).log(namespace, "program", "c", stream, {
    follow: true,
  });
  await eventually("three lines", () => text().includes("line 2"));
  stop.abort();
  assert(text().includes("line 0\nline 1\nline 2\n"), text());
});

await step("exec, with its exit code", async () => {
  const { stream, text } = collect();
  const status = Promise.withResolvers<k8s.V1Status>();
  const command = ["deno", "eval", "console.log(6 * 7); Deno.exit(3)"];
  await new k8s.Exec(config).exec(
    namespace,
    "program",
    "c",
    command,
    stream,
    null,
    null,
    false,
    status.resolve,
  );
  const ended = await status.promise;
  assertEquals(text(), "42\n");
  assertEquals([ended.status, ended.reason, ended.details?.causes?.[0].message], [
    "Failure",
    "NonZeroExitCode",
    "3",
  ]);
});

await step("port-forward", async () => {
  const forward = new k8s.PortForward(config);
  const ends: (() => void)[] = [];
  const local = createServer((socket) => {
    const opened = forward.portForward(namespace, "program", [8080], socket, null, socket);
    opened.then((websocket) =>
      ends.push(() => (typeof websocket === "function" ? websocket() : websocket)?.close())
    );
    ends.push(() => socket.destroy());
  });
  await new Promise<void>((resolve) => local.listen(0, "127.0.0.1", resolve));
  const { port } = local.address() as { port: number };
  const body = await eventually("an answer", async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/`, {
      headers: { connection: "close" },
    }).catch(() => undefined);
    return answer && await answer.text();
  });
  assertEquals(body, "hello");
  for (const end of ends) end();
  local.close();
});
// Its connections would be told that the server is going, and Deno 2.9's HTTP/2 client may not survive that.
Deno.exit(0);
