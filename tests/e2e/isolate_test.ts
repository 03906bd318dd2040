/** Real processes on a real node over the real API: what only they can show. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { DENO, withNode } from "./node_fixture.ts";

const SITE = `
console.log("hello from", Deno.env.get("HOSTNAME"), Deno.env.get("COLOR"));
Deno.serve({ port: 8080 }, () => new Response("I am " + Deno.readTextFileSync("/etc/conf/color")));
`;

for (const view of [undefined, "preload"] as const) {
  const how = view ?? "a root of its own";
  Deno.test(`isolate with ${how}: volumes, env, logs, exec, port-forward, probe, stop`, () =>
    withNode(async ({ box, node, ready, logs, exec }) => {
      const maps = {
        resource: { group: "", version: "v1", plural: "configmaps" },
        namespace: "default",
      };
      await box.client.create(maps, { metadata: { name: "site" }, data: { "main.ts": SITE } });
      await box.client.create(maps, { metadata: { name: "conf" }, data: { color: "blue" } });
      await box.pod("site", "n0", {
        containers: [{
          name: "c",
          image: DENO,
          args: ["run", "-A", "/app/main.ts"],
          env: [{ name: "COLOR", valueFrom: { configMapKeyRef: { name: "conf", key: "color" } } }],
          readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 },
          volumeMounts: [{ name: "app", mountPath: "/app" }, {
            name: "conf",
            mountPath: "/etc/conf",
          }],
        }],
        volumes: [
          { name: "app", configMap: { name: "site" } },
          { name: "conf", configMap: { name: "conf" } },
        ],
      });
      const pod = await ready("site", 15_000);
      assertMatch(await logs("site"), /^hello from site blue\n/);
      const response = await fetch(`http://${pod.status!.podIP}:8080/`);
      assertEquals(await response.text(), "I am blue");
      const six = await exec("site", ["deno", "eval", "console.log(6*7, Deno.env.get('COLOR'))"]);
      assertEquals(six, { code: 0, out: "42 blue\n", error: undefined });
      assertEquals((await exec("site", ["deno", "eval", "Deno.exit(7)"])).code, 7);
      const upper =
        "console.log((await new Response(Deno.stdin.readable).text()).trim().toUpperCase())";
      assertEquals((await exec("site", ["deno", "eval", upper], { input: "abc\n" })).out, "ABC\n");
      assertEquals((await exec("site", ["cat", "/etc/conf/color"])).out, "blue");
      assertEquals(await exec("site", ["sh", "-c", "echo a && ls /app | cat; exit 3"]), {
        code: 3,
        out: "a\nmain.ts\n",
        error: undefined,
      });
      assertMatch((await exec("site", ["bash"])).error!, /executable file not found in \$PATH/);
      const ref = { namespace: "default", name: "site", uid: pod.metadata.uid };
      const forward = await node.api.portForward(ref, 8080);
      const writer = forward.writable.getWriter();
      await writer.write(
        new TextEncoder().encode("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
      );
      assertMatch(await new Response(forward.readable).text(), /I am blue$/);
      await box.client.patch({ ...maps, name: "conf" }, {
        type: "merge",
        body: { data: { color: "red" } },
      });
      await box.until(
        "the new colour",
        async () =>
          (await (await fetch(`http://${pod.status!.podIP}:8080/`)).text()) === "I am red",
      );
      const usage = await (await node.api.fetch(new Request("http://n/stats/summary"))).json();
      assert(usage.pods[0].containers[0].memory.workingSetBytes > 0);
      const started = performance.now();
      await box.client.delete({
        resource: { group: "", version: "v1", plural: "pods" },
        namespace: "default",
        name: "site",
      });
      await box.until("gone", () => box.get("site").then(() => false, () => true));
      assert(performance.now() - started < 2000, "SIGTERM ended it");
    }, view));
}
