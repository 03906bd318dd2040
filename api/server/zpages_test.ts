import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../kv/mod.ts";
import { ADMIN, openApi } from "./fixture_test.ts";

async function ask(path: string, accept?: string) {
  const clock = new ManualClock();
  await using f = await openApi({ clock, front: { flags: { port: "6443", beta: "false" } } });
  await clock.advance(3_723_000);
  const headers: HeadersInit = accept ? { accept } : {};
  const response = await f.api.fetch(new Request(`https://x${path}`, { headers }), { user: ADMIN });
  return { response, text: await response.text() };
}

Deno.test("statusz: since when, how long, which version; as an object for those who ask", async () => {
  const { text } = await ask("/statusz");
  assert(text.startsWith("\napiserver statusz\nWarning: This endpoint is not meant"), text);
  assert(text.includes("Up: 1 hr 02 min 03 sec\n"), text);
  assert(text.includes("Paths: /flagz /healthz /livez /metrics /readyz /statusz /version\n"));
  const type = "application/json;v=v1beta1;g=config.k8s.io;as=Statusz";
  const json = await ask("/statusz", type);
  assertEquals(
    json.response.headers.get("content-type"),
    "application/json;g=config.k8s.io;v=v1beta1;as=Statusz",
  );
  const value = JSON.parse(json.text);
  assertEquals([value.kind, value.apiVersion, value.metadata.name, value.uptimeSeconds], [
    "Statusz",
    "config.k8s.io/v1beta1",
    "apiserver",
    3723,
  ]);
  const old = await ask("/statusz", type.replace("beta", "alpha"));
  assert(old.response.headers.get("warning")?.includes("is deprecated"));
  const html = await ask("/statusz", "text/html");
  assertEquals(html.response.status, 406);
  assertEquals(
    JSON.parse(html.text).message,
    "only the following media types are accepted: application/json, application/yaml, text/plain",
  );
});

Deno.test("flagz: the values of flags, by name", async () => {
  const { text } = await ask("/flagz");
  assert(text.endsWith("\nbeta: false\nport: 6443\n"), text);
  const yaml = await ask("/flagz", "application/yaml;v=v1beta1;g=config.k8s.io;as=Flagz");
  assert(yaml.text.includes("kind: Flagz"));
});

Deno.test("health: checks by upstream's names, one by one, all, or all but some", async () => {
  const verbose = (await ask("/readyz?verbose&exclude=ping&exclude=foo")).text.split("\n");
  assertEquals(verbose[0], "[+]ping excluded: ok");
  for (
    const line of [
      "[+]etcd ok",
      "[+]informer-sync ok",
      "[+]poststarthook/crd-informer-synced ok",
      "[+]poststarthook/scheduling/bootstrap-system-priority-classes ok",
      "[+]autoregister-completion ok",
      "[+]shutdown ok",
      'warn: some health checks cannot be excluded: no matches for "foo"',
      "readyz check passed",
    ]
  ) assert(verbose.includes(line), line);
  assertEquals((await ask("/livez/poststarthook/rbac/bootstrap-roles")).text, "ok");
  assertEquals((await ask("/livez/nope")).response.status, 404);
});

Deno.test("metrics/slis: each check's last result, and how often it was what", async () => {
  await using f = await openApi();
  const get = async (path: string) =>
    await (await f.api.fetch(new Request(`https://x${path}`), { user: ADMIN })).text();
  await get("/livez");
  await get("/livez/etcd");
  const lines = (await get("/metrics/slis")).split("\n");
  assert(lines.includes('kubernetes_healthcheck{name="etcd",type="livez"} 1'));
  assert(
    lines.includes('kubernetes_healthchecks_total{name="etcd",type="livez",status="success"} 2'),
  );
});

Deno.test("metrics/slis: a server that has begun to listen has asked itself whether it is ready", async () => {
  await using f = await openApi();
  await f.api.listen({ port: 0 });
  const text = async () =>
    await (await f.api.fetch(new Request("https://x/metrics/slis"), { user: ADMIN })).text();
  const ready = 'kubernetes_healthcheck{name="shutdown",type="readyz"} 1';
  while (!(await text()).includes(ready)) await f.clock.turn();
  await f.api.shutdown();
});
