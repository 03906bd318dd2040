/** Pods as OCI containers, on a containerd of the tests' own: what they are given, and what is told of them. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { IMAGES, withContainerd } from "./containerd.ts";
import { type ContainerdWorld, openContainerd } from "./containerd_fixture.ts";

/** The cases, by what they show. */
const CASES: Record<string, (world: ContainerdWorld) => Promise<void>> = {
  "a container has its environment, arguments, folder, name and files": async ({ says }) => {
    const text = await says("", {
      command: ["sh", "-c", 'echo "$A" "$0" "$@" $(pwd) $(hostname); cat /etc/hosts; env', "zero"],
      args: ["one", "$(A)", "$$(A)"],
      env: [{ name: "A", value: "x" }, {
        name: "IP",
        valueFrom: { fieldRef: { fieldPath: "status.podIP" } },
      }],
      workingDir: "/tmp",
    }, { hostname: "its-name", hostAliases: [{ ip: "9.9.9.9", hostnames: ["nine"] }] });
    assertMatch(text, /^x zero one x \$\(A\) \/tmp its-name\n/);
    assertMatch(text, /^127\.0\.0\.1\tlocalhost$/m);
    assertMatch(text, /^10\.\d+\.77\.\d+\tits-name$/m);
    assertMatch(text, /^9\.9\.9\.9\tnine$/m);
    assertMatch(text, /^IP=10\.\d+\.77\.\d+$/m);
  },
  "its end is told with code, reason and message": async ({ pod, phase, gone }) => {
    const never = { restartPolicy: "Never" };
    const message = ["sh", "-c", "echo -n last words > /dev/termination-log; exit 3"];
    await pod("ends", { command: message }, never);
    const ended = (await phase("ends", "Failed")).status!.containerStatuses![0].state.terminated!;
    assertEquals([ended.exitCode, ended.reason, ended.message], [3, "Error", "last words"]);
    assert(ended.startedAt! <= ended.finishedAt!);
    await gone("ends");
    await pod("logs", {
      command: ["sh", "-c", "echo from the log; exit 1"],
      terminationMessagePolicy: "FallbackToLogsOnError",
    }, never);
    const fallen = (await phase("logs", "Failed")).status!.containerStatuses![0].state.terminated!;
    assertEquals(fallen.message, "from the log");
    await gone("logs");
  },
  "one that takes too much memory is OOMKilled": async ({ pod, phase, gone }) => {
    await pod("greedy", {
      command: ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1"],
      resources: { limits: { memory: "32Mi" } },
    }, { restartPolicy: "Never" });
    const { terminated } = (await phase("greedy", "Failed")).status!.containerStatuses![0].state;
    assertEquals([terminated!.exitCode, terminated!.reason], [137, "OOMKilled"]);
    await gone("greedy");
  },
  "a command that is not there is said to be so": async ({ box, pod, gone }) => {
    await pod("absent", { command: ["no-such-thing"] });
    const status = await box.until("an end", async () => {
      const { state, lastState } = (await box.get("absent")).status?.containerStatuses?.[0] ?? {};
      return state?.terminated ?? lastState?.terminated;
    }, 20_000);
    assertEquals([status.exitCode, status.reason], [128, "StartError"]);
    assertMatch(status.message!, /exec: "no-such-thing": executable file not found in \$PATH/);
    await gone("absent");
  },
  "init containers run in order, a sidecar beside": async ({ pod, phase, logs, gone }) => {
    const image = IMAGES.busybox;
    const mounts = [{ name: "v", mountPath: "/v" }];
    const note = (word: string) => ["sh", "-c", `echo ${word} >> /v/order`];
    await pod("ordered", {
      command: ["sh", "-c", "cat /v/order; wget -qO- http://127.0.0.1:81/order | tail -n 1"],
      volumeMounts: mounts,
    }, {
      restartPolicy: "Never",
      volumes: [{ name: "v", emptyDir: {} }],
      initContainers: [
        { name: "first", image, command: note("first"), volumeMounts: mounts },
        {
          name: "side",
          image,
          restartPolicy: "Always",
          command: ["httpd", "-f", "-p", "81", "-h", "/v"],
          volumeMounts: mounts,
          startupProbe: { tcpSocket: { port: 81 }, periodSeconds: 1 },
        },
        { name: "second", image, command: note("second"), volumeMounts: mounts },
      ],
    });
    const ended = await phase("ordered", "Succeeded");
    assertEquals(await logs("ordered"), "first\nsecond\nsecond\n");
    assertEquals(
      ended.status!.initContainerStatuses!.map((s) => s.state.terminated?.exitCode === undefined),
      [false, false, false],
    );
    await gone("ordered");
  },
  "users and groups are the pod's, the container's, or the image's": async ({ says }) => {
    assertMatch(await says("id"), /^uid=0\(root\) gid=0\(root\)/);
    assertMatch(await says("id", { image: IMAGES.numbered }), /^uid=101\(web\) gid=101\(web\)/);
    assertMatch(await says("id", { image: IMAGES.named }), /^uid=101\(web\)/);
    const securityContext = {
      runAsUser: 1000,
      runAsGroup: 3000,
      fsGroup: 2000,
      supplementalGroups: [4000],
    };
    assertEquals(
      await says("id", { securityContext: { runAsUser: 1001 } }, { securityContext }),
      "uid=1001 gid=3000 groups=2000,3000,4000\n",
    );
  },
  "runAsNonRoot refuses root, in upstream's words": async ({ box, pod, gone }) => {
    const where = `\\(pod: "NAME_default\\(.*\\)", container: c\\)`;
    const cases: [string, object, RegExp][] = [
      [
        "plain",
        { image: IMAGES.busybox },
        /^container has runAsNonRoot and image will run as root/,
      ],
      ["named", { image: IMAGES.named }, /image has non-numeric user \(web\), cannot verify/],
      [
        "zero",
        { securityContext: { runAsUser: 0 } },
        /^container's runAsUser breaks non-root policy/,
      ],
    ];
    for (const [name, container, text] of cases) {
      const command = ["sleep", "60"];
      await pod(name, { command, ...container }, { securityContext: { runAsNonRoot: true } });
      const waiting = await box.until(`${name} to wait`, async () => {
        const { waiting } = (await box.get(name)).status?.containerStatuses?.[0]?.state ?? {};
        return waiting?.message && waiting;
      }, 20_000);
      assertEquals(waiting.reason, "CreateContainerConfigError");
      assertMatch(waiting.message!, text);
      assertMatch(waiting.message!, new RegExp(where.replace("NAME", name)));
      await gone(name);
    }
    await pod("numbered", { image: IMAGES.numbered, command: ["true"] }, {
      restartPolicy: "Never",
      securityContext: { runAsNonRoot: true },
    });
    await box.until(
      "it to run",
      async () => (await box.get("numbered")).status?.phase === "Succeeded",
      20_000,
    );
    await gone("numbered");
  },
  "what a container may do is what its security context says": async ({ says }) => {
    const caps = "grep CapEff /proc/self/status | tail -c 17";
    const few = await says(caps, { securityContext: { capabilities: { drop: ["ALL"] } } });
    assertEquals(few, "0000000000000000\n");
    const net = await says(caps, {
      securityContext: { capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] } },
    });
    assertEquals(net, "0000000000001000\n");
    const readOnly = { securityContext: { readOnlyRootFilesystem: true } };
    assertMatch(await says("touch /x 2>&1; touch /dev/shm/x && echo there", readOnly), /Read-only/);
    const privileges = "grep NoNewPrivs /proc/self/status";
    const none = { securityContext: { allowPrivilegeEscalation: false } };
    assertMatch(await says(privileges, none), /1$/m);
    assertMatch(await says(privileges), /0$/m);
    const seccomp = "grep Seccomp: /proc/self/status";
    assertMatch(await says(seccomp), /0$/m);
    const filtered = { securityContext: { seccompProfile: { type: "RuntimeDefault" } } };
    assertMatch(await says(seccomp, filtered), /2$/m);
    assertMatch(await says("ls /dev | grep -c loop-control"), /^0/);
    const all = { securityContext: { privileged: true } };
    assertMatch(await says("mount -t tmpfs none /tmp && echo mounted", all), /mounted/);
  },
  "namespaces are the pod's, or the machine's": async ({ says }) => {
    const processes = "ps | wc -l";
    assert(Number(await says(processes)) < 8);
    const shared = await says("ps", {}, { shareProcessNamespace: true });
    assertMatch(shared, /sleep 100000/);
    assertMatch(await says("ps", {}, { hostPID: true }), /containerd/);
    const host = await says("ip addr; cat /etc/hosts", {}, { hostNetwork: true });
    assertMatch(host, /cni0/);
    assertMatch(host, /^# Kubernetes-managed hosts file \(host network\)\.$/m);
    const sysctls = [{ name: "net.ipv4.ip_unprivileged_port_start", value: "80" }];
    const read = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    assertEquals(await says(read, {}, { securityContext: { sysctls } }), "80\n");
  },
  "logs are read by stream, tail, size and time, and of the life before": async (
    { box, pod, logs, gone },
  ) => {
    const script = "for i in 1 2 3; do echo out $i; done; echo err >&2; sleep 1; exit 1";
    await pod("talks", { command: ["sh", "-c", script] });
    await box.until("a second life", async () => {
      const { restartCount, state } = (await box.get("talks")).status?.containerStatuses?.[0] ??
        { restartCount: 0, state: undefined };
      return restartCount > 0 && state?.running;
    }, 30_000);
    assertEquals(await logs("talks", { previous: true, stream: "Stderr" }), "err\n");
    assertEquals(
      await logs("talks", { previous: true, stream: "Stdout", tailLines: 1 }),
      "out 3\n",
    );
    // Of one stream: in which order the lines of two come is the runtime's affair.
    assertEquals(
      await logs("talks", { previous: true, stream: "Stdout", limitBytes: 5 }),
      "out 1",
    );
    assertMatch(
      await logs("talks", { previous: true, timestamps: true, tailLines: 1, stream: "Stdout" }),
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z out 3\n$/,
    );
    assertEquals(await logs("talks", { previous: true, sinceTime: "2099-01-01T00:00:00Z" }), "");
    await gone("talks");
  },
  "a log is followed to its container's end": async ({ pod, phase, logs, gone }) => {
    const script = "for i in 1 2 3; do echo $i; sleep 0.3; done";
    await pod("slow", { command: ["sh", "-c", script] }, { restartPolicy: "Never" });
    await phase("slow", "Running");
    assertEquals(await logs("slow", { follow: true }), "1\n2\n3\n");
    await gone("slow");
  },
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
  "probes by exec decide whether it is ready and whether it lives": async (
    { box, pod, ready, exec, gone },
  ) => {
    await pod("probed", {
      command: ["sh", "-c", "touch /tmp/ready /tmp/alive; sleep 60"],
      readinessProbe: {
        exec: { command: ["cat", "/tmp/ready"] },
        periodSeconds: 1,
        failureThreshold: 1,
      },
      livenessProbe: {
        exec: { command: ["cat", "/tmp/alive"] },
        periodSeconds: 1,
        failureThreshold: 1,
      },
    });
    await ready("probed");
    await exec("probed", ["rm", "/tmp/ready"]);
    await box.until("it not to be ready", async () => {
      const { conditions } = (await box.get("probed")).status!;
      return conditions!.find((c) => c.type === "Ready")!.status === "False";
    }, 10_000);
    await exec("probed", ["rm", "/tmp/alive"]);
    await box.until(
      "a restart",
      async () => (await box.get("probed")).status!.containerStatuses![0].restartCount === 1,
      20_000,
    );
    const events = await box.events();
    const failed = /Unhealthy Liveness probe failed: cat: can't open '\/tmp\/alive'/;
    assert(events.some((e) => failed.test(e)), events.join("\n"));
    await gone("probed");
  },
  "hooks run in it, before its end too": async ({ pod, ready, exec, says, box }) => {
    await pod("hooked", {
      command: ["sh", "-c", "sleep 60"],
      lifecycle: {
        postStart: { exec: { command: ["sh", "-c", "echo post > /v/hooks"] } },
        preStop: { exec: { command: ["sh", "-c", "echo pre >> /v/hooks"] } },
      },
      volumeMounts: [{ name: "v", mountPath: "/v" }],
    }, {
      volumes: [{ name: "v", hostPath: { path: "/tmp/plesio-hooks", type: "DirectoryOrCreate" } }],
    });
    await ready("hooked");
    assertEquals((await exec("hooked", ["cat", "/v/hooks"])).out, "post\n");
    const pods = { group: "", version: "v1", plural: "pods" };
    await box.client.delete({ resource: pods, namespace: "default", name: "hooked" });
    await box.until(
      "it to go",
      async () => !await box.get("hooked").catch(() => undefined),
      20_000,
    );
    assertEquals(
      await says("cat /v/hooks", { volumeMounts: [{ name: "v", mountPath: "/v" }] }, {
        volumes: [{ name: "v", hostPath: { path: "/tmp/plesio-hooks" } }],
      }),
      "post\npre\n",
    );
    await Deno.remove("/tmp/plesio-hooks", { recursive: true });
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
  "an ephemeral container sees the processes of its target": async (
    { box, pod, phase, exec, gone },
  ) => {
    await pod("debugged", { command: ["sleep", "4321"] });
    await phase("debugged", "Running");
    const pods = { group: "", version: "v1", plural: "pods" };
    const ephemeralContainers = [{
      name: "d",
      image: IMAGES.busybox,
      command: ["sleep", "60"],
      targetContainerName: "c",
    }];
    await box.client.patch(
      {
        resource: pods,
        namespace: "default",
        name: "debugged",
        subresource: "ephemeralcontainers",
      },
      { type: "strategic", body: { spec: { ephemeralContainers } } },
    );
    await box.until(
      "it to run",
      async () =>
        (await box.get("debugged")).status?.ephemeralContainerStatuses?.[0]?.state.running,
      20_000,
    );
    assertMatch((await exec("debugged", ["ps"], { container: "d" })).out, /sleep 4321/);
    await gone("debugged");
  },
  "images are taken by policy; what is no name is refused": async ({ box, pod, gone }) => {
    const waits = async (name: string, image: string, imagePullPolicy: string) => {
      await pod(name, { image, imagePullPolicy });
      const waiting = await box.until(`${name} to wait`, async () => {
        const { waiting } = (await box.get(name)).status?.containerStatuses?.[0]?.state ?? {};
        return waiting?.message && waiting;
      }, 30_000);
      await gone(name);
      return waiting;
    };
    const never = await waits("never", "localhost:1/no/such:1", "Never");
    assertEquals(never.reason, "ErrImageNeverPull");
    assertMatch(never.message!, /is not present with pull policy of Never$/);
    const wrong = await waits("wrong", "UPPERcase:1", "IfNotPresent");
    assertEquals(wrong.reason, "InvalidImageName");
    const missing = await waits("missing", "localhost:1/no/such:1", "IfNotPresent");
    assertMatch(missing.reason!, /^(ErrImagePull|ImagePullBackOff)$/);
    assertMatch(missing.message!, /connection refused/);
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
    await using world = await openContainerd(["busybox", "web", "numbered", "named"]);
    for (const [name, check] of Object.entries(CASES)) await t.step(name, () => check(world));
  });
});
