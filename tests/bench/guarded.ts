/**
 * A server with its guards up, as a cluster that others use has them: a user with rights by RBAC and no more, audit
 * at Metadata to a file, an admission policy in CEL over what is written.
 */
import type { Access } from "../e2e/raw_http.ts";
import { Server } from "../e2e/server.ts";
import { post } from "./load.ts";

const AUDIT = `apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: Metadata
`;
const TOKEN = "bench-token";
const RBAC = "/apis/rbac.authorization.k8s.io/v1";
const ADMISSION = "/apis/admissionregistration.k8s.io/v1";

const OBJECTS: readonly [path: string, object: Record<string, unknown>][] = [
  [`${RBAC}/clusterroles`, {
    kind: "ClusterRole",
    apiVersion: "rbac.authorization.k8s.io/v1",
    metadata: { name: "bench" },
    rules: [{
      apiGroups: [""],
      resources: ["pods", "configmaps", "namespaces", "serviceaccounts"],
      verbs: ["*"],
    }],
  }],
  [`${RBAC}/clusterrolebindings`, {
    kind: "ClusterRoleBinding",
    apiVersion: "rbac.authorization.k8s.io/v1",
    metadata: { name: "bench" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "bench" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "bench" }],
  }],
  [`${ADMISSION}/validatingadmissionpolicies`, {
    kind: "ValidatingAdmissionPolicy",
    apiVersion: "admissionregistration.k8s.io/v1",
    metadata: { name: "bench" },
    spec: {
      matchConstraints: {
        resourceRules: [{
          apiGroups: [""],
          apiVersions: ["v1"],
          operations: ["CREATE", "UPDATE"],
          resources: ["pods"],
        }],
      },
      validations: [{
        expression: "object.spec.containers.all(c, !c.image.endsWith(':latest'))",
        message: "images have a tag of their own",
      }],
    },
  }],
  [`${ADMISSION}/validatingadmissionpolicybindings`, {
    kind: "ValidatingAdmissionPolicyBinding",
    apiVersion: "admissionregistration.k8s.io/v1",
    metadata: { name: "bench" },
    spec: { policyName: "bench", validationActions: ["Deny"] },
  }],
];

/** Starts one. `access` is the user's. */
export async function startGuarded(): Promise<
  { server: Server; access: Access } & AsyncDisposable
> {
  const folder = await Deno.makeTempDir({ prefix: "plesio-guarded-" });
  await Deno.writeTextFile(`${folder}/audit.yaml`, AUDIT);
  await Deno.writeTextFile(`${folder}/tokens.csv`, `${TOKEN},bench,bench-uid\n`);
  const server = await Server.start({
    flags: [
      "--components=api",
      `--audit-policy-file=${folder}/audit.yaml`,
      `--audit-log-path=${folder}/audit.log`,
      `--token-auth-file=${folder}/tokens.csv`,
    ],
  });
  for (const [path, object] of OBJECTS) await post(server.access, path, object);
  return {
    server,
    access: { ...server.access, token: TOKEN },
    async [Symbol.asyncDispose]() {
      await server.stop();
      await Deno.remove(folder, { recursive: true });
    },
  };
}
