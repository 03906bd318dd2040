/** Node: a pod's life, its containers in their order, how their end is told, and what it is called inside. */
import { assert, assertEquals, assertMatch, assertObjectMatch, assertRejects } from "@std/assert";
import { type Behaviour, configMap, type Manifest, NO_ROOT } from "./behaviour.ts";
import { type Program, serve, STAY } from "./programs.ts";
import { conditionOf, eventually, type Scene, statusOf } from "./scene.ts";

const PAST = "its processes are the machine's: they share its namespaces";
const note = (word: string) => `echo ${word} >> /v/notes`;
const V = { volumeMounts: [{ name: "v", mountPath: "/v" }] };
const VOLUMES = { volumes: [{ name: "v", emptyDir: {} }] };
const endOf = async (scene: Scene, name = "p") =>
  statusOf(await scene.get("Pod", name)).state.terminated;

const LIFE: readonly Behaviour[] = [
  {
    name: "Pods should be submitted and removed, and get a host IP",
    pod: { run: STAY, metadata: { generation: undefined } },
    then: async (scene) => {
      const { status, metadata } = await scene.ready("p");
      assertMatch(status.hostIP, /^\d+\.\d+\.\d+\.\d+$/);
      assertMatch(status.podIP, /^\d+\.\d+\.\d+\.\d+$/);
      assertEquals([metadata.generation, status.observedGeneration], [1, 1]);
      assertEquals(status.qosClass, "BestEffort");
      await scene.delete("Pod", "p");
      await scene.is("Pod", "p", ({ metadata }) => metadata.deletionGracePeriodSeconds === 1);
      await scene.ended("Pod", "p");
    },
  },
  {
    name: "Pods should allow activeDeadlineSeconds to be updated",
    pod: { run: STAY },
    then: async (scene) => {
      await scene.ready("p");
      await scene.patch("Pod", "p", { spec: { activeDeadlineSeconds: 1 } });
      const { status } = await scene.phase("p", "Failed");
      assertEquals(
        [status.reason, status.message],
        ["DeadlineExceeded", "Pod was active on the node longer than the specified deadline"],
      );
    },
  },
  {
    name: "Pods should get a QOS class by their requests and limits",
    pod: {
      run: STAY,
      container: { resources: { limits: { cpu: "100m", memory: "100Mi" } } },
    },
    then: async (scene) => {
      await scene.ready("p");
      assertEquals((await scene.get("Pod", "p")).status.qosClass, "Guaranteed");
      await scene.pod("q", { run: STAY, container: { resources: { requests: { cpu: "1m" } } } });
      await scene.ready("q");
      assertEquals((await scene.get("Pod", "q")).status.qosClass, "Burstable");
    },
  },
  {
    name: "Pods should support remote command execution over websockets",
    pod: { run: STAY },
    then: async (scene) => {
      await scene.ready("p");
      const done = await scene.exec("p", "cat; echo bad >&2; exit 7", { input: "good\n" });
      assertEquals([done.code, done.out, done.err], [7, "good\n", "bad\n"]);
      assertMatch(done.message!, /command terminated with non-zero exit code/);
      const none = await scene.exec("p", ["nothing"]);
      assertMatch(none.message!, /exec: "nothing": executable file not found in \$PATH/);
    },
  },
  {
    name:
      "Pods should support retrieving logs by stream, tail, size and time, and of the life before",
    pod: {
      run: {
        sh: "for i in 1 2 3; do echo out $i; done; echo err >&2; exit 1",
        ts: `for (const i of [1, 2, 3]) say("out", i); console.error("err"); Deno.exit(1)`,
      },
    },
    then: async (scene) => {
      await scene.is("Pod", "p", (pod) => statusOf(pod)?.restartCount === 1);
      const before = (query: string) => scene.logs("p", `container=c&previous=true&${query}`);
      const only = "stream=Stdout&";
      assertEquals(await before("stream=Stderr"), "err\n");
      assertEquals(await before(`${only}tailLines=1`), "out 3\n");
      assertEquals(await before(`${only}limitBytes=5`), "out 1");
      assertEquals(await before("sinceTime=2099-01-01T00:00:00Z"), "");
      assertMatch(
        await before(`${only}timestamps=true&tailLines=1`),
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z out 3\n$/,
      );
    },
  },
  {
    name: "Pods should have their logs followed to the container's end",
    pod: {
      run: {
        sh: "while [ ! -e /tmp/go ]; do sleep 0.1; done; echo last",
        ts: `say("first"); const timer = setInterval(() => {
          if (tried(() => read("/tmp/go")) === "ok") { clearInterval(timer); say("last"); }
        }, 100)`,
      },
      spec: { restartPolicy: "Never" },
    },
    then: async (scene) => {
      await scene.phase("p", "Running");
      const log = scene.logs("p", "container=c&follow=true");
      await scene.exec("p", "echo > /tmp/go");
      assertMatch(await log, /^(first\n)?last\n$/);
    },
  },
  {
    name: "Pods should delete a collection of pods",
    then: async (scene) => {
      const metadata = { labels: { type: "Testing" } };
      for (const name of ["a", "b"]) await scene.pod(name, { run: STAY, metadata });
      await scene.pod("other", { run: STAY });
      for (const name of ["a", "b", "other"]) await scene.ready(name);
      await scene.client.deleteCollection(scene.target("Pod"), { labelSelector: "type=Testing" });
      await eventually("only the other", async () => {
        const { items } = await scene.client.list(scene.target("Pod"));
        return items.length === 1 && items[0].metadata.name === "other";
      });
    },
  },
  {
    name: "Kubelet should be possible to delete a pod with a busybox command that always fails",
    pod: { run: "exit 1" },
    then: async (scene) => {
      await scene.is("Pod", "p", (pod) => statusOf(pod)?.restartCount > 0);
      await scene.gone("Pod", "p");
    },
  },
  {
    name: "Events should be sent by kubelets and the scheduler about pods scheduling and running",
    pod: { run: STAY },
    then: async (scene) => {
      await scene.ready("p");
      await scene.event(/^p: Normal Scheduled Successfully assigned \S+\/p to plesio-\d$/);
      await scene.event(/^p: Normal Started Container started$/);
      await scene.delete("Pod", "p");
      await scene.event(/^p: Normal Killing Stopping container c$/);
    },
  },
  {
    name: "PodOSRejection should reject pod when the node OS doesn't match pod's OS",
    pod: { run: STAY, spec: { os: { name: "windows" } } },
    then: async (scene) => {
      const { status } = await scene.phase("p", "Failed");
      assertEquals(status.reason, "PodOSNotSupported");
    },
  },
  {
    name: "PodRejectionStatus should reject pod when the node didn't have enough resource",
    then: async (scene) => {
      await scene.pod("first", { run: STAY });
      const { nodeName } = (await scene.ready("first")).spec;
      const resources = { requests: { cpu: "1k" } };
      await scene.pod("p", { run: STAY, container: { resources }, spec: { nodeName } });
      const { status } = await scene.phase("p", "Failed");
      assertEquals(status.reason, "OutOfcpu");
      assertMatch(status.message, /^Pod was rejected: Node didn't have enough resource: cpu/);
    },
  },
  {
    name: "Pod InPlace Resize should change limits as it runs",
    pod: {
      run: STAY,
      container: { resources: { limits: { cpu: "100m", memory: "200Mi" } } },
    },
    then: async (scene) => {
      const { status } = await scene.ready("p");
      const resources = {
        limits: { cpu: "200m", memory: "300Mi" },
        requests: { cpu: "200m", memory: "300Mi" },
      };
      await scene.patch("Pod", "p", { spec: { containers: [{ name: "c", resources }] } }, "resize");
      const pod = await scene.is(
        "Pod",
        "p",
        (pod) => statusOf(pod).resources?.limits?.memory === "300Mi" && pod,
      );
      assertEquals(statusOf(pod).allocatedResources, { cpu: "200m", memory: "300Mi" });
      const { containerID, restartCount } = statusOf(pod);
      assertEquals([containerID, restartCount], [statusOf({ status }).containerID, 0]);
    },
  },
  {
    name: "Pod InPlace Resize should restart a container whose policy says so",
    pod: {
      run: STAY,
      container: {
        resources: { limits: { memory: "200Mi" } },
        resizePolicy: [{ resourceName: "memory", restartPolicy: "RestartContainer" }],
      },
    },
    then: async (scene) => {
      await scene.ready("p");
      const resources = { limits: { memory: "300Mi" }, requests: { memory: "300Mi" } };
      await scene.patch("Pod", "p", { spec: { containers: [{ name: "c", resources }] } }, "resize");
      await scene.is(
        "Pod",
        "p",
        (pod) =>
          statusOf(pod).restartCount === 1 && statusOf(pod).resources?.limits?.memory === "300Mi",
      );
    },
  },
];

/** What `restartPolicy` makes of an end. */
const ends = (policy: string, code: number, phase: string | undefined): Behaviour => ({
  name:
    `Container Runtime should run with the expected status: restartPolicy ${policy}, exit code ${code}`,
  pod: { run: `exit ${code}`, spec: { restartPolicy: policy } },
  then: async (scene) => {
    if (phase) {
      const pod = await scene.phase("p", phase);
      const { restartCount, state, ready } = statusOf(pod);
      assertEquals([restartCount, ready, state.terminated.exitCode], [0, false, code]);
      assertEquals(state.terminated.reason, code === 0 ? "Completed" : "Error");
      return;
    }
    const pod = await scene.is("Pod", "p", (pod) => statusOf(pod)?.restartCount > 0 && pod);
    assertEquals([pod.status.phase, statusOf(pod).lastState.terminated.exitCode], [
      "Running",
      code,
    ]);
    const { reason, message } = await scene.waiting("p", /^CrashLoopBackOff$/);
    assertEquals(reason, "CrashLoopBackOff");
    assertMatch(message, /^back-off 10s restarting failed container=c pod=p_/);
  },
});

/** Last words: into which file, by what policy, and what is told of them. */
const says = (
  title: string,
  line: string,
  container: object,
  told: string | undefined,
): Behaviour => ({
  name: `Container Runtime should report termination message ${title}`,
  pod: { run: line, container },
  ends: /exit 1/.test(line) ? "Failed" : "Succeeded",
  then: async (scene) => assertEquals((await endOf(scene)).message, told),
});
const FALLBACK = { terminationMessagePolicy: "FallbackToLogsOnError" };
const LOG = "/dev/termination-log";

const ENDS: readonly Behaviour[] = [
  ends("Always", 1, undefined),
  ends("OnFailure", 1, undefined),
  ends("OnFailure", 0, "Succeeded"),
  ends("Never", 1, "Failed"),
  says("if TerminationMessagePath is set", `echo -n DONE > ${LOG}; exit 1`, {}, "DONE"),
  says(
    "at a non-default path",
    "echo -n DONE > /dev/its-own-log",
    { terminationMessagePath: "/dev/its-own-log" },
    "DONE",
  ),
  says(
    "from log output if TerminationMessagePolicy FallbackToLogsOnError is set",
    "echo DONE; exit 1",
    FALLBACK,
    "DONE\n",
  ),
  says(
    "as empty when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set",
    "echo DONE",
    FALLBACK,
    undefined,
  ),
  says(
    "from file when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set",
    `echo -n OK > ${LOG}; echo DONE`,
    FALLBACK,
    "OK",
  ),
  {
    name: "Container Runtime should tell of a command that is not there",
    pod: { container: { command: ["no-such-thing"] } },
    ends: "Failed",
    then: async (scene) => {
      const { exitCode, reason, message } = await endOf(scene);
      assertEquals([exitCode, reason], [128, "StartError"]);
      assertMatch(message, /exec: "no-such-thing": executable file not found in \$PATH/);
    },
  },
  {
    name: "Container Runtime should tell of a container that took more memory than its limit",
    not: { isolate: NO_ROOT },
    pod: {
      run: {
        sh: "dd if=/dev/zero of=/dev/null bs=200M count=1",
        ts: "const all = []; for (;;) all.push(new Uint8Array(1e7).fill(1))",
      },
      container: { resources: { limits: { memory: "100Mi" } } },
    },
    ends: "Failed",
    then: async (scene) => {
      const { exitCode, reason } = await endOf(scene);
      assertEquals([exitCode, reason], [137, "OOMKilled"]);
    },
  },
  {
    name:
      "Container Runtime should not be able to pull image from invalid registry, nor one that is no name",
    not: { isolate: "its images are modules, which no registry of images has" },
    then: async (scene) => {
      const image = "localhost:1/no/such:1";
      const pull = (name: string, more: object) =>
        scene.pod(name, { container: { image, command: ["true"], ...more } });
      await pull("p", {});
      const { message } = await scene.waiting("p", /^(ErrImagePull|ImagePullBackOff)$/);
      assertMatch(message, /connection refused/);
      await pull("never", { imagePullPolicy: "Never" });
      const never = await scene.waiting("never", /^ErrImageNeverPull$/);
      assertMatch(never.message, /is not present with pull policy of Never$/);
      await pull("wrong", { image: "UPPERcase:1" });
      await scene.waiting("wrong", /^InvalidImageName$/);
    },
  },
];

const fails = { name: "first", run: "exit 1" };
const RESTARTS_42 = {
  restartPolicy: "Never",
  restartPolicyRules: [{ action: "Restart", exitCodes: { operator: "In", values: [42] } }],
};

const ORDER: readonly Behaviour[] = [
  {
    name: "InitContainer should invoke init containers in order on a RestartNever pod",
    pod: {
      run: "cat /v/notes",
      container: V,
      spec: {
        ...VOLUMES,
        initContainers: ["one", "two"].map((name) => ({ name, run: note(name), ...V })),
      },
    },
    log: "one\ntwo\n",
    then: async (scene) => {
      const pod = await scene.get("Pod", "p");
      const { status, reason } = conditionOf(pod, "Initialized");
      assertEquals([status, reason], ["True", "PodCompleted"]);
      for (const { ready, state } of pod.status.initContainerStatuses) {
        assertEquals([ready, state.terminated.exitCode], [true, 0]);
      }
    },
  },
  {
    name: "InitContainer should invoke init containers on a RestartAlways pod",
    pod: { run: STAY, spec: { initContainers: [{ name: "one", run: "true" }] } },
    then: async (scene) => {
      const pod = await scene.ready("p");
      assertEquals(conditionOf(pod, "Initialized").status, "True");
      assertEquals(statusOf(pod, "one").state.terminated.reason, "Completed");
    },
  },
  {
    name:
      "InitContainer should not start app containers if init containers fail on a RestartAlways pod",
    pod: { run: STAY, spec: { initContainers: [fails, { name: "second", run: "true" }] } },
    then: async (scene) => {
      const pod = await scene.is(
        "Pod",
        "p",
        (pod) => statusOf(pod, "first")?.restartCount > 0 && pod,
      );
      const { status, reason, message } = conditionOf(pod, "Initialized");
      assertEquals([status, reason], ["False", "ContainersNotInitialized"]);
      assertEquals(message, "containers with incomplete status: [first second]");
      assertEquals(pod.status.phase, "Pending");
      for (const name of ["second", "c"]) {
        assertEquals(statusOf(pod, name).state.waiting.reason, "PodInitializing");
      }
    },
  },
  {
    name:
      "InitContainer should not start app containers and fail the pod if init containers fail on a " +
      "RestartNever pod",
    pod: { run: STAY, spec: { restartPolicy: "Never", initContainers: [fails] } },
    then: async (scene) => {
      const pod = await scene.phase("p", "Failed");
      assertEquals(statusOf(pod, "first").state.terminated.exitCode, 1);
      assertEquals(statusOf(pod).state.waiting.reason, "PodInitializing");
    },
  },
  {
    name:
      "Sidecars should start in order before app containers, be restarted, and not hold a pod's end up",
    pod: {
      spec: {
        ...VOLUMES,
        restartPolicy: "Never",
        initContainers: [
          { name: "one", run: note("one"), ...V },
          {
            name: "side",
            restartPolicy: "Always",
            ...V,
            run: {
              sh: `${note("side")}; ${STAY.sh}`,
              ts: `write("/v/notes", "side\\n", { append: true }); ${STAY.ts}`,
            },
            startupProbe: { exec: { run: "test -e /v/notes" }, periodSeconds: 1 },
          },
          { name: "two", run: note("two"), ...V },
        ],
        containers: [
          { name: "c", run: note("app"), ...V },
          { name: "reader", run: "sleep 1; cat /v/notes", ...V },
        ],
      },
    },
    then: async (scene) => {
      const pod = await scene.phase("p", "Succeeded");
      const notes = await scene.logs("p", "container=reader");
      assertMatch(notes, /^one\nside\ntwo\napp\n$/);
      assertEquals(statusOf(pod, "side").state.terminated.exitCode, 0);
    },
  },
  {
    name:
      "Sidecars should be restarted when they end, and end after app containers in reverse order",
    pod: {
      run: STAY,
      spec: {
        terminationGracePeriodSeconds: 10,
        initContainers: ["one", "two"].map((name) => ({
          name,
          restartPolicy: "Always",
          run: STAY,
        })),
      },
    },
    then: async (scene) => {
      await scene.ready("p");
      await scene.pod("q", {
        run: STAY,
        spec: { initContainers: [{ name: "side", restartPolicy: "Always", run: "exit 0" }] },
      });
      await scene.is("Pod", "q", (pod) => statusOf(pod, "side")?.restartCount > 0);
      await scene.delete("Pod", "p");
      const order: string[] = [];
      await scene.event(/^p: Normal Killing Stopping container one$/);
      for (const event of await scene.events()) {
        const name = /^p: Normal Killing Stopping container (\w+)$/.exec(event)?.[1];
        if (name) order.push(name);
      }
      assertEquals(order.sort(), ["c", "one", "two"]);
    },
  },
  {
    name:
      "Ephemeral Containers will start an ephemeral container in an existing pod, and further ones",
    pod: { run: STAY },
    then: async (scene) => {
      await scene.ready("p");
      for (const [name, word] of [["one", "first"], ["two", "second"]]) {
        const ephemeralContainers = [{ name, run: `echo ${word}` }];
        await scene.patch("Pod", "p", { spec: { ephemeralContainers } }, "ephemeralcontainers");
        await scene.is("Pod", "p", (pod) => statusOf(pod, name)?.state.terminated);
        assertEquals(await scene.logs("p", `container=${name}`), `${word}\n`);
      }
    },
  },
  {
    name: "Ephemeral Containers should see the processes of their target",
    not: { isolate: PAST },
    pod: { run: "exec sleep 4321" },
    then: async (scene) => {
      await scene.ready("p");
      const ephemeralContainers = [{ name: "d", run: STAY, targetContainerName: "c" }];
      await scene.patch("Pod", "p", { spec: { ephemeralContainers } }, "ephemeralcontainers");
      await scene.is("Pod", "p", (pod) => statusOf(pod, "d")?.state.running);
      assertMatch(await scene.says("p", "ps", "d"), /sleep 4321/);
    },
  },
  {
    name:
      "Container Restart Policy should restart container on rule match, and not on rule mismatch",
    pod: {
      run: "exit 42",
      spec: { restartPolicy: "Never" },
      container: RESTARTS_42,
    },
    then: async (scene) => {
      await scene.is("Pod", "p", (pod) => statusOf(pod)?.restartCount > 0);
      const pod = await scene.once("q", { run: "exit 43", container: RESTARTS_42 }, "Failed");
      assertEquals(statusOf(pod).restartCount, 0);
    },
  },
  {
    name:
      "Container Restart Policy should hold for the container that says so, in a pod that says otherwise",
    pod: { run: "exit 1", container: { restartPolicy: "Never" } },
    then: async (scene) => {
      await scene.phase("p", "Failed");
      await scene.pod("q", {
        run: "exit 1",
        container: { restartPolicy: "Always" },
        spec: { restartPolicy: "Never" },
      });
      await scene.is("Pod", "q", (pod) => statusOf(pod)?.restartCount > 0);
    },
  },
  {
    name: "RestartAllContainers should restart all containers on regular container exit",
    pod: {
      run: {
        sh: `if [ -e /v/done ]; then ${STAY.sh}; fi; echo > /v/done; exit 42`,
        ts: `if (tried(() => read("/v/done")) === "ok") { ${STAY.ts} } else {
          write("/v/done", "");
          Deno.exit(42);
        }`,
      },
      container: {
        ...V,
        restartPolicy: "Never",
        restartPolicyRules: [{
          action: "RestartAllContainers",
          exitCodes: { operator: "In", values: [42] },
        }],
      },
      spec: {
        ...VOLUMES,
        restartPolicy: "Never",
        initContainers: [
          { name: "one", run: note("one"), ...V },
          { name: "side", restartPolicy: "Always", run: STAY },
        ],
      },
    },
    then: async (scene) => {
      const names = ["one", "side", "c"];
      const pod = await scene.is(
        "Pod",
        "p",
        (pod) =>
          statusOf(pod, "c")?.state.running &&
          names.every((name) => statusOf(pod, name)?.restartCount === 1) && pod,
      );
      for (const name of names) {
        const { reason } = statusOf(pod, name).lastState.terminated;
        assertEquals(reason, "RestartingAllContainers");
      }
      assertEquals(await scene.says("p", "cat /v/notes"), "one\none");
    },
  },
];

const NAMES: Program = { sh: "hostname; hostname -f", ts: `say(read("/etc/hostname").trim())` };

const CALLED: readonly Behaviour[] = [
  {
    name:
      "KubeletManagedEtcHosts should write entries of hostAliases and the pod's own to /etc/hosts",
    pod: {
      run: "cat /etc/hosts",
      spec: { hostAliases: [{ ip: "123.45.67.89", hostnames: ["foo", "bar"] }] },
    },
    log:
      /^# Kubernetes-managed hosts file\.\n(127\.0\.0\.1|10\.[\d.]+|127\.[\d.]+)\tlocalhost\n(.*\n)*\d[\d.]+\tp\n\n# Entries added by HostAliases\.\n123\.45\.67\.89\tfoo\tbar\n$/,
  },
  {
    name: "KubeletManagedEtcHosts should leave a file alone that the container mounts itself",
    objects: [configMap("c", { hosts: "mine" })],
    pod: {
      run: "cat /etc/hosts",
      container: { volumeMounts: [{ name: "v", mountPath: "/etc/hosts", subPath: "hosts" }] },
      spec: { volumes: [{ name: "v", configMap: { name: "c" } }] },
    },
    log: "mine",
  },
  {
    name: "KubeletManagedEtcHosts should take the machine's file when hostNetwork is enabled",
    pod: {
      run: "cat /etc/hosts",
      spec: { hostNetwork: true, hostAliases: [{ ip: "123.45.67.89", hostnames: ["foo"] }] },
    },
    log: /^# Kubernetes-managed hosts file \(host network\)\.\n(.*\n)*123\.45\.67\.89\tfoo\n/,
  },
  {
    name: "Hostname of Pod should be the pod's name, or what spec.hostname says",
    pod: { run: "hostname", spec: { hostname: "called" } },
    log: "called\n",
    then: async (scene) => {
      await scene.once("plain", { run: "hostname" });
      assertEquals(await scene.logs("plain"), "plain\n");
    },
  },
  {
    name: "Hostname of Pod should be the full name with subdomain and setHostnameAsFQDN",
    pod: { run: NAMES, spec: { subdomain: "sub", setHostnameAsFQDN: true } },
    log: /^p\.sub\.b-\d+\.svc\.cluster\.local\n/,
  },
  {
    name: "Hostname of Pod should be hostnameOverride where there is one",
    pod: { run: "hostname", spec: { hostname: "called", hostnameOverride: "over.example" } },
    log: "over.example\n",
  },
  {
    name:
      "RuntimeClass should run a Pod requesting a RuntimeClass with a configured handler and its overhead",
    not: { isolate: "it has no handlers: there is one way of running an isolate" },
    then: async (scene) => {
      await scene.create({
        apiVersion: "node.k8s.io/v1",
        kind: "RuntimeClass",
        metadata: { name: "NAMESPACE" },
        handler: "runc",
        overhead: { podFixed: { cpu: "10m" } },
      });
      const runtimeClassName = scene.namespace;
      await eventually(
        "the class to be known",
        () => scene.pod("p", { run: STAY, spec: { runtimeClassName } }).then(() => true),
      );
      assertEquals((await scene.ready("p")).spec.overhead, { cpu: "10m" });
    },
  },
  {
    name: "RuntimeClass should reject a Pod requesting a non-existent RuntimeClass",
    then: async (scene) => {
      await assertRejects(
        () => scene.pod("p", { run: STAY, spec: { runtimeClassName: "none" } }),
        Error,
        'pods "p" is forbidden: pod rejected: RuntimeClass "none" not found',
      );
    },
  },
  {
    name:
      "RuntimeClass should choose between nodes of containers and of isolates by its scheduling",
    then: async (scene) => {
      await scene.create({
        apiVersion: "node.k8s.io/v1",
        kind: "RuntimeClass",
        metadata: { name: "NAMESPACE" },
        handler: scene.runtime === "isolate" ? "isolate" : "runc",
        scheduling: { nodeSelector: scene.nodes },
      });
      const spec = { runtimeClassName: scene.namespace, nodeSelector: {} };
      await eventually(
        "the class to be known",
        () => scene.pod("p", { run: STAY, spec }).then(() => true),
      );
      const { spec: { nodeName } } = await scene.ready("p");
      const { metadata } = await scene.get("Node", nodeName);
      assertObjectMatch(metadata.labels, scene.nodes);
    },
  },
  {
    name: "NodeLease the kubelet should create and update a lease in the kube-node-lease namespace",
    pod: { run: STAY },
    then: async (scene) => {
      const { nodeName } = (await scene.ready("p")).spec;
      const at = { ...scene.at("Lease", nodeName), namespace: "kube-node-lease" };
      const { spec, metadata } = await scene.client.get<Manifest>(at);
      assertEquals([spec.holderIdentity, spec.leaseDurationSeconds], [nodeName, 40]);
      assertEquals(metadata.ownerReferences?.[0]?.kind, "Node");
      assert(Date.now() - Date.parse(spec.renewTime) < 40_000);
    },
  },
  {
    name: "Port forwarding and proxy should reach a pod's port",
    pod: {
      run: serve(8080, "through"),
      container: { readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 } },
    },
    then: async (scene) => {
      await scene.ready("p");
      const path = `/api/v1/namespaces/${scene.namespace}/pods/p:8080/proxy/`;
      assertEquals(await (await scene.fetch(path)).text(), "through");
    },
  },
];

export const PODS: readonly Behaviour[] = [...LIFE, ...ENDS, ...ORDER, ...CALLED];
