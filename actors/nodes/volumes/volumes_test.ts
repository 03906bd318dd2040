import { assertEquals, assertRejects } from "@std/assert";
import { ManualClock } from "../../../kv/clock.ts";
import { MountError } from "../ports.ts";
import type { Container, Pod, Volume } from "../types.ts";
import { writeAtomically } from "./atomic_writer.ts";
import type { RuntimeError } from "../runtimes/runtime.ts";
import { subPathOf } from "./container_mounts.ts";
import { HostVolumes } from "./volumes.ts";
import { inFolder, objectsOf, TOKENS } from "./fixture_test.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const facts = { hostIPs: [], podIPs: [], allocatable: { memory: "1Gi" } };

Deno.test("writeAtomically() moves all files at once, and only when something changed", () =>
  inFolder(async (folder) => {
    const file = (text: string, mode = 0o644) => ({ bytes: bytes(text), mode });
    const write = (files: [string, ReturnType<typeof file>][], stamp: string) =>
      writeAtomically(folder, new Map(files), { stamp });
    assertEquals(await write([["a", file("1")], ["d/b", file("2", 0o400)]], "s1"), true);
    assertEquals(await Deno.readLink(`${folder}/a`), "..data/a");
    assertEquals(await Deno.readLink(`${folder}/..data`), "..s1");
    assertEquals(await Deno.readTextFile(`${folder}/d/b`), "2");
    assertEquals((await Deno.stat(`${folder}/d/b`)).mode! & 0o777, 0o400);
    assertEquals(await write([["a", file("1")], ["d/b", file("2", 0o400)]], "s2"), false);
    assertEquals(await write([["a", file("3")], ["c", file("4")]], "s3"), true);
    const names = [...Deno.readDirSync(folder)].map((e) => e.name).sort();
    assertEquals(names, ["..data", "..s3", "a", "c"]);
    assertEquals(await Deno.readTextFile(`${folder}/a`), "3");
    assertEquals(await write([], "s3"), true);
    assertEquals([...Deno.readDirSync(folder)].some((e) => e.name === "a"), false);
  }));

function world(folder: string) {
  const kept = new Map<string, object>();
  const clock = new ManualClock();
  const volumes = new HostVolumes({
    folder,
    nodeName: "n",
    objects: objectsOf(kept),
    tokens: TOKENS,
    clock,
    mounts: false,
  });
  const pod = (...list: Volume[]) =>
    ({
      metadata: { name: "p", namespace: "ns", uid: "u", labels: { b: "2", a: '1"' } },
      spec: {
        containers: [{
          name: "c",
          volumeMounts: list.map(({ name }) => ({ name, mountPath: `/${name}` })),
        }],
        volumes: list,
      },
    }) as unknown as Pod;
  const at = (volume: string, path = "") => {
    const kinds = `${folder}/pods/u/volumes`;
    for (const kind of Deno.readDirSync(kinds)) {
      const full = `${kinds}/${kind.name}/${volume}`;
      for (const { name } of Deno.readDirSync(`${kinds}/${kind.name}`)) {
        if (name === volume) return `${full}/${path}`;
      }
    }
    throw new Deno.errors.NotFound(volume);
  };
  const read = async (volume: string, path: string) => await Deno.readTextFile(at(volume, path));
  return { kept, volumes, pod, read, at, clock };
}

