/**
 * ServiceAccount: every pod runs as a ServiceAccount that exists, and its containers find that account's token,
 * the cluster's authority and their namespace in one projected volume.
 */
import { generateName, isPod, type PluginContext, refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { isPathSegmentName } from "../../machinery/names.ts";
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { TOKEN_SECONDS_POD } from "../limits.ts";
import { secretNames } from "../../machinery/pod_references.ts";

const MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX = "kube-api-access-";
const MIRROR = "kubernetes.io/config.mirror";
const ENFORCE_SECRETS = "kubernetes.io/enforce-mountable-secrets";
/** How long a pod's creation waits for the `default` account of a namespace that has just been made. */
const WAIT_MS = 1500;
const WAIT_STEP_MS = 25;

// deno-lint-ignore no-explicit-any -- pods are checked by their schema before this runs
type Any = any;

/** Upstream's ServiceAccount plugin. */
export function serviceAccount(context: PluginContext): AdmissionPlugin {
  return {
    name: "ServiceAccount",
    handles: (a) =>
      a.operation === "CREATE" && isPod(a) ||
      a.operation === "UPDATE" && isPod(a, "ephemeralcontainers"),
    mutate(a) {
      if (a.operation !== "CREATE") return;
      if (isMirror(a.object!)) return checkMirror(a);
      const spec: Any = a.object!.spec ??= {};
      const name = spec.serviceAccountName || spec.serviceAccount || "default";
      spec.serviceAccountName = spec.serviceAccount = name;
      const account = find(a, name);
      if (account) return equip(a, account, context);
      if (name !== "default") throw missing(a, name);
      return waitForDefault(a, context).then((found) => equip(a, found, context));
    },
    validate: (a) => check(a, context),
  };
}

function isMirror(pod: DeepReadonly<KubeObject>): boolean {
  return pod.metadata.annotations?.[MIRROR] !== undefined;
}

function keyOf(a: Admission, name: string): string {
  return `/registry/serviceaccounts/${a.namespace}/${name}`;
}

function find(a: Admission, name: string): DeepReadonly<KubeObject> | undefined {
  return a.view.get(keyOf(a, name))?.value;
}

function missing(a: Admission, name: string) {
  const problems = isPathSegmentName(name);
  const why = problems.length
    ? `invalid resource name ${JSON.stringify(name)}: [${problems.join(" ")}]`
    : `serviceaccount ${JSON.stringify(name)} not found`;
  return refusal(a, `error looking up service account ${a.namespace}/${name}: ${why}`);
}

async function waitForDefault(
  a: Admission,
  { view, clock }: PluginContext,
): Promise<DeepReadonly<KubeObject>> {
  for (let waited = 0;; waited += WAIT_STEP_MS) {
    const account = view().get(keyOf(a, "default"))?.value;
    if (account) return account;
    if (waited >= WAIT_MS) throw missing(a, "default");
    await clock.sleep(WAIT_STEP_MS, { kind: "work" });
  }
}

/** Gives the pod its token volume and pull secrets. */
function equip(a: Admission, account: DeepReadonly<KubeObject>, context: PluginContext): void {
  const spec: Any = a.object!.spec;
  const automount = spec.automountServiceAccountToken ?? account.automountServiceAccountToken ??
    true;
  if (automount) mountToken(spec, context);
  if (!spec.imagePullSecrets?.length && account.imagePullSecrets?.length) {
    spec.imagePullSecrets = account.imagePullSecrets.map((ref: Any) => ({ name: ref.name }));
  }
}

function mountToken(spec: Any, { clock }: PluginContext): void {
  const existing = spec.volumes?.find((v: Any) => v.name?.startsWith(VOLUME_PREFIX));
  const volume: string = existing?.name ?? generateName(VOLUME_PREFIX, clock);
  let needed = false;
  for (const container of [...spec.initContainers ?? [], ...spec.containers ?? []]) {
    if (container.volumeMounts?.some((m: Any) => m.mountPath === MOUNT_PATH)) continue;
    (container.volumeMounts ??= []).push({ name: volume, readOnly: true, mountPath: MOUNT_PATH });
    needed = true;
  }
  if (needed && !existing) (spec.volumes ??= []).push(tokenVolume(volume));
}

/** The volume in which a pod finds its token: what controllers that compare pods expect to see. */
export function tokenVolume(name: string): Record<string, unknown> {
  return {
    name,
    projected: {
      sources: [
        { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS_POD, path: "token" } },
        {
          configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] },
        },
        {
          downwardAPI: {
            items: [{
              path: "namespace",
              fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" },
            }],
          },
        },
      ],
      defaultMode: 0o644,
    },
  };
}

