/** Node: what probes decide. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Behaviour, type Manifest, podOf, type PodSketch } from "./behaviour.ts";
import { type Program, serve, STAY, thenStay } from "./programs.ts";
import { conditionOf, eventually, type Scene, statusOf } from "./scene.ts";

/** Once a second, and once is enough; what takes its time on a busy machine has not failed. */
const QUICK = { periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 20 };
const quick = (action: Manifest, more = {}) => ({ ...QUICK, ...action, ...more });
const exec = (run: string) => ({ exec: { run } });
const http = (path = "/") => ({ httpGet: { path, port: 8080 } });
const tcp = { tcpSocket: { port: 8080 } };
const grpc = { grpc: { port: 8080 } };
/** Until a server listens. */
const starts = (action: Manifest) => ({ ...action, periodSeconds: 1, failureThreshold: 30 });

/** Leaves a mark at each run, for those who count. */
const MARK = "echo -n x >> /tmp/marks";
const marked = (scene: Scene, count: number) =>
  eventually(
    `${count} marks`,
    async () => (await scene.says("p", "cat /tmp/marks")).length >= count,
  );

/** Answers by HTTP: `/` well for some times, `/away` and `/near` by a redirect, all else not. */
const SITE = (times: number): Program => ({
  ts: `
    let left = ${times};
    Deno.serve({ port: 8080 }, ({ url }) => {
      const { pathname } = new URL(url);
      const to = { "/away": "http://0.0.0.0/healthz", "/near": "/bad" }[pathname];
      if (to) return new Response("", { status: 302, headers: { location: to } });
      return new Response("", { status: pathname === "/" && left-- > 0 ? 200 : 500 });
    });`,
});

/** The health service of gRPC, which serves or not. */
const HEALTH = (serves: boolean): Program => ({
  ts: `
    const { createServer } = await import("node:http2");
    createServer().on("stream", (stream, headers) => {
      if (!headers[":path"].endsWith("grpc.health.v1.Health/Check")) throw new Error("what is " + headers[":path"]);
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(new Uint8Array([0, 0, 0, 0, 2, 8, ${serves ? 1 : 2}]));
    }).listen(8080);`,
});

async function restarted(scene: Scene, count = 1): Promise<Manifest> {
  return await scene.is("Pod", "p", (pod) => statusOf(pod)?.restartCount >= count && pod);
}

async function neverRestarted(scene: Scene): Promise<void> {
  assertEquals(statusOf(await scene.get("Pod", "p")).restartCount, 0);
}

/** Its liveness probe ends it, with this event; `first` makes it fail, where the program alone does not. */
const livesAndDies = (
  name: string,
  pod: PodSketch,
  event: RegExp,
  first?: (scene: Scene) => Promise<unknown>,
): Behaviour => ({
  name,
  pod,
  then: async (scene) => {
    await first?.(scene);
    await restarted(scene);
    await scene.event(event);
    await scene.event(/Killing Container c failed liveness probe, will be restarted/);
  },
});

const secondsBetween = (from: string, to: string) => (Date.parse(to) - Date.parse(from)) / 1000;

