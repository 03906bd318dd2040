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
    withNode(async ({ box, node, logs, exec }) => {
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
      const pod = await box.until("readiness", async () => {
        const seen = await box.get("site");
        return seen.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") &&
          seen;
      }, 15_000);
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

Deno.test("isolate: a dead container is restarted, its volume and its log kept", () =>
  withNode(async ({ box, logs }) => {
    const code =
      `try { Deno.statSync("/data/x"); console.log("second life"); setInterval(() => {}, 1000) }
      catch { console.log("first life"); Deno.writeTextFileSync("/data/x", "1"); Deno.exit(1) }`;
    await box.pod("lives", "n0", {
      containers: [{
        name: "c",
        image: DENO,
        args: ["eval", code],
        volumeMounts: [{ name: "data", mountPath: "/data" }],
      }],
      volumes: [{ name: "data", emptyDir: {} }],
    });
    const pod = await box.until("the second life", async () => {
      const seen = await box.get("lives");
      const status = seen.status?.containerStatuses?.[0];
      return status?.restartCount === 1 && status.state.running && seen;
    });
    const { lastState } = pod.status!.containerStatuses![0];
    assertEquals(lastState.terminated?.exitCode, 1);
    assertEquals(lastState.terminated?.reason, "Error");
    await box.until("its log", async () => (await logs("lives")) === "second life\n");
    assertEquals(await logs("lives", { previous: true }), "first life\n");
  }));

Deno.test("isolate: init container, sidecar, and a job's end", () =>
  withNode(async ({ box, phase, logs }) => {
    await box.pod("job", "n0", {
      restartPolicy: "Never",
      initContainers: [
        {
          name: "first",
          image: DENO,
          command: ["sh", "-c", "echo one > /data/a"],
          volumeMounts: [{ name: "d", mountPath: "/data" }],
        },
        {
          name: "side",
          image: DENO,
          restartPolicy: "Always",
          args: ["eval", "setInterval(() => {}, 1000)"],
        },
      ],
      containers: [{
        name: "c",
        image: DENO,
        command: ["deno", "eval", "console.log(Deno.readTextFileSync('/data/a').trim(), 1 + 1)"],
        volumeMounts: [{ name: "d", mountPath: "/data" }],
      }],
      volumes: [{ name: "d", emptyDir: {} }],
    });
    const pod = await phase("job", "Succeeded");
    assertEquals(await logs("job"), "one 2\n");
    assertEquals(pod.status!.initContainerStatuses!.map((s) => s.state.terminated?.reason), [
      "Completed",
      "Error", // the sidecar was told to end and had no handler
    ]);
  }));

Deno.test("isolate: what is not granted is refused, what is not there cannot start", () =>
  withNode(async ({ box, phase, logs }) => {
    await box.pod("curious", "n0", {
      restartPolicy: "Never",
      containers: [{
        name: "c",
        image: DENO,
        args: [
          "eval",
          `
          const tried = async (f) => { try { await f(); return "ok"; } catch (e) { return e.name; } };
          console.log(await tried(() => new Deno.Command("/usr/bin/deno").output()),
            await tried(() => Deno.readTextFile("/proc/1/environ")),
            await tried(() => Deno.readTextFile("/etc/shadow")),
            await tried(() => Deno.writeTextFile("/tmp/x", "")));`,
        ],
      }],
    });
    await phase("curious", "Succeeded");
    assertEquals(await logs("curious"), "NotCapable NotCapable NotFound ok\n");
    await box.pod("wrong", "n0", {
      restartPolicy: "Never",
      containers: [{ name: "c", image: DENO, command: ["nginx", "-g", "daemon off;"] }],
    });
    const wrong = await phase("wrong", "Failed");
    const { terminated } = wrong.status!.containerStatuses![0].state;
    assertEquals(terminated?.reason, "StartError");
    assertEquals(terminated?.message, 'exec: "nginx": executable file not found in $PATH');
  }));

Deno.test("isolate: the SecurityContext decides; last words are kept", () =>
  withNode(async ({ box, phase, logs }) => {
    const tried =
      `const tried = (f) => { try { f(); return "ok"; } catch (e) { return e.name; } };`;
    const run = async (name: string, code: string, securityContext: object, end: string) => {
      await box.pod(name, "n0", {
        restartPolicy: "Never",
        containers: [{
          name: "c",
          image: DENO,
          args: ["eval", tried + code],
          workingDir: "/w",
          securityContext,
          volumeMounts: [{ name: "d", mountPath: "/data" }],
        }],
        volumes: [{ name: "d", emptyDir: {} }],
      });
      const pod = await phase(name, end);
      return { log: await logs(name), end: pod.status!.containerStatuses![0].state.terminated };
    };
    const write = `console.log(Deno.cwd(), ["/data/x", "/tmp/x"].map((path) =>
      tried(() => Deno.writeTextFileSync(path, "1"))).join());`;
    const readOnly = { readOnlyRootFilesystem: true };
    assertEquals((await run("ro", write, readOnly, "Succeeded")).log, "/w ok,NotCapable\n");
    const last = `Deno.writeTextFileSync("/dev/termination-log", "last words"); Deno.exit(2);`;
    const said =
      `console.log(tried(() => new Deno.Command("deno", { args: ["-V"] }).outputSync()));`;
    const privileged = await run("priv", said + last, { privileged: true }, "Failed");
    assertEquals(privileged.log, "ok\n");
    assertEquals([privileged.end?.exitCode, privileged.end?.message], [2, "last words"]);
    if (Deno.uid() !== 0) return; // another user takes root
    const user = { runAsUser: 1000, runAsGroup: 2000, runAsNonRoot: true };
    const who = await run(
      "user",
      `console.log(Deno.uid(), Deno.gid());` + write,
      user,
      "Succeeded",
    );
    assertEquals(who.log, "1000 2000\n/w ok,ok\n");
  }));
