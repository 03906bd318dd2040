/** A whole API on a database in memory, for the tests of this folder. */
import { openDatabase, RealClock } from "../../kv/mod.ts";
import type { Clock } from "../../kv/mod.ts";
import { createAuth, createTokenKey } from "../auth/mod.ts";
import type { Client, User } from "../client/contract.ts";
import { createKinds } from "../kinds/mod.ts";
import type { KubeObject } from "../machinery/types.ts";
import { type Api, type ApiOptions, createApi, hostOutbound, objectCodec } from "../mod.ts";

/** The user that may do everything. */
export const ADMIN: User = {
  name: "kubernetes-admin",
  groups: ["system:masters", "system:authenticated"],
};

/** A bearer token of theirs. */
export const ADMIN_TOKEN = "admin-token";

/** A running API; `await using` closes it. */
export interface Fixture {
  api: Api;
  client: Client;
  clock: Clock;
  database: ApiOptions["database"];
  [Symbol.asyncDispose](): Promise<void>;
}

let key: Promise<string> | undefined;

/** One key for all tests: making one takes longer than the rest. */
async function tokenKey(): Promise<string> {
  return await (key ??= Promise.resolve(createTokenKey()));
}

/** Opens one, with the namespace `default` and its ServiceAccount in it. */
export async function openApi(
  options: Partial<ApiOptions> & { keepRevisions?: number } = {},
): Promise<Fixture> {
  const clock = options.clock ?? new RealClock();
  const database = await openDatabase<KubeObject>({ codec: objectCodec, clock });
  const outbound = options.outbound ?? hostOutbound({ database, clock });
  const kinds = createKinds();
  const auth = createAuth({
    view: () => database.objects.view(),
    clock,
    kinds: () => kinds,
    outbound: () => outbound,
    tokenKeys: [await tokenKey()],
    tokens: new Map([[ADMIN_TOKEN, ADMIN]]),
  });
  const api = createApi({ database, kinds, clock, outbound, ...auth, ...options });
  const client = api.client(ADMIN, "test");
  for (const name of ["default", "kube-system"]) {
    await client.create({ resource: NAMESPACES }, { metadata: { name } });
    await client.create({ resource: core("serviceaccounts"), namespace: name }, {
      metadata: { name: "default" },
    });
  }
  return {
    api,
    client,
    clock,
    database,
    async [Symbol.asyncDispose]() {
      await database.close();
    },
  };
}

/** A resource of the core group. */
export function core(plural: string) {
  return { group: "", version: "v1", plural };
}

export const NAMESPACES = core("namespaces");
export const PODS = core("pods");
export const CRDS = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
};
export const CONFIG_MAPS = core("configmaps");

/** A small pod. */
export function pod(name: string, labels?: Record<string, string>) {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels },
    spec: { containers: [{ name: "c", image: "nginx:1.27" }] },
  };
}

/** A definition of example.com with one version, and what that says beside its schema. */
export function definitionOf(
  plural: string,
  kind: string,
  { scope = "Cluster", schema = {}, ...version }: {
    scope?: "Cluster" | "Namespaced";
    schema?: object;
    subresources?: object;
  } = {},
) {
  const openAPIV3Schema = { type: "object", ...schema };
  return {
    metadata: { name: `${plural}.example.com` },
    spec: {
      group: "example.com",
      scope,
      names: { plural, kind },
      versions: [{
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema },
        ...version,
      }],
    },
  };
}

/** Waits until a definition is established. */
export async function established({ client }: { client: Client }): Promise<void> {
  interface Condition {
    type: string;
    status: string;
  }
  for await (const events of await client.watch<KubeObject>({ resource: CRDS })) {
    const conditions: Condition[] = events.at(-1)!.object.status?.conditions ?? [];
    if (conditions.some(({ type, status }) => type === "Established" && status === "True")) return;
  }
}
