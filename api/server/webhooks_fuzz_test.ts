/** Webhooks that answer anything at all: what they say is an answer, or the request fails in order. */
import { assert, assertEquals } from "@std/assert";
import { type FakeAnswer, fakeOutbound, type OutboundCall } from "../client/outbound_fixture.ts";
import { createKinds } from "../kinds/mod.ts";
import { ApiError } from "../machinery/types.ts";
import { ADMIN, CONFIG_MAPS, openApi } from "./fixture_test.ts";

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;

/** A small generator of repeatable numbers (mulberry32). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const ROUNDS = 600;
const LEAVES: unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1e99,
  0.5,
  700,
  "",
  "x",
  "\u0000\n",
  "ü".repeat(300),
  [],
  {},
  "JSONPatch",
];
const FIELDS = ["uid", "allowed", "patch", "patchType", "status", "warnings", "auditAnnotations"];
const STATUS = ["code", "message", "reason", "details", "status", "metadata", "__proto__"];
const PATHS = [
  "",
  "/",
  "/data",
  "/data/x",
  "/metadata",
  "/metadata/name",
  "/metadata/labels",
  "/metadata/managedFields/0",
  "/metadata/ownerReferences",
  "/metadata/__proto__",
  "/kind",
  "/apiVersion",
  "/spec/containers/-",
  "/data/~2",
];

class Chance {
  readonly #next: () => number;
  constructor(seed: number) {
    this.#next = random(seed);
  }
  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#next() * list.length)];
  }
  likely(part: number): boolean {
    return this.#next() < part;
  }
  value(depth = 0): unknown {
    if (depth > 2 || this.likely(0.6)) return this.pick(LEAVES);
    if (this.likely(0.5)) return [this.value(depth + 1), this.value(depth + 1)];
    return this.some([...STATUS, ...FIELDS], depth);
  }
  some(names: readonly string[], depth = 0): Record<string, unknown> {
    const out: Record<string, unknown> = {};
    for (const name of names) {
      if (!this.likely(0.4)) continue;
      const value = this.value(depth + 1);
      Object.defineProperty(out, name, {
        value,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
    return out;
  }
  patch(): string {
    if (this.likely(0.1)) return String(this.pick(LEAVES));
    const operations = Array.from({ length: 1 + Math.floor(this.#next() * 3) }, () => ({
      op: this.pick(["add", "remove", "replace", "copy", "move", "test", "frob"]),
      path: this.pick(PATHS),
      from: this.pick(PATHS),
      value: this.value(),
    }));
    return btoa(unescape(encodeURIComponent(JSON.stringify(operations))));
  }
}

function anyAnswer(chance: Chance, call: OutboundCall): FakeAnswer {
  const { apiVersion, kind, request } = call.body;
  const status = chance.pick([200, 200, 200, 200, 201, 302, 404, 500]);
  if (chance.likely(0.1)) {
    return { status, text: chance.pick(["", "<html>", "{", "null", "a: [b"]) };
  }
  if (chance.likely(0.1)) return { status, json: chance.value() };
  const response: Record<string, unknown> = chance.likely(0.3)
    ? chance.some(FIELDS)
    : { allowed: chance.likely(0.6), ...chance.likely(0.3) && { status: chance.some(STATUS) } };
  if (chance.likely(0.9)) response.uid = request.uid;
  if (chance.likely(0.4)) {
    response.patch = chance.patch();
    response.patchType = "JSONPatch";
  }
  if (request.objects) {
    response.result = chance.likely(0.8) ? { status: "Success" } : chance.value();
    response.convertedObjects = chance.likely(0.2) ? chance.value() : request.objects.map(
      (one: Any) =>
        chance.likely(0.2)
          ? chance.value()
          : { ...one, apiVersion: request.desiredAPIVersion, spec: chance.value() },
    );
  }
  const review = { apiVersion, kind, response };
  return { status, json: chance.likely(0.1) ? { ...review, ...chance.some(["kind"]) } : review };
}

const CONFIGURATIONS = ["mutating", "validating"].map((type) => ({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: `${type}webhookconfigurations`,
}));

Deno.test("fuzz: whatever a webhook answers, a request is answered in order", async () => {
  const chance = new Chance(1);
  const failures: unknown[] = [];
  const outbound = fakeOutbound((call) => anyAnswer(chance, call));
  const f = await openApi({ outbound, onError: (error) => failures.push(error) });
  for (const resource of CONFIGURATIONS) {
    await f.client.create({ resource }, {
      metadata: { name: "w" },
      webhooks: [{
        name: "a.example.com",
        clientConfig: { url: "https://hooks.example.com/" },
        admissionReviewVersions: [chance.pick(["v1", "v1beta1"])],
        sideEffects: "None",
        ...resource.plural.startsWith("m") && { reinvocationPolicy: "IfNeeded" },
        rules: [{ operations: ["*"], apiGroups: [""], apiVersions: ["*"], resources: ["*/*"] }],
      }],
    });
  }
  const at = { resource: CONFIG_MAPS, namespace: "default" };
  let refused = 0;
  for (let i = 0; i < ROUNDS; i++) {
    const labels = { a: "b" };
    const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: `c${i}`, labels } };
    const response = await f.api.fetch(
      new Request("http://x/api/v1/namespaces/default/configmaps", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...object, data: { x: "1" } }),
      }),
      { user: ADMIN },
    );
    const body = await response.json();
    if (body.kind === "Status") {
      refused++;
      assert(typeof body.message === "string" && body.message !== "", JSON.stringify(body));
      assert(body.code >= 400, JSON.stringify(body));
    } else {
      const patch = { type: "merge", body: { data: { y: String(i) } } } as const;
      for (
        const work of [
          () => f.client.patch({ ...at, name: body.metadata.name }, patch),
          () => f.client.delete({ ...at, name: body.metadata.name }),
        ]
      ) {
        await work().catch((error) => assert(error instanceof ApiError, String(error)));
      }
    }
  }
  assert(refused > ROUNDS / 4 && refused < ROUNDS, String(refused));
  assertEquals(failures, []);
  // What was stored can be read
  await f.client.list(at);
  await f[Symbol.asyncDispose]();
});

