/** Certificate requests on their way through approver, signer and cleaner; bootstrap tokens; old tokens in Secrets. */
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { createHmac, X509Certificate } from "node:crypto";
import { approvalsFor, createAuthority, signedStatus } from "../../api/auth/mod.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { ManualClock } from "../../kv/clock.ts";
import {
  type ActorContext,
  CERTIFICATE_SIGNING_REQUESTS,
  CONFIG_MAPS,
  PODS,
  SECRETS,
  SERVICE_ACCOUNTS,
} from "../runtime/mod.ts";
import { detachedSignature } from "../../api/machinery/detached_signature.ts";
import { bootstrapSignerController } from "./bootstrap_signer.ts";
import { csrApprovingController } from "./csr_approving.ts";
import { csrCleanerController } from "./csr_cleaner.ts";
import { csrSigningController } from "./csr_signing.ts";
import {
  legacyTokenCleanerController,
  reconcile as reconcileToken,
} from "./legacy_token_cleaner.ts";
import type { ControllerPorts } from "./ports.ts";
import { tokenCleanerController } from "./token_cleaner.ts";
import { openWorld, type World } from "./world_test.ts";

// deno-lint-ignore no-explicit-any -- objects as they are served
type Any = any;

const HOUR_MS = 3600 * 1000;
const DAY_MS = 24 * HOUR_MS;
const KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet";
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

async function requestOf(cn: string, organization = "system:nodes"): Promise<string> {
  const x509 = await import("@peculiar/x509");
  const made = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ O: [organization] }, { CN: [cn] }],
    keys: await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as CryptoKeyPair,
    signingAlgorithm: ALGORITHM,
  });
  return Buffer.from(made.toString("pem")).toString("base64");
}

async function csr(name: string, more: Any = {}): Promise<object> {
  return {
    apiVersion: "certificates.k8s.io/v1",
    kind: "CertificateSigningRequest",
    metadata: { name },
    spec: {
      signerName: KUBELET_CLIENT,
      request: await requestOf("system:node:n1"),
      usages: ["digital signature", "client auth"],
      ...more,
    },
  };
}

async function openSigningWorld(): Promise<World> {
  const clock = new ManualClock();
  const authority = await createAuthority(clock);
  const certificates: ControllerPorts["certificates"] = {
    approvalsFor,
    signedStatus: (one) => signedStatus(one, authority, world.clock),
  };
  const world: World = await openWorld([
    csrApprovingController({ certificates }),
    csrSigningController({ certificates }),
    csrCleanerController,
  ]);
  return world;
}

/** Lets the library that makes certificates do its work, which is outside of the clock. */
async function signed(world: World): Promise<void> {
  for (let i = 0; i < 40; i++) {
    await world.settle();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await world.settle();
}

async function bind(world: World, role: string, user: string): Promise<void> {
  const RBAC = { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterrolebindings" };
  await world.client.create({ resource: RBAC }, {
    metadata: { name: `${role}-${user}`.replaceAll(":", "-") },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user }],
  });
}

const conditionsOf = (one: Any) =>
  (one.status?.conditions ?? []).map((c: Any) => `${c.type} ${c.status} ${c.reason}: ${c.message}`);

Deno.test("csr: a node's request is approved, signed and in the end removed", async () => {
  await using world = await openSigningWorld();
  const selfRole = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient";
  await bind(world, selfRole, "system:node:n1");
  await bind(world, "cluster-admin", "system:node:n1");
  const node = world.client.as({
    name: "system:node:n1",
    groups: ["system:nodes", "system:authenticated"],
  });
  const body = await csr("own", { expirationSeconds: 7200 });
  await node.create({ resource: CERTIFICATE_SIGNING_REQUESTS }, body);
  await signed(world);
  const own = await world.get(CERTIFICATE_SIGNING_REQUESTS, "own");
  assertEquals(conditionsOf(own), [
    "Approved True AutoApproved: Auto approving self kubelet client certificate after SubjectAccessReview.",
  ]);
  const certificate = new X509Certificate(Buffer.from(own.status.certificate, "base64"));
  assertEquals(certificate.subject, "O=system:nodes\nCN=system:node:n1");
  await world.advance(HOUR_MS - 60_000);
  assertEquals((await world.list(CERTIFICATE_SIGNING_REQUESTS)).length, 1);
  await world.advance(2 * 60_000);
  assertEquals((await world.list(CERTIFICATE_SIGNING_REQUESTS)).length, 0);
  assertEquals(world.log, []);
});