function check(a: Admission, { view }: PluginContext): void {
  const spec: Any = a.object?.spec ?? {};
  const ephemeral = a.operation === "UPDATE";
  if (!ephemeral && isMirror(a.object!)) return checkMirror(a);
  const name = spec.serviceAccountName;
  if (!name) {
    throw refusal(
      a,
      `no service account specified for pod ${a.namespace}/${a.object?.metadata.name ?? ""}`,
    );
  }
  // The base state may be older than an account that was waited for.
  const account = find(a, name) ?? view().get(keyOf(a, name))?.value;
  if (!account) throw missing(a, name);
  if (!isTrue(account.metadata.annotations?.[ENFORCE_SECRETS])) return;
  const problem = ephemeral
    ? secretProblem(spec.ephemeralContainers ?? [], "ephemeral container", account)
    : referenceProblem(spec, account);
  if (problem) throw refusal(a, problem);
}

/** As Go's strconv.ParseBool reads it. */
function isTrue(text: string | undefined): boolean {
  return text !== undefined && ["1", "t", "T", "true", "TRUE", "True"].includes(text);
}

function checkMirror(a: Admission): void {
  const spec: Any = a.object!.spec ?? {};
  if (spec.serviceAccountName) throw refusal(a, "a mirror pod may not reference service accounts");
  if (!secretNames(a.object!).next().done) {
    throw refusal(a, "a mirror pod may not reference secrets");
  }
  for (const volume of spec.volumes ?? []) {
    if (volume.projected?.sources?.some((s: Any) => s.serviceAccountToken)) {
      throw refusal(a, "a mirror pod may not use ServiceAccountToken volume projections");
    }
  }
}

function referenceProblem(spec: Any, account: DeepReadonly<KubeObject>): string | undefined {
  const name = account.metadata.name;
  const allowed = new Set((account.secrets ?? []).map((s: Any) => s.name));
  for (const volume of spec.volumes ?? []) {
    const secret = volume.secret?.secretName;
    if (secret && !allowed.has(secret)) {
      return `volume with secret.secretName="${secret}" is not allowed because service account ` +
        `${name} does not reference that secret`;
    }
  }
  const problem = secretProblem(spec.initContainers ?? [], "init container", account) ??
    secretProblem(spec.containers ?? [], "container", account);
  if (problem) return problem;
  const pulls = new Set((account.imagePullSecrets ?? []).map((s: Any) => s.name));
  for (const [i, ref] of (spec.imagePullSecrets ?? []).entries()) {
    if (!pulls.has(ref.name)) {
      return `imagePullSecrets[${i}].name="${ref.name}" is not allowed because service account ` +
        `${name} does not reference that imagePullSecret`;
    }
  }
  return undefined;
}

function secretProblem(
  containers: Any[],
  label: string,
  account: DeepReadonly<KubeObject>,
): string | undefined {
  const allowed = new Set((account.secrets ?? []).map((s: Any) => s.name));
  const tail = `is not allowed because service account ${account.metadata.name} does not ` +
    `reference that secret`;
  for (const container of containers) {
    for (const env of container.env ?? []) {
      const secret = env.valueFrom?.secretKeyRef?.name;
      if (secret && !allowed.has(secret)) {
        return `${label} ${container.name} with envVar ${env.name} referencing ` +
          `secret.secretName="${secret}" ${tail}`;
      }
    }
    for (const from of container.envFrom ?? []) {
      const secret = from.secretRef?.name;
      if (secret && !allowed.has(secret)) {
        return `${label} ${container.name} with envFrom referencing ` +
          `secret.secretName="${secret}" ${tail}`;
      }
    }
  }
  return undefined;
}
