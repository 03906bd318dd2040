/**
 * A node sees what its own pods need and changes what is its own, in every state that pods, volumes, claims and
 * attachments can be in: random worlds, random requests of two nodes, each judged by a model that reads the stored objects
 * itself. `ESCALATION_SEEDS=from-to` and `ESCALATION_STEPS=n` run others; a failure names its seed and step.
 */
import { assert, assertEquals } from "@std/assert";
import { Chance } from "./attempts.ts";
import type { Any } from "./rights.ts";
import { core, openWorld, type World } from "./world.ts";

const [FROM, TO] = (Deno.env.get("ESCALATION_SEEDS") ?? "1-4").split("-").map(Number);
const STEPS = Number(Deno.env.get("ESCALATION_STEPS") ?? 300);
const NODES = ["n1", "n2"];
const NAMESPACES = ["red", "blue"];
const NAMES = ["a", "b", "c"];
const storage = (plural: string) => ({ group: "storage.k8s.io", version: "v1", plural });

/** What a pod's spec names of a kind: as plainly as it can be read. */
function named(pod: Any, kind: string): string[] {
  const { spec, metadata } = pod;
  const containers = [...spec.containers ?? [], ...spec.initContainers ?? []];
  const env = containers.flatMap((c: Any) => c.env ?? []).map((e: Any) => e.valueFrom ?? {});
  const from = containers.flatMap((c: Any) => c.envFrom ?? []);
  const volumes: Any[] = spec.volumes ?? [];
  const sources = volumes.flatMap((v) => v.projected?.sources ?? []);
  const of = (...lists: (string | undefined)[][]) => lists.flat().filter((n) => n !== undefined);
  switch (kind) {
    case "secrets":
      return of(
        env.map((e) => e.secretKeyRef?.name),
        from.map((e: Any) => e.secretRef?.name),
        volumes.map((v) => v.secret?.secretName),
        sources.map((s: Any) => s.secret?.name),
        (spec.imagePullSecrets ?? []).map((s: Any) => s.name),
      ) as string[];
    case "configmaps":
      return of(
        env.map((e) => e.configMapKeyRef?.name),
        from.map((e: Any) => e.configMapRef?.name),
        volumes.map((v) => v.configMap?.name),
        sources.map((s: Any) => s.configMap?.name),
      ) as string[];
    case "persistentvolumeclaims":
      return of(
        volumes.map((v) =>
          v.persistentVolumeClaim?.claimName ??
            (v.ephemeral ? `${metadata.name}-${v.name}` : undefined)
        ),
      ) as string[];
    default:
      return of([spec.serviceAccountName]) as string[];
  }
}

/** Whether an object is a node's to know. */
function known(world: World, node: string, kind: string, namespace: string, name: string): boolean {
  const pods = world.objects(`/registry/pods/`).filter((p) =>
    p.spec.nodeName === node &&
    p.metadata.annotations?.["kubernetes.io/config.mirror"] === undefined
  );
  const needs = (ns: string, what: string, wanted: string) =>
    pods.some((p) => p.metadata.namespace === ns && named(p, what).includes(wanted));
  const volumes = world.objects("/registry/persistentvolumes/");
  switch (kind) {
    case "pods":
      return world.objects(`/registry/pods/${namespace}/`).some((p) =>
        p.metadata.name === name && p.spec.nodeName === node
      );
    case "persistentvolumes": {
      const claim = volumes.find((v) => v.metadata.name === name)?.spec.claimRef;
      return !!claim && needs(claim.namespace, "persistentvolumeclaims", claim.name);
    }
    case "volumeattachments":
      return world.objects("/registry/volumeattachments/").some((v) =>
        v.metadata.name === name && v.spec.nodeName === node
      );
    case "secrets":
      return needs(namespace, kind, name) || volumes.some(({ spec: { csi, claimRef } }) => {
        const ref = csi?.nodePublishSecretRef;
        return ref?.name === name && ref.namespace === namespace && !!claimRef &&
          needs(claimRef.namespace, "persistentvolumeclaims", claimRef.name);
      });
    default:
      return needs(namespace, kind, name);
  }
}

