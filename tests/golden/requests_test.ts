/**
 * What a real kube-apiserver 1.36.0 answers to bodies and patches of every form, and that ours answers the same:
 * unknown and double fields under each field validation, wrong types, bodies that are none, options of queries,
 * strategic merge of every kind of list, what cannot be changed, what metadata may be. `requests.jsonl` holds a
 * stored object a line, then a request a line: `set` changes the object's places (a path alone removes), `body` is
 * a text as it is sent; `made` is how the answer differs from the stored object. Everything is a dry run. (Where upstream
 * answers 500 to a patch that cannot be understood, the answer here is 400 with the same text.)
 */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../../mod.ts";
import { changed, lines, mask, maskText, sorted, warningsOf } from "./recorded_facts.ts";

// deno-lint-ignore no-explicit-any -- objects of any kind
type Obj = any;

const PATCHED = /(patch: Invalid value: )"(\{.*\}|map\[.*\])"(: )/s;

Deno.test("bodies and patches of every form are answered as upstream answers them", async () => {
  const facts: Obj[] = await lines("requests.jsonl");
  await using cluster = await Cluster.start({ components: ["api"], beta: true });
  const send = async (method: string, path: string, body?: string, type = "application/json") => {
    const response = await cluster.fetch(path, { method, headers: { "content-type": type }, body });
    return { code: response.status, body: await response.json(), warnings: warningsOf(response) };
  };
  const post = (path: string, object: Obj) => send("POST", path, JSON.stringify(object));
  await post("/api/v1/namespaces", { metadata: { name: "mx" } });
  await post("/api/v1/namespaces/mx/serviceaccounts", { metadata: { name: "default" } });
  for (const kind of ["configmap", "secret"]) {
    const data = { a: "YQ==" };
    const object = { metadata: { name: "imm" }, immutable: true, data };
    await post(`/api/v1/namespaces/mx/${kind}s`, object);
  }
  const objects = new Map<string, { at: string; object: Obj; stored: Obj }>();
  for (const { resource, at, object } of facts.filter((fact) => fact.resource)) {
    const made = await post(`${at}/${resource}`, object);
    assertEquals(made.code, 201, made.body.message);
    if (resource === "customresourcedefinitions") {
      const served = "/apis/val.io/v1/namespaces/mx/mxs";
      while ((await send("GET", served)).code !== 200) await cluster.settle();
    }
    objects.set(resource, { at, object, stored: sorted(mask(made.body)) });
  }
  const requests = facts.filter((fact) => fact.do);
  assert(requests.length > 500);
  for (const { do: method, on, path, type, set, body, code, message, warnings, made } of requests) {
    const base = objects.get(on);
    const url = base ? `${base.at}/${on}${path}` : path;
    const text = set ? JSON.stringify(changed(base!.object, set)) : body;
    const answer = await send(method, url, text, type);
    const hint = `${method} ${url} ${type ?? ""} ${text?.slice(0, 400)}`;
    const told = maskText(answer.body.message ?? "").replace(PATCHED, "$1DOC$3");
    assertEquals([answer.code, answer.code < 400 ? "" : told], [
      code === 500 ? 400 : code,
      message ?? "",
    ], hint);
    assertEquals(answer.warnings, warnings ?? [], hint);
    if (made && base) {
      const wanted = changed(base.stored, made);
      const got = mask(answer.body);
      if (wanted.metadata?.generateName && !wanted.metadata.name) delete got.metadata.name;
      assertEquals(sorted(got), sorted(wanted), hint);
    }
  }
});