Deno.test("HostVolumes makes files of objects, with items, modes and what may be missing", () =>
  inFolder(async (folder) => {
    const { kept, volumes, pod, read, at } = world(folder);
    kept.set("configmap/cm", { data: { k: "v", other: "w" }, binaryData: { bin: btoa("\x01") } });
    kept.set("secret/s", { data: { pw: btoa("geheim") } });
    await volumes.setup(
      pod(
        { name: "cm", configMap: { name: "cm" } },
        {
          name: "items",
          configMap: { name: "cm", items: [{ key: "k", path: "x/y", mode: 0o440 }] },
        },
        { name: "s", secret: { secretName: "s", defaultMode: 0o400 } },
        { name: "none", configMap: { name: "zip", optional: true } },
        {
          name: "down",
          downwardAPI: {
            items: [
              { path: "labels", fieldRef: { fieldPath: "metadata.labels" } },
              { path: "mem", resourceFieldRef: { containerName: "c", resource: "limits.memory" } },
            ],
          },
        },
        {
          name: "all",
          projected: {
            sources: [
              { serviceAccountToken: { path: "token" } },
              { configMap: { name: "cm", items: [{ key: "k", path: "k" }] } },
            ],
          },
        },
      ),
      facts,
    );
    assertEquals([await read("cm", "k"), await read("cm", "bin")], ["v", "\x01"]);
    assertEquals(await read("items", "x/y"), "v");
    assertEquals(await read("s", "pw"), "geheim");
    assertEquals(await read("down", "labels"), 'a="1\\""\nb="2"');
    assertEquals(await read("down", "mem"), String(2 ** 30));
    assertEquals([await read("all", "token"), await read("all", "k")], ["t", "v"]);
    const mode = (volume: string, path: string) => Deno.statSync(at(volume, path)).mode! & 0o777;
    assertEquals([mode("s", "pw"), mode("items", "x/y")], [0o400, 0o440]);
  }));

Deno.test("trust bundles are chosen by name, or by signer and labels, each certificate once", () =>
  inFolder(async (folder) => {
    const { kept, volumes, pod, read } = world(folder);
    const pem = (...bodies: string[]) =>
      bodies.map((body) =>
        `text between\n-----BEGIN CERTIFICATE-----\nHeader: x\n${body}\n-----END CERTIFICATE-----\n`
      ).join("");
    const bundle = (name: string, trustBundle: string, labels = {}, signerName?: string) =>
      kept.set(`bundle/${name}`, { metadata: { name, labels }, spec: { trustBundle, signerName } });
    bundle("one", pem("QQ==", "QQ=="));
    bundle("s1", pem("QQ=="), { live: "yes" }, "example.com/s");
    bundle("s2", pem("Qg=="), { live: "yes" }, "example.com/s");
    bundle("s3", pem("Qw=="), { live: "no" }, "example.com/s");
    const of = (clusterTrustBundle: object) =>
      pod({
        name: "v",
        projected: { sources: [{ clusterTrustBundle: { path: "ca", ...clusterTrustBundle } }] },
      });
    const plain = (body: string) =>
      `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`;
    await volumes.setup(of({ name: "one" }), facts);
    assertEquals(await read("v", "ca"), plain("QQ=="));
    const labelSelector = { matchLabels: { live: "yes" } };
    await volumes.setup(of({ signerName: "example.com/s", labelSelector }), facts);
    assertEquals(await read("v", "ca"), plain("QQ==") + plain("Qg=="));
    // No selector selects nothing.
    for (
      const [source, message] of [
        [
          { signerName: "example.com/s" },
          "combination of signerName and labelSelector matched zero ClusterTrustBundles",
        ],
        [
          { name: "none" },
          'while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "none" not found',
        ],
      ] as const
    ) {
      const error = await assertRejects(() => volumes.setup(of(source), facts), MountError);
      assertEquals(error.message, message);
      await volumes.setup(of({ ...source, optional: true }), facts);
      assertEquals(await read("v", "ca"), "");
    }
  }));