Deno.test("csr: a request by somebody without the right waits, and goes after a day", async () => {
  await using world = await openSigningWorld();
  await bind(world, "cluster-admin", "eve");
  const eve = world.client.as({ name: "mallory", groups: ["system:authenticated"] });
  await bind(world, "edit", "mallory");
  const RBAC = { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterroles" };
  await world.client.create({ resource: RBAC }, {
    metadata: { name: "ask" },
    rules: [{
      apiGroups: ["certificates.k8s.io"],
      resources: ["certificatesigningrequests"],
      verbs: ["create"],
    }],
  });
  await bind(world, "ask", "mallory");
  await eve.create({ resource: CERTIFICATE_SIGNING_REQUESTS }, await csr("hers"));
  await signed(world);
  assertEquals(conditionsOf(await world.get(CERTIFICATE_SIGNING_REQUESTS, "hers")), []);
  await bind(world, "system:certificates.k8s.io:certificatesigningrequests:nodeclient", "mallory");
  await world.advance(6 * 60_000);
  await signed(world);
  assertEquals(conditionsOf(await world.get(CERTIFICATE_SIGNING_REQUESTS, "hers")), [
    "Approved True AutoApproved: Auto approving kubelet client certificate after SubjectAccessReview.",
  ]);
  const pending = await csr("pending", { signerName: "acme.com/x" });
  await world.client.create({ resource: CERTIFICATE_SIGNING_REQUESTS }, pending);
  await world.advance(DAY_MS + 60_000);
  assertEquals((await world.list(CERTIFICATE_SIGNING_REQUESTS)).length, 0);
});

Deno.test("csr: what a signer does not give is marked as failed", async () => {
  await using world = await openSigningWorld();
  await world.client.create(
    { resource: CERTIFICATE_SIGNING_REQUESTS },
    await csr("wrong", { request: await requestOf("system:node:n1", "ops") }),
  );
  const target = { resource: CERTIFICATE_SIGNING_REQUESTS, name: "wrong" };
  const live = await world.client.get<KubeObject>(target);
  await world.client.update({ ...target, subresource: "approval" }, {
    ...live,
    status: { conditions: [{ type: "Approved", status: "True", reason: "Me", message: "yes" }] },
  });
  await signed(world);
  const failed = await world.get(CERTIFICATE_SIGNING_REQUESTS, "wrong");
  assertEquals(conditionsOf(failed), [
    "Approved True Me: yes",
    "Failed True SignerValidationFailure: subject organization is not system:nodes",
  ]);
  assertEquals(failed.status.certificate, undefined);
  await world.advance(2 * HOUR_MS);
  assertEquals((await world.list(CERTIFICATE_SIGNING_REQUESTS)).length, 0);
});

function token(id: string, more: Record<string, string> = {}): object {
  return {
    metadata: { name: `bootstrap-token-${id}` },
    type: "bootstrap.kubernetes.io/token",
    stringData: {
      "token-id": id,
      "token-secret": "0123456789abcdef",
      "usage-bootstrap-signing": "true",
      "usage-bootstrap-authentication": "true",
      ...more,
    },
  };
}

Deno.test("bootstrap-signer: cluster-info bears the signature of every token that may sign", async () => {
  await using world = await openWorld([bootstrapSignerController, tokenCleanerController]);
  await world.client.create({ resource: { group: "", version: "v1", plural: "namespaces" } }, {
    metadata: { name: "kube-public" },
  });
  await world.create(CONFIG_MAPS, {
    metadata: { name: "cluster-info" },
    data: { kubeconfig: "the content" },
  }, "kube-public");
  const expiration = new Date(world.clock.now() + HOUR_MS).toISOString();
  await world.create(SECRETS, token("abcdef", { expiration }), "kube-system");
  await world.create(SECRETS, token("fedcba"), "kube-system");
  await world.create(
    SECRETS,
    token("silent", { "usage-bootstrap-signing": "false" }),
    "kube-system",
  );
  await world.settle();
  const keys = async () =>
    Object.keys((await world.get(CONFIG_MAPS, "cluster-info", "kube-public")).data).sort();
  assertEquals(await keys(), ["jws-kubeconfig-abcdef", "jws-kubeconfig-fedcba", "kubeconfig"]);
  const { data } = await world.get(CONFIG_MAPS, "cluster-info", "kube-public");
  // Checked by the rules of RFC 7515, appendix F, independently of how it was made.
  const [header, content, signature] = data["jws-kubeconfig-abcdef"].split(".");
  assertEquals(content, "");
  assertEquals(JSON.parse(Buffer.from(header, "base64url").toString()), {
    alg: "HS256",
    kid: "abcdef",
  });
  const body = Buffer.from("the content").toString("base64url");
  const mac = createHmac("sha256", "0123456789abcdef").update(`${header}.${body}`);
  assertEquals(signature, mac.digest("base64url"));
  await world.advance(HOUR_MS + 1000);
  assertEquals(await keys(), ["jws-kubeconfig-fedcba", "kubeconfig"]);
  const left = (await world.list(SECRETS, "kube-system")).map(({ metadata }) => metadata.name);
  assertEquals(left.sort(), ["bootstrap-token-fedcba", "bootstrap-token-silent"]);
  await world.create(SECRETS, token("broken", { expiration: "tomorrow" }), "kube-system")
    .catch(() => {});
  await world.settle();
  assert(!(await keys()).includes("jws-kubeconfig-broken"));
  assertEquals(world.log, []);
});

Deno.test("detachedSignature() is upstream's, byte for byte", () => {
  // Facts: cluster-bootstrap's own test values (content, id, secret).
  assertEquals(
    detachedSignature(
      "Hello from the other side. I must have called a thousand times.",
      "joshua",
      "my voice is my passcode",
    ),
    "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8",
  );
});

Deno.test("legacy tokens: unused for a year they are marked, after another removed", async () => {
  await using world = await openWorld([legacyTokenCleanerController]);
  const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);
  const start = world.clock.now();
  await world.create(CONFIG_MAPS, {
    metadata: { name: "kube-apiserver-legacy-service-account-token-tracking" },
    data: { since: dayOf(start) },
  }, "kube-system");
  for (const name of ["old", "mounted", "by-hand", "used"]) {
    await world.create(SECRETS, {
      metadata: { name, annotations: { "kubernetes.io/service-account.name": "default" } },
      type: "kubernetes.io/service-account-token",
    });
  }
  const target = { resource: SERVICE_ACCOUNTS, namespace: "default", name: "default" };
  const account = await world.client.get<KubeObject>(target);
  const secrets = [{ name: "old" }, { name: "mounted" }, { name: "used" }];
  await world.client.update(target, { ...account, secrets });
  await world.create(PODS, {
    metadata: { name: "p" },
    spec: {
      containers: [{ name: "c", image: "i" }],
      volumes: [{ name: "v", projected: { sources: [{ secret: { name: "mounted" } }] } }],
    },
  });
  await world.client.patch({ resource: SECRETS, namespace: "default", name: "used" }, {
    type: "merge",
    body: {
      metadata: { labels: { "kubernetes.io/legacy-token-last-used": dayOf(start + 300 * DAY_MS) } },
    },
  });
  await world.settle();
  /** Two years of a clock with everything that repeats every few seconds take minutes: only this one moves. */
  const look = async (days: number) => {
    const clock = { now: () => start + days * DAY_MS };
    const context = { clock, informers: world.informers, client: world.client } as ActorContext;
    for (const name of ["old", "mounted", "by-hand", "used"]) {
      await reconcileToken(`default/${name}`, context);
    }
    await world.settle();
    const left = await world.list(SECRETS, "default");
    return left.map(({ metadata }) => {
      const since = metadata.labels?.["kubernetes.io/legacy-token-invalid-since"];
      return since ? `${metadata.name} ${since}` : metadata.name;
    }).sort();
  };
  const all = ["by-hand", "mounted", "old", "used"];
  assertEquals(await look(365), all);
  const marked = ["by-hand", "mounted", `old ${dayOf(start + 367 * DAY_MS)}`, "used"];
  assertEquals(await look(367), marked);
  assertEquals(await look(367 + 364), [
    ...marked.slice(0, 3),
    `used ${dayOf(start + 731 * DAY_MS)}`,
  ]);
  assertEquals((await look(367 + 366)).map((text) => text.split(" ")[0]), [
    "by-hand",
    "mounted",
    "used",
  ]);
});
