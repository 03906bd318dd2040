import { assert, assertEquals } from "@std/assert";
import { fakeOutbound } from "../client/outbound_fixture.ts";
import { ManualClock, RealClock } from "../../kv/mod.ts";
import { createKinds } from "../kinds/mod.ts";
import { type ApiOptions, createApi } from "../mod.ts";
import {
  type AuditEvent,
  Auditor,
  type AuditSink,
  eventText,
  WORD_LENGTH_MAX,
  WORDS_MAX,
} from "./audit.ts";
import { AuditLog, type AuditLogOptions, BURST_MS, type LogFiles } from "./audit_log.ts";
import type { AuditPolicy } from "../auth/audit_policy.ts";
import { AuditWebhook, type AuditWebhookOptions } from "./audit_webhook.ts";
import { ADMIN, ADMIN_TOKEN, CONFIG_MAPS, openApi, PODS } from "./fixture_test.ts";
import { callOfRequest } from "./app.ts";

// deno-lint-ignore no-explicit-any -- an event, looked at field by field
type Told = any;

/** An API that audits into a list. */
async function audited(policy: AuditPolicy, options: Partial<ApiOptions> = {}) {
  const told: Told[] = [];
  const sink: AuditSink = {
    name: "list",
    process(event) {
      told.push(JSON.parse(eventText(event)));
      return true;
    },
    close: () => Promise.resolve(),
  };
  const clock = new RealClock();
  const audit = new Auditor({ policy, sinks: [sink], clock });
  const fixture = await openApi({ clock, audit, ...options });
  told.length = 0;
  const send = async (method: string, path: string, body?: unknown, headers: object = {}) => {
    const response = await fixture.api.fetch(
      new Request(`https://x${path}`, {
        method,
        body: body === undefined ? undefined : JSON.stringify(body),
        headers: {
          authorization: `Bearer ${ADMIN_TOKEN}`,
          "content-type": "application/json",
          "user-agent": "test/1",
          ...headers,
        },
      }),
    );
    return { response, text: await response.text() };
  };
  return { ...fixture, told, send, audit };
}

const METADATA: AuditPolicy = { rules: [{ level: "Metadata" }] };
const MAPS = "/api/v1/namespaces/default/configmaps";

Deno.test("audit: Metadata tells who did what and how it ended, and no objects", async () => {
  await using api = await audited(METADATA);
  const { response } = await api.send("POST", MAPS, { metadata: { name: "a" }, data: { k: "v" } }, {
    "audit-id": "my-id",
    "x-forwarded-for": "10.1.2.3, nonsense",
  });
  assertEquals(response.headers.get("audit-id"), "my-id");
  assertEquals(api.told.map((event) => event.stage), ["RequestReceived", "ResponseComplete"]);
  const [received, complete] = api.told;
  assertEquals(received.objectRef, {
    resource: "configmaps",
    namespace: "default",
    apiVersion: "v1",
  });
  assertEquals(received.requestReceivedTimestamp, received.stageTimestamp);
  const { requestReceivedTimestamp: _r, stageTimestamp: _s, ...rest } = complete;
  assertEquals(rest, {
    kind: "Event",
    apiVersion: "audit.k8s.io/v1",
    level: "Metadata",
    auditID: "my-id",
    stage: "ResponseComplete",
    requestURI: MAPS,
    verb: "create",
    user: { username: ADMIN.name, groups: [...ADMIN.groups] },
    sourceIPs: ["10.1.2.3"],
    userAgent: "test/1",
    objectRef: { resource: "configmaps", namespace: "default", name: "a", apiVersion: "v1" },
    responseStatus: { metadata: {}, code: 201 },
    annotations: {
      "authorization.k8s.io/decision": "allow",
      "authorization.k8s.io/reason": "",
    },
  });
});

Deno.test("audit: a request without an Audit-ID is given one, audited or not", async () => {
  await using api = await audited({ rules: [{ level: "None" }] });
  const { response } = await api.send("GET", "/version");
  assert(/^[0-9a-f-]{36}$/.test(response.headers.get("audit-id") ?? ""));
  assertEquals(api.told, []);
});

