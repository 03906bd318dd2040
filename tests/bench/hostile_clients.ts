/**
 * Hostile clients, a row for each kind: what somebody does who wants a server to be busy with them alone. Run as a
 * program it is one of them, against the server that the environment names (`hostile.ts` starts it).
 */
import http2 from "node:http2";
import { getRequest, hello, reset } from "../e2e/http2_frames.ts";
import { type Access, RawConnection } from "../e2e/raw_http.ts";
import { tlsServer } from "../tls_server.ts";
import { bigPod } from "./load.ts";

/** Who they are: a user with rights by RBAC, and an administrator. */
export interface Target {
  user: Access;
  administrator: Access;
}

/** One kind. `run` says `ready` once it does its worst, and goes on until its process is ended. */
export interface Hostile {
  name: string;
  run: (target: Target, ready: () => void) => Promise<unknown>;
}

const encoder = new TextEncoder();
const NAMESPACE = "/api/v1/namespaces/default";
const MAPS = `${NAMESPACE}/configmaps`;
export const PODS = 1_500;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Does something again and again on so many connections, each opened again when it is closed. */
async function forever(
  access: Access,
  connections: number,
  once: (connection: RawConnection, i: number) => Promise<unknown>,
  ready: () => void,
): Promise<void> {
  let done = 0;
  await Promise.all(Array.from({ length: connections }, async (_, i) => {
    for (;;) {
      try {
        const connection = await RawConnection.open(access);
        for (;;) {
          await once(connection, i);
          if (++done === connections) ready();
        }
      } catch {
        await pause(10);
      }
    }
  }));
}

/** Reads a path as fast as it is answered. */
const reads =
  (path: string, connections: number, who: keyof Target = "user"): Hostile["run"] =>
  (target, ready) => forever(target[who], connections, (one) => one.request("GET", path), ready);

/** Writes an object as fast as it is answered. */
function writes(path: string, object: (i: number) => unknown, connections: number): Hostile["run"] {
  return ({ user }, ready) => {
    const bodies = Array.from({ length: connections }, (_, i) => {
      return encoder.encode(JSON.stringify(object(i)));
    });
    return forever(user, connections, (one, i) => one.request("POST", path, bodies[i]), ready);
  };
}

/** A connection that speaks for itself. */
async function raw({ hostname, port, caPem }: Access, alpn = "http/1.1"): Promise<Deno.TlsConn> {
  return await Deno.connectTls({ hostname, port, caCerts: [caPem], alpnProtocols: [alpn] });
}

/** Keeps so many of something going: one that ends begins again. */
async function kept(count: number, one: () => Promise<unknown>, ready: () => void): Promise<void> {
  setTimeout(ready, 1_500);
  await Promise.all(Array.from({ length: count }, async () => {
    for (;;) {
      await one().catch(() => undefined);
      await pause(10);
    }
  }));
}

async function slowBody(access: Access): Promise<void> {
  using connection = await raw(access);
  const head = `POST ${MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${access.token}\r\n` +
    "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{";
  await connection.write(encoder.encode(head));
  for (;;) {
    await pause(100);
    await connection.write(encoder.encode(" "));
  }
}

async function endlessHead(access: Access): Promise<void> {
  using connection = await raw(access);
  const line = encoder.encode(`X-Long: ${"b".repeat(1000)}\r\n`);
  await connection.write(encoder.encode("GET /version HTTP/1.1\r\nHost: x\r\n"));
  for (;;) await connection.write(line);
}

async function resets(access: Access): Promise<void> {
  using connection = await raw(access, "h2");
  await connection.write(hello());
  for (let stream = 1;; stream += 2) {
    const request = getRequest(stream, MAPS, access.token!);
    const both = new Uint8Array([...request, ...reset(stream)]);
    for (let sent = 0; sent < both.length;) sent += await connection.write(both.subarray(sent));
  }
}

const STREAMS = 100;

/** Watches over HTTP/2. */
async function watches({ user }: Target, count: number, ready: () => void): Promise<void> {
  for (let opened = 0; opened < count; opened += STREAMS) {
    const session = http2.connect(`https://${user.hostname}:${user.port}`, { ca: user.caPem });
    session.on("error", () => session.destroy());
    await Promise.all(Array.from({ length: STREAMS }, () =>
      new Promise<void>((resolve, reject) => {
        const stream = session.request({
          ":path": `${MAPS}?watch=true&resourceVersion=0&labelSelector=hostile%3Dyes`,
          authorization: `Bearer ${user.token}`,
        });
        stream.on("response", () => resolve());
        stream.on("error", reject);
        stream.resume();
      })));
  }
  ready();
  await new Promise(() => setInterval(() => undefined, 1_000_000));
}

/** Watches whose client never reads, while there is much to tell them. */
async function unread({ user }: Target, count: number, ready: () => void): Promise<void> {
  const deaf = await Promise.all(Array.from({ length: count }, async () => {
    const connection = await raw(user);
    const path = `${MAPS}?watch=true&labelSelector=hostile%3Dyes`;
    const head = `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${user.token}\r\n\r\n`;
    await connection.write(encoder.encode(head));
    return connection;
  }));
  const writer = await RawConnection.open(user);
  for (let i = 0; deaf.length > 0; i++) {
    const name = `told-${i}`;
    const metadata = { name, labels: { hostile: "yes" } };
    const body = encoder.encode(JSON.stringify({ metadata, data: { text: "x".repeat(20_000) } }));
    await writer.request("POST", MAPS, body);
    await writer.request("DELETE", `${MAPS}/${name}`);
    if (i === 5) ready();
    await pause(100);
  }
}

