/** Storage: volumes whose files are made of objects, and what becomes of them when those change. */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  type Behaviour,
  configMap,
  type Manifest,
  NO_ROOT,
  type PodSketch,
  secret,
} from "./behaviour.ts";
import { all, cat, modes, STAY } from "./programs.ts";
import type { Scene } from "./scene.ts";

/** A pod that mounts volumes at `/<name>`. */
export function mounting(volumes: Record<string, Manifest>, sketch: PodSketch): PodSketch {
  const volumeMounts = Object.keys(volumes).map((name) => ({ name, mountPath: `/${name}` }));
  return {
    ...sketch,
    container: { volumeMounts, ...sketch.container },
    spec: {
      volumes: Object.entries(volumes).map(([name, source]) => ({ name, ...source })),
      ...sketch.spec,
    },
  };
}

const DATA = { "data-1": "value-1\n", "data-2": "value-2\n" };

/** Kinds whose keys become files: as a volume, and as a source of a projected one. */
const KINDS = [
  {
    kind: "ConfigMap",
    object: (data: object, more = {}) => configMap("c", data, more),
    plain: (more: object) => ({ configMap: { name: "c", ...more } }),
    source: (more: object) => ({ configMap: { name: "c", ...more } }),
    missing: 'configmap "c" not found',
  },
  {
    kind: "Secret",
    object: (data: object, more = {}) => secret("c", data, more),
    plain: (more: object) => ({ secret: { secretName: "c", ...more } }),
    source: (more: object) => ({ secret: { name: "c", ...more } }),
    missing: 'secret "c" not found',
  },
];
type Form = { title: string; volume(more?: Manifest): Manifest };
const formsOf = ({ kind, plain, source }: typeof KINDS[number]): Form[] => [
  { title: kind, volume: (more = {}) => plain(more) },
  {
    title: `Projected ${kind}`,
    volume: ({ defaultMode, ...more } = {}) => ({
      projected: { ...defaultMode && { defaultMode }, sources: [source(more)] },
    }),
  },
];

const modesOf = (kind: typeof KINDS[number], { title, volume }: Form): Behaviour[] => [
  {
    name: `${title} should be consumable from pods in volume, in multiple volumes of the same pod`,
    objects: [kind.object(DATA)],
    pod: mounting({ v: volume(), w: volume() }, {
      run: all(cat("/v/data-1"), cat("/w/data-2"), modes("/v/data-1")),
    }),
    log: /^value-1\nvalue-2\n\/v\/data-1 644 /,
  },
  {
    name: `${title} should be consumable from pods in volume with defaultMode set`,
    objects: [kind.object(DATA)],
    pod: mounting({ v: volume({ defaultMode: 0o400 }) }, { run: modes("/v/data-1") }),
    log: /^\/v\/data-1 400 /,
  },
  {
    name: `${title} should be consumable from pods in volume with mappings and Item mode set`,
    objects: [kind.object(DATA)],
    pod: mounting({
      v: volume({
        items: [
          { key: "data-2", path: "path/to/data-2", mode: 0o400 },
          { key: "data-1", path: "data-1" },
        ],
      }),
    }, { run: all(cat("/v/path/to/data-2"), modes("/v/path/to/data-2", "/v/data-1")) }),
    log: /^value-2\n\/v\/path\/to\/data-2 400 .*\n\/v\/data-1 644 /,
  },
  {
    name:
      `${title} should be consumable from pods in volume as non-root with defaultMode and fsGroup set`,
    not: { isolate: NO_ROOT },
    objects: [kind.object(DATA)],
    pod: mounting({ v: volume({ defaultMode: 0o440 }) }, {
      run: all(cat("/v/data-1"), modes("/v/data-1")),
      spec: { securityContext: { runAsUser: 1000, fsGroup: 1001 } },
    }),
    log: "value-1\n/v/data-1 440 0 1001\n",
  },
];

/** A key's file as a pod sees it. */
const reads = (scene: Scene, path: string, wanted: string) =>
  scene.answers("p", `cat ${path} || echo none`, wanted);

const changesOf = (kind: typeof KINDS[number], { title, volume }: Form): Behaviour[] => [
  {
    name: `${title} optional updates should be reflected in volume`,
    pod: mounting({ v: volume({ optional: true }) }, { run: STAY }),
    then: async (scene) => {
      await scene.ready("p");
      await reads(scene, "/v/data-1", "none");
      await scene.create(kind.object({ "data-1": "first" }));
      await reads(scene, "/v/data-1", "first");
      const data = kind.kind === "Secret" ? { "data-2": btoa("2nd") } : { "data-2": "2nd" };
      await scene.patch(kind.kind, "c", { data: { ...data, "data-1": null } });
      await reads(scene, "/v/data-2", "2nd");
      await reads(scene, "/v/data-1", "none");
      await scene.delete(kind.kind, "c");
      await reads(scene, "/v/data-2", "none");
    },
  },
  {
    name: `${title} should be waited for by those who need it, and keys that it has not be told of`,
    pod: mounting({ v: volume({ items: [{ key: "data-1", path: "f" }] }) }, { run: STAY }),
    then: async (scene) => {
      await scene.event(
        new RegExp(`FailedMount MountVolume.SetUp failed for volume "v" : .*${kind.missing}`),
      );
      await scene.create(kind.object({ other: "x" }));
      await scene.event(/FailedMount .*references non-existent.* key: data-1/);
      const data = kind.kind === "Secret" ? { "data-1": btoa("x") } : { "data-1": "x" };
      await scene.patch(kind.kind, "c", { data });
      await scene.ready("p");
    },
  },
];

