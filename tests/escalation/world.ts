/** A whole API with its default policy, in process and under a manual clock; and the little that controllers do here. */
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import {
  approvalsFor,
  createAuth,
  createAuthority,
  createTokenKey,
  signedStatus,
} from "../../api/auth/mod.ts";
import type { Auth } from "../../api/auth/mod.ts";
import { fakeOutbound } from "../../api/client/outbound_fixture.ts";
import type { Client, User } from "../../api/client/contract.ts";
import { createKinds } from "../../api/kinds/mod.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { type Api, createApi, objectCodec } from "../../api/mod.ts";
import { bootstrap } from "../../api/server/bootstrap.ts";
import { type Database, ManualClock, openDatabase } from "../../kv/mod.ts";
import { type Any, type Identity, NAMESPACES, type Rbac, webhookAllows } from "./rights.ts";

export const ADMIN: User = { name: "admin", groups: ["system:masters", "system:authenticated"] };

/** How somebody shows who he is. */
export interface Credential {
  /** As he is known to the test. */
  identity: Identity;
  user?: User;
  token?: string;
  certificate?: { subject: { commonName?: string; organizations: string[] }; raw: Uint8Array };
}

/** The API, the state and what acts on it by itself. */
export interface World {
  api: Api;
  auth: Auth;
  admin: Client;
  clock: ManualClock;
  database: Database<KubeObject>;
  /** Objects under a prefix, as they are stored. */
  objects(prefix: string): Any[];
  rbac(): Rbac;
  /** Token and certificate controllers, once. */
  control(): Promise<void>;
  close(): Promise<void>;
}

const key = createTokenKey();

/** Opens one. */
export async function openWorld(seed: number): Promise<World> {
  const clock = new ManualClock({ seed });
  const database = await openDatabase<KubeObject>({
    path: ":simulated:",
    codec: objectCodec,
    clock,
  });
  const outbound = fakeOutbound(({ body }) => {
    const { user = "", groups = [], resourceAttributes: r } = body.spec;
    const allowed = r !== undefined && webhookAllows({ name: user, groups }, {
      verb: r.verb ?? "",
      group: r.group ?? "",
      resource: r.resource ?? "",
      subresource: r.subresource,
      namespace: r.namespace ?? "",
      name: r.name,
    });
    return {
      json: {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        status: { allowed },
      },
    };
  });
  const auth = createAuth({
    view: () => database.objects.view(),
    clock,
    tokenKeys: [key],
    outbound: () => outbound,
    authorization: [
      { type: "Node", name: "node" },
      { type: "RBAC", name: "rbac" },
      {
        type: "Webhook",
        name: "webhook",
        webhook: {
          endpoint: { url: "https://authz.example" },
          version: "v1",
          timeoutMs: 1000,
          authorizedMs: 1000,
          unauthorizedMs: 1000,
          failurePolicy: "Deny",
          matchConditions: [{ expression: "'on-duty' in request.groups" }],
        },
      },
    ],
  });
  const api = createApi({ ...auth, database, kinds: createKinds(), clock, outbound });
  const admin = api.client(ADMIN, "admin");
  await bootstrap({
    database,
    clock,
    client: admin,
    serviceRange: "10.96.0.0/12",
    apiIP: "10.96.0.1",
  });
  for (const name of NAMESPACES) {
    await admin.create({ resource: core("namespaces") }, { metadata: { name } });
  }
  const authority = await createAuthority(clock);
  const objects = (prefix: string) =>
    [...database.objects.view().scan(prefix)].map(({ value }) => value as Any);
  return {
    api,
    auth,
    admin,
    clock,
    database,
    objects,
    rbac: () => ({
      roles: objects("/registry/roles/"),
      clusterRoles: objects("/registry/clusterroles/"),
      roleBindings: objects("/registry/rolebindings/"),
      clusterRoleBindings: objects("/registry/clusterrolebindings/"),
    }),
    async control() {
      await fillTokens(admin, auth, objects("/registry/secrets/"));
      for (const csr of objects("/registry/certificatesigningrequests/")) {
        await handleRequest(csr, { admin, auth, authority, clock });
      }
    },
    close: () => database.close(),
  };
}

/** A resource of the core group. */
export function core(plural: string) {
  return { group: "", version: "v1", plural };
}

export const rbacResource = (plural: string) => ({
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural,
});

/** The token controller: Secrets of ServiceAccounts get their token. */
async function fillTokens(admin: Client, auth: Auth, secrets: readonly Any[]): Promise<void> {
  for (const secret of secrets) {
    if (secret.type !== "kubernetes.io/service-account-token" || secret.data?.token) continue;
    const { namespace, name, annotations = {} } = secret.metadata;
    const account = annotations["kubernetes.io/service-account.name"];
    const found = await admin.get(
      { resource: core("serviceaccounts"), namespace, name: account },
    ).catch(() => undefined) as Any;
    if (!found) continue;
    const { uid } = found.metadata;
    const token = await auth.tokens.legacyToken({ namespace, name: account, uid, secret: name });
    await admin.patch({ resource: core("secrets"), namespace, name }, {
      type: "merge",
      body: {
        metadata: { annotations: { "kubernetes.io/service-account.uid": uid } },
        data: { token: Buffer.from(token).toString("base64") },
      },
    });
  }
}

interface Signing {
  admin: Client;
  auth: Auth;
  authority: Awaited<ReturnType<typeof createAuthority>>;
  clock: ManualClock;
}

/** The approving and the signing controller. */
async function handleRequest(csr: Any, { admin, auth, authority, clock }: Signing): Promise<void> {
  const target = {
    resource: { group: "certificates.k8s.io", version: "v1", plural: "certificatesigningrequests" },
    name: csr.metadata.name,
  };
  const { username, groups = [], extra, uid } = csr.spec;
  for (const { subresource, message } of await approvalsFor(csr).catch(() => [])) {
    const { allowed } = await auth.authorizer.authorize({
      user: { name: username, groups, extra, uid },
      verb: "create",
      resourceRequest: true,
      group: "certificates.k8s.io",
      version: "*",
      resource: "certificatesigningrequests",
      subresource,
      namespace: "",
      name: "",
      path: "",
    });
    if (!allowed) continue;
    const condition = { type: "Approved", status: "True", reason: "AutoApproved", message };
    const conditions = [...csr.status?.conditions ?? [], condition];
    await admin.update({ ...target, subresource: "approval" }, {
      ...csr,
      status: { ...csr.status, conditions },
    });
    break;
  }
  const now = await admin.get(target).catch(() => undefined) as Any;
  const status = now && await signedStatus(now, authority, clock).catch(() => undefined);
  if (status) await admin.update({ ...target, subresource: "status" }, { ...now, status });
}

/** A certificate as a credential: who its holder is, it says itself. */
export function certificateCredential(pem: string): Credential | undefined {
  const certificate = new X509Certificate(pem);
  const parts = certificate.subject.split("\n").map((line) => line.split("="));
  const of = (name: string) => parts.filter(([n]) => n === name).map(([, value]) => value);
  const [commonName] = of("CN");
  if (!commonName) return undefined;
  const organizations = of("O");
  return {
    identity: { name: commonName, groups: [...organizations, "system:authenticated"] },
    certificate: { subject: { commonName, organizations }, raw: new Uint8Array(certificate.raw) },
  };
}