Deno.test("HostVolumes says what it waits for", () =>
  inFolder(async (folder) => {
    const { kept, volumes, pod } = world(folder);
    kept.set("configmap/cm", { data: {} });
    kept.set("claim/open", {
      metadata: { namespace: "ns" },
      status: { phase: "Pending" },
      spec: {},
    });
    const cases: [Volume, string][] = [
      [{ name: "v", configMap: { name: "x" } }, 'configmap "x" not found'],
      [{ name: "v", secret: { secretName: "x" } }, 'secret "x" not found'],
      [
        { name: "v", configMap: { name: "cm", items: [{ key: "k", path: "k" }] } },
        "configmap references non-existent config key: k",
      ],
      [
        { name: "v", hostPath: { path: `${folder}/none`, type: "Directory" } },
        `hostPath type check failed: ${folder}/none is not a directory`,
      ],
      [
        { name: "v", persistentVolumeClaim: { claimName: "x" } },
        "error processing PVC ns/x: failed to fetch PVC from API server: " +
        'persistentvolumeclaims "x" not found',
      ],
      [
        { name: "v", persistentVolumeClaim: { claimName: "open" } },
        "error processing PVC ns/open: PVC is not bound",
      ],
      [{ name: "v", glusterfs: {} }, "no volume plugin matched: this node has none for glusterfs"],
      [
        { name: "v", csi: { driver: "d.example" } },
        "driver name d.example not found in the list of registered CSI drivers",
      ],
      [{ name: "v", emptyDir: { medium: "Disk" } }, 'unknown storage medium "Disk"'],
      [
        { name: "v", emptyDir: { medium: "HugePages" } },
        "medium HugePages needs a node that may mount: it runs without root",
      ],
    ];
    for (const [volume, message] of cases) {
      const error = await assertRejects(() => volumes.setup(pod(volume), facts), MountError);
      assertEquals([error.volume, error.message], ["v", message]);
    }
  }));

Deno.test("a subPath that variables lead astray is refused in the kubelet's words", () => {
  const env = new Map([["ABS", "/tmp"], ["UP", "a/../.."], ["EMPTY", ""], ["OK", "a"]]);
  const of = (subPathExpr: string) => {
    try {
      return subPathOf({ subPathExpr }, env);
    } catch (error) {
      return `${(error as RuntimeError).reason}: ${(error as Error).message}`;
    }
  };
  const reason = "CreateContainerConfigError: ";
  assertEquals(of("x/$(OK)"), "x/a");
  assertEquals(of("$(ABS)"), `${reason}error SubPath \`/tmp\` must not be an absolute path`);
  assertEquals(
    of("$(UP)"),
    `${reason}unable to provision SubPath \`a/../..\`: must not contain '..'`,
  );
  assertEquals(of("$(Z)/$(EMPTY)"), `${reason}missing value for EMPTY, Z`);
  assertEquals(subPathOf({}, env), undefined);
});

Deno.test("HostVolumes refreshes, mounts subPaths, and goes", () =>
  inFolder(async (folder) => {
    const { kept, volumes, pod, read } = world(folder);
    kept.set("configmap/cm", { data: { k: "v" } });
    const path = `${folder}/host`;
    const of = pod(
      { name: "cm", configMap: { name: "cm" } },
      { name: "e", emptyDir: {} },
      { name: "h", hostPath: { path, type: "DirectoryOrCreate" } },
    );
    await volumes.setup(of, facts);
    kept.set("configmap/cm", { data: { k: "new" } });
    await volumes.refresh(of, facts);
    assertEquals(await read("cm", "k"), "new");
    const container: Container = {
      name: "c",
      volumeMounts: [
        { name: "cm", mountPath: "/cm" },
        { name: "e", mountPath: "/e/", subPathExpr: "$(POD)" },
        { name: "h", mountPath: "/h", readOnly: true },
      ],
    };
    const mounts = await volumes.mounts(of, container, new Map([["POD", "p"]]), {});
    assertEquals(mounts.map((m) => [m.containerPath, m.readOnly]), [
      ["/cm", true],
      ["/e", false],
      ["/h", true],
    ]);
    assertEquals(mounts[1].hostPath, `${folder}/pods/u/volumes/kubernetes.io~empty-dir/e/p`);
    await Deno.symlink("/etc", `${path}/out`);
    const escape = { name: "c", volumeMounts: [{ name: "h", mountPath: "/x", subPath: "out" }] };
    await assertRejects(
      () => volumes.mounts(of, escape, new Map(), {}),
      Error,
      'failed to prepare subPath for volumeMount "h" of container "c"',
    );
    await volumes.teardown(of);
    assertEquals([...Deno.readDirSync(`${folder}/pods/u`)], []);
    assertEquals(Deno.statSync(path).isDirectory, true);
  }));