function randomPod(chance: Chance, name: string, node: string): Any {
  const pick = () => chance.pick(NAMES);
  const volumes = chance.some<Any>([
    { name: "s", secret: { secretName: pick() } },
    { name: "m", configMap: { name: pick() } },
    {
      name: "p",
      projected: { sources: [{ secret: { name: pick() } }, { configMap: { name: pick() } }] },
    },
    { name: "c", persistentVolumeClaim: { claimName: pick() } },
    {
      name: "e",
      ephemeral: {
        volumeClaimTemplate: {
          spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
        },
      },
    },
    { name: "t", projected: { sources: [{ serviceAccountToken: { path: "t" } }] } },
  ], 3);
  const unique = [...new Map(volumes.map((v) => [v.name, v])).values()];
  return {
    metadata: { name },
    spec: {
      nodeName: chance.yes(0.8) ? node : undefined,
      serviceAccountName: pick(),
      automountServiceAccountToken: false,
      imagePullSecrets: chance.yes(0.2) ? [{ name: pick() }] : undefined,
      volumes: unique,
      containers: [{
        name: "c",
        image: "i",
        env: chance.yes(0.3)
          ? [{ name: "E", valueFrom: { secretKeyRef: { name: pick(), key: "k" } } }]
          : [],
        envFrom: chance.yes(0.3) ? [{ configMapRef: { name: pick() } }] : [],
      }],
    },
  };
}

/** The administrator changes something that nodes' rights follow from. */
async function move(world: World, chance: Chance): Promise<void> {
  const { admin } = world;
  const namespace = chance.pick(NAMESPACES);
  const name = chance.pick(NAMES);
  const quietly = (work: Promise<unknown>) => work.catch(() => undefined);
  switch (
    chance.pick(["pod", "pod", "gone", "gone", "volume", "unbound", "attached", "detached"])
  ) {
    case "pod":
      return void await quietly(
        admin.create(
          { resource: core("pods"), namespace },
          randomPod(chance, name, chance.pick(NODES)),
        ),
      );
    case "gone":
      return void await quietly(
        admin.delete({ resource: core("pods"), namespace, name }, { gracePeriodSeconds: 0 }),
      );
    case "volume": {
      const secret = { name: chance.pick(NAMES), namespace: chance.pick(NAMESPACES) };
      return void await quietly(admin.create({ resource: core("persistentvolumes") }, {
        metadata: { name },
        spec: {
          capacity: { storage: "1Gi" },
          accessModes: ["ReadWriteOnce"],
          claimRef: { namespace, name: chance.pick(NAMES) },
          csi: {
            driver: "d",
            volumeHandle: name,
            ...(chance.yes(0.6) ? { nodePublishSecretRef: secret } : {}),
          },
        },
      }));
    }
    case "unbound":
      return void await quietly(
        admin.patch({ resource: core("persistentvolumes"), name }, {
          type: "merge",
          body: { metadata: { finalizers: null } },
        }).then(() => admin.delete({ resource: core("persistentvolumes"), name })),
      );
    case "attached":
      return void await quietly(admin.create({ resource: storage("volumeattachments") }, {
        metadata: { name },
        spec: {
          attacher: "d",
          nodeName: chance.pick(NODES),
          source: { persistentVolumeName: "x" },
        },
      }));
    default:
      return void await quietly(admin.delete({ resource: storage("volumeattachments"), name }));
  }
}

interface Question {
  path: string;
  method?: string;
  body?: Any;
  /** Whether it may be done. */
  may: boolean;
  /** The code that says that it was done (default: any but 403). */
  wanted?: number;
}

