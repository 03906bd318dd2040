/**
 * Validation of environment variables and of references to fields and resources of the pod (upstream's
 * `ValidateEnv`, `ValidateEnvFrom`).
 */

import {
  isConfigMapKey,
  isDns1123Label,
  isQualifiedName,
  isRelaxedEnvVarName,
  nameIsDnsSubdomain,
} from "../../machinery/names.ts";
import { tryParseQuantity } from "../../machinery/quantity.ts";
import { isSet, type Path, type Report } from "./report.ts";
import { validateLocalPath } from "./validate_paths.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

/** Fields of the pod that an environment variable may show. */
export const ENV_FIELDS: ReadonlySet<string> = new Set([
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
  "spec.nodeName",
  "spec.serviceAccountName",
  "status.hostIP",
  "status.hostIPs",
  "status.podIP",
  "status.podIPs",
]);

/** Fields of the pod that a file may show. */
export const VOLUME_FIELDS: ReadonlySet<string> = new Set([
  "metadata.name",
  "metadata.namespace",
  "metadata.labels",
  "metadata.annotations",
  "metadata.uid",
]);

/** Fields that the downward API knows at all. */
const KNOWN_FIELDS: ReadonlySet<string> = new Set([
  "metadata.annotations",
  "metadata.labels",
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
  "spec.nodeName",
  "spec.restartPolicy",
  "spec.serviceAccountName",
  "spec.schedulerName",
  "status.phase",
  "status.hostIP",
  "status.hostIPs",
  "status.podIP",
  "status.podIPs",
]);

const RESOURCE_FIELDS: ReadonlySet<string> = new Set([
  "limits.cpu",
  "limits.memory",
  "limits.ephemeral-storage",
  "requests.cpu",
  "requests.memory",
  "requests.ephemeral-storage",
]);

const BYTE_DIVISORS: ReadonlySet<string> = new Set(
  "1 1k 1M 1G 1T 1P 1E 1Ki 1Mi 1Gi 1Ti 1Pi 1Ei".split(" "),
);
const BYTE_DIVISORS_TEXT = [...BYTE_DIVISORS].join(", ");

/** Checks a reference to a field of the pod. */
export function validateFieldRef(
  ref: Obj,
  allowed: ReadonlySet<string>,
  path: Path,
  r: Report,
): void {
  const { apiVersion, fieldPath } = ref;
  if (!apiVersion) return r.required(path.child("apiVersion"));
  if (!fieldPath) return r.required(path.child("fieldPath"));
  const at = path.child("fieldPath");
  if (apiVersion !== "v1") {
    return r.invalid(
      at,
      fieldPath,
      `error converting fieldPath: unsupported pod version: ${apiVersion}`,
    );
  }
  const open = fieldPath.endsWith("']") ? fieldPath.indexOf("['") : -1;
  if (open > 0) {
    const name = fieldPath.slice(0, open);
    const subscript = fieldPath.slice(open + 2, -2);
    if (name === "metadata.annotations") {
      r.check(isQualifiedName(subscript.toLowerCase()), path, subscript.toLowerCase());
    } else if (name === "metadata.labels") r.check(isQualifiedName(subscript), path, subscript);
    else {r.invalid(
        at,
        fieldPath,
        `error converting fieldPath: field label does not support subscript: ${fieldPath}`,
      );}
    return;
  }
  const field = fieldPath === "spec.host" ? "spec.nodeName" : fieldPath;
  if (!KNOWN_FIELDS.has(field)) {
    r.invalid(at, fieldPath, `error converting fieldPath: field label not supported: ${fieldPath}`);
  } else if (!allowed.has(field)) r.notSupported(at, field, allowed);
}

/** Checks a reference to a container's requests or limits. `volume`: as a file, which names the container. */
export function validateResourceFieldRef(ref: Obj, path: Path, r: Report, volume: boolean): void {
  const { containerName, resource = "", divisor } = ref;
  const huge = resource.startsWith("limits.hugepages-") ||
    resource.startsWith("requests.hugepages-");
  if (volume && !containerName) r.required(path.child("containerName"));
  else if (!resource) r.required(path.child("resource"));
  else if (!RESOURCE_FIELDS.has(resource) && !huge) {
    r.notSupported(path.child("resource"), resource, RESOURCE_FIELDS);
  }
  const amount = isSet(divisor) ? tryParseQuantity(divisor) : undefined;
  if (!amount || amount.isZero) return;
  const text = amount.toString();
  const say = (values: string, of: string) =>
    r.invalid(
      path.child("divisor"),
      resource,
      `only divisor's values ${values} are supported with the ${of} resource`,
    );
  if (resource.endsWith(".cpu")) {
    if (text !== "1" && text !== "1m") say("1m and 1", "cpu");
  } else if (!BYTE_DIVISORS.has(text)) {
    if (resource.endsWith(".memory")) say(BYTE_DIVISORS_TEXT, "memory");
    else if (resource.endsWith(".ephemeral-storage")) {
      say(BYTE_DIVISORS_TEXT, "local ephemeral storage");
    } else if (huge) say(BYTE_DIVISORS_TEXT, "hugepages");
  }
}

