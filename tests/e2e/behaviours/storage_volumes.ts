/** Storage: folders of a pod, of its node and of claims, and parts of volumes. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Behaviour, configMap, type Manifest, NO_ROOT, podOf, secret } from "./behaviour.ts";
import { all, cat, modes, type Program, STAY, thenStay, tries } from "./programs.ts";
import { eventually, type Scene, statusOf } from "./scene.ts";
import { mounting } from "./storage_files.ts";

const V = { volumeMounts: [{ name: "v", mountPath: "/v" }] };

/** Makes files of these modes. */
const MAKE: Program = {
  sh: "for m in 644 666 777; do echo x > /v/$m; chmod $m /v/$m; done",
  ts:
    `for (const m of ["644", "666", "777"]) { write("/v/" + m, "x\\n"); Deno.chmodSync("/v/" + m, parseInt(m, 8)); }`,
};

const emptyDir = (medium: string, user: number | undefined): Behaviour => ({
  name: `EmptyDir volumes should support (${user ? "non-root" : "root"},0644,0666,0777,${
    medium ? "tmpfs" : "default"
  }), the volume itself being 0777`,
  not: { isolate: user ? NO_ROOT : undefined },
  pod: mounting({ v: { emptyDir: medium ? { medium } : {} } }, {
    run: all(MAKE, modes("/v", "/v/644", "/v/666", "/v/777")),
    ...user && { spec: { securityContext: { runAsUser: user } } },
  }),
  log: new RegExp(`^/v 1?777 .*\n/v/644 644 ${user ?? "\\d+"} .*\n/v/666 666 .*\n/v/777 777 `),
});

const POD_FOLDERS: readonly Behaviour[] = [
  ...["", "Memory"].flatMap((medium) => [undefined, 1001].map((user) => emptyDir(medium, user))),
  {
    name: "EmptyDir volumes pod should support shared volumes between containers",
    then: async (scene) => {
      const { spec, ...pod } = podOf("p", mounting({ v: { emptyDir: {} } }, { run: STAY }));
      const second = { name: "d", run: STAY, ...V };
      await scene.create({ ...pod, spec: { ...spec, containers: [...spec.containers, second] } });
      await scene.ready("p");
      await scene.exec("p", "echo shared > /v/f", { container: "d" });
      assertEquals(await scene.says("p", "cat /v/f"), "shared");
    },
  },
  {
    name: "EmptyDir volumes should survive a restart of their container, and go with their pod",
    pod: mounting({ v: { emptyDir: {} } }, {
      run: {
        sh: `if [ -e /v/f ]; then ${STAY.sh}; fi; echo first > /v/f; exit 1`,
        ts:
          `if (tried(() => read("/v/f")) === "ok") { ${STAY.ts} } else { write("/v/f", "first\\n"); Deno.exit(1) }`,
      },
    }),
    then: async (scene) => {
      await scene.is(
        "Pod",
        "p",
        (pod) => statusOf(pod)?.restartCount === 1 && statusOf(pod).state.running,
      );
      assertEquals(await scene.says("p", "cat /v/f"), "first");
    },
  },
  {
    name: "EmptyDir volumes of memory should be of their size limit, and no larger",
    not: { isolate: NO_ROOT },
    pod: mounting({ v: { emptyDir: { medium: "Memory", sizeLimit: "1Mi" } } }, {
      run: {
        sh: "dd if=/dev/zero of=/v/f bs=1M count=2 2>&1",
        ts:
          `try { Deno.writeFileSync("/v/f", new Uint8Array(2 ** 21)) } catch (e) { say(e.message); Deno.exit(1) }`,
      },
    }),
    ends: "Failed",
    log: /No space left on device/,
  },
  {
    name: "EmptyDir volumes new files should be created with FSGroup ownership",
    not: { isolate: NO_ROOT },
    pod: mounting({ v: { emptyDir: {} } }, {
      run: all(MAKE, modes("/v", "/v/644")),
      spec: { securityContext: { runAsUser: 1001, fsGroup: 123 } },
    }),
    log: "/v 2777 0 123\n/v/644 644 1001 123\n",
  },
];

