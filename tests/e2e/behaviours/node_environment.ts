/** Node: what a container finds in its environment, its command and its arguments. */
import { assertEquals, assertMatch } from "@std/assert";
import { IMAGES } from "../containerd.ts";
import { type Behaviour, configMap, secret, service } from "./behaviour.ts";
import { STAY } from "./programs.ts";
import { statusOf } from "./scene.ts";

const field = (name: string, fieldPath: string) => ({
  name,
  valueFrom: { fieldRef: { fieldPath } },
});
const resource = (name: string, what: string) => ({
  name,
  valueFrom: { resourceFieldRef: { resource: what } },
});
const WORDS_OF_IMAGE = "its image has no entrypoint of its own: the words decide what it is";

/** Sources of values by name. */
const SOURCES = [
  {
    kind: "ConfigMap",
    object: configMap("c", { "data-1": "value-1", p_data: "value-2" }),
    key: (key: string) => ({ configMapKeyRef: { name: "c", key } }),
    all: (more = {}) => ({ configMapRef: { name: "c" }, ...more }),
  },
  {
    kind: "Secret",
    object: secret("c", { "data-1": "value-1", p_data: "value-2" }),
    key: (key: string) => ({ secretKeyRef: { name: "c", key } }),
    all: (more = {}) => ({ secretRef: { name: "c" }, ...more }),
  },
];

const sources = SOURCES.flatMap(({ kind, object, key, all }): Behaviour[] => [
  {
    name: `${kind} should be consumable from pods in env vars`,
    objects: [object],
    pod: { run: "echo $ONE", container: { env: [{ name: "ONE", valueFrom: key("data-1") }] } },
    log: "value-1\n",
  },
  {
    name: `${kind} should be consumable via the environment, with various prefixes`,
    objects: [object],
    pod: {
      run: "echo $p_data $q_p_data; env",
      container: { envFrom: [all(), all({ prefix: "q_" }), all({ prefix: "q-%." })] },
    },
    log: /^value-2 value-2\n(.*\n)*(data-1=value-1\n(.*\n)*)?/,
  },
  {
    name: `${kind} should be waited for by those who need it, and not by those who do not`,
    pod: {
      run: STAY,
      container: { env: [{ name: "ONE", valueFrom: key("data-1") }] },
    },
    then: async (scene) => {
      const { message } = await scene.waiting("p", /^CreateContainerConfigError$/);
      assertMatch(message, new RegExp(`^${kind.toLowerCase()} "c" not found$`));
      const [[source, ref]] = Object.entries(key("data-1"));
      const env = [{ name: "ONE", valueFrom: { [source]: { ...ref, optional: true } } }];
      await scene.once("q", { run: "echo [$ONE]", container: { env } });
      assertEquals(await scene.logs("q"), "[]\n");
      await scene.create(object);
      await scene.ready("p");
      assertEquals(await scene.says("p", "echo $ONE"), "value-1");
    },
  },
]);

