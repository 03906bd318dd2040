/**
 * What a real kube-apiserver 1.36.0 answers where policies and rules judge, and that ours answers the same: codes,
 * texts, causes, warnings, objects. `policies/*.jsonl` holds facts, one a line and in their order:
 *
 * - `{make, object}`: something that stands while the rest is asked: policies, bindings, parameters, definitions;
 * - `{name, method, path, type?, body?, code, warnings?, answer}`: a request and its answer.
 *
 * uids, times and managedFields are left out, and so is the number that tells types of schemas apart.
 */
import { assertEquals } from "@std/assert";
import { ADMIN_TOKEN, type Fixture, openApi } from "../../api/server/fixture_test.ts";

// deno-lint-ignore no-explicit-any -- objects of any kind
type Obj = any;

interface Line {
  make?: string;
  object?: Obj;
  name: string;
  method: string;
  path: string;
  type?: string;
  body?: Obj;
  code: number;
  warnings?: string[];
  answer: Obj;
}

const FOLDER = new URL("./policies/", import.meta.url);
const UNSTABLE = new Set([
  "uid",
  "creationTimestamp",
  "resourceVersion",
  "managedFields",
  "selfLink",
  "lastTransitionTime",
]);

function stable(value: Obj): Obj {
  if (typeof value === "string") return value.replace(/selfType\d+/g, "selfType");
  if (Array.isArray(value)) return value.map(stable);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).filter(([key]) =>
    !UNSTABLE.has(key) && !(key === "status" && value.kind === "CustomResourceDefinition")
  );
  return Object.fromEntries(fields.map(([key, one]) => [key, stable(one)]));
}

async function send(
  { api }: Fixture,
  { method, path, type = "application/json", body }: Pick<Line, "method" | "path" | "type" | "body">,
) {
  const headers = {
    authorization: `Bearer ${ADMIN_TOKEN}`,
    "content-type": type,
    accept: "application/json",
    "user-agent": "Python-urllib/3",
  };
  const init = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
  const response = await api.fetch(new Request(`http://x${path}`, init), {
    address: "127.0.0.1",
    port: 1,
  } as Obj);
  return { code: response.status, answer: await response.json(), warnings: response.headers };
}

/** `299 - "text", 299 - "text"`: the texts. */
function texts(headers: Headers): string[] {
  const all = headers.get("warning") ?? "";
  return [...all.matchAll(/299 - "((?:[^"\\]|\\.)*)"/g)].map(([, text]) =>
    text.replace(/\\(.)/g, "$1")
  );
}

for (const name of ["validating", "requests", "mutating", "rules"]) {
  Deno.test(`policies/${name}.jsonl: answers are upstream's`, async (t) => {
    await using api = await openApi();
    const text = await Deno.readTextFile(new URL(`${name}.jsonl`, FOLDER));
    for (const line of text.trimEnd().split("\n")) {
      const one: Line = JSON.parse(line);
      if (one.make) {
        const made = await send(api, { method: "POST", path: one.make, body: one.object });
        if (made.code !== 409) assertEquals(made.code, 201, JSON.stringify(made.answer));
        continue;
      }
      await t.step(one.name, async () => {
        const got = await send(api, one);
        assertEquals(
          { code: got.code, answer: stable(got.answer), warnings: texts(got.warnings) },
          { code: one.code, answer: stable(one.answer), warnings: one.warnings ?? [] },
        );
      });
    }
  });
}
