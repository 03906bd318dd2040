/**
 * The stage under the virtual clock: a cluster in this process, asked through its REST API, whose time is moved.
 */
import { Cluster } from "../../mod.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { ManualClock } from "../../kv/mod.ts";
import { rollbackPatch } from "./rollback.ts";
import { type Reference, type Scenario, type Stage } from "./scenario.ts";

/** How far the clock is moved while something that is expected has not come true. */
const STEP_MS = 1_000;
/** Time passes in pieces: what is due in the background is done at its time, give or take one. */
const PIECE_MS = 10_000;

interface Resource {
  path: string;
  plural: string;
  namespaced: boolean;
}

const PATCH_TYPES = {
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  json: "application/json-patch+json",
};

/** Starts a cluster for a scenario, and lets it come to rest. */
export async function openVirtual(
  { cluster: { now, ...options } = {} }: Scenario,
): Promise<Stage & AsyncDisposable> {
  let clock = new ManualClock(now ? { startMs: Date.parse(now) } : {});
  let cluster = await Cluster.start({ clock, nodes: 3, ...options });
  await cluster.settle();
  const call = async (method: string, path: string, body?: unknown, type = "application/json") => {
    const answer = await cluster.fetch(path, {
      method,
      headers: { "content-type": type },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const json = await answer.json();
    if (!answer.ok) throw new Error(json.message);
    return json;
  };
  const resources = new Resources((path) => call("GET", path));
  const ofObject = async (object: KubeObject) =>
    await resources.collection(object.kind!, object.metadata.namespace, object.apiVersion);
  const advance = async (ms: number) => {
    for (const until = clock.now() + ms; clock.now() < until;) {
      const end = Math.min(clock.now() + PIECE_MS, until);
      await cluster.settle({ within: end - clock.now() });
      await clock.advance(end - clock.now());
    }
    await cluster.settle({ within: 0 });
    return true;
  };
  const patch: Stage["patch"] = async (
    { of, namespace, type = "merge", subresource, with: body },
  ) => {
    const path = await resources.object(of, namespace);
    await call("PATCH", subresource ? `${path}/${subresource}` : path, body, PATCH_TYPES[type]);
  };
  return {
    async apply(object) {
      const path = `${await ofObject(object)}/${object.metadata.name}`;
      const query = "fieldManager=scenario&force=true";
      await call("PATCH", `${path}?${query}`, object, "application/apply-patch+yaml");
    },
    async create(object) {
      await call("POST", await ofObject(object), object);
    },
    patch,
    async delete({ of, namespace, propagation, gracePeriodSeconds }) {
      const options = { propagationPolicy: propagation, gracePeriodSeconds };
      await call("DELETE", await resources.object(of, namespace), options);
    },
    async evict(of) {
      const name = of.split("/")[1];
      const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name } };
      await call("POST", `${await resources.object(of)}/eviction`, eviction);
    },
    async undo({ of, toRevision }) {
      const object = await call("GET", await resources.object(of));
      const kind = object.kind === "Deployment" ? "ReplicaSet" : "ControllerRevision";
      const { items } = await call("GET", await resources.collection(kind));
      // Items of a list do not say what they are.
      const holders = items.map((item: KubeObject) => ({ ...item, kind }));
      await patch({ of, ...rollbackPatch(object, holders, toRevision) });
    },
    async get(of, namespace) {
      const answer = await cluster.fetch(await resources.object(of, namespace));
      const json = await answer.json();
      if (answer.status === 404) return undefined;
      if (!answer.ok) throw new Error(json.message);
      return json;
    },
    async list(kind, namespace, labels) {
      const path = await resources.collection(kind, namespace);
      const query = labels ? `?labelSelector=${encodeURIComponent(labels)}` : "";
      return (await call("GET", path + query)).items;
    },
    advance,
    async off(ms) {
      const snapshot = await cluster.snapshot();
      await cluster.stop();
      clock = new ManualClock({ startMs: clock.now() + ms });
      cluster = await Cluster.start({ clock, nodes: 3, ...options, snapshot });
      await cluster.settle();
    },
    async wait() {
      await advance(STEP_MS);
      return STEP_MS;
    },
    [Symbol.asyncDispose]: () => cluster.stop(),
  };
}

/** Finds kinds by the names that kubectl knows, from discovery. */
class Resources {
  readonly #read: (path: string) => Promise<KubeObject>;
  #byName = new Map<string, Resource>();

  constructor(read: (path: string) => Promise<KubeObject>) {
    this.#read = read;
  }

  /** The path of a kind's objects in a namespace. */
  async collection(name: string, namespace = "default", apiVersion?: string): Promise<string> {
    const { path, plural, namespaced } = await this.#find(name, apiVersion);
    return namespaced ? `${path}/namespaces/${namespace}/${plural}` : `${path}/${plural}`;
  }

  async object(reference: Reference, namespace?: string): Promise<string> {
    const [kind, name] = reference.split("/");
    return `${await this.collection(kind, namespace)}/${name}`;
  }

  async #find(name: string, apiVersion = ""): Promise<Resource> {
    const key = `${apiVersion} ${name.toLowerCase()}`;
    if (!this.#byName.has(key)) await this.#discover();
    const found = this.#byName.get(key);
    if (!found) throw new Error(`there is no kind "${name}" ${apiVersion}`);
    return found;
  }

  async #discover(): Promise<void> {
    const byName = new Map<string, Resource>();
    const { groups } = await this.#read("/apis");
    const versions: string[] = groups.flatMap((group: { versions: { groupVersion: string }[] }) =>
      group.versions.map(({ groupVersion }) => groupVersion)
    );
    for (const apiVersion of ["v1", ...versions]) {
      const path = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
      for (const row of (await this.#read(path)).resources) {
        if (row.name.includes("/")) continue;
        const resource = { path, plural: row.name, namespaced: row.namespaced };
        for (const name of [row.name, row.singularName, row.kind, ...row.shortNames ?? []]) {
          for (const version of ["", apiVersion]) {
            const key = `${version} ${name.toLowerCase()}`;
            if (!byName.has(key)) byName.set(key, resource);
          }
        }
      }
    }
    this.#byName = byName;
  }
}