/** Parts of volumes: a source, the part, and where the container finds it. */
const part = (
  title: string,
  volume: Manifest,
  objects: readonly Manifest[],
  metadata?: Manifest,
): Behaviour => ({
  name: `Subpath should support subpaths with ${title} pod`,
  objects,
  pod: mounting({ v: volume }, {
    run: cat("/mnt/f"),
    metadata,
    container: { volumeMounts: [{ name: "v", mountPath: "/mnt/f", subPath: "key" }] },
  }),
  log: "value",
});
const KEY = { key: "value" };
const name = { path: "key", fieldRef: { fieldPath: "metadata.labels['is']" } };

const PARTS: readonly Behaviour[] = [
  part("configmap", { configMap: { name: "c" } }, [configMap("c", KEY)]),
  part("secret", { secret: { secretName: "c" } }, [secret("c", KEY)]),
  part("projected", { projected: { sources: [{ configMap: { name: "c" } }] } }, [
    configMap("c", KEY),
  ]),
  part("downward", { downwardAPI: { items: [name] } }, [], { labels: { is: "value" } }),
  {
    name: "Subpath should support subpaths with configmap pod with mountPath of existing file",
    objects: [configMap("c", KEY)],
    pod: mounting({ v: { configMap: { name: "c" } } }, {
      run: cat("/etc/group"),
      container: { volumeMounts: [{ name: "v", mountPath: "/etc/group", subPath: "key" }] },
    }),
    log: "value",
  },
  {
    name: "Subpath should be a folder that is made if it is not there, shared by those who name it",
    pod: mounting({ v: { emptyDir: {} } }, {
      run: "echo deep > /one/f; cat /v/a/b/f /two/f",
      container: {
        volumeMounts: [
          { name: "v", mountPath: "/v" },
          { name: "v", mountPath: "/one", subPath: "a/b" },
          { name: "v", mountPath: "/two", subPath: "a/b", readOnly: true },
        ],
      },
    }),
    log: "deep\ndeep\n",
  },
  {
    name: "Variable Expansion should allow substituting values in a volume subpath",
    pod: mounting({ v: { emptyDir: {} } }, {
      run: "echo x > /sub/f; ls /v/p",
      container: {
        env: [{ name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
        volumeMounts: [
          { name: "v", mountPath: "/v" },
          { name: "v", mountPath: "/sub", subPathExpr: "$(NAME)" },
        ],
      },
    }),
    log: "f\n",
  },
  ...[["backticks", "..", /must not contain '\.\.'/], [
    "absolute path",
    "/tmp",
    /must not be an absolute path/,
  ]]
    .map(([what, value, text]): Behaviour => ({
      name: `Variable Expansion should fail substituting values in a volume subpath with ${what}`,
      pod: mounting({ v: { emptyDir: {} } }, {
        run: STAY,
        container: {
          env: [{ name: "NAME", value }],
          volumeMounts: [{ name: "v", mountPath: "/sub", subPathExpr: "$(NAME)" }],
        },
      }),
      then: async (scene) => {
        const { message } = await scene.waiting("p", /^CreateContainerConfigError$/);
        assertMatch(message, text as RegExp);
      },
    })),
  {
    name: "Variable Expansion should verify that a failing subpath expansion can be modified",
    pod: mounting({ v: { emptyDir: {} } }, {
      run: STAY,
      metadata: { annotations: { part: "/abs" } },
      container: {
        env: [{
          name: "PART",
          valueFrom: { fieldRef: { fieldPath: "metadata.annotations['part']" } },
        }],
        volumeMounts: [{ name: "v", mountPath: "/sub", subPathExpr: "$(PART)" }],
      },
    }),
    then: async (scene) => {
      await scene.waiting("p", /^CreateContainerConfigError$/);
      await scene.patch("Pod", "p", { metadata: { annotations: { part: "good" } } });
      await scene.ready("p");
    },
  },
];

/** A folder of the machine's own, as long as it is needed. */
async function withFolder(use: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "plesio-host-" });
  await Deno.chmod(path, 0o777);
  try {
    await use(path);
  } finally {
    await Deno.remove(path, { recursive: true }).catch(() => undefined);
  }
}

