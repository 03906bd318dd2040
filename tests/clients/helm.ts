/**
 * Helm, unmodified, against the cluster of KUBECONFIG: the life of a release of the chart beside this file. The
 * arguments are the program and its major version. One line a step, read by the test beside it.
 */
import { assert, assertEquals } from "@std/assert";
import { type Ended, must, run } from "./languages.ts";

const [HELM, MAJOR] = Deno.args;
const CHART = decodeURIComponent(new URL("helm/chart", import.meta.url).pathname);
const folder = await Deno.makeTempDir({ prefix: "plesio-helm-" });
const env = {
  HELM_CACHE_HOME: `${folder}/cache`,
  HELM_CONFIG_HOME: `${folder}/config`,
  HELM_DATA_HOME: `${folder}/data`,
};
const NAMESPACE = "shop";
/** What Helm 3 calls --atomic. */
const ATOMIC = MAJOR === "3" ? "--atomic" : "--rollback-on-failure";

/** Runs helm in the release's namespace. */
function helm(...args: string[]): Promise<Ended> {
  return must(HELM, ["--namespace", NAMESPACE, ...args], { env });
}

function fails(...args: string[]): Promise<string> {
  return run(HELM, ["--namespace", NAMESPACE, ...args], { env }).then(
    ({ success, text, errors }) => {
      assert(!success, `helm ${args.join(" ")} went well`);
      return text + errors;
    },
  );
}

/** What kubectl says of something in the release's namespace; nothing if it is not there. */
async function look(what: string, path: string): Promise<string> {
  const args = ["--namespace", NAMESPACE, "get", ...what.split(" "), "-o", `jsonpath=${path}`];
  const { text } = await must("kubectl", [...args, "--ignore-not-found"]);
  return text;
}

async function install(): Promise<void> {
  const { text } = await helm("install", "one", CHART, "--create-namespace", "--wait");
  assert(/STATUS: deployed/.test(text) && /one runs 2 replicas/.test(text), text);
  assertEquals(await look("deploy one", "{.status.readyReplicas}"), "2");
  assertEquals(await look("job one-migrate", "{.status.succeeded}"), "1");
  assertEquals(await look("order one", "{.spec.count}"), "2");
  assertEquals(await look("cm one-greeting", "{.data.greeting}"), "from the parent");
  const labels = String.raw`{.metadata.labels.app\.kubernetes\.io/managed-by}`;
  assertEquals(await look("deploy one", labels), "Helm");
  assertEquals(await look("secret sh.helm.release.v1.one.v1", "{.type}"), "helm.sh/release.v1");
}

async function capabilities(): Promise<void> {
  assertEquals(await look("cm one-capabilities", "{.data.version}"), "v1.36.0+plesio");
  assertEquals(await look("cm one-capabilities", "{.data.hpa} {.data.order}"), "true true");
  const { text } = await helm("upgrade", "one", CHART, "--dry-run=server");
  assert(text.includes(await look("secret one-password", "{.data.password}")), text);
}

async function upgrade(): Promise<void> {
  const password = await look("secret one-password", "{.data.password}");
  await must("kubectl", ["-n", NAMESPACE, "label", "deploy", "one", "mine=kept"]);
  await helm("upgrade", "one", CHART, "--wait", "--set", "replicas=3,image=nginx:1.28");
  assertEquals(
    await look("deploy one", "{.status.readyReplicas} {.metadata.labels.mine}"),
    "3 kept",
  );
  const images = "{.spec.template.spec.containers[*].image}";
  assertEquals(await look("deploy one", images), "nginx:1.28");
  assertEquals(await look("secret one-password", "{.data.password}"), password);
  const manager = MAJOR === "3" ? "Update" : "Apply";
  const managed = `{.metadata.managedFields[?(@.manager=="helm")].operation}`;
  assertEquals(await look("cm one-greeting", managed), manager);
}

async function rollback(): Promise<void> {
  await helm("rollback", "one", "1", "--wait");
  assertEquals(await look("deploy one", "{.spec.replicas}"), "2");
  const { text } = await helm("history", "one", "-o", "json");
  const revisions = JSON.parse(text) as { revision: number; status: string }[];
  assertEquals(revisions.map(({ revision, status }) => `${revision} ${status}`), [
    "1 superseded",
    "2 superseded",
    "3 deployed",
  ]);
}

async function atomic(): Promise<void> {
  const args = ["upgrade", "one", CHART, "--set", "broken=true", ATOMIC, "--timeout", "6s"];
  const said = await fails(...args);
  assert(/rolled back|rollback/.test(said), said);
  const { text } = await helm("status", "one", "-o", "json");
  const { version, info } = JSON.parse(text);
  assertEquals([version, info.status], [5, "deployed"]);
  assertEquals(await look("deploy one", "{.spec.template.spec.containers[*].image}"), "nginx:1.27");
}

async function test(): Promise<void> {
  const { text } = await helm("test", "one", "--logs");
  assert(text.includes("tested") && /Phase:\s+Succeeded/.test(text), text);
  await helm("upgrade", "one", CHART, "--set", "testExit=1");
  const said = await fails("test", "one");
  assert(/Phase:\s+Failed/.test(said), said);
}

/** Text that does not get smaller by compression: a release of it is about as large as it. */
async function filler(bytes: number): Promise<string> {
  const random = new Uint8Array(Math.ceil(bytes * 3 / 4));
  for (let at = 0; at < random.length; at += 65_536) {
    crypto.getRandomValues(random.subarray(at, at + 65_536));
  }
  const path = `${folder}/filler-${bytes}`;
  const text = Array.from(random, (byte) => String.fromCharCode(byte)).join("");
  await Deno.writeTextFile(path, btoa(text));
  return path;
}

async function large(): Promise<void> {
  const arguments_ = async (bytes: number) => [
    CHART,
    "--set-file",
    `filler=${await filler(bytes)}`,
    "--no-hooks",
    "--skip-crds",
  ];
  await helm("install", "large", ...await arguments_(1_020_000));
  const kept = await look("secret sh.helm.release.v1.large.v1", "{.data.release}");
  const size = atob(kept).length;
  assert(size > 1_000_000 && size <= 1_048_576, `a release of ${size} bytes`);
  assert((await helm("get", "values", "large")).text.length > 1_000_000);
  await helm("uninstall", "large", "--no-hooks");
  const said = await fails("install", "larger", ...await arguments_(1_100_000));
  assert(said.includes(`Secret "sh.helm.release.v1.larger.v1" is invalid: data: Too long`), said);
  assert(said.includes("1048576 bytes"), said);
}

async function uninstall(): Promise<void> {
  await helm("uninstall", "one", "--wait");
  assertEquals(await look("deploy,svc,order,secret", "{.items[*].metadata.name}"), "");
  assertEquals(await look("cm one-farewell", "{.metadata.name}"), "one-farewell");
  assertEquals(await look("crd orders.shop.plesio.dev", "{.spec.names.kind}"), "Order");
  assertEquals((await helm("list", "-q")).text.trim(), "");
}

const steps: [string, () => Promise<void>][] = [
  ["install with hooks, a CRD and a subchart, and wait", install],
  ["capabilities, lookup, dry run on the server", capabilities],
  ["upgrade keeps what others wrote", upgrade],
  ["rollback and history", rollback],
  ["an upgrade that fails is taken back", atomic],
  ["test, good and bad", test],
  ["a release of nearly 1 MiB, and one too large", large],
  ["uninstall", uninstall],
];
for (const [name, step] of steps) {
  await step();
  console.log(name);
}
await Deno.remove(folder, { recursive: true });