export const ENVIRONMENT: readonly Behaviour[] = [
  ...sources,
  {
    name: "Downward API should provide pod name, namespace, UID and IP address as env vars",
    pod: {
      run: "echo $NAME $NS $UID_ $IP $IPS $ACCOUNT $NODE; sleep 1",
      container: {
        env: [
          field("NAME", "metadata.name"),
          field("NS", "metadata.namespace"),
          field("UID_", "metadata.uid"),
          field("IP", "status.podIP"),
          field("IPS", "status.podIPs"),
          field("ACCOUNT", "spec.serviceAccountName"),
          field("NODE", "spec.nodeName"),
        ],
      },
    },
    ends: "Succeeded",
    then: async (scene) => {
      const { metadata, spec, status } = await scene.get("Pod", "p");
      const { podIP, podIPs: [{ ip }] } = status;
      const words = ["p", scene.namespace, metadata.uid, podIP, ip, "default", spec.nodeName];
      assertEquals(await scene.logs("p"), `${words.join(" ")}\n`);
    },
  },
  {
    name: "Downward API should provide host IP and hostIPs as env vars",
    pod: {
      run: "echo $IP $IPS",
      container: { env: [field("IP", "status.hostIP"), field("IPS", "status.hostIPs")] },
    },
    ends: "Succeeded",
    then: async (scene) => {
      const { hostIP, hostIPs: [{ ip }] } = (await scene.get("Pod", "p")).status;
      assertEquals(await scene.logs("p"), `${hostIP} ${ip}\n`);
    },
  },
  {
    name: "Downward API should provide host IP and pod IP as an env var if pod uses host network",
    pod: {
      run: "echo $HOST $POD",
      container: { env: [field("HOST", "status.hostIP"), field("POD", "status.podIP")] },
      spec: { hostNetwork: true },
    },
    log: /^(\S+) \1\n$/,
  },
  {
    name: "Downward API should provide labels and annotations by key as env vars",
    pod: {
      run: "echo $LABEL $NOTE [$NONE]",
      metadata: { labels: { app: "web" }, annotations: { note: "a.b" } },
      container: {
        env: [
          field("LABEL", "metadata.labels['app']"),
          field("NOTE", "metadata.annotations['note']"),
          field("NONE", "metadata.labels['none']"),
        ],
      },
    },
    log: "web a.b []\n",
  },
  {
    name: "Downward API should provide container's limits and requests as env vars",
    pod: {
      run: "echo $A $B $C $D $E",
      container: {
        env: [
          resource("A", "limits.cpu"),
          resource("B", "limits.memory"),
          resource("C", "requests.cpu"),
          resource("D", "requests.memory"),
          {
            name: "E",
            valueFrom: { resourceFieldRef: { resource: "requests.memory", divisor: "1Mi" } },
          },
        ],
        resources: {
          limits: { cpu: "1250m", memory: "256Mi" },
          requests: { cpu: "50m", memory: "32Mi" },
        },
      },
    },
    log: `2 ${256 * 2 ** 20} 1 ${32 * 2 ** 20} 32\n`,
  },
  {
    name: "Downward API should provide default limits from node allocatable",
    pod: {
      run: "echo $A $B",
      container: { env: [resource("A", "limits.cpu"), resource("B", "limits.memory")] },
    },
    ends: "Succeeded",
    then: async (scene) => {
      const { nodeName } = (await scene.get("Pod", "p")).spec;
      const { cpu, memory } = (await scene.get("Node", nodeName)).status.allocatable;
      const bytes = Number(memory.replace("Ki", "")) * (memory.endsWith("Ki") ? 1024 : 1);
      assertEquals(await scene.logs("p"), `${cpu} ${bytes}\n`);
    },
  },
  {
    name: "Variable Expansion should allow composing env vars into new env vars",
    pod: {
      run: "echo $BOTH $LATER $PLAIN",
      container: {
        env: [
          { name: "FOO", value: "foo" },
          { name: "BAR", value: "bar" },
          { name: "BOTH", value: "$(FOO);;$(BAR)" },
          { name: "LATER", value: "$(AFTER)" },
          { name: "PLAIN", value: "$$(FOO)" },
          { name: "AFTER", value: "x" },
        ],
      },
    },
    log: "foo;;bar $(AFTER) $(FOO)\n",
  },
  {
    name: "Variable Expansion should allow substituting values in a container's command and args",
    pod: {
      container: {
        command: ["sh", "-c", "echo $(WORD) $0 $1 $2"],
        args: ["$(WORD)", "$$(WORD)", "$(NONE)"],
        env: [{ name: "WORD", value: "value" }],
      },
    },
    log: "value value $(WORD) $(NONE)\n",
  },
  {
    name: "Variable Expansion should allow almost all printable ASCII characters in names",
    pod: {
      run: {
        sh: "cat /proc/1/environ | tr '\\0' '\\n'",
        ts:
          "for (const [name, value] of Object.entries(Deno.env.toObject())) say(`${name}=${value}`)",
      },
      container: { env: [{ name: "a!#$%&'()*+,-./:;<>?@[]^_`{|}~", value: "x" }] },
    },
    log: /^a!#\$%&'\(\)\*\+,-\.\/:;<>\?@\[\]\^_`\{\|\}~=x$/m,
  },
  {
    name: "Containers should use the image defaults if command and args are blank",
    pod: { container: { containerd: { image: IMAGES.entry }, isolate: {} } },
    ends: "Succeeded",
    then: async (scene) => {
      const wanted = { containerd: "entrypoint default words\n", isolate: "Welcome to Deno!\n" };
      assertEquals(await scene.logs("p"), wanted[scene.runtime]);
    },
  },
  {
    name: "Containers should be able to override the image's default arguments",
    pod: {
      container: {
        containerd: { image: IMAGES.entry, args: ["mine"] },
        isolate: { args: ["eval", "console.log('entrypoint mine')"] },
      },
    },
    log: "entrypoint mine\n",
  },
  {
    name: "Containers should be able to override the image's default command",
    not: { isolate: WORDS_OF_IMAGE },
    pod: { container: { image: IMAGES.entry, command: ["echo"] } },
    log: "\n",
  },
  {
    name: "Containers should be able to override the image's default command and arguments",
    pod: { container: { containerd: { image: IMAGES.entry }, command: ["echo"], args: ["both"] } },
    log: "both\n",
  },
  {
    name: "Containers should run in their working directory, which is made if it is not there",
    pod: { run: "pwd", container: { workingDir: "/made/for/it" } },
    log: "/made/for/it\n",
  },
  {
    name: "Environment files should be consumable via FileKeyRef, and optional keys be left out",
    pod: {
      run: "echo $ONE [$TWO]",
      container: {
        env: ["one", "two"].map((key) => ({
          name: key.toUpperCase(),
          valueFrom: {
            fileKeyRef: { volumeName: "v", path: "vars", key, optional: key === "two" },
          },
        })),
      },
      spec: {
        volumes: [{ name: "v", emptyDir: {} }],
        initContainers: [{
          name: "i",
          run: `echo "one='first'" > /v/vars`,
          volumeMounts: [{ name: "v", mountPath: "/v" }],
        }],
      },
    },
    log: "first []\n",
  },
  {
    name: "Pods should contain environment variables for services",
    objects: [service("fooservice", [{ port: 8765, targetPort: 8080 }])],
    pod: { run: "echo $FOOSERVICE_SERVICE_HOST $FOOSERVICE_PORT_8765_TCP_PROTO $FOOSERVICE_PORT" },
    ends: "Succeeded",
    then: async (scene) => {
      const { clusterIP } = (await scene.get("Service", "fooservice")).spec;
      assertEquals(await scene.logs("p"), `${clusterIP} tcp tcp://${clusterIP}:8765\n`);
      const pod = await scene.once("q", {
        run: "echo [$FOOSERVICE_SERVICE_HOST]",
        spec: { enableServiceLinks: false },
      });
      assertEquals(await scene.logs("q"), "[]\n");
      assertEquals(statusOf(pod).restartCount, 0);
    },
  },
];