const READINESS: readonly Behaviour[] = [
  {
    name:
      "Probing container with readiness probe should not be ready before initial delay and never restart",
    pod: {
      run: STAY,
      container: { readinessProbe: quick(exec("true"), { initialDelaySeconds: 3 }) },
    },
    then: async (scene) => {
      const pod = await scene.ready("p");
      const { startedAt } = statusOf(pod).state.running;
      const waited = secondsBetween(startedAt, conditionOf(pod, "Ready").lastTransitionTime);
      assert(waited >= 2, `ready after ${waited} s`);
      await neverRestarted(scene);
    },
  },
  {
    name:
      "Probing container with readiness probe that fails should never be ready and never restart",
    pod: { run: STAY, container: { readinessProbe: quick(exec("echo bad; exit 3")) } },
    then: async (scene) => {
      await scene.event(/Warning Unhealthy Readiness probe failed: bad/);
      const pod = await scene.get("Pod", "p");
      const { ready, started } = statusOf(pod);
      assertEquals([ready, started], [false, true]);
      const { reason, message } = conditionOf(pod, "Ready")!;
      assertEquals([reason, message], [
        "ContainersNotReady",
        "containers with unready status: [c]",
      ]);
      await neverRestarted(scene);
    },
  },
  {
    name: "Probing container should become unready, and ready again, as its readiness probe says",
    pod: { run: STAY, container: { readinessProbe: quick(exec("test -e /tmp/ready")) } },
    then: async (scene) => {
      for (const [line, ready] of [["echo > /tmp/ready", "True"], ["rm /tmp/ready", "False"]]) {
        await scene.phase("p", "Running");
        await scene.exec("p", line);
        await scene.ready("p", ready);
      }
    },
  },
  {
    name: "Probing container should not be ready with an exec readiness probe timeout",
    pod: {
      run: STAY,
      container: { readinessProbe: quick(exec("sleep 10"), { timeoutSeconds: 1 }) },
    },
    then: async (scene) => {
      await scene.event(/Unhealthy Readiness probe (failed|errored.*): .*timed out|timeout/);
      await scene.ready("p", "False");
      await neverRestarted(scene);
    },
  },
  {
    name:
      "Probing container should mark readiness on pods to false and disable liveness probes while pod " +
      "is in progress of terminating",
    pod: {
      run: {
        sh: "echo > /tmp/ready; trap 'rm /tmp/ready' TERM; while :; do sleep 1 & wait $!; done",
        ts: `write("/tmp/ready", ""); on("SIGTERM", () => Deno.removeSync("/tmp/ready")); stay()`,
      },
      container: {
        readinessProbe: quick(exec("test -e /tmp/ready")),
        livenessProbe: quick(exec("test -e /tmp/ready"), { initialDelaySeconds: 1 }),
      },
      spec: { terminationGracePeriodSeconds: 6 },
    },
    then: async (scene) => {
      await scene.ready("p");
      await scene.delete("Pod", "p");
      await scene.ready("p", "False");
      await neverRestarted(scene);
      assertEquals((await scene.events()).filter((one) => one.includes("Liveness")), []);
    },
  },
  {
    name: "Pods should support pod readiness gates",
    pod: { run: STAY, spec: { readinessGates: [{ conditionType: "k8s.io/test" }] } },
    then: async (scene) => {
      const pod = await scene.is(
        "Pod",
        "p",
        (pod) => conditionOf(pod, "ContainersReady")?.status === "True" && pod,
      );
      const { status, reason } = conditionOf(pod, "Ready");
      assertEquals([status, reason], ["False", "ReadinessGatesNotReady"]);
      for (const status of ["True", "False"]) {
        const conditions = [{ type: "k8s.io/test", status }];
        await scene.patch("Pod", "p", { status: { conditions } }, "status");
        await scene.ready("p", status);
      }
    },
  },
];

const LIVENESS: readonly Behaviour[] = [
  livesAndDies(
    'Probing container should be restarted with a exec "cat /tmp/health" liveness probe',
    {
      run: thenStay("echo ok > /tmp/health"),
      container: { livenessProbe: quick(exec("cat /tmp/health")) },
    },
    /Unhealthy Liveness probe failed: cat: .*\/tmp\/health.*: No such file/,
    async (scene) => {
      await scene.ready("p");
      await scene.answers("p", "rm /tmp/health && echo gone", "gone");
    },
  ),
  {
    name:
      'Probing container should *not* be restarted with a exec "cat /tmp/health" liveness probe',
    pod: { run: STAY, container: { livenessProbe: quick(exec(MARK)) } },
    then: async (scene) => {
      await scene.ready("p");
      await marked(scene, 3);
      await neverRestarted(scene);
    },
  },
  livesAndDies(
    "Probing container should be restarted with a /healthz http liveness probe",
    {
      run: SITE(3),
      container: {
        startupProbe: starts(http()),
        livenessProbe: quick(http()),
      },
    },
    /Unhealthy Liveness probe failed: HTTP probe failed with statuscode: 500/,
  ),
  {
    name: "Probing container should *not* be restarted with a tcp:8080 or http liveness probe",
    pod: {
      run: serve(8080),
      container: {
        startupProbe: starts(tcp),
        livenessProbe: quick(http()),
        readinessProbe: quick(tcp),
      },
    },
    then: async (scene) => {
      await scene.ready("p");
      await neverRestarted(scene);
      assertEquals((await scene.events()).filter((one) => /Liveness/.test(one)), []);
    },
  },
  livesAndDies(
    "Probing container should be restarted with a tcp:8080 liveness probe that nobody answers",
    { run: STAY, container: { livenessProbe: quick(tcp) } },
    /Unhealthy Liveness probe failed: dial tcp [\d.]+:8080: connect: connection refused/,
  ),
  {
    name: "Probing container should have monotonically increasing restart count",
    pod: { run: STAY, container: { livenessProbe: quick(exec("false")) } },
    then: async (scene) => {
      for (const count of [1, 2]) {
        assertEquals(statusOf(await restarted(scene, count)).restartCount, count);
      }
    },
  },
  livesAndDies(
    "Probing container should be restarted with an exec liveness probe with timeout",
    { run: STAY, container: { livenessProbe: quick(exec("sleep 10"), { timeoutSeconds: 1 }) } },
    /Unhealthy Liveness probe .*(timed out|timeout)/,
  ),
  livesAndDies(
    "Probing container should be restarted with a local redirect http liveness probe",
    {
      run: SITE(0),
      container: {
        startupProbe: starts(tcp),
        livenessProbe: quick(http("/near")),
      },
    },
    /Unhealthy Liveness probe failed: HTTP probe failed with statuscode: 500/,
  ),
  {
    name:
      "Probing container should *not* be restarted with a non-local redirect http liveness probe",
    pod: {
      run: SITE(0),
      container: {
        startupProbe: starts(tcp),
        livenessProbe: quick(http("/away")),
      },
    },
    then: async (scene) => {
      await scene.event(
        /Warning ProbeWarning Liveness probe warning: Probe terminated redirects, Response body: /,
      );
      await neverRestarted(scene);
    },
  },
  {
    name: "Probing container should *not* be restarted with a GRPC liveness probe",
    pod: {
      run: HEALTH(true),
      container: {
        startupProbe: starts(grpc),
        livenessProbe: quick(grpc),
      },
    },
    then: async (scene) => {
      await scene.ready("p");
      await neverRestarted(scene);
    },
  },
  livesAndDies(
    "Probing container should be restarted with a GRPC liveness probe",
    {
      run: HEALTH(false),
      container: {
        livenessProbe: { ...grpc, periodSeconds: 1, failureThreshold: 5 },
      },
    },
    /Unhealthy Liveness probe failed: service unhealthy \(responded with "NOT_SERVING"\)/,
  ),
  {
    name:
      "Probing container should override timeoutGracePeriodSeconds when LivenessProbe field is set",
    pod: {
      run: { sh: "trap '' TERM; while :; do sleep 1; done", ts: `on("SIGTERM", () => {}); stay()` },
      container: { livenessProbe: quick(exec("false"), { terminationGracePeriodSeconds: 1 }) },
      spec: { terminationGracePeriodSeconds: 500 },
    },
    then: async (scene) => {
      const { lastState } = statusOf(await restarted(scene));
      assertEquals(lastState.terminated.exitCode, 137);
    },
  },
];

