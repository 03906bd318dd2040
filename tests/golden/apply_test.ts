/**
 * Histories of applies, updates and patches by several managers, as kube-apiserver 1.36 answered them: codes, texts and
 * conflicts step by step, and in the end the object with everybody's fields. Client-side apply and its migration
 * to server-side apply are among them. Facts recorded from it; they are not rewritten.
 */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../../mod.ts";
import { cleaned, FOLDER } from "./recorded.ts";

interface Step {
  method: string;
  path: string;
  type?: string;
  body: unknown;
  code: number;
  message?: string;
  causes?: string[];
}

interface History {
  seed: number;
  resource: string;
  steps: Step[];
  object: unknown;
}

/** One cause as the histories tell it. */
interface Cause {
  reason: string;
  field: string;
  message: string;
}

for (const plural of ["configmaps", "services", "deployments", "things"]) {
  Deno.test(`histories of ${plural} end as upstream's, with the same owners`, async () => {
    const histories: History[] = JSON.parse(
      await Deno.readTextFile(new URL(`apply/${plural}.json`, FOLDER)),
    );
    const definition = await Deno.readTextFile(new URL("apply/things.definition.json", FOLDER));
    await using cluster = await Cluster.start({ components: ["api"] });
    const ask = async (method: string, at: string, body?: string, type = "application/json") => {
      const headers = { "content-type": type, "user-agent": "tester" };
      const answer = await cluster.fetch(at, { method, headers, body });
      return { code: answer.status, body: JSON.parse(await answer.text()) };
    };
    const made = await ask(
      "POST",
      "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
      definition,
    );
    assertEquals(made.code, 201);
    await cluster.settle();
    assert(histories.length > 5);
    for (const { seed, resource, steps, object } of histories) {
      const namespace = `ns-${seed}`;
      const [root] = resource.split("|");
      await ask("POST", "/api/v1/namespaces", JSON.stringify({ metadata: { name: namespace } }));
      const url = `${root}/namespaces/${namespace}/${plural}`;
      for (const [at, step] of steps.entries()) {
        const text = JSON.stringify(step.body).replaceAll("NS", namespace);
        const { code, body } = await ask(step.method, url + step.path, text, step.type);
        const hint = `history ${seed}, step ${at}: ${step.method} ${step.path} ${text}`;
        assertEquals([code, code < 400 ? "" : body.message], [step.code, step.message ?? ""], hint);
        const causes = (body.details?.causes as Cause[] | undefined)?.map((c) =>
          `${c.reason} | ${c.field} | ${c.message}`
        );
        if (step.code >= 400) assertEquals(causes?.sort(), step.causes, hint);
      }
      const { body } = await ask("GET", `${url}/o`);
      const end = JSON.parse(JSON.stringify(cleaned(body)).replaceAll(namespace, "NS"));
      assertEquals(end, object, `history ${seed}`);
    }
  });
}