/** Configures a webhook for those ConfigMaps that carry a label. */
async function webhook(
  { administrator }: Target,
  label: string,
  clientConfig: Record<string, unknown>,
): Promise<void> {
  const path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
  const connection = await RawConnection.open(administrator);
  await connection.request("DELETE", `${path}/${label}`);
  const { status } = await connection.request(
    "POST",
    path,
    encoder.encode(JSON.stringify({
      metadata: { name: label },
      webhooks: [{
        name: `${label}.example.com`,
        clientConfig,
        admissionReviewVersions: ["v1"],
        sideEffects: "None",
        timeoutSeconds: 1,
        objectSelector: { matchLabels: { hostile: label } },
        rules: [{
          apiGroups: [""],
          apiVersions: ["v1"],
          operations: ["CREATE"],
          resources: ["configmaps"],
        }],
      }],
    })),
  );
  connection.close();
  if (status !== 201) throw new Error(`webhook ${label}: ${status}`);
}

/** A ConfigMap that policies and webhooks of that label look at. */
function labelled(label: string, data: Record<string, string>): unknown {
  return { metadata: { generateName: `${label}-`, labels: { hostile: label } }, data };
}

/** A webhook that asks for another of what it is asked about, before it answers. */
async function loop(target: Target, ready: () => void): Promise<void> {
  const body = encoder.encode(JSON.stringify(labelled("loop", {})));
  const server = await tlsServer(["127.0.0.1"], async ({ body: review }) => {
    const connection = await RawConnection.open(target.user);
    await connection.request("POST", MAPS, body);
    connection.close();
    const { apiVersion, kind, request: { uid } } = JSON.parse(review);
    return { body: JSON.stringify({ apiVersion, kind, response: { uid, allowed: false } }) };
  });
  await webhook(target, "loop", {
    url: `https://127.0.0.1:${server.port}/`,
    caBundle: btoa(server.ca),
  });
  await writes(MAPS, () => labelled("loop", {}), 4)(target, ready);
}

/** Webhooks at what should not be reached: nobody's address, and the server's own port. */
async function elsewhere(target: Target, ready: () => void): Promise<void> {
  await webhook(target, "nobody", { url: "https://198.51.100.1/" });
  await webhook(target, "self", { url: `https://127.0.0.1:${target.user.port}${MAPS}` });
  const object = (i: number) => labelled(i % 2 ? "nobody" : "self", {});
  await writes(MAPS, object, 32)(target, ready);
}

const keys = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, "v"]));
const letters = Array.from({ length: 900_000 }, (_, i) => "ab"[(i * i) % 7 % 2]).join("");
const widget = (spec: Record<string, unknown>) => ({
  apiVersion: "hostile.example.com/v1",
  kind: "Widget",
  metadata: { generateName: "widget-" },
  spec,
});
const WIDGETS = "/apis/hostile.example.com/v1/namespaces/default/widgets";

/** Expressions that the setup puts into policies, by the label of what they judge. */
export const EXPRESSIONS: Readonly<Record<string, string>> = {
  cel: "object.data.all(a, object.data.all(b, object.data.all(c, a + b + c != '')))",
  regexp: "object.data.text.matches('[ab]*a[ab]{900}[cd]')",
};

/** The kind that the setup defines: rules and patterns over what a client sends. */
export const WIDGET_SCHEMA = {
  type: "object",
  properties: {
    spec: {
      type: "object",
      properties: {
        numbers: { type: "array", maxItems: 1_000, items: { type: "integer" } },
        text: { type: "string", pattern: "[ab]*a[ab]{900}[cd]" },
      },
      "x-kubernetes-validations": [{
        rule: "!has(self.numbers) || self.numbers.all(a, self.numbers.all(b, a + b >= 0))",
      }],
    },
  },
};

/** All kinds. */
export const HOSTILE: readonly Hostile[] = [
  { name: "10,000 idle watches", run: (target, ready) => watches(target, 10_000, ready) },
  { name: "200 watches that are not read", run: (target, ready) => unread(target, 200, ready) },
  {
    name: "200 bodies, a byte at a time",
    run: ({ user }, ready) => kept(200, () => slowBody(user), ready),
  },
  {
    name: "16 heads without an end",
    run: ({ user }, ready) => kept(16, () => endlessHead(user), ready),
  },
  { name: "8 that reset streams", run: ({ user }, ready) => kept(8, () => resets(user), ready) },
  { name: "64 connections of one user", run: reads(`${NAMESPACE}/pods/warm-0`, 64) },
  {
    name: "the same of an administrator",
    run: reads(`${NAMESPACE}/pods/warm-0`, 64, "administrator"),
  },
  { name: "16 that list 1,500 pods, 5 MB", run: reads(`${NAMESPACE}/pods`, 16) },
  {
    name: "16 that create pods",
    run: writes(`${NAMESPACE}/pods?dryRun=All`, (i) => bigPod(`dry-${i}`), 16),
  },
  { name: "4 at CEL's limit in a policy", run: writes(MAPS, () => labelled("cel", keys(200)), 4) },
  {
    name: "4 at CEL's limit in rules",
    run: writes(WIDGETS, () => widget({ numbers: Array.from({ length: 1_000 }, (_, i) => i) }), 4),
  },
  {
    name: "2 with a long pattern in a policy",
    run: writes(MAPS, () => labelled("regexp", { text: letters }), 2),
  },
  {
    name: "2 with a long pattern in a schema",
    run: writes(WIDGETS, () => widget({ text: letters }), 2),
  },
  { name: "4 with webhooks that lead back", run: loop },
  { name: "32 with webhooks that lead nowhere", run: elsewhere },
];

if (import.meta.main) {
  const { name, target } = JSON.parse(Deno.env.get("HOSTILE")!) as { name: string; target: Target };
  await HOSTILE.find((one) => one.name === name)!.run(target, () => console.log("ready"));
}
