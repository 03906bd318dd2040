import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ManualClock } from "../../../kv/clock.ts";
import { MountError } from "../ports.ts";
import type { ContainerOf, Pod, Volume } from "../types.ts";
import { hostMounts, KernelError, parseMountInfo, unmountAll } from "./kernel.ts";
import { inOwnNamespace } from "./own_namespace_test.ts";
import { giveToGroup } from "./ownership.ts";
import { HostVolumes, type VolumesOptions } from "./volumes.ts";
import { objectsOf, TOKENS } from "./fixture_test.ts";

const facts = { hostIPs: [], podIPs: [], allocatable: { memory: "1Gi" } };
const ROOT_RUNTIME = { recursiveReadOnly: true };

Deno.test("parseMountInfo() reads blanks, types and both kinds of options", () => {
  const line = "36 35 98:0 /r /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
  assertEquals(parseMountInfo(`${line}\nnonsense\n`), [{
    path: "/mnt/a b",
    type: "ext3",
    source: "/dev/root",
    options: ["rw", "noatime", "rw", "errors=continue"],
  }]);
});

function world(folder: string, options: Partial<VolumesOptions> = {}) {
  const kept = new Map<string, object>();
  const make = () =>
    new HostVolumes({
      folder,
      nodeName: "n",
      objects: objectsOf(kept),
      tokens: TOKENS,
      clock: new ManualClock(),
      ...options,
    });
  kept.set("node/n", { metadata: { name: "n", labels: { zone: "a" } } });
  const bind = (name: string, spec: object, uid = `uid-${name}`) => {
    kept.set(`claim/${name}`, {
      metadata: { name, namespace: "ns", uid },
      spec: { volumeName: `pv-${name}` },
      status: { phase: "Bound" },
    });
    kept.set(`volume/pv-${name}`, {
      metadata: { name: `pv-${name}` },
      spec: { claimRef: { uid }, accessModes: ["ReadWriteOnce"], ...spec },
    });
    return { name, persistentVolumeClaim: { claimName: name } };
  };
  return { kept, make, bind };
}