Deno.test("audit: Request has what was sent, RequestResponse what was answered too", async () => {
  await using api = await audited({
    omitStages: ["RequestReceived"],
    rules: [
      { level: "Metadata", resources: [{ group: "", resources: ["secrets"] }] },
      { level: "Request", verbs: ["create"] },
      { level: "RequestResponse", omitManagedFields: true },
    ],
  });
  await api.send("POST", MAPS, { metadata: { name: "a" }, data: { k: "v" } });
  await api.send("GET", `${MAPS}/a`);
  await api.send("PATCH", `${MAPS}/a`, { data: { k: "w" } }, {
    "content-type": "application/merge-patch+json",
  });
  await api.send("POST", "/api/v1/namespaces/default/secrets", {
    metadata: { name: "s" },
    stringData: { password: "hidden" },
  });
  await api.send("GET", `${MAPS}/none`);
  await api.send("DELETE", `${MAPS}/a`, { kind: "DeleteOptions", gracePeriodSeconds: 0 });
  const [created, got, patched, secret, missing, deleted] = api.told;
  assertEquals(created.requestObject, { metadata: { name: "a" }, data: { k: "v" } });
  assertEquals(created.responseObject, undefined);
  assertEquals(got.responseObject.data, { k: "v" });
  assertEquals(got.responseObject.metadata.managedFields, undefined);
  assertEquals(patched.requestObject, { data: { k: "w" } });
  assertEquals(patched.responseObject.data, { k: "w" });
  assert(!JSON.stringify(secret).includes("hidden"));
  assertEquals(missing.responseStatus, {
    metadata: {},
    status: "Failure",
    message: 'configmaps "none" not found',
    reason: "NotFound",
    details: { name: "none", kind: "configmaps" },
    code: 404,
  });
  assertEquals(missing.responseObject.kind, "Status");
  assertEquals(deleted.requestObject.gracePeriodSeconds, 0);
  assertEquals(deleted.responseStatus.status, "Success");
});

Deno.test("audit: wrong credentials, refusals and impersonation are told", async () => {
  await using api = await audited(METADATA);
  await api.send("GET", MAPS, undefined, { authorization: "Bearer wrong" });
  assertEquals(api.told.length, 1);
  assertEquals(api.told[0].stage, "ResponseStarted");
  assertEquals(api.told[0].user, {});
  assertEquals(
    api.told[0].responseStatus,
    {
      metadata: {},
      status: "Failure",
      message: "Unauthorized",
      reason: "Unauthorized",
      code: 401,
    },
  );
  api.told.length = 0;
  await api.send("GET", MAPS, undefined, { "impersonate-user": "bob" });
  const complete = api.told[1];
  assertEquals(complete.user.username, ADMIN.name);
  assertEquals(complete.impersonatedUser, {
    username: "bob",
    groups: ["system:authenticated"],
  });
  assertEquals(complete.annotations["authorization.k8s.io/decision"], "forbid");
  assertEquals(complete.responseStatus.code, 403);
});

Deno.test("audit: a watch is told when it starts and when it ends", async () => {
  await using api = await audited(METADATA);
  const request = new Request(`https://x${MAPS}?watch=true`, {
    headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
  });
  const response = await api.api.fetch(request);
  assertEquals(api.told.map((event) => event.stage), ["RequestReceived", "ResponseStarted"]);
  await response.body!.cancel();
  assertEquals(api.told.at(-1).stage, "ResponseComplete");
  assertEquals(api.told.at(-1).verb, "watch");
});