const OBJECTS: readonly Behaviour[] = [
  ...KINDS.flatMap((kind) =>
    formsOf(kind).flatMap((form) => [...modesOf(kind, form), ...changesOf(kind, form)])
  ),
  ...KINDS.map(({ kind, object }): Behaviour => ({
    name: `${kind} should be immutable if \`immutable\` field is set`,
    objects: [object(DATA, { immutable: true })],
    then: async (scene) => {
      await assertRejects(
        () => scene.patch(kind, "c", { data: { a: "YQ==" } }),
        Error,
        "immutable",
      );
    },
  })),
  {
    name: "ConfigMap binary data should be reflected in volume",
    objects: [configMap("c", { text: "t" }, { binaryData: { bytes: "3q2+7w==" } })],
    pod: mounting({ v: { configMap: { name: "c" } } }, {
      run: {
        sh: "od -An -tx1 /v/bytes | tr -d ' '; cat /v/text",
        ts:
          `say(Deno.readFileSync("/v/bytes").toHex()); Deno.stdout.writeSync(Deno.readFileSync("/v/text"))`,
      },
    }),
    log: "deadbeef\nt",
  },
  {
    name:
      "Secrets should be able to mount in a volume regardless of a different secret existing with same " +
      "name in different namespace",
    then: async (scene) => {
      const namespace = `${scene.namespace}-other`;
      await scene.create({ kind: "Namespace", metadata: { name: namespace } });
      const other = { ...scene.target("Secret"), namespace };
      await scene.client.create(other, secret("c", { "data-1": "theirs" }));
      await scene.create(secret("c", { "data-1": "ours" }));
      await scene.pod("p", mounting({ v: { secret: { secretName: "c" } } }, { run: STAY }));
      await scene.ready("p");
      assertEquals(await scene.says("p", "cat /v/data-1"), "ours");
      await scene.delete("Namespace", namespace);
    },
  },
  {
    name: "EmptyDir wrapper volumes should not conflict",
    objects: [configMap("c", DATA), secret("s", DATA)],
    pod: mounting({
      v: { configMap: { name: "c" } },
      w: { secret: { secretName: "s" } },
      x: { downwardAPI: { items: [{ path: "f", fieldRef: { fieldPath: "metadata.name" } }] } },
    }, { run: all(cat("/v/data-1"), cat("/w/data-2"), cat("/x/f")) }),
    log: "value-1\nvalue-2\np",
  },
];

const field = (path: string, fieldPath: string, more = {}) => ({
  path,
  fieldRef: { fieldPath },
  ...more,
});
const resource = (path: string, what: string, more = {}) => ({
  path,
  resourceFieldRef: { containerName: "c", resource: what, ...more },
});

/** As a volume, and as a source of a projected one. */
const DOWNWARD: Form[] = [
  { title: "Downward API volume", volume: (more) => ({ downwardAPI: more }) },
  {
    title: "Projected downwardAPI",
    volume: ({ defaultMode, ...more }) => ({
      projected: { ...defaultMode && { defaultMode }, sources: [{ downwardAPI: more }] },
    }),
  },
];

