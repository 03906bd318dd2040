/** Pods as OCI containers, on a containerd of the tests' own: what only their node can show (see `behaviours/` for the rest). */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { IMAGES, withContainerd } from "./containerd.ts";
import { type ContainerdWorld, openContainerd } from "./containerd_fixture.ts";

/** The cases, by what they show. */
const CASES: Record<string, (world: ContainerdWorld) => Promise<void>> = {
  "a log that has grown is put aside, and read as one": async (
    { box, containerd, pod, phase, logs, gone },
  ) => {
    const script = "echo first; yes 0123456789 | head -n 1000000; echo last; sleep 60; echo more";
    await pod("wordy", { command: ["sh", "-c", script] });
    const { uid } = (await phase("wordy", "Running")).metadata;
    const folder = `${containerd.logs}/default_wordy_${uid}/c`;
    await box.until(
      "another file",
      () => Deno.stat(`${folder}/0.log.1`).catch(() => undefined),
      30_000,
    );
    await box.until(
      "its last line",
      async () => await logs("wordy", { tailLines: 1 }) === "last\n",
      20_000,
    );
    assertEquals(await logs("wordy", { limitBytes: 6 }), "first\n");
    await gone("wordy");
  },
  "exec has its own streams and code, attach the container's": async (
    { box, node, pod, phase, exec, gone },
  ) => {
    const script = "while read line; do echo got $line; done; echo end";
    await pod("in", { command: ["sh", "-c", script], stdin: true, stdinOnce: true }, {
      restartPolicy: "Never",
    });
    const { uid } = (await phase("in", "Running")).metadata;
    assertEquals(await exec("in", ["sh", "-c", "cat; echo bad >&2; exit 7"], { input: "good\n" }), {
      code: 7,
      out: "good\nbad\n",
      error: undefined,
    });
    assertMatch((await exec("in", ["nothing"])).error!, /executable file not found in \$PATH/);
    const ref = { namespace: "default", name: "in", uid };
    const attached = await node.api.attach({
      pod: ref,
      container: "c",
      stdin: true,
      stdout: true,
      stderr: false,
      tty: false,
    });
    const writer = attached.stdin!.getWriter();
    await writer.write(new TextEncoder().encode("hello\n"));
    await writer.close();
    assertEquals(await new Response(attached.stdout).text(), "got hello\nend\n");
    await box.until(
      "its end",
      async () => (await box.get("in")).status?.phase === "Succeeded",
      10_000,
    );
    await gone("in");
  },
  "a terminal has a size": async ({ node, pod, phase, gone }) => {
    await pod("term", { command: ["sleep", "60"] });
    const { uid } = (await phase("term", "Running")).metadata;
    const process = await node.api.exec({
      pod: { namespace: "default", name: "term", uid },
      container: "c",
      command: ["sh", "-c", "read go; sleep 0.5; stty size; exit 4"],
      stdin: true,
      stdout: true,
      stderr: false,
      tty: true,
    });
    process.resize({ width: 91, height: 33 });
    const writer = process.stdin!.getWriter();
    await writer.write(new TextEncoder().encode("go\n"));
    assertMatch(await new Response(process.stdout).text(), /33 91/);
    assertEquals((await process.ended).exitCode, 4);
    await gone("term");
  },
  "a port is forwarded, one that nobody listens on is refused": async (
    { node, pod, ready, gone },
  ) => {
    await pod("served", {
      image: IMAGES.web,
      readinessProbe: { httpGet: { port: 80 }, periodSeconds: 1 },
    });
    const seen = await ready("served");
    const response = await fetch(`http://${seen.status!.podIP}/`);
    assertEquals(await response.text(), `I am ${IMAGES.web}`);
    const ref = { namespace: "default", name: "served", uid: seen.metadata.uid };
    const ask = async (port: number) => {
      const { readable, writable } = await node.api.portForward(ref, port);
      const writer = writable.getWriter();
      await writer.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
      return await new Response(readable as ReadableStream<Uint8Array<ArrayBuffer>>).text()
        .catch((error) => String(error));
    };
    assertMatch(await ask(80), /I am nginx/);
    assertMatch(await ask(81), /refused/);
    await gone("served");
  },
  "resources are cgroups' limits, the pod's too, and change as it runs": async (
    { box, pod, phase, gone },
  ) => {
    await pod("sized", {
      command: ["sleep", "60"],
      resources: {
        requests: { cpu: "100m", memory: "32Mi" },
        limits: { cpu: "200m", memory: "64Mi" },
      },
    });
    const { metadata, status } = await phase("sized", "Running");
    const id = status!.containerStatuses![0].containerID!.split("//")[1];
    const folder = `kubepods/burstable/pod${metadata.uid}`;
    const v2 = !!await Deno.stat("/sys/fs/cgroup/cgroup.controllers").catch(() => undefined);
    const read = async (controller: string, path: string, one: string, two: string) =>
      (await Deno.readTextFile(
        v2 ? `/sys/fs/cgroup/${path}/${two}` : `/sys/fs/cgroup/${controller}/${path}/${one}`,
      )).trim();
    const memory = (path: string) => read("memory", path, "memory.limit_in_bytes", "memory.max");
    assertEquals(await memory(folder), String(64 * 2 ** 20));
    assertEquals(await memory(`${folder}/${id}`), String(64 * 2 ** 20));
    const quota = await read("cpu", `${folder}/${id}`, "cpu.cfs_quota_us", "cpu.max");
    assertMatch(quota, /^20000/);
    const pods = { group: "", version: "v1", plural: "pods" };
    const resources = {
      requests: { cpu: "100m", memory: "32Mi" },
      limits: { cpu: "300m", memory: "96Mi" },
    };
    await box.client.patch(
      { resource: pods, namespace: "default", name: "sized", subresource: "resize" },
      { type: "strategic", body: { spec: { containers: [{ name: "c", resources }] } } },
    );
    await box.until(
      "its new limit",
      async () => await memory(`${folder}/${id}`) === String(96 * 2 ** 20),
      10_000,
    );
    assertEquals(await memory(folder), String(96 * 2 ** 20));
    assertEquals((await box.get("sized")).status!.containerStatuses![0].restartCount, 0);
    await gone("sized");
    assertEquals(await memory(folder).catch(() => "gone"), "gone");
  },
  "usage is measured": async ({ box, node, pod, phase, gone }) => {
    await pod("busy", { command: ["sh", "-c", "while :; do :; done"] });
    await phase("busy", "Running");
    const used = await box.until("some use", async () => {
      const { pods } = await node.usage();
      const stats = pods.find((p) => p.name === "busy")?.containers[0]?.stats;
      return stats && stats.cpuNanoCores > 1e8 && stats;
    }, 20_000);
    assert(used.workingSetBytes > 0 && used.cpuNanoseconds > 0);
    await gone("busy");
  },
};

await withContainerd(import.meta.url, () => {
  Deno.test({ name: "containerd", sanitizeOps: false, sanitizeResources: false }, async (t) => {
    await using world = await openContainerd(["busybox", "web"]);
    for (const [name, check] of Object.entries(CASES)) await t.step(name, () => check(world));
  });
});
