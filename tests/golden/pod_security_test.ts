/**
 * What a real kube-apiserver 1.36.0 says of every pod of upstream's own fixtures of pod security, at both levels
 * and every version of them. `pod_security.jsonl` holds a pod a line, and what is said of it: by level, for ranges
 * of minor versions.
 */
import { assertEquals } from "@std/assert";
import { Cluster } from "../../mod.ts";
import { lines, maskText, warningsOf } from "./recorded_facts.ts";

interface Fact {
  pod: object;
  says: {
    level: string;
    minors: [number, number][];
    code: number;
    message?: string;
    warnings?: string[];
  }[];
}

const LABEL = "pod-security.kubernetes.io/enforce";
const MINORS_MAX = 35;

Deno.test("pods are judged at every level and version as upstream judges them", async () => {
  const facts: Fact[] = await lines("pod_security.jsonl");
  await using cluster = await Cluster.start({ components: ["api"], beta: true });
  const post = (path: string, object: object) =>
    cluster.fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(object),
    });
  for (const level of ["baseline", "restricted"]) {
    for (let minor = 0; minor <= MINORS_MAX; minor++) {
      const name = `${level}-${minor}`;
      const labels = { [LABEL]: level, [`${LABEL}-version`]: `v1.${minor}` };
      await (await post("/api/v1/namespaces", { metadata: { name, labels } })).body?.cancel();
      const account = { metadata: { name: "default" } };
      await (await post(`/api/v1/namespaces/${name}/serviceaccounts`, account)).body?.cancel();
    }
  }
  for (const { pod, says } of facts) {
    for (const { level, minors, code, message, warnings } of says) {
      for (const [first, last] of minors) {
        for (let minor = first; minor <= last; minor++) {
          const path = `/api/v1/namespaces/${level}-${minor}/pods?dryRun=All`;
          const answer = await post(path, pod);
          const body = await answer.json();
          const hint = `${level} v1.${minor}: ${JSON.stringify(pod)}`;
          const wanted = message?.replaceAll("VERSION", `v1.${minor}`) ?? "";
          const told = answer.status < 400 ? "" : maskText(body.message);
          assertEquals([answer.status, told], [code, wanted], hint);
          assertEquals(warningsOf(answer), warnings ?? [], hint);
        }
      }
    }
  }
});