Deno.test("audit: what this process asks of itself is told as well", async () => {
  await using api = await audited(METADATA);
  await api.client.create({ resource: CONFIG_MAPS, namespace: "default" }, {
    metadata: { name: "own" },
  });
  const event = api.told.at(-1);
  assertEquals(event.requestURI, MAPS);
  assertEquals(event.objectRef.name, "own");
  assertEquals(event.responseStatus, { metadata: {}, code: 201 });
  assertEquals(event.userAgent, "test");
  api.told.length = 0;
  await api.client.get({ resource: PODS, namespace: "default", name: "none" }).catch(() => {});
  assertEquals(api.told.at(-1).responseStatus.code, 404);
});

Deno.test("audit: a strict sink that fails stops the request", async () => {
  const sink: AuditSink = {
    name: "broken",
    strict: true,
    process: (event) => event.stage !== "RequestReceived",
    close: () => Promise.resolve(),
  };
  const clock = new RealClock();
  await using fixture = await openApi({ clock });
  const audit = new Auditor({ policy: METADATA, sinks: [sink], clock });
  const { database } = fixture;
  const refusing = createApi({
    database,
    kinds: createKinds(),
    clock,
    audit,
    authorizer: {
      authorize: () => ({ allowed: true }),
      rules: () => ({ rules: [], errors: [] }),
    },
  });
  const request = new Request(`https://x${MAPS}`, {
    method: "POST",
    body: JSON.stringify({ metadata: { name: "a" } }),
    headers: { "content-type": "application/json" },
  });
  const reply = await refusing.answer({ ...callOfRequest(request), user: ADMIN });
  assertEquals(reply.status, 500);
  assertEquals(database.objects.view().count("/registry/configmaps/"), 0);
  assert(audit.lines().includes("apiserver_audit_requests_rejected_total 1"));
});

/** Files in memory. */
function memoryFiles() {
  const files = new Map<string, Uint8Array>();
  const folder = (path: string) => path.slice(0, path.lastIndexOf("/") + 1);
  const host: LogFiles = {
    open(path) {
      if (!files.has(path)) files.set(path, new Uint8Array());
      return {
        get size() {
          return files.get(path)!.length;
        },
        write(bytes) {
          files.set(path, new Uint8Array([...files.get(path)!, ...bytes]));
        },
        close: () => undefined,
      };
    },
    beside: (path) =>
      [...files.keys()].filter((one) => folder(one) === folder(path)).map((one) =>
        one.slice(folder(one).length)
      ),
    read: (path) => files.get(path)!,
    rename(from, to) {
      files.set(to, files.get(from)!);
      files.delete(from);
    },
    remove: (path) => void files.delete(path),
  };
  return { files, host };
}

function begin(auditor: Auditor, id = "1") {
  return auditor.begin({
    id,
    at: auditor.clock.now(),
    uri: MAPS,
    userAgent: "test",
    sourceIPs: ["127.0.0.1"],
    asked: {
      user: ADMIN,
      verb: "create",
      resourceRequest: true,
      ...{ group: "", version: "v1", resource: "configmaps", subresource: "" },
      ...{ namespace: "default", name: "", path: "" },
    },
  })!;
}

function logging(options: Partial<AuditLogOptions>, policy = METADATA) {
  const clock = new ManualClock();
  const { files, host } = memoryFiles();
  const failures: string[] = [];
  const sink = new AuditLog({ path: "/log/audit.log", ...options }, {
    files: host,
    clock,
    failed: (error) => failures.push((error as Error).message),
  });
  const auditor = new Auditor({ policy, sinks: [sink], clock });
  return { clock, files, failures, sink, auditor };
}

const textOf = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

Deno.test("AuditLog writes a line an event, before the answer; that it came at the latest a little later", async () => {
  const { auditor, files, clock } = logging({});
  const stages = () =>
    textOf(files.get("/log/audit.log")).split("\n").filter(Boolean)
      .map((line) => JSON.parse(line).stage);
  const record = begin(auditor);
  record.received();
  assertEquals(stages(), []);
  assertEquals(record.complete(201), undefined, "nothing to wait for");
  assertEquals(stages(), ["RequestReceived", "ResponseComplete"]);
  begin(auditor).received();
  await clock.advance(100);
  assertEquals(stages().length, 3);
});

