/**
 * Hostile clients over real sockets: what they hold is bounded, they are refused or hung up on, and nothing of them is
 * left. Timers run by a clock of the test's own. How fast others are served meanwhile is measured by `deno task bench`.
 *
 * The order and mixture of clients is drawn from one seed: `HOSTILE_SEED`, which a failure prints.
 */
import { assert, assertEquals } from "@std/assert";
import http2 from "node:http2";
import { createAuthority, issueServer } from "../../api/auth/mod.ts";
import type { User } from "../../api/client/contract.ts";
import { Cluster } from "../../mod.ts";
import {
  HEAD_MS_MAX,
  IDLE_MS_MAX,
  LEFT_MS,
  PING_EVERY_MS,
  PING_MS_MAX,
  RESETS_MAX,
  SWEEP_MS,
} from "../../api/server/connections.ts";
import { STALL_MS_MAX } from "../../api/server/serving.ts";
import type { FrontOptions } from "../../api/server/front_options.ts";
import { ManualClock, RealClock } from "../../kv/mod.ts";
import { ENHANCE_YOUR_CALM, getRequest, goawayIn, hello, reset } from "./http2_frames.ts";
import { RawConnection } from "./raw_http.ts";
import { Server } from "./server.ts";

const SEED = Number(Deno.env.get("HOSTILE_SEED") ?? 20261127);
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const CALM: User = { name: "calm", groups: ["system:masters", "system:authenticated"] };
const MAPS = "/api/v1/namespaces/default/configmaps";

/** A small generator of repeatable numbers (mulberry32). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Tries until it is so; fails, with the seed, after a while. */
async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const until = performance.now() + 20_000;
  while (!await holds()) {
    if (performance.now() > until) throw new Error(`${what} (HOSTILE_SEED=${SEED})`);
    await pause(10);
  }
}

/** A cluster's API behind real sockets, whose connections are timed by `clock`. */
async function openTarget(front: FrontOptions = {}, tokens: [string, User][] = []) {
  const cluster = await Cluster.start({
    clock: "real",
    components: ["api"],
    nodes: 0,
    front,
    tokens: new Map([["calm", CALM], ...tokens]),
  });
  const clock = new ManualClock();
  const authority = await createAuthority(new RealClock());
  const server = await issueServer(authority, new RealClock(), { names: ["127.0.0.1"] });
  const listener = await cluster.api.listen({
    port: 0,
    clock,
    tls: { cert: server.certificatePem, key: server.keyPem, ca: authority.certificatePem },
  });
  const { port } = listener;
  const ca = authority.certificatePem;
  const tls = (alpn = "http/1.1") =>
    Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [ca], alpnProtocols: [alpn] });
  const metric = async (start: string) => {
    const text = await (await cluster.fetch("/metrics")).text();
    return text.split("\n").filter((line) => line.startsWith(start));
  };
  return {
    cluster,
    clock,
    listener,
    port,
    ca,
    tls,
    metric,
    async [Symbol.asyncDispose]() {
      await cluster.stop();
    },
  };
}

type Target = Awaited<ReturnType<typeof openTarget>>;

/** A connection that only says whether it is open, and what it was sent. */
class Victim {
  readonly kind: string;
  readonly connection: Deno.Conn;
  text = "";
  closed = false;
  /** HTTP/2's code of why it is to go. */
  goaway: number | undefined;

  constructor(kind: string, connection: Deno.Conn) {
    this.kind = kind;
    this.connection = connection;
    void this.#read();
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(65_536);
    try {
      for (;;) {
        const read = await this.connection.read(buffer);
        if (read === null) break;
        const piece = buffer.subarray(0, read);
        this.text += decoder.decode(piece);
        this.goaway ??= goawayIn(piece);
      }
    } catch {
      // Reset: closed as well
    }
    this.closed = true;
  }

  /** Sends all of it; false when the other side has hung up. */
  async send(text: string | Uint8Array): Promise<boolean> {
    const bytes = typeof text === "string" ? encoder.encode(text) : text;
    try {
      for (let at = 0; at < bytes.length;) at += await this.connection.write(bytes.subarray(at));
      return true;
    } catch {
      return false;
    }
  }

  end(): void {
    try {
      this.connection.close();
    } catch {
      // It is
    }
  }
}

/** A well-behaved client on one connection. */
async function calmClient(target: Target) {
  const victim = new Victim("calm", await target.tls());
  return {
    async get(path: string): Promise<number> {
      victim.text = "";
      await victim.send(`GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer calm\r\n\r\n`);
      await eventually(`the calm client is not answered`, () => victim.text.includes("\r\n\r\n"));
      return Number(victim.text.slice(9, 12));
    },
    get closed() {
      return victim.closed;
    },
    end: () => victim.end(),
  };
}

