/** The same over HTTP, with nothing but `fetch`: `KUBECONFIG=… deno run -A over_http.ts`. */
import { assert, assertEquals } from "@std/assert";
import { parse } from "@std/yaml";

const APPS = "/apis/apps/v1/namespaces/default/deployments";
const config = parse(await Deno.readTextFile(Deno.env.get("KUBECONFIG")!)) as any;
const [{ cluster }, { user }] = [config.clusters[0], config.users[0]];
const client = Deno.createHttpClient({
  caCerts: [atob(cluster["certificate-authority-data"])],
  cert: atob(user["client-certificate-data"]),
  key: atob(user["client-key-data"]),
});

async function ask(method: string, path: string, body?: unknown) {
  const headers = { "user-agent": "deno-example/1", "content-type": "application/json" };
  const init = {
    method,
    headers,
    client,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  };
  const answer = await fetch(cluster.server + path, init);
  return { status: answer.status, body: await answer.json() };
}

/** Asks the test kit; throws with what it says when that is no success. */
async function kit(method: string, path: string, body?: unknown, under = "") {
  const answer = await ask(method, `${under}/plesio/v1/${path}`, body);
  assert(answer.status < 300, answer.body.message);
  return answer.body;
}

const labels = { app: "web" };
const template = { metadata: { labels }, spec: { containers: [{ name: "c", image: "nginx" }] } };
const spec = { replicas: 3, selector: { matchLabels: labels }, template };

await kit("POST", "reset");
await ask("POST", APPS, { metadata: { name: "web" }, spec });
await kit("POST", "settle");
assertEquals((await ask("GET", `${APPS}/web`)).body.status.readyReplicas, 3);
console.log("settle");

const ready = { path: `${APPS}/web`, jsonpath: "{.status.readyReplicas}", equals: "3" };
await kit("POST", "clock", { until: ready });
assertEquals((await kit("POST", "clock", { advance: "1h30m" })).advanced, "1h30m0s");
console.log("clock");

const { name, path } = await kit("POST", "forks", {});
await ask("DELETE", `${path}${APPS}/web`);
await kit("POST", "settle", {}, path);
assertEquals((await ask("GET", path + APPS)).body.items, []);
assertEquals((await ask("GET", `${APPS}/web`)).status, 200);
await kit("DELETE", `forks/${name}`);
console.log("fork");

await kit("POST", "faults", {
  name: "busy",
  client: "deno-example",
  verb: "get",
  times: 1,
  status: 503,
});
assertEquals((await ask("GET", `${APPS}/web`)).status, 503);
assertEquals((await ask("GET", `${APPS}/web`)).status, 200);
assertEquals((await kit("GET", "faults/busy")).struck, 1);
console.log("faults");

await kit("POST", "ledger/check", { client: "deno-example" });
for (let i = 0; i < 20; i++) await ask("GET", `${APPS}/web`);
const { status, body } = await ask("POST", "/plesio/v1/ledger/check", { client: "deno-example" });
assertEquals(status, 409);
assert(body.message.includes("asked the same again and again"), body.message);
console.log("ledger");

await kit("POST", "reset");
assertEquals((await ask("GET", APPS)).body.items, []);
console.log("reset");
client.close();