const downward = DOWNWARD.flatMap(({ title, volume }): Behaviour[] => [
  {
    name: `${title} should provide podname only, with DefaultMode and mode on item file`,
    pod: mounting({
      v: volume({
        defaultMode: 0o400,
        items: [
          field("name", "metadata.name"),
          field("deep/uid", "metadata.uid", { mode: 0o440 }),
        ],
      }),
    }, { run: all(cat("/v/name"), modes("/v/name", "/v/deep/uid")) }),
    log: /^p\/v\/name 400 .*\n\/v\/deep\/uid 440 /,
  },
  {
    name: `${title} should update labels and annotations on modification`,
    pod: mounting({
      v: volume({ items: [field("l", "metadata.labels"), field("a", "metadata.annotations")] }),
    }, { run: STAY, metadata: { labels: { key1: "value1" }, annotations: { builder: "bar" } } }),
    then: async (scene) => {
      await scene.ready("p");
      await scene.answers("p", "cat /v/l", 'key1="value1"');
      await scene.answers("p", "cat /v/a", /^builder="bar"$/m);
      const metadata = { labels: { key3: "value3" }, annotations: { builder: "foo" } };
      await scene.patch("Pod", "p", { metadata });
      await scene.answers("p", "cat /v/l", 'key1="value1"\nkey3="value3"');
      await scene.answers("p", "cat /v/a", /^builder="foo"$/m);
    },
  },
  {
    name: `${title} should provide container's limits and requests`,
    pod: mounting({
      v: volume({
        items: [
          resource("a", "limits.cpu"),
          resource("b", "limits.memory", { divisor: "1Mi" }),
          resource("c", "requests.cpu", { divisor: "1m" }),
          resource("d", "requests.memory"),
        ],
      }),
    }, {
      run: {
        sh: "echo $(cat /v/a) $(cat /v/b) $(cat /v/c) $(cat /v/d)",
        ts: `say(...["a", "b", "c", "d"].map((name) => read("/v/" + name)))`,
      },
      container: {
        resources: {
          limits: { cpu: "1250m", memory: "64Mi" },
          requests: { cpu: "250m", memory: "32Mi" },
        },
      },
    }),
    log: `2 64 250 ${32 * 2 ** 20}\n`,
  },
  {
    name: `${title} should provide node allocatable as default limit if the limit is not set`,
    pod: mounting({ v: volume({ items: [resource("a", "limits.cpu")] }) }, { run: cat("/v/a") }),
    ends: "Succeeded",
    then: async (scene) => {
      const { nodeName } = (await scene.get("Pod", "p")).spec;
      const { cpu } = (await scene.get("Node", nodeName)).status.allocatable;
      assertEquals(await scene.logs("p"), cpu);
    },
  },
]);

const account = "/var/run/secrets/kubernetes.io/serviceaccount";

const PROJECTED: readonly Behaviour[] = [
  {
    name: "Projected combined should project all components that make up the projection API",
    objects: [configMap("c", DATA), secret("s", DATA)],
    pod: mounting({
      v: {
        projected: {
          sources: [
            { configMap: { name: "c", items: [{ key: "data-1", path: "all/c" }] } },
            { secret: { name: "s", items: [{ key: "data-2", path: "all/s" }] } },
            { downwardAPI: { items: [field("all/name", "metadata.name")] } },
            {
              serviceAccountToken: { path: "token", audience: "somebody", expirationSeconds: 600 },
            },
          ],
        },
      },
    }, { run: STAY }),
    then: async (scene) => {
      await scene.ready("p");
      const read = (path: string) => scene.says("p", `cat ${path}`);
      assertEquals(await read("/v/all/c"), "value-1");
      assertEquals(await read("/v/all/s"), "value-2");
      assertEquals(await read("/v/all/name"), "p");
      const { aud, exp, iat } = claimsOf(await read("/v/token"));
      assertEquals([aud, exp - iat], [["somebody"], 600]);
    },
  },
  {
    name:
      "ServiceAccounts should mount an API token, the namespace and the cluster's authority into pods",
    pod: { run: STAY, spec: { automountServiceAccountToken: true } },
    then: async (scene) => {
      await scene.ready("p");
      const read = (file: string) => scene.says("p", `cat ${account}/${file}`);
      assertEquals(await read("namespace"), scene.namespace);
      assertMatch(await read("ca.crt"), /^-----BEGIN CERTIFICATE-----/);
      const claims = claimsOf(await read("token"));
      assertEquals(claims.sub, `system:serviceaccount:${scene.namespace}:default`);
      const pod = await scene.get("Pod", "p");
      assertEquals(claims["kubernetes.io"].pod, { name: "p", uid: pod.metadata.uid });
      assertEquals(claims["kubernetes.io"].node.name, pod.spec.nodeName);
    },
  },
  {
    name: "ServiceAccounts should allow opting out of API token automount",
    pod: { run: "ls /var/run/secrets || echo none" },
    log: /^none$/m,
  },
  {
    name:
      "ServiceAccounts should set ownership and permission when RunAsUser or FsGroup is present",
    not: { isolate: NO_ROOT },
    pod: {
      run: modes(`${account}/token`),
      spec: { automountServiceAccountToken: true, securityContext: { runAsUser: 1000 } },
    },
    log: `${account}/token 600 1000 0\n`,
    then: async (scene) => {
      await scene.once("q", {
        run: modes(`${account}/token`),
        spec: { automountServiceAccountToken: true, securityContext: { fsGroup: 2000 } },
      });
      assertEquals(await scene.logs("q"), `${account}/token 640 0 2000\n`);
    },
  },
];

function claimsOf(token: string): Manifest {
  const text = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  return JSON.parse(atob(text));
}

export const FILES: readonly Behaviour[] = [...OBJECTS, ...downward, ...PROJECTED];