Deno.test("fuzz: whatever a conversion webhook answers, reads and writes are answered in order", async () => {
  const chance = new Chance(2);
  const failures: unknown[] = [];
  const outbound = fakeOutbound((call) => anyAnswer(chance, call));
  const kinds = createKinds();
  const f = await openApi({ outbound, kinds, onError: (error) => failures.push(error) });
  const schema = {
    openAPIV3Schema: {
      type: "object",
      properties: { spec: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
    },
  };
  await f.client.create({
    resource: { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" },
  }, {
    metadata: { name: "things.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "things", kind: "Thing" },
      versions: ["v1", "v2"].map((name) => ({
        name,
        served: true,
        storage: name === "v1",
        schema,
      })),
      conversion: {
        strategy: "Webhook",
        webhook: {
          clientConfig: { url: "https://convert.example.com/" },
          conversionReviewVersions: ["v1"],
        },
      },
    },
  });
  while (!kinds.byResource("example.com", "v2", "things")) await f.clock.turn();
  const at = (version: string) => ({
    resource: { group: "example.com", version, plural: "things" },
    namespace: "default",
  });
  let failed = 0;
  for (let i = 0; i < ROUNDS / 4; i++) {
    const name = `t${i}`;
    const made = { kind: "Thing", metadata: { name }, spec: { x: 1 } };
    const target = { ...at("v2"), name };
    const work: (() => Promise<unknown>)[] = [
      () => f.client.create(at("v1"), { ...made, apiVersion: "example.com/v1" }),
      () => f.client.get(target),
      () => f.client.patch(target, { type: "merge", body: { spec: { y: 1 } } }),
      () =>
        f.client.create(at("v2"), {
          ...made,
          metadata: { name: `${name}-2` },
          apiVersion: "example.com/v2",
        }),
      () => f.client.list(at("v2"), { limit: 2 }),
      () => f.client.delete(target),
      () => f.client.get({ ...at("v1"), name }),
    ];
    for (const one of work) {
      await one().catch((error) => {
        failed++;
        assert(error instanceof ApiError && error.message !== "", String(error));
      });
    }
  }
  assert(failed > ROUNDS / 8, String(failed));
  assertEquals(failures, []);
  await f[Symbol.asyncDispose]();
});