const KINDS: Record<string, (target: Target) => Promise<Victim>> = {
  "no handshake": async ({ port }) =>
    new Victim("no handshake", await Deno.connect({ hostname: "127.0.0.1", port })),
  "no request": async ({ tls }) => new Victim("no request", await tls()),
  "half a head": async ({ tls }) => {
    const victim = new Victim("half a head", await tls());
    await victim.send("GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    return victim;
  },
  "half a second head": async ({ tls }) => {
    const victim = new Victim("half a second head", await tls());
    await victim.send("GET /version HTTP/1.1\r\nHost: x\r\n\r\n");
    await eventually("the first request is not answered", () => victim.text.includes("gitVersion"));
    await victim.send("GET /version HTTP/1.1\r\n");
    return victim;
  },
};

Deno.test("hostile: silent and slow clients are hung up on, others are served", async () => {
  await using target = await openTarget();
  const next = random(SEED);
  const names = Object.keys(KINDS);
  const victims = await Promise.all(
    Array.from({ length: 60 }, () => KINDS[names[Math.floor(next() * names.length)]](target)),
  );
  const calm = await calmClient(target);
  await eventually("not all are connected", () => target.listener.connections.size === 61);
  for (let i = 0; i < (HEAD_MS_MAX + IDLE_MS_MAX) / SWEEP_MS; i++) {
    await target.clock.advance(SWEEP_MS);
    if (i % 4 === 0) assertEquals(await calm.get("/version"), 200);
  }
  await eventually("some are still open", () => victims.every((victim) => victim.closed));
  assertEquals(calm.closed, false);
  assertEquals(target.listener.connections.size, 1);
  for (const victim of victims) victim.end();
  calm.end();
});

Deno.test("hostile: heads without an end are refused, long ones are not", async () => {
  await using target = await openTarget();
  const long = new Victim("long", await target.tls());
  await long.send(`GET /version HTTP/1.1\r\nHost: x\r\nX-Long: ${"a".repeat(500_000)}\r\n\r\n`);
  await eventually("a long head is not taken", () => long.text.startsWith("HTTP/1.1 200"));
  const endless = new Victim("endless", await target.tls());
  await endless.send("GET /version HTTP/1.1\r\nHost: x\r\n");
  let lines = 0;
  // What the sockets hold on the way is more than the server takes
  const sending = (async () => {
    while (lines < 50_000 && await endless.send(`X-${lines}: ${"b".repeat(1000)}\r\n`)) lines++;
  })();
  await eventually("an endless head is still read", () => endless.text.startsWith("HTTP/1.1 431"));
  assertEquals(endless.closed, false);
  for (let ms = 0; ms < LEFT_MS + SWEEP_MS; ms += SWEEP_MS) await target.clock.advance(SWEEP_MS);
  await eventually("it is still connected", () => endless.closed);
  await sending;
  assert(lines < 50_000, "all of it was taken");
  long.end();
  endless.end();
});

Deno.test("hostile: a body that does not come is 504 in time, and its connection is closed", async () => {
  await using target = await openTarget({ requestTimeoutMs: 300 });
  const slow = new Victim("slow body", await target.tls());
  await slow.send(
    `POST ${MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer calm\r\n` +
      "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
  );
  await eventually("a slow body is still waited for", () => slow.closed);
  assert(slow.text.startsWith("HTTP/1.1 504"), slow.text);
  assert(slow.text.includes("request did not complete within the allotted timeout"));
  const large = new Victim("large body", await target.tls());
  await large.send(
    `POST ${MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer calm\r\n` +
      "Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n{",
  );
  await eventually("a large body is still read", () => large.closed);
  assert(large.text.startsWith("HTTP/1.1 413"), large.text);
  slow.end();
  large.end();
});

Deno.test("hostile: watches whose clients vanished, or never read, end", async () => {
  await using target = await openTarget();
  const open = () => target.metric("apiserver_longrunning_requests{");
  const vanished = new Victim("vanished", await target.tls("h2"));
  await vanished.send(hello());
  await vanished.send(getRequest(1, `${MAPS}?watch=true`, "calm"));
  const deaf = await target.tls();
  await deaf.write(encoder.encode(
    `GET ${MAPS}?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer calm\r\n\r\n`,
  ));
  await eventually(
    "the watches are not open",
    async () => (await open()).some((line) => line.endsWith(" 2")),
  );
  const data = { pad: "x".repeat(500_000) };
  const resource = { group: "", version: "v1", plural: "configmaps" };
  for (let i = 0; i < 40; i++) {
    await target.cluster.client.create({ resource, namespace: "default" }, {
      metadata: { name: `pad-${i}` },
      data,
    });
  }
  for (let ms = 0; ms < STALL_MS_MAX + PING_EVERY_MS + PING_MS_MAX; ms += SWEEP_MS) {
    await target.clock.advance(SWEEP_MS);
    await pause(5);
  }
  await eventually("a watch is still open", async () => (await open()).length === 0);
  await eventually("the connections are still open", () => target.listener.connections.size === 0);
  vanished.end();
  deaf.close();
});

Deno.test("hostile: who resets streams as fast as it opens them is cut off", async () => {
  await using target = await openTarget();
  const calm = await calmClient(target);
  const rapid = new Victim("rapid", await target.tls("h2"));
  await rapid.send(hello());
  let opened = 0;
  const sending = (async () => {
    for (let stream = 1; stream < 1_000_000; stream += 2) {
      if (!await rapid.send(getRequest(stream, "/version", "calm"))) break;
      if (!await rapid.send(reset(stream))) break;
      opened++;
    }
  })();
  await eventually("it is not cut off", () => target.listener.connections.closed.resets === 1);
  assertEquals(await calm.get("/version"), 200);
  assertEquals(rapid.closed, false);
  for (let ms = 0; ms < LEFT_MS + SWEEP_MS; ms += SWEEP_MS) await target.clock.advance(SWEEP_MS);
  await eventually("it is still connected", () => rapid.closed);
  assertEquals(rapid.goaway, ENHANCE_YOUR_CALM);
  await sending;
  assert(opened > RESETS_MAX, `cut off after ${opened}`);
  assertEquals(await calm.get("/version"), 200);
  rapid.end();
  calm.end();
});

Deno.test("hostile: bodies that do not come take no seats, and are not all held", async () => {
  const slow: User = { name: "slow", groups: ["system:authenticated"] };
  await using target = await openTarget({}, [["slow", slow]]);
  const victims = await Promise.all(Array.from({ length: 300 }, async (_, i) => {
    const victim = new Victim("slow body", await target.tls());
    const length = i % 2 ? "Transfer-Encoding: chunked" : "Content-Length: 100000";
    await victim.send(
      `POST ${MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer slow\r\n` +
        `Content-Type: application/json\r\n${length}\r\n\r\n`,
    );
    return victim;
  }));
  await eventually("not all are connected", () => target.listener.connections.size >= 300);
  const calm = await calmClient(target);
  for (let i = 0; i < 20; i++) assertEquals(await calm.get(MAPS), 200);
  const executing = await target.metric("apiserver_flowcontrol_current_executing_requests{");
  // Who asks for the metrics has a seat
  const others = executing.filter((line) => !line.includes('"exempt"'));
  assert(others.every((line) => line.endsWith(" 0")), others.join("\n"));
  for (const victim of victims) victim.end();
  calm.end();
});

Deno.test("hostile: a flood by one user is refused at its level, others are served", async () => {
  const flood: User = { name: "flood", groups: ["system:masters-not", "system:authenticated"] };
  await using target = await openTarget({}, [["flood", flood]]);
  const { client } = target.cluster;
  const of = (plural: string) => ({
    resource: { group: "flowcontrol.apiserver.k8s.io", version: "v1", plural },
  });
  const rbac = { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterrolebindings" };
  await client.create({ resource: rbac }, {
    metadata: { name: "flood" },
    roleRef: { apiGroup: rbac.group, kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ apiGroup: rbac.group, kind: "User", name: "flood" }],
  });
  await client.create(of("prioritylevelconfigurations"), {
    metadata: { name: "tight" },
    spec: {
      type: "Limited",
      limited: {
        nominalConcurrencyShares: 1,
        borrowingLimitPercent: 0,
        limitResponse: {
          type: "Queue",
          queuing: { queues: 1, handSize: 1, queueLengthLimit: 5 },
        },
      },
    },
  });
  await client.create(of("flowschemas"), {
    metadata: { name: "tight" },
    spec: {
      matchingPrecedence: 10,
      priorityLevelConfiguration: { name: "tight" },
      rules: [{
        subjects: [{ kind: "User", user: { name: "flood" } }],
        resourceRules: [{
          verbs: ["*"],
          apiGroups: ["*"],
          resources: ["*"],
          namespaces: ["*"],
        }],
      }],
    },
  });
  await eventually(
    "the level does not work yet",
    async () => (await target.metric(`apiserver_flowcontrol_nominal_limit_seats`)).length > 8,
  );
  // A list keeps its seats until it has been sent, and nobody reads these
  const data = { pad: "x".repeat(900_000) };
  const maps = { group: "", version: "v1", plural: "configmaps" };
  for (let i = 0; i < 20; i++) {
    const metadata = { name: `pad-${i}` };
    await client.create({ resource: maps, namespace: "default" }, { metadata, data });
  }
  const deaf = await Promise.all(Array.from({ length: 20 }, async () => {
    const connection = await target.tls();
    await connection.write(encoder.encode(
      `GET ${MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer flood\r\n\r\n`,
    ));
    return connection;
  }));
  const tight = 'apiserver_flowcontrol_current_executing_requests{priority_level="tight"';
  await eventually(
    "the list is not sent",
    async () => (await target.metric(tight)).some((line) => !line.endsWith(" 0")),
  );
  const victims = await Promise.all(Array.from({ length: 60 }, async () => {
    const victim = new Victim("flood", await target.tls());
    await victim.send(
      `GET ${MAPS}/pad-0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer flood\r\n\r\n`,
    );
    return victim;
  }));
  const refused = () => victims.filter(({ text }) => text.startsWith("HTTP/1.1 429"));
  await eventually("nobody is refused", () => refused().length >= 40);
  assert(refused().every(({ text }) => /retry-after: \d+/i.test(text)));
  assert(
    refused().every(({ text }) => text.includes("Too many requests, please try again later.")),
  );
  const calm = await calmClient(target);
  for (let i = 0; i < 20; i++) assertEquals(await calm.get("/version"), 200);
  for (const victim of victims) victim.end();
  for (const connection of deaf) connection.close();
  calm.end();
  await eventually("the flood still holds seats", async () => {
    const lines = await target.metric(tight);
    return lines.every((line) => line.endsWith(" 0"));
  });
});

/** Sessions, and watches of each. */
const SESSIONS = 100;
const WATCHES = 100;

Deno.test("hostile: ten thousand idle watches cost little, and nothing of them is left", async () => {
  await using server = await Server.start({ flags: ["--components", "api", "--memory"] });
  const { access } = server;
  const connection = await RawConnection.open(access);
  const watchers = async () => {
    const { body } = await connection.request("GET", "/metrics");
    const line = /^plesio_store_watchers\{store="objects"\} (\d+)$/m.exec(decoder.decode(body));
    return Number(line![1]);
  };
  const before = await watchers();
  const memory = await server.memory();
  const sessions: http2.ClientHttp2Session[] = [];
  for (let s = 0; s < SESSIONS; s++) {
    const session = http2.connect(`https://127.0.0.1:${access.port}`, {
      ca: access.caPem,
      cert: access.certificatePem,
      key: access.keyPem,
    });
    session.on("error", () => session.destroy());
    sessions.push(session);
    const answers = Array.from({ length: WATCHES }, () =>
      new Promise<number>((resolve) => {
        const stream = session.request({ ":path": `${MAPS}?watch=true&resourceVersion=0` });
        stream.on("response", (headers) => resolve(Number(headers[":status"])));
        stream.on("error", () => resolve(0));
        stream.resume();
      }));
    assertEquals(new Set(await Promise.all(answers)), new Set([200]));
  }
  assertEquals(await watchers(), before + SESSIONS * WATCHES);
  const each = (await server.memory() - memory) / (SESSIONS * WATCHES);
  assert(each < 80_000, `${Math.round(each)} bytes for a watch`);
  assertEquals((await connection.request("GET", MAPS)).status, 200);
  for (const session of sessions) session.destroy();
  await eventually("watches are left", async () => await watchers() === before);
  connection.close();
});

Deno.test("hostile: a client that says goodbye once its watches have ended takes nobody with it", async () => {
  await using server = await Server.start({ flags: ["--components", "api", "--memory"] });
  const { access: { port, caPem, certificatePem, keyPem } } = server;
  for (let round = 0; round < 3; round++) {
    using client = Deno.createHttpClient({
      caCerts: [caPem],
      cert: certificatePem,
      key: keyPem,
      http2: true,
    });
    const watches = Array.from({ length: 140 }, async () => {
      const url = `https://127.0.0.1:${port}${MAPS}?watch=true&timeoutSeconds=1`;
      const answer = await fetch(url, { client });
      await answer.text();
      return answer.status;
    });
    assertEquals(new Set(await Promise.all(watches)), new Set([200]));
  }
  const connection = await RawConnection.open(server.access);
  assertEquals((await connection.request("GET", MAPS)).status, 200);
  connection.close();
});