Deno.test("AuditLog writes at once what a burst brings in a turn, before its answers", async () => {
  const { auditor, files, clock } = logging({});
  const lines = () => textOf(files.get("/log/audit.log")).split("\n").filter(Boolean).length;
  const answer = () => {
    const record = begin(auditor);
    record.received();
    return record.complete(201);
  };
  assertEquals(answer(), undefined, "the first of a burst");
  const kept = [answer(), answer()];
  assertEquals(lines(), 2);
  assertEquals(await Promise.all(kept), [true, true]);
  assertEquals(lines(), 6);
  await clock.advance(BURST_MS);
  assertEquals(answer(), undefined);
  assertEquals(lines(), 8);
});

Deno.test("AuditRecord writes texts as JSON does, however many it remembers", () => {
  const { auditor } = logging({});
  for (
    const odd of ['"', "\\", "\n", "\u0001", "ü", "\ud800", "…", "x".repeat(WORD_LENGTH_MAX + 1)]
  ) {
    const record = begin(auditor);
    record.annotate(`k${odd}`, odd);
    record.ref!.name = odd;
    const event = JSON.parse(`{${record.json("RequestReceived", 0)}`);
    assertEquals(event.objectRef.name, JSON.parse(JSON.stringify(odd)));
    assertEquals(event.annotations, { [`k${odd}`]: odd });
  }
  for (let i = 0; i < WORDS_MAX + 2; i++) {
    const record = begin(auditor);
    record.annotate("k", `word ${i}`);
    assertEquals(JSON.parse(`{${record.json("RequestReceived", 0)}`).annotations.k, `word ${i}`);
  }
});

Deno.test("AuditLog in mode batch writes at once what a turn brings", async () => {
  const { auditor, files, clock } = logging({ mode: "batch" });
  const record = begin(auditor);
  record.received();
  record.complete(201);
  assertEquals(textOf(files.get("/log/audit.log")), "");
  await clock.turn();
  await clock.turn();
  assertEquals(textOf(files.get("/log/audit.log")).trimEnd().split("\n").length, 2);
});

Deno.test("AuditLog writes the short text of old", async () => {
  const { auditor, files } = logging({ format: "legacy" });
  await begin(auditor).complete(201);
  assertEquals(
    textOf(files.get("/log/audit.log")),
    `2026-01-01T00:00:00Z AUDIT: id="1" stage="ResponseComplete" ip="127.0.0.1" ` +
      `method="create" user="kubernetes-admin" ` +
      `groups="\\"system:masters\\",\\"system:authenticated\\"" as="<self>" ` +
      `asgroups="<lookup>" user-agent="test" namespace="default" uri="${MAPS}" response="201"\n`,
  );
});

Deno.test("AuditLog rotates by size, and keeps as many old files as it should", async () => {
  const { auditor, files, clock } = logging({ bytesMax: 700, backupsMax: 2, daysMax: 1 });
  for (let i = 0; i < 4; i++) {
    await begin(auditor, String(i)).complete(200);
    await clock.advance(1000);
  }
  assertEquals([...files.keys()].sort(), [
    "/log/audit-2026-01-01T00-00-02.000.log",
    "/log/audit-2026-01-01T00-00-03.000.log",
    "/log/audit.log",
  ]);
  await clock.advance(2 * 24 * 3600 * 1000);
  await begin(auditor, "late").complete(200);
  assertEquals([...files.keys()].sort(), [
    "/log/audit-2026-01-03T00-00-04.000.log",
    "/log/audit.log",
  ]);
});

Deno.test("AuditLog leaves the objects out of events that are too long, or the event", async () => {
  const policy: AuditPolicy = { rules: [{ level: "Request" }] };
  const truncation = { eventBytesMax: 800, batchBytesMax: 10_000 };
  const { auditor, files, failures } = logging({ truncation }, policy);
  const record = begin(auditor);
  record.sent({ metadata: { name: "a" }, data: { k: "x".repeat(1000) } });
  await record.complete(201);
  const event = JSON.parse(textOf(files.get("/log/audit.log")));
  assertEquals(event.requestObject, undefined);
  assertEquals(event.annotations, { "audit.k8s.io/truncated": "true" });
  const long = begin(auditor, "x".repeat(1000));
  long.complete(201);
  assertEquals(failures, ["event is too large even after truncating"]);
});

