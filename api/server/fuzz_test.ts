import { assert } from "@std/assert";
import { createKinds } from "../kinds/mod.ts";
import type { Kind } from "../machinery/types.ts";
import { apiVersionOf } from "./codec.ts";
import { ADMIN, openApi } from "./fixture_test.ts";
import { bodyTooLarge, type Call } from "./http.ts";

/** A small generator of repeatable numbers (mulberry32). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const encoder = new TextEncoder();
const NAMES = [
  "a",
  "",
  "..",
  "%2e%2e",
  "A_B",
  "x".repeat(300),
  "%00",
  "ü",
  "a%2Fb",
  "__proto__",
  "%ff",
];
const WORDS = ["metadata", "spec", "status", "name", "labels", "__proto__", "constructor", "items"];
WORDS.push("containers", "selector", "template", "finalizers", "ownerReferences", "managedFields");

function value(next: () => number, depth: number): unknown {
  const pick = Math.floor(next() * 12);
  if (depth > 5 || pick < 6) {
    return [
      null,
      true,
      -1,
      1e99,
      "",
      "x",
      "\u0000",
      0.5,
      "9".repeat(40),
      {},
      [],
      "1Gi",
    ][pick * 2 % 12];
  }
  if (pick < 8) return Array.from({ length: 3 }, () => value(next, depth + 1));
  const out: Record<string, unknown> = {};
  for (let i = 0; i < 4; i++) {
    const key = WORDS[Math.floor(next() * WORDS.length)];
    Object.defineProperty(out, key, {
      value: value(next, depth + 1),
      enumerable: true,
      configurable: true,
    });
  }
  return out;
}

function basePath(kind: Kind): string {
  const root = kind.group ? `/apis/${apiVersionOf(kind)}` : `/api/${kind.version}`;
  return kind.namespaced ? `${root}/namespaces/default/${kind.plural}` : `${root}/${kind.plural}`;
}

interface Attempt {
  method: string;
  path: string;
  query?: string;
  type?: string;
  body?: Uint8Array;
}

function attemptsOf(kind: Kind, next: () => number): Attempt[] {
  const path = basePath(kind);
  const name = NAMES[Math.floor(next() * NAMES.length)];
  const type = { apiVersion: apiVersionOf(kind), kind: kind.kind };
  const whole = JSON.stringify({
    ...type,
    metadata: { name: "fuzz", labels: value(next, 3), annotations: value(next, 3) },
    spec: value(next, 0),
    data: value(next, 2),
    status: value(next, 1),
  });
  const json = "application/json";
  const patch = (kind: string) => `application/${kind}`;
  const body = (text: string) => encoder.encode(text);
  const noise = Uint8Array.from({ length: 40 }, () => Math.floor(next() * 256));
  const one = `${path}/${name}`;
  return [
    { method: "POST", path, type: json, body: body(whole) },
    { method: "POST", path, type: json, body: body(whole.slice(0, whole.length * next())) },
    { method: "POST", path, type: json, body: body(JSON.stringify(value(next, 0)) ?? "") },
    { method: "POST", path, type: json, body: noise },
    { method: "POST", path, type: "application/yaml", body: body("a: &a [x]\nb: [*a, *a]\n? {") },
    {
      method: "POST",
      path,
      type: "application/vnd.kubernetes.protobuf",
      body: new Uint8Array([0x6b, 0x38, 0x73, 0, ...noise]),
    },
    { method: "POST", path, type: json, body: body("[".repeat(5000)) },
    { method: "POST", path: `${path}/${name}/status`, type: json, body: body("{}") },
    { method: "PUT", path: one, type: json, body: body(whole) },
    {
      method: "PATCH",
      path: one,
      type: patch("json-patch+json"),
      body: body(`[{"op":"add","path":"/x/-/y","value":1},${JSON.stringify(value(next, 0))}]`),
    },
    {
      method: "PATCH",
      path: one,
      type: patch("merge-patch+json"),
      body: body(JSON.stringify(value(next, 0)) ?? "1"),
    },
    {
      method: "PATCH",
      path: one,
      type: patch("strategic-merge-patch+json"),
      body: body(`{"spec":{"$patch":"x","$setElementOrder/containers":[1]}}`),
    },
    {
      method: "PATCH",
      path: one,
      query: "fieldManager=f",
      type: patch("apply-patch+yaml"),
      body: body(whole),
    },
    {
      method: "PATCH",
      path: one,
      query: "fieldManager=f",
      type: patch("apply-patch+yaml"),
      body: body(JSON.stringify({ ...type, metadata: value(next, 0), spec: value(next, 0) })),
    },
    { method: "DELETE", path: one, type: json, body: body(JSON.stringify(value(next, 2)) ?? "") },
    { method: "GET", path, query: `labelSelector=${encodeURIComponent("a in (,b==!c")}` },
    { method: "GET", path, query: `fieldSelector=${encodeURIComponent("x=\\,y,,=!")}&limit=-5` },
    { method: "GET", path, query: "continue=%00abc&limit=1" },
    { method: "GET", path, query: "resourceVersion=-1&resourceVersionMatch=Exact" },
    { method: "GET", path, query: "resourceVersion=zz" },
    { method: "GET", path: one, query: "resourceVersion=-1" },
    { method: "DELETE", path: one, query: "gracePeriodSeconds=x&propagationPolicy=y" },
  ];
}

Deno.test("fuzz: bad input of any kind is refused with a 4xx Status, never a 5xx", async () => {
  await using f = await openApi();
  const seed = 20261121;
  const next = random(seed);
  const failures: string[] = [];
  for (const kind of createKinds().all()) {
    for (const { method, path, query = "", type, body } of attemptsOf(kind, next)) {
      const call: Call = {
        method,
        path,
        query,
        user: ADMIN,
        header: (name) => name === "content-type" ? type : undefined,
        headers: () => [],
        hasHeaders: () => false,
        body: (max) =>
          body!.length > max ? Promise.reject(bodyTooLarge(max)) : Promise.resolve(body!),
      };
      const reply = await f.api.answer(call);
      const text = reply.body instanceof Uint8Array ? new TextDecoder().decode(reply.body) : "";
      const what = `seed ${seed}: ${method} ${path}?${query} ${type}\n${
        body ? new TextDecoder().decode(body).slice(0, 600) : ""
      }\n${reply.status} ${text}`;
      // 504: a revision that is yet to come has been waited for
      if (reply.status >= 500 && reply.status !== 504) failures.push(what);
      if (reply.status >= 400) assert(text.includes(`"kind":"Status"`), what);
    }
  }
  assert(failures.length === 0, failures.join("\n\n"));
});

Deno.test("fuzz: a body over the limit is refused with 413", async () => {
  await using f = await openApi();
  const body = "x".repeat(4 * 1024 * 1024);
  const request = new Request("http://x/api/v1/namespaces/default/configmaps", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ metadata: { name: "big" }, data: { body } }),
  });
  const response = await f.api.fetch(request, { user: ADMIN });
  assert(response.status === 413, String(response.status));
  assert((await response.json()).message.includes("limit is 3145728"));
});
