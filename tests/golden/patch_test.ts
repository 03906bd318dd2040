/**
 * Golden pairs of strategic merge patches: an object as it was created, a patch with directives, and what
 * kube-apiserver 1.36 made of it. (Where that answers 500 for a patch that cannot be understood, the answer here is 400 with
 * the same text.) The pairs are facts recorded from it; they are not rewritten.
 */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../../mod.ts";
import { cleaned, FOLDER } from "./recorded.ts";

interface Pair {
  seed: number;
  // deno-lint-ignore no-explicit-any -- objects of several kinds
  before: any;
  patch: unknown;
  code: number;
  message?: string;
  after?: unknown;
}

const PATHS: Record<string, string> = {
  deployments: "/apis/apps/v1/namespaces/NS/deployments",
  services: "/api/v1/namespaces/NS/services",
  serviceaccounts: "/api/v1/namespaces/NS/serviceaccounts",
};

for (const [plural, path] of Object.entries(PATHS)) {
  Deno.test(`strategic merge patches of ${plural} come to what upstream makes of them`, async () => {
    const pairs: Pair[] = JSON.parse(
      await Deno.readTextFile(new URL(`patch/${plural}.json`, FOLDER)),
    );
    await using cluster = await Cluster.start({ components: ["api"] });
    const ask = (method: string, at: string, body: unknown, type = "application/json") =>
      cluster.fetch(at, { method, headers: { "content-type": type }, body: JSON.stringify(body) });
    await (await ask("POST", "/api/v1/namespaces", { metadata: { name: "ns" } })).body?.cancel();
    const url = path.replace("NS", "ns");
    assert(pairs.length > 20);
    for (const { seed, before, patch, code, message, after } of pairs) {
      const made = await ask("POST", url, before);
      assertEquals(made.status, 201, await made.text());
      const at = `${url}/${before.metadata.name}`;
      const answer = await ask("PATCH", at, patch, "application/strategic-merge-patch+json");
      const body = JSON.parse((await answer.text()).replaceAll('"ns"', '"NS"'));
      const hint = `pair ${seed}: ${JSON.stringify(patch)}`;
      if (message !== undefined) {
        assertEquals([answer.status, body.message], [code === 500 ? 400 : code, message], hint);
      } else {
        delete body.metadata?.managedFields;
        assertEquals(cleaned(body), after, hint);
      }
    }
  });
}