function validateKeyRef(ref: Obj, path: Path, r: Report): void {
  const { name = "", key } = ref;
  const messages = nameIsDnsSubdomain(name, false);
  if (messages.length) r.check(messages, path.child("name"), name);
  if (!key) r.required(path.child("key"));
  else r.check(isConfigMapKey(key), path.child("key"), key);
}

function validateFileKeyRef(ref: Obj, path: Path, r: Report): void {
  const { volumeName, key, path: file } = ref;
  if (!key) r.required(path.child("key"));
  else r.check(isRelaxedEnvVarName(key), path.child("key"), key);
  if (!volumeName) r.required(path.child("volumeName"));
  else r.check(isDns1123Label(volumeName), path.child("volumeName"), volumeName);
  if (!file) r.required(path.child("path"));
  else validateLocalPath(file, path.child("path"), r);
}

/** Checks that files with variables lie on volumes of the pod that are empty at first. */
export function validateFileKeyVolumes(spec: Obj, path: Path, r: Report): void {
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) {
    spec[list]?.forEach((container: Obj, i: number) => {
      container.env?.forEach(({ valueFrom }: Obj, j: number) => {
        const ref = valueFrom?.fileKeyRef;
        if (!isSet(ref)) return;
        const name = ref.volumeName ?? "";
        const env = path.child(list).index(i).child("env").index(j);
        const at = env.child("valueFrom", "fileKeyRef", "volumeName");
        const volume = spec.volumes?.findLast((v: Obj) => (v.name ?? "") === name);
        if (!volume) r.notFound(at, name);
        else if (!isSet(volume.emptyDir)) {
          r.invalid(at, name, "referenced volume must be of type emptyDir");
        }
      });
    });
  }
}

const SOURCES_TEXT = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, " +
  "`secretKeyRef` or `fileKeyRef`";

function validateValueFrom(variable: Obj, path: Path, r: Report): void {
  const from = variable.valueFrom;
  let found = 0;
  if (isSet(from.fieldRef)) {
    found++;
    validateFieldRef(from.fieldRef, ENV_FIELDS, path.child("fieldRef"), r);
  }
  if (isSet(from.resourceFieldRef)) {
    found++;
    validateResourceFieldRef(from.resourceFieldRef, path.child("resourceFieldRef"), r, false);
  }
  if (isSet(from.configMapKeyRef)) {
    found++;
    validateKeyRef(from.configMapKeyRef, path.child("configMapKeyRef"), r);
  }
  if (isSet(from.secretKeyRef)) {
    found++;
    validateKeyRef(from.secretKeyRef, path.child("secretKeyRef"), r);
  }
  if (isSet(from.fileKeyRef)) {
    found++;
    validateFileKeyRef(from.fileKeyRef, path.child("fileKeyRef"), r);
  }
  if (found === 0) r.invalid(path, "", SOURCES_TEXT);
  else if (variable.value) r.invalid(path, "", "may not be specified when `value` is not empty");
  else if (found > 1) r.invalid(path, "", "may not have more than one field specified at a time");
}

/** Checks the `env` of a container. */
export function validateEnv(env: Obj[] | undefined, path: Path, r: Report): void {
  if (!env) return;
  for (let i = 0; i < env.length; i++) {
    const variable = env[i];
    if (!variable.name) r.required(path.child("env").index(i).child("name"));
    else {
      const messages = isRelaxedEnvVarName(variable.name);
      if (messages.length) {
        r.check(messages, path.child("env").index(i).child("name"), variable.name);
      }
    }
    if (isSet(variable.valueFrom)) {
      validateValueFrom(variable, path.child("env").index(i).child("valueFrom"), r);
    }
  }
}

/** Checks the `envFrom` of a container. */
export function validateEnvFrom(sources: Obj[] | undefined, path: Path, r: Report): void {
  if (!sources?.length) return;
  const list = path.child("envFrom");
  for (let i = 0; i < sources.length; i++) {
    const source = sources[i];
    const at = list.index(i);
    if (source.prefix) {
      r.check(isRelaxedEnvVarName(source.prefix), at.child("prefix"), source.prefix);
    }
    let found = 0;
    for (const field of ["configMapRef", "secretRef"]) {
      const ref = source[field];
      if (!isSet(ref)) continue;
      found++;
      if (!ref.name) r.required(at.child(field, "name"));
      else r.check(nameIsDnsSubdomain(ref.name, true), at.child(field, "name"), ref.name);
    }
    if (found === 0) r.invalid(list, "", "must specify one of: `configMapRef` or `secretRef`");
    else if (found > 1) {
      r.invalid(list, "", "may not have more than one field specified at a time");
    }
  }
}
