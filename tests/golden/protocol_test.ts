/**
 * What a real kube-apiserver 1.36.0 answers to requests that are not as they should be, before anything is looked at
 * closely: paths and methods that are not served, options of lists, watches and deletes, continue tokens, media types,
 * names and namespaces that do not fit. `protocol.jsonl` holds a request and the answer's outside a line. Nothing is
 * changed by any of them. (Where upstream answers 500 to bad input, the answer here is 4xx: those are not among them.)
 */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../../mod.ts";
import { parseYaml } from "../../api/machinery/yaml.ts";
import { lines } from "./recorded_facts.ts";

// deno-lint-ignore no-explicit-any -- answers of any kind
type Obj = any;

interface Line {
  do: string;
  path: string;
  accept?: string;
  type?: string;
  body?: string;
  answer: { code: number; type: string; message?: string; kind?: string; reason?: string };
}

/** What of an answer is compared. */
async function outside(response: Response): Promise<Obj> {
  const { status: code, headers } = response;
  const type = headers.get("content-type")!;
  if (type === "application/vnd.kubernetes.protobuf") {
    await response.body?.cancel();
    return { code, type };
  }
  const text = await response.text();
  if (type.startsWith("text/")) return { code, type, message: text };
  if (type === "application/yaml") {
    const { message } = parseYaml(new TextEncoder().encode(text)).value as Obj;
    return JSON.parse(JSON.stringify({ code, type, message }));
  }
  const { message, kind, reason, details } = JSON.parse(text);
  return JSON.parse(JSON.stringify({ code, type, message, kind, reason, details }));
}

Deno.test("requests that cannot be served are refused as upstream refuses them", async () => {
  const requests: Line[] = await lines("protocol.jsonl");
  assert(requests.length > 190);
  await using cluster = await Cluster.start({ components: ["api"] });
  const post = (path: string, object: Obj) =>
    cluster.fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(object),
    });
  await post("/api/v1/namespaces", { metadata: { name: "px" } });
  await post("/api/v1/namespaces/px/serviceaccounts", { metadata: { name: "default" } });
  for (let i = 0; i < 5; i++) {
    const map = { metadata: { name: `c${i}` }, data: { a: "b" } };
    await post("/api/v1/namespaces/px/configmaps", map);
  }
  for (const { do: method, path, accept, type, body, answer } of requests) {
    const headers = new Headers();
    if (accept) headers.set("accept", accept);
    if (type) headers.set("content-type", type);
    const response = await cluster.fetch(path, { method, headers, body });
    const hint = `${method} ${path} ${accept ?? ""} ${body ?? ""}`;
    assertEquals(await outside(response), answer, hint);
  }
});