function podOf(volumes: Volume[], spec: object = {}, uid = "u"): Pod {
  const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/${name}` }));
  return {
    metadata: { name: "p", namespace: "ns", uid },
    spec: { containers: [{ name: "c", volumeMounts }], volumes, ...spec },
  } as unknown as Pod;
}

const mount = (...volumeMounts: object[]) => ({ name: "c", volumeMounts }) as ContainerOf;
const modeOf = (path: string) => (Deno.statSync(path).mode! & 0o7777).toString(8);
const mounts = hostMounts()!;
const typesUnder = (folder: string) => mounts.under(folder).map(({ type }) => type);

function test(name: string, use: (folder: string) => Promise<void>) {
  Deno.test(name, async () => {
    const folder = await Deno.makeTempDir();
    try {
      await use(folder);
      assertEquals(typesUnder(folder), [], "mounts were left behind");
    } finally {
      unmountAll(mounts, folder);
      await Deno.remove(folder, { recursive: true });
    }
  });
}

inOwnNamespace(import.meta.url, () => {
  test("an emptyDir in memory is a tmpfs of its size; it stays over another setup", async (folder) => {
    const { make } = world(folder);
    const volumes = make();
    const pod = podOf([
      { name: "mem", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
      { name: "all", emptyDir: { medium: "Memory" } },
      { name: "disk", emptyDir: {} },
    ]);
    await volumes.setup(pod, facts);
    const [mem, all, disk] = await volumes.mounts(
      pod,
      pod.spec.containers[0],
      new Map(),
      ROOT_RUNTIME,
    );
    const [point] = mounts.under(mem.hostPath);
    assertEquals(point.type, "tmpfs");
    assert(point.options.includes("size=1024k"), point.options.join());
    assert(mounts.under(all.hostPath)[0].options.includes("size=1048576k"));
    assertEquals(mounts.under(disk.hostPath), []);
    assertEquals([modeOf(mem.hostPath), modeOf(disk.hostPath)], ["1777", "777"]);
    await Deno.writeTextFile(`${mem.hostPath}/kept`, "x");
    assertThrows(() => Deno.writeFileSync(`${mem.hostPath}/big`, new Uint8Array(2 ** 21)));
    await volumes.setup(pod, facts);
    assertEquals(await Deno.readTextFile(`${mem.hostPath}/kept`), "x");
    await volumes.teardown(pod);
  });

  test("huge pages are mounted in the size that the containers ask for, or refused", async (folder) => {
    const { make } = world(folder);
    const volumes = make();
    const huge = (medium: string, requests: object) =>
      podOf([{ name: "h", emptyDir: { medium } }], {
        containers: [{
          name: "c",
          resources: { requests },
          volumeMounts: [{ name: "h", mountPath: "/h" }],
        }],
      });
    const pod = huge("HugePages-2Mi", { "hugepages-2Mi": "4Mi" });
    await volumes.setup(pod, facts);
    assertEquals(typesUnder(`${folder}/pods`), ["hugetlbfs"]);
    await volumes.teardown(pod);
    for (
      const [medium, requests, message] of [
        [
          "HugePages",
          {},
          "medium HugePages: hugePages storage requested, but there is no resource request for huge pages",
        ],
        [
          "HugePages",
          { "hugepages-2Mi": "2Mi", "hugepages-1Gi": "1Gi" },
          "medium: HugePages can't be used if container requests multiple huge page sizes",
        ],
      ] as const
    ) {
      const error = await assertRejects(
        () => volumes.setup(huge(medium, requests), facts),
        MountError,
      );
      assertEquals(error.message, message);
    }
    await volumes.teardown(pod);
  });

  test("secrets lie in memory, for their group to read; a ConfigMap on the disk", async (folder) => {
    const { kept, make } = world(folder);
    kept.set("secret/s", { data: { pw: btoa("geheim") } });
    kept.set("configmap/c", { data: { k: "v" } });
    const volumes = make();
    const pod = podOf([
      { name: "s", secret: { secretName: "s", defaultMode: 0o400 } },
      { name: "c", configMap: { name: "c" } },
      { name: "t", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } },
      { name: "e", emptyDir: {} },
    ], {
      securityContext: { fsGroup: 1234, runAsUser: 77 },
    });
    await volumes.setup(pod, facts);
    const at = `${folder}/pods/u/volumes`;
    assertEquals(typesUnder(at), ["tmpfs", "tmpfs"]);
    const of = (path: string) => {
      const { uid, gid } = Deno.statSync(`${at}/${path}`);
      return [uid, gid, modeOf(`${at}/${path}`)];
    };
    assertEquals(of("kubernetes.io~secret/s/pw"), [0, 1234, "440"]);
    assertEquals(of("kubernetes.io~configmap/c/k"), [0, 1234, "644"]);
    // Its user's alone, and its group's.
    assertEquals(of("kubernetes.io~projected/t/token"), [77, 1234, "640"]);
    assertEquals(of("kubernetes.io~projected/t/..data"), [0, 1234, "2755"]);
    assertEquals(of("kubernetes.io~empty-dir/e"), [0, 1234, "2777"]);
    // Unchanged files are not written again, whatever their group made of their modes.
    const before = await Deno.readLink(`${at}/kubernetes.io~secret/s/..data`);
    await volumes.refresh(pod, facts);
    assertEquals(await Deno.readLink(`${at}/kubernetes.io~secret/s/..data`), before);
    await volumes.teardown(pod);
    assertEquals([...Deno.readDirSync(`${folder}/pods/u`)], []);
  });

  test("giveToGroup() walks a volume, and leaves one alone whose root is right", async (folder) => {
    await Deno.mkdir(`${folder}/v/sub`, { recursive: true });
    await Deno.writeTextFile(`${folder}/v/sub/f`, "");
    await Deno.chmod(`${folder}/v/sub/f`, 0o600);
    await Deno.symlink("/etc/passwd", `${folder}/v/link`);
    const passwd = Deno.statSync("/etc/passwd");
    assertEquals(await giveToGroup(`${folder}/v`, { gid: 5, readOnly: false }), 4);
    assertEquals([modeOf(`${folder}/v`), modeOf(`${folder}/v/sub/f`)], ["2775", "660"]);
    assertEquals(Deno.statSync(`${folder}/v/sub/f`).gid, 5);
    const after = Deno.statSync("/etc/passwd");
    assertEquals([after.gid, after.mode], [passwd.gid, passwd.mode]);
    await Deno.chmod(`${folder}/v/sub/f`, 0o600);
    const policy = "OnRootMismatch";
    assertEquals(await giveToGroup(`${folder}/v`, { gid: 5, readOnly: false, policy }), 0);
    assertEquals(modeOf(`${folder}/v/sub/f`), "600");
    assertEquals(await giveToGroup(`${folder}/v`, { gid: 6, readOnly: false, policy }), 4);
  });

  test("a subPath is bound where its pod cannot move it", async (folder) => {
    const { make } = world(folder);
    const volumes = make();
    const host = `${folder}/host`;
    const pod = podOf([{ name: "h", hostPath: { path: host, type: "DirectoryOrCreate" } }]);
    await volumes.setup(pod, facts);
    await Deno.chmod(host, 0o3770);
    await Deno.mkdir(`${host}/real`);
    await Deno.writeTextFile(`${host}/real/file`, "one");
    await Deno.symlink("real", `${host}/inner`);
    await Deno.symlink("/etc", `${host}/out`);
    await Deno.symlink("../..", `${host}/up`);
    const of = (subPath: string) => mount({ name: "h", mountPath: "/x", subPath });
    const bound = async (subPath: string) =>
      (await volumes.mounts(pod, of(subPath), new Map(), ROOT_RUNTIME))[0].hostPath;
    const file = await bound("inner/file");
    assertEquals(file, `${folder}/pods/u/volume-subpaths/h/c/0`);
    assertEquals(await Deno.readTextFile(file), "one");
    // The name leads elsewhere now; what is bound stays.
    await Deno.remove(`${host}/inner`);
    await Deno.symlink("/etc", `${host}/inner`);
    assertEquals(await Deno.readTextFile(file), "one");
    assertEquals(mounts.under(file).length, 1);
    // Another thing takes the place of the former.
    const made = await bound("new/deep");
    assertEquals([made, modeOf(`${host}/new/deep`)], [file, "3770"]);
    assertEquals(mounts.under(made).length, 1);
    assertEquals(await bound("new/deep"), made);
    for (const subPath of ["out", "out/new", "up/x", "inner/hosts"]) {
      const error = await assertRejects(() => bound(subPath));
      assert(
        /^failed to (prepare subPath|create subPath directory) for/.test(
          String((error as Error).message),
        ),
      );
      assert((error as Error).cause instanceof KernelError);
    }
    await volumes.teardown(pod);
    assertEquals(await Deno.readTextFile(`${host}/real/file`), "one");
  });

  test("what a former life left mounted goes: all of it, or that of pods that are no more", async (folder) => {
    const { kept, make } = world(folder);
    kept.set("secret/s", { data: { pw: btoa("x") } });
    const old = make();
    const of = (uid: string) => podOf([{ name: "s", secret: { secretName: "s" } }], {}, uid);
    await old.setup(of("a"), facts);
    await old.setup(of("b"), facts);
    const volumes = make();
    await volumes.sweep(new Set(["b"]));
    assertEquals(mounts.under(folder).length, 1);
    // The pod that still runs is taken over: its volumes are found, not made.
    const path = `${folder}/pods/b/volumes/kubernetes.io~secret/s`;
    const before = await Deno.readLink(`${path}/..data`);
    await volumes.setup(of("b"), facts);
    const container = of("b").spec.containers[0];
    const [found] = await volumes.mounts(of("b"), container, new Map(), {});
    assertEquals([found.hostPath, await Deno.readLink(`${path}/..data`)], [path, before]);
    make().unmountAll();
    assertEquals(typesUnder(folder), []);
  });

  test("200 pods come and go, half of them while their files are refreshed", async (folder) => {
    const { kept, make } = world(folder);
    kept.set("secret/s", { data: { pw: btoa("x") } });
    const volumes = make();
    const pods = Array.from(
      { length: 200 },
      (_, n) =>
        podOf(
          [{ name: "s", secret: { secretName: "s" } }, {
            name: "m",
            emptyDir: { medium: "Memory" },
          }],
          {},
          `u${n}`,
        ),
    );
    await Promise.all(pods.map(async (pod, n) => {
      await volumes.setup(pod, facts);
      const refreshed = n % 2 ? volumes.refresh(pod, facts) : undefined;
      const gone = volumes.teardown(pod);
      const late = volumes.refresh(pod, facts);
      await Promise.all([refreshed, gone, late]);
    }));
    assertEquals(typesUnder(folder), []);
  });

  test("a local volume is bound, given to its group, and only on its own node", async (folder) => {
    const { make, bind } = world(folder);
    const volumes = make();
    await Deno.mkdir(`${folder}/disk`);
    await Deno.writeTextFile(`${folder}/disk/f`, "data");
    const term = (zone: string) => ({
      required: {
        nodeSelectorTerms: [{
          matchExpressions: [{ key: "zone", operator: "In", values: [zone] }],
        }],
      },
    });
    const local = { path: `${folder}/disk` };
    const pod = podOf([bind("data", { local, nodeAffinity: term("a") })], {
      securityContext: { fsGroup: 9, fsGroupChangePolicy: "OnRootMismatch" },
    });
    await volumes.setup(pod, facts);
    const [seen] = await volumes.mounts(pod, pod.spec.containers[0], new Map(), {});
    assertEquals(seen.hostPath, `${folder}/pods/u/volumes/kubernetes.io~local-volume/pv-data`);
    assertEquals(await Deno.readTextFile(`${seen.hostPath}/f`), "data");
    assertEquals(Deno.statSync(`${folder}/disk/f`).gid, 9);
    await volumes.teardown(pod);
    assertEquals(await Deno.readTextFile(`${folder}/disk/f`), "data");
    const far = podOf([bind("far", { local, nodeAffinity: term("b") })]);
    const error = await assertRejects(() => volumes.setup(far, facts), MountError);
    assertEquals(
      error.event,
      'MountVolume.NodeAffinity check failed for volume "pv-far" : no matching NodeSelectorTerms',
    );
  });

  test("a disk is formatted once, mounted, and is a device where it is asked for as one", async (folder) => {
    const { make, bind } = world(folder);
    const volumes = make();
    const image = `${folder}/disk.img`;
    await Deno.writeFile(image, new Uint8Array());
    await Deno.truncate(image, 2 ** 24);
    const loop = new TextDecoder().decode(
      (await new Deno.Command("losetup", { args: ["-f", "--show", image] }).output()).stdout,
    ).trim();
    try {
      const pod = podOf([bind("disk", { local: { path: loop }, mountOptions: ["noatime"] })]);
      await volumes.setup(pod, facts);
      const [point] = mounts.under(`${folder}/pods`);
      assertEquals([point.type, point.source, point.options.includes("noatime")], [
        "ext4",
        loop,
        true,
      ]);
      await Deno.writeTextFile(`${point.path}/kept`, "x");
      await volumes.teardown(pod);
      await volumes.setup(pod, facts);
      assertEquals(await Deno.readTextFile(`${point.path}/kept`), "x");
      await volumes.teardown(pod);
      const raw = bind("raw", { local: { path: loop }, volumeMode: "Block" });
      const container = { name: "c", volumeDevices: [{ name: "raw", devicePath: "/dev/x" }] };
      const block = podOf([raw], { containers: [container] });
      await volumes.setup(block, facts);
      assertEquals(volumes.devices(block, container), [
        { hostPath: loop, containerPath: "/dev/x", permissions: "mrw" },
      ]);
      await volumes.teardown(block);
      const wrong = await assertRejects(() => volumes.setup(podOf([raw]), facts), MountError);
      assertEquals(
        wrong.event,
        "Unable to attach or mount volumes: unmounted volumes=[raw], unattached volumes=[], failed to " +
          "process volumes=[raw]: volume raw has volumeMode Block, but is specified in volumeMounts",
      );
    } finally {
      await new Deno.Command("losetup", { args: ["-d", loop] }).output();
    }
  });

  test("a volume that one pod alone may use is refused to a second", async (folder) => {
    const { make, bind } = world(folder);
    const volumes = make();
    await Deno.mkdir(`${folder}/disk`);
    const local = { path: `${folder}/disk` };
    const volume = bind("one", { local, accessModes: ["ReadWriteOncePod"] });
    await volumes.setup(podOf([volume]), facts);
    const error = await assertRejects(() => volumes.setup(podOf([volume], {}, "v"), facts));
    assertEquals(
      (error as Error).message,
      "volume uses the ReadWriteOncePod access mode and is already in use by another pod",
    );
    await volumes.teardown(podOf([volume]));
    await volumes.setup(podOf([volume], {}, "v"), facts);
    await volumes.teardown(podOf([volume], {}, "v"));
  });
});
