/**
 * kustomize, unmodified, and kubectl's own, against the cluster of KUBECONFIG. The argument is the program. One line a
 * step, read by the test beside it.
 */
import { assert, assertEquals } from "@std/assert";
import { must, run } from "./languages.ts";

const [KUSTOMIZE] = Deno.args;
const OVERLAY = decodeURIComponent(new URL("kustomize/overlay", import.meta.url).pathname);

async function kubectl(...args: string[]): Promise<string> {
  return (await must("kubectl", args)).text;
}

const { text: built } = await must(KUSTOMIZE, ["build", OVERLAY]);
const applied = await must("kubectl", ["apply", "-f", "-"], { input: built });
assert(/deployment.apps\/big-web created/.test(applied.text), applied.text);
await kubectl("-n", "kustomized", "rollout", "status", "deploy/big-web", "--timeout=60s");
const image = "jsonpath={.spec.template.spec.containers[*].image} {.metadata.annotations.patched}";
const said = await kubectl("-n", "kustomized", "get", "deploy", "big-web", "-o", image);
assertEquals(said, "busybox:1 nginx:1.28 yes");
console.log("kustomize build, applied");

assertEquals(await kubectl("diff", "-k", OVERLAY), "");
const again = await kubectl("apply", "-k", OVERLAY);
assert(!/created|configured/.test(again), again);
console.log("kubectl apply -k changes nothing");

const copy = await Deno.makeTempDir({ prefix: "plesio-kustomize-" });
await must("cp", ["-r", `${OVERLAY}/..`, `${copy}/all`]);
const base = `${copy}/all/base/kustomization.yaml`;
await Deno.writeTextFile(base, (await Deno.readTextFile(base)).replace("blue", "red"));
const diff = await run("kubectl", ["diff", "-k", `${copy}/all/overlay`]);
assertEquals(diff.code, 1);
assert(/^\+\s+color: red/m.test(diff.text), diff.text);
const changed = await kubectl(
  "apply",
  "--server-side",
  "--force-conflicts",
  "-k",
  `${copy}/all/overlay`,
);
assert(/deployment.apps\/big-web serverside-applied/.test(changed), changed);
console.log("a generated ConfigMap has a new name, by server-side apply");

// The namespace comes first, and may take the others with it before kubectl asks for them.
await kubectl("delete", "-k", `${copy}/all/overlay`, "--timeout=60s", "--ignore-not-found");
await Deno.remove(copy, { recursive: true });
console.log("kubectl delete -k");