/** What a pod is told of a path of its node that is not what it should be. */
async function refusesPath(scene: Scene, name: string, path: string, type: string, what: string) {
  await scene.pod(name, mounting({ v: { hostPath: { path, type } } }, { run: STAY }));
  const text = `hostPath type check failed: ${path} is not a ${what}`;
  await scene.event(new RegExp(`${name}: Warning FailedMount .*${text}`));
}

const NODE_FOLDERS: readonly Behaviour[] = [
  {
    name: "HostPath should support r/w, subPath, and give a volume the correct mode",
    then: (scene) =>
      withFolder(async (path) => {
        await scene.pod(
          "p",
          mounting({ v: { hostPath: { path, type: "Directory" } } }, {
            run: thenStay("echo written > /v/f"),
            container: {
              volumeMounts: [
                { name: "v", mountPath: "/v" },
                { name: "v", mountPath: "/sub", subPath: "s" },
              ],
            },
          }),
        );
        await scene.ready("p");
        await eventually("a file", async () =>
          await Deno.readTextFile(`${path}/f`).catch(() => "") === "written\n");
        assertMatch(await scene.says("p", modes("/v")), /^\/v 777 /);
        await Deno.writeTextFile(`${path}/s/g`, "theirs");
        assertEquals(await scene.says("p", "cat /sub/g"), "theirs");
        await scene.gone("Pod", "p");
        assertEquals(await Deno.readTextFile(`${path}/f`), "written\n");
      }),
  },
  {
    name: "HostPathType should fail on mounting what is not of its type, or not there",
    then: (scene) =>
      withFolder(async (path) => {
        await Deno.writeTextFile(`${path}/afile`, "");
        await refusesPath(scene, "a", `${path}/none`, "Directory", "directory");
        await refusesPath(scene, "b", path, "File", "file");
        await refusesPath(scene, "c", `${path}/afile`, "Directory", "directory");
        await refusesPath(scene, "d", `${path}/afile`, "Socket", "socket file");
        await refusesPath(scene, "e", path, "CharDevice", "character device");
        await refusesPath(scene, "f", "/dev/null", "BlockDevice", "block device");
      }),
  },
  {
    name:
      "HostPathType should be able to mount files and folders that are made if they are not there",
    then: (scene) =>
      withFolder(async (path) => {
        await scene.once(
          "p",
          mounting({
            v: { hostPath: { path: `${path}/made/deep`, type: "DirectoryOrCreate" } },
            w: { hostPath: { path: `${path}/file`, type: "FileOrCreate" } },
          }, { run: modes("/v", "/w") }),
        );
        assertMatch(await scene.logs("p"), /^\/v 755 .*\n\/w 644 /);
        assert((await Deno.stat(`${path}/file`)).isFile);
      }),
  },
  {
    name: "Volumes should be read-only where their mount says so",
    pod: mounting({ v: { emptyDir: {} } }, {
      run: tries("/v/file"),
      container: { volumeMounts: [{ name: "v", mountPath: "/v", readOnly: true }] },
    }),
    log: "refused\n",
  },
];

const claim = (name: string, more = {}): Manifest => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { name },
  spec: {
    accessModes: ["ReadWriteOnce"],
    resources: { requests: { storage: "1Mi" } },
    ...more,
  },
});
const CLAIMED = { v: { persistentVolumeClaim: { claimName: "data" } } };

/** A volume of a folder, for one claim. */
const volumeOf = (source: object, more = {}): Manifest => ({
  apiVersion: "v1",
  kind: "PersistentVolume",
  metadata: { name: "NAMESPACE" },
  spec: {
    capacity: { storage: "1Mi" },
    accessModes: ["ReadWriteOnce"],
    storageClassName: "",
    claimRef: { namespace: "NAMESPACE", name: "data" },
    ...source,
    ...more,
  },
});