Deno.test("AuditLog in mode batch loses what its buffer cannot hold, and says so", async () => {
  const { auditor, files, failures, sink } = logging({ mode: "batch", bufferMax: 2 });
  for (let i = 0; i < 3; i++) begin(auditor, String(i)).complete(200);
  await sink.close();
  assertEquals(failures, ["audit buffer queue blocked"]);
  assertEquals(textOf(files.get("/log/audit.log")).trimEnd().split("\n").length, 2);
});

/** Moves time on in steps, so that what is sent is answered meanwhile. */
async function later(clock: ManualClock, ms: number): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await clock.advance(ms / 20);
    await clock.turn();
  }
}

function hooked(options: Partial<AuditWebhookOptions>, statuses: number[] = []) {
  const clock = new ManualClock();
  const outbound = fakeOutbound(() => ({ status: statuses.shift() ?? 200 }));
  const failures: [string, number][] = [];
  const sink = new AuditWebhook({ endpoint: { url: "https://audit" }, ...options }, {
    outbound,
    clock,
    failed: (error, events) => failures.push([(error as Error).message, events]),
  });
  const auditor = new Auditor({ policy: METADATA, sinks: [sink], clock });
  return { clock, calls: outbound.calls, failures, sink, auditor };
}

Deno.test("AuditWebhook sends batches by number and by time", async () => {
  const { auditor, calls, clock } = hooked({ batchMax: 2 });
  for (let i = 0; i < 3; i++) begin(auditor, String(i)).complete(200);
  await later(clock, 0);
  assertEquals(calls.length, 1);
  assertEquals(calls[0].body.kind, "EventList");
  assertEquals(calls[0].body.items.map((e: AuditEvent & { auditID: string }) => e.auditID), [
    "0",
    "1",
  ]);
  await later(clock, 30_000);
  assertEquals(calls[1].body.items.length, 1);
});

Deno.test("AuditWebhook sends no faster than its bucket allows", async () => {
  const { auditor, calls, clock } = hooked({ batchMax: 1, throttle: { qps: 1, burst: 2 } });
  for (let i = 0; i < 4; i++) {
    begin(auditor, String(i)).complete(200);
    await later(clock, 0);
  }
  assertEquals(calls.length, 2);
  await later(clock, 1000);
  assertEquals(calls.length, 3);
  await later(clock, 1000);
  assertEquals(calls.length, 4);
});

Deno.test("AuditWebhook sends again what failed, five times in all", async () => {
  const { auditor, calls, clock, failures } = hooked(
    { batchMax: 1, backoffMs: 100 },
    [500, 500, 200, 500, 500, 500, 500, 500],
  );
  begin(auditor).complete(200);
  await later(clock, 10_000);
  assertEquals(calls.length, 3);
  assertEquals(failures, []);
  begin(auditor).complete(200);
  await later(clock, 10_000);
  assertEquals(calls.length, 8);
  assertEquals(failures, [["the audit webhook answered 500", 1]]);
});

Deno.test("AuditWebhook loses what its buffer cannot hold; closing sends the rest", async () => {
  const { auditor, calls, failures, sink } = hooked({ bufferMax: 2 });
  for (let i = 0; i < 3; i++) begin(auditor, String(i)).complete(200);
  assertEquals(failures, [["audit buffer queue blocked", 1]]);
  await sink.close();
  assertEquals(calls[0].body.items.length, 2);
});

Deno.test("AuditWebhook in mode blocking is waited for", async () => {
  const { auditor, calls } = hooked({ mode: "blocking" });
  await begin(auditor).complete(200);
  assertEquals(calls.length, 1);
});
