/**
 * The environment of a container: service variables, `envFrom`, `env` with every source, and `$(VAR)`
 * expansion, in upstream's order (`pkg/kubelet/kubelet_pods.go`, makeEnvironmentVariables). Errors are
 * what `CreateContainerConfigError` shows.
 */
import { variableIn } from "./env_file.ts";
import { secretText } from "../../api/machinery/secret_data.ts";
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import { type FieldFacts, fieldValue, resourceValue } from "./fields.ts";
import { RuntimeError, type Soon } from "./runtimes/runtime.ts";
import type { ContainerOf, EnvSource, Pod } from "./types.ts";

/** The objects an environment is made of. */
export interface EnvSources {
  configMap(namespace: string, name: string): Soon<DeepReadonly<KubeObject> | undefined>;
  secret(namespace: string, name: string): Soon<DeepReadonly<KubeObject> | undefined>;
  /** The services of a namespace. */
  services(namespace: string): Iterable<DeepReadonly<KubeObject>>;
}

/** Reads a file of one of the pod's volumes. */
export type VolumeReader = (volume: string, path: string) => Promise<string>;

/** See the module's text. Rejects with a RuntimeError `CreateContainerConfigError`. */
export async function environmentOf(
  pod: Pod,
  container: ContainerOf,
  facts: FieldFacts,
  sources: EnvSources,
  textIn?: VolumeReader,
): Promise<Map<string, string>> {
  const env = new Map<string, string>();
  const namespace = pod.metadata.namespace ?? "default";
  for (const from of container.envFrom ?? []) {
    const ref = from.configMapRef ?? from.secretRef;
    if (!ref) continue;
    const kind = from.configMapRef ? "configmap" : "secret";
    const object = await (from.configMapRef
      ? sources.configMap(namespace, ref.name)
      : sources.secret(namespace, ref.name));
    if (!object) {
      if (ref.optional) {
        continue;
      }
      throw configError(`${kind} "${ref.name}" not found`);
    }
    for (const key of Object.keys(object.data ?? {}).sort()) {
      const text = kind === "secret" ? secretText(object.data[key]) : object.data[key];
      env.set((from.prefix ?? "") + key, text);
    }
  }
  const services = serviceVariables(namespace, sources, pod.spec.enableServiceLinks ?? true);
  const lookup = (name: string) => env.get(name) ?? services.get(name);
  for (const entry of container.env ?? []) {
    const file = entry.valueFrom?.fileKeyRef;
    const value = file
      ? await inFile(file, textIn)
      : entry.valueFrom
      ? await sourced(pod, container, entry.valueFrom, facts, sources, namespace)
      : expand(entry.value ?? "", lookup);
    if (value !== undefined) env.set(entry.name, value);
  }
  for (const [name, value] of services) if (!env.has(name)) env.set(name, value);
  return env;
}

async function sourced(
  pod: Pod,
  container: ContainerOf,
  from: DeepReadonly<EnvSource>,
  facts: FieldFacts,
  sources: EnvSources,
  namespace: string,
): Promise<string | undefined> {
  try {
    if (from.fieldRef) return fieldValue(pod, from.fieldRef.fieldPath, facts);
    if (from.resourceFieldRef) return resourceValue(pod, container, from.resourceFieldRef, facts);
  } catch (error) {
    throw configError((error as Error).message);
  }
  const ref = from.configMapKeyRef ?? from.secretKeyRef;
  if (!ref) throw configError("env has no source that is known");
  const secret = from.secretKeyRef !== undefined;
  const object =
    await (secret ? sources.secret(namespace, ref.name) : sources.configMap(namespace, ref.name));
  if (!object) {
    if (ref.optional) return undefined;
    throw configError(`${secret ? "secret" : "configmap"} "${ref.name}" not found`);
  }
  const value = object.data?.[ref.key];
  if (value === undefined) {
    if (ref.optional) return undefined;
    const kind = secret ? "Secret" : "ConfigMap";
    throw configError(`couldn't find key ${ref.key} in ${kind} ${namespace}/${ref.name}`);
  }
  return secret ? secretText(value) : value;
}

/** A variable of a file that another container has written. */
async function inFile(
  { volumeName, path, key, optional }: DeepReadonly<NonNullable<EnvSource["fileKeyRef"]>>,
  textIn: VolumeReader | undefined,
): Promise<string | undefined> {
  if (!textIn) throw configError(`cannot find the volume "${volumeName}" referenced by FileKeyRef`);
  let value: string | undefined;
  try {
    value = variableIn(await textIn(volumeName, path), key);
  } catch {
    throw configError("couldn't parse env file");
  }
  if (value) return value;
  if (optional) return undefined;
  throw configError(`environment variable key "${key}" not found in file "${path}"`);
}

function configError(message: string): RuntimeError {
  return new RuntimeError("CreateContainerConfigError", message);
}

/**
 * Replaces `$(NAME)` by its value. `$$` stands for `$`; what names no variable stays as it is
 * (upstream: third_party/forked/golang/expansion).
 */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  if (!text.includes("$")) return text;
  let result = "";
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== "$" || i + 1 === text.length) {
      result += text[i];
      continue;
    }
    const next = text[i + 1];
    if (next === "$") {
      result += "$";
      i++;
    } else if (next === "(") {
      const end = text.indexOf(")", i + 2);
      if (end < 0) {
        result += "$(";
        i++;
        continue;
      }
      const name = text.slice(i + 2, end);
      result += lookup(name) ?? `$(${name})`;
      i = end;
    } else {
      result += `$${next}`;
      i++;
    }
  }
  return result;
}

/** Variables of the services of a pod's namespace, and of `default/kubernetes`. */
export function serviceVariables(
  namespace: string,
  sources: Pick<EnvSources, "services">,
  links: boolean,
): Map<string, string> {
  const result = new Map<string, string>();
  for (const service of sources.services("default")) {
    if (service.metadata.name === "kubernetes") addService(result, service);
  }
  if (!links) return result;
  const services = [...sources.services(namespace)];
  services.sort((a, b) => a.metadata.name < b.metadata.name ? -1 : 1);
  for (const service of services) {
    if (namespace !== "default" || service.metadata.name !== "kubernetes") {
      addService(result, service);
    }
  }
  return result;
}

interface ServicePort {
  name?: string;
  port: number;
  protocol?: string;
}

function addService(env: Map<string, string>, service: DeepReadonly<KubeObject>): void {
  const ip: string = service.spec?.clusterIP ?? "";
  const ports = (service.spec?.ports ?? []) as readonly ServicePort[];
  if (!ip || ip === "None" || !ports.length) return;
  const upper = (text: string) => text.toUpperCase().replaceAll("-", "_");
  const prefix = upper(service.metadata.name);
  env.set(`${prefix}_SERVICE_HOST`, ip);
  env.set(`${prefix}_SERVICE_PORT`, String(ports[0].port));
  for (const { name, port } of ports) {
    if (name) env.set(`${prefix}_SERVICE_PORT_${upper(name)}`, String(port));
  }
  const host = ip.includes(":") ? `[${ip}]` : ip;
  ports.forEach(({ port, protocol = "TCP" }, i) => {
    const lower = protocol.toLowerCase();
    const url = `${lower}://${host}:${port}`;
    const one = `${prefix}_PORT_${port}_${protocol.toUpperCase()}`;
    if (i === 0) env.set(`${prefix}_PORT`, url);
    env.set(one, url);
    env.set(`${one}_PROTO`, lower);
    env.set(`${one}_PORT`, String(port));
    env.set(`${one}_ADDR`, ip);
  });
}