/** Fails until it is told otherwise. */
const STARTED = quick(exec("test -e /tmp/started"), { failureThreshold: 60 });

const STARTUP: readonly Behaviour[] = [
  {
    name: "Probing container should be restarted startup probe fails",
    pod: {
      run: STAY,
      container: {
        startupProbe: quick(exec("false"), { failureThreshold: 2 }),
        livenessProbe: quick(exec("true")),
      },
    },
    then: async (scene) => {
      const { ready, started } = statusOf(await restarted(scene));
      assertEquals([ready, started], [false, false]);
      await scene.event(/Killing Container c failed startup probe, will be restarted/);
    },
  },
  {
    name:
      "Probing container should *not* be restarted by liveness probe because startup probe delays it",
    pod: {
      run: STAY,
      container: {
        startupProbe: quick(exec(`${MARK}; false`), { failureThreshold: 60 }),
        livenessProbe: quick(exec("false")),
      },
    },
    then: async (scene) => {
      await scene.phase("p", "Running");
      await marked(scene, 3);
      await neverRestarted(scene);
      assertEquals(statusOf(await scene.get("Pod", "p")).started, false);
    },
  },
  {
    name: "Probing container should be restarted by liveness probe after startup probe enables it",
    pod: {
      run: STAY,
      container: {
        startupProbe: STARTED,
        livenessProbe: quick(exec("false")),
      },
    },
    then: async (scene) => {
      await scene.event(/Unhealthy Startup probe failed/);
      await neverRestarted(scene);
      await scene.exec("p", "echo > /tmp/started");
      await restarted(scene);
    },
  },
  {
    name: "Probing container should be ready immediately after startupProbe succeeds",
    pod: {
      run: STAY,
      container: {
        startupProbe: STARTED,
        readinessProbe: { ...exec("true"), periodSeconds: 60 },
      },
    },
    then: async (scene) => {
      await scene.event(/Unhealthy Startup probe failed/);
      await scene.exec("p", "echo > /tmp/started");
      await scene.ready("p");
    },
  },
  {
    name:
      "Probing restartable init container should be restarted by its liveness probe, and count for readiness",
    then: async (scene) => {
      const { spec, ...pod } = podOf("p", { run: STAY });
      const side = {
        name: "side",
        restartPolicy: "Always",
        run: STAY,
        startupProbe: quick(exec("true")),
        livenessProbe: quick(exec("test ! -e /tmp/dead")),
        readinessProbe: quick(exec("test -e /tmp/ready")),
      };
      await scene.create({ ...pod, spec: { ...spec, initContainers: [side] } });
      await scene.is("Pod", "p", (pod) => statusOf(pod)?.started);
      assertEquals(conditionOf(await scene.get("Pod", "p"), "Ready").status, "False");
      await scene.exec("p", "echo > /tmp/ready", { container: "side" });
      await scene.ready("p");
      await scene.exec("p", "echo > /tmp/dead", { container: "side" });
      await scene.is("Pod", "p", (pod) => statusOf(pod, "side").restartCount === 1);
      await neverRestarted(scene);
      assertMatch(
        (await scene.events()).join("\n"),
        /Killing Init container side failed liveness probe/,
      );
    },
  },
];

export const PROBES: readonly Behaviour[] = [...READINESS, ...LIVENESS, ...STARTUP];