const CLAIMS: readonly Behaviour[] = [
  {
    name:
      "Dynamic Provisioning should make a claim's volume where its first pod runs, and keep its data " +
      "from pod to pod",
    objects: [claim("data")],
    pod: mounting(CLAIMED, { run: thenStay("echo kept > /v/f") }),
    then: async (scene) => {
      await scene.ready("p");
      const { spec: { volumeName }, status } = await scene.get("PersistentVolumeClaim", "data");
      assertEquals([status.phase, status.accessModes], ["Bound", ["ReadWriteOnce"]]);
      await scene.answers("p", "cat /v/f", "kept");
      await scene.gone("Pod", "p");
      await scene.pod("q", mounting(CLAIMED, { run: STAY }));
      await scene.ready("q");
      assertEquals(await scene.says("q", "cat /v/f"), "kept");
      await scene.gone("Pod", "q");
      await scene.gone("PersistentVolumeClaim", "data");
      await scene.ended("PersistentVolume", volumeName);
    },
  },
  {
    name: "PVC Protection should verify that PVC in active use by a pod is not removed immediately",
    objects: [claim("data")],
    pod: mounting(CLAIMED, { run: STAY }),
    then: async (scene) => {
      await scene.ready("p");
      await scene.delete("PersistentVolumeClaim", "data");
      const { metadata } = await scene.get("PersistentVolumeClaim", "data");
      assert(metadata.deletionTimestamp);
      assertEquals(metadata.finalizers, ["kubernetes.io/pvc-protection"]);
      await scene.gone("Pod", "p");
      await scene.ended("PersistentVolumeClaim", "data");
    },
  },
  {
    name: "PersistentVolumes should be a folder of the node, retained after their claim",
    then: (scene) =>
      withFolder(async (path) => {
        await scene.create(
          volumeOf({ hostPath: { path } }, { persistentVolumeReclaimPolicy: "Retain" }),
          claim("data", { storageClassName: "", volumeName: scene.namespace }),
        );
        await scene.pod("p", mounting(CLAIMED, { run: thenStay("echo retained > /v/f") }));
        await scene.ready("p");
        await scene.answers("p", "cat /v/f", "retained");
        await scene.gone("Pod", "p");
        await scene.gone("PersistentVolumeClaim", "data");
        await scene.is("PersistentVolume", scene.namespace, ({ status }) =>
          status.phase === "Released");
        assertEquals(await Deno.readTextFile(`${path}/f`), "retained\n");
        await scene.delete("PersistentVolume", scene.namespace);
      }),
  },
  {
    name:
      "PersistentVolumes-local should be mounted on their node, and fail due to non-existent path",
    then: (scene) =>
      withFolder(async (path) => {
        const matchExpressions = Object.entries(scene.nodes)
          .map(([key, value]) => ({ key, operator: "In", values: [value] }));
        const nodeAffinity = { required: { nodeSelectorTerms: [{ matchExpressions }] } };
        await scene.create(
          volumeOf({ local: { path: `${path}/disk` }, nodeAffinity }),
          claim("data", { storageClassName: "", volumeName: scene.namespace }),
        );
        await scene.pod("p", mounting(CLAIMED, { run: STAY }));
        await scene.event(/FailedMount .*path "\S+\/disk" does not exist/);
        await Deno.mkdir(`${path}/disk`);
        await Deno.chmod(`${path}/disk`, 0o777);
        await scene.ready("p");
        await scene.exec("p", "echo local > /v/f");
        assertEquals(await Deno.readTextFile(`${path}/disk/f`), "local\n");
        await scene.delete("PersistentVolume", scene.namespace);
      }),
  },
  {
    name: "Ephemeral volumes should be claims that come and go with their pod",
    pod: mounting({
      v: { ephemeral: { volumeClaimTemplate: { spec: claim("x").spec } } },
    }, { run: thenStay("echo -n own > /v/f") }),
    then: async (scene) => {
      const { metadata } = await scene.ready("p");
      const { metadata: { ownerReferences: [owner] } } = await scene.get(
        "PersistentVolumeClaim",
        "p-v",
      );
      assertEquals([owner.kind, owner.uid, owner.controller], ["Pod", metadata.uid, true]);
      await scene.answers("p", "cat /v/f", "own");
      await scene.gone("Pod", "p");
      await scene.ended("PersistentVolumeClaim", "p-v");
    },
  },
];

export const VOLUMES: readonly Behaviour[] = [
  ...POD_FOLDERS,
  ...PARTS,
  ...NODE_FOLDERS,
  ...CLAIMS,
];