function nodeQuestion(world: World, chance: Chance, node: string): Question {
  const namespace = chance.pick(NAMESPACES);
  const name = chance.pick(NAMES);
  const api = `/api/v1/namespaces/${namespace}`;
  const kind = chance.pick([
    "secrets",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "persistentvolumes",
    "volumeattachments",
    "pods",
    "token",
    "list",
    "selected",
    "node",
    "lease",
    "status",
    "evict",
    "write",
  ]);
  const other = chance.pick(NODES);
  const is = (what: string) => known(world, node, what, namespace, name);
  switch (kind) {
    case "secrets":
    case "configmaps": {
      if (chance.yes(0.3)) {
        const selector = `fieldSelector=metadata.name%3D${name}`;
        return { path: `${api}/${kind}?${selector}`, may: is(kind) };
      }
      return { path: `${api}/${kind}/${name}`, may: is(kind) };
    }
    case "persistentvolumeclaims": {
      const claim = chance.yes(0.3) ? `${name}-e` : name;
      return { path: `${api}/${kind}/${claim}`, may: known(world, node, kind, namespace, claim) };
    }
    case "persistentvolumes":
      return { path: `/api/v1/${kind}/${name}`, may: is(kind) };
    case "volumeattachments":
      return { path: `/apis/storage.k8s.io/v1/${kind}/${name}`, may: is(kind) };
    case "pods":
      return { path: `${api}/pods/${name}`, may: is("pods") };
    case "token": {
      // Bound to a pod of the node that runs as this account, and for the API server alone
      const account = chance.pick(NAMES);
      const [pod] = world.objects(`/registry/pods/${namespace}/${name}`);
      const boundObjectRef = { apiVersion: "v1", kind: "Pod", name, uid: pod?.metadata.uid ?? "x" };
      const wants = (pod?.spec.volumes ?? []).some((v: Any) =>
        v.projected?.sources?.some((s: Any) => s.serviceAccountToken)
      );
      const bound = chance.yes(0.8);
      return {
        method: "POST",
        path: `${api}/serviceaccounts/${account}/token`,
        body: {
          apiVersion: "authentication.k8s.io/v1",
          kind: "TokenRequest",
          spec: bound ? { boundObjectRef } : {},
        },
        may: bound && wants && pod.spec.nodeName === node &&
          pod.spec.serviceAccountName === account,
        wanted: 201,
      };
    }
    case "list":
      return {
        path: `${api}/${chance.pick(["secrets", "configmaps", "pods", "persistentvolumeclaims"])}`,
        may: false,
      };
    case "selected":
      return {
        path: `/api/v1/pods?fieldSelector=spec.nodeName%3D${other}`,
        may: other === node,
      };
    case "node":
      return { path: `/api/v1/nodes/${other}`, may: other === node };
    case "lease":
      return {
        path: `/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/${other}`,
        may: other === node,
      };
    case "status": {
      const [pod] = world.objects(`/registry/pods/${namespace}/${name}`);
      return {
        method: "PUT",
        path: `${api}/pods/${name}/status`,
        body: pod ? { ...pod, status: { ...pod.status, message: "x" } } : { metadata: { name } },
        may: !pod || pod.spec.nodeName === node,
      };
    }
    case "evict": {
      const [pod] = world.objects(`/registry/pods/${namespace}/${name}`);
      return {
        method: "POST",
        path: `${api}/pods/${name}/eviction`,
        body: { apiVersion: "policy/v1", kind: "Eviction", metadata: { name } },
        may: !pod || pod.spec.nodeName === node,
      };
    }
    default:
      return {
        method: chance.pick(["DELETE", "PUT"]),
        path: `${api}/${chance.pick(["secrets", "configmaps", "serviceaccounts"])}/${name}`,
        body: { metadata: { name } },
        may: false,
      };
  }
}

async function run(seed: number): Promise<[number, number]> {
  const chance = new Chance(seed * 2246822519);
  const world = await openWorld(seed);
  let allowed = 0;
  let refused = 0;
  try {
    for (const name of NODES) {
      await world.admin.create({ resource: core("nodes") }, { metadata: { name } });
    }
    for (const namespace of NAMESPACES) {
      for (const name of NAMES) {
        await world.admin.create({ resource: core("serviceaccounts"), namespace }, {
          metadata: { name },
        });
        await world.admin.create({ resource: core("secrets"), namespace }, { metadata: { name } });
        await world.admin.create({ resource: core("configmaps"), namespace }, {
          metadata: { name },
        });
      }
    }
    for (let i = 0; i < STEPS; i++) {
      if (chance.yes(0.4)) await move(world, chance);
      const node = chance.pick(NODES);
      const user = {
        name: `system:node:${node}`,
        groups: ["system:nodes", "system:authenticated"],
      };
      const { path, method = "GET", body, may, wanted } = nodeQuestion(world, chance, node);
      const headers = new Headers(body ? { "content-type": "application/json" } : {});
      const response = await world.api.fetch(
        new Request(`http://x${path}`, {
          method,
          headers,
          body: body && JSON.stringify(body),
        }),
        { user },
      );
      const answer = await response.json();
      const said =
        `seed ${seed}, step ${i}: ${node} ${method} ${path}: ${response.status} ${answer.message}`;
      assert(response.status < 500, said);
      const done = wanted === undefined ? response.status !== 403 : response.status === wanted;
      assertEquals(done, may, said);
      if (may) allowed++;
      else refused++;
    }
  } finally {
    await world.close();
  }
  return [allowed, refused];
}

Deno.test("a node may what its own pods need, and nothing of other nodes", async () => {
  let allowed = 0;
  let refused = 0;
  for (let seed = FROM; seed <= TO; seed++) {
    const [yes, no] = await run(seed);
    allowed += yes;
    refused += no;
  }
  if (Deno.env.has("ESCALATION_SEEDS")) console.log(`${allowed} allowed, ${refused} refused`);
  assert(allowed > (allowed + refused) / 10, "hardly anything was allowed: nothing was shown");
});
