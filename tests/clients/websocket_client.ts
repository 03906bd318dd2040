/**
 * What browsers and curl can do and no library here shows: a watch over WebSocket with the token among the
 * subprotocols, exec by every version of the channel protocol, plain and in base64. One line a step, read by the
 * test beside it.
 */
import { assert, assertEquals } from "@std/assert";
import { WebSocket } from "ws";
import { accessOf } from "../e2e/server.ts";

const access = accessOf(await Deno.readTextFile(Deno.env.get("KUBECONFIG")!));
const root = `${access.hostname}:${access.port}`;
const tls = { ca: access.caPem, cert: access.certificatePem, key: access.keyPem };
const admin = Deno.createHttpClient({
  caCerts: [access.caPem],
  cert: access.certificatePem,
  key: access.keyPem,
});
const decoder = new TextDecoder();

// deno-lint-ignore no-explicit-any -- whatever JSON the server sends
type Json = any;

async function ask(method: string, path: string, body?: unknown): Promise<Json> {
  const headers = { "content-type": "application/json" };
  const options = { method, headers, client: admin, body: body && JSON.stringify(body) };
  const answer = await fetch(`https://${root}${path}`, options as RequestInit);
  const json = await answer.json();
  if (!answer.ok) throw new Error(`${method} ${path}: ${json.message}`);
  return json;
}

async function eventually<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  const until = Date.now() + 30_000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > until) throw new Error("not in time");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

interface Open {
  protocol: string;
  messages: (string | Uint8Array)[];
  socket: WebSocket;
  closed: Promise<number>;
}

/** Opens a WebSocket; rejects with the status that refused it. */
function open(path: string, protocols: string[], options: object = tls): Promise<Open> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://${root}${path}`, protocols, {
      ca: access.caPem,
      ...options,
    });
    const messages: (string | Uint8Array)[] = [];
    const closed = new Promise<number>((done) => socket.on("close", done));
    socket.on("message", (data: Uint8Array, binary: boolean) => {
      messages.push(binary ? new Uint8Array(data) : decoder.decode(data));
    });
    socket.on("open", () => resolve({ protocol: socket.protocol, messages, socket, closed }));
    socket.on("error", reject);
    socket.on("unexpected-response", (_request: unknown, response: { statusCode?: number }) => {
      reject(new Error(`refused: ${response.statusCode}`));
    });
  });
}

const namespaced = "/api/v1/namespaces/default";
await eventually(() => ask("GET", `${namespaced}/serviceaccounts/default`).catch(() => false));

async function watchByToken(): Promise<void> {
  const binding = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", name: "view" };
  await ask("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", {
    metadata: { name: "browser" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: binding.kind, name: binding.name },
    subjects: [{ kind: "ServiceAccount", name: "default", namespace: "default" }],
  });
  const { status } = await ask("POST", `${namespaced}/serviceaccounts/default/token`, {
    spec: {},
  });
  const encoded = btoa(status.token).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  const secret = `base64url.bearer.authorization.k8s.io.${encoded}`;
  const path = `${namespaced}/configmaps?watch=true&labelSelector=by%3Dbrowser`;
  const browser = { headers: { origin: "https://dashboard.example", "user-agent": "Mozilla/5.0" } };
  const { protocol, messages, socket } = await open(
    path,
    ["base64.binary.k8s.io", secret],
    browser,
  );
  assertEquals(protocol, "base64.binary.k8s.io"); // and never the one with the token
  await ask("POST", `${namespaced}/configmaps`, {
    metadata: { name: "seen", labels: { by: "browser" } },
  });
  await eventually(() => Promise.resolve(messages.length > 0));
  const text = messages[0] as string;
  const event = JSON.parse(text.startsWith("{") ? text : atob(text));
  assertEquals([event.type, event.object.metadata.name], ["ADDED", "seen"]);
  socket.close();
  for (const bad of [[secret.slice(0, -4) + "AAAA", "x.k8s.io"], [secret]]) {
    const refused = await open(path, bad, browser).then(() => "", (error) => error.message);
    assertEquals(refused, "refused: 401");
  }
}

async function watchWithoutProtocol(): Promise<void> {
  const path = `${namespaced}/configmaps?watch=true&labelSelector=by%3Dbrowser&resourceVersion=0`;
  const { messages, socket } = await open(path, []);
  await eventually(() => Promise.resolve(messages.length > 0));
  assertEquals(JSON.parse(messages[0] as string).object.kind, "ConfigMap");
  socket.close();
}

async function startProgram(): Promise<void> {
  await ask("POST", `${namespaced}/pods`, {
    metadata: { name: "program" },
    spec: {
      containers: [{
        name: "c",
        image: "denoland/deno:2.9.6",
        args: ["eval", "setInterval(() => {}, 1000)"],
      }],
    },
  });
  await eventually(async () =>
    (await ask("GET", `${namespaced}/pods/program`)).status.phase === "Running"
  );
}

/** What one version of the protocol must say of a command that writes to both outputs and ends with 3. */
async function exec(protocol: string): Promise<void> {
  const script = "console.log('out'); console.error('err'); Deno.exit(3)";
  const command = ["deno", "eval", script].map((word) => `command=${encodeURIComponent(word)}`);
  const path = `${namespaced}/pods/program/exec?${command.join("&")}&stdout=1&stderr=1`;
  const opened = await open(path, protocol ? [protocol] : []);
  await opened.closed;
  const said = ["", "", "", ""];
  for (const message of opened.messages) {
    const base64 = protocol.includes("base64");
    const channel = typeof message === "string" ? Number(message[0]) : message[0];
    assertEquals(typeof message === "string", base64);
    said[channel] += typeof message === "string"
      ? atob(message.slice(1))
      : decoder.decode(message.slice(1));
  }
  assertEquals([said[1], said[2]], ["out\n", "err\n"], protocol);
  if (!/^v[45]/.test(protocol)) {
    assert(said[3].includes("exit code 3") || said[3] !== "", said[3]);
    return;
  }
  const { status, reason, details } = JSON.parse(said[3]);
  assertEquals([status, reason, details.causes[0].message], ["Failure", "NonZeroExitCode", "3"]);
}

const steps: [string, () => Promise<void>][] = [
  ["watch with a token among the subprotocols", watchByToken],
  ["watch without a subprotocol, one event a text message", watchWithoutProtocol],
  ...[
    "",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "v5.channel.k8s.io",
  ].map((protocol): [string, () => Promise<void>] => [
    `exec by ${protocol || "no subprotocol"}`,
    () => exec(protocol),
  ]),
];
for (const [name, run] of steps) {
  if (name.startsWith("exec by no")) await startProgram();
  await run();
  console.log(name);
}
admin.close();
Deno.exit(0);
