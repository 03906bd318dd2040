/**
 * Starts one container: image, environment, volumes, create, start, postStart hook, in upstream's order
 * and with upstream's Events (`pkg/kubelet/kuberuntime/kuberuntime_container.go`, `images/`). Policy
 * (when to start, when again) is the pod worker's; this only does it, and says how it failed.
 */
import type { ContainerRecord } from "./container_record.ts";
import { environmentOf, expand } from "./env.ts";
import type { FieldFacts } from "./fields.ts";
import { canRun, runHook } from "./hooks.ts";
import type { WorkerPorts } from "./ports.ts";
import {
  type ContainerEnd,
  type ContainerSpec,
  type ImageOwner,
  type Mount,
  type PulledImage,
  type Runtime,
  RuntimeError,
  type Sandbox,
} from "./runtimes/runtime.ts";
import { subPathOf } from "./volumes/container_mounts.ts";
import { type ContainerOf, describePod, type Pod } from "./types.ts";

/** What starting a container needs of its pod. */
export interface StartContext {
  ports: WorkerPorts;
  pod: Pod;
  sandbox: Sandbox;
  facts: FieldFacts;
  signal: AbortSignal;
  /** Called once when the container has ended. */
  ended(record: ContainerRecord, id: string, end: ContainerEnd): void;
  /** Called when it runs, before its postStart hook. */
  running(record: ContainerRecord, container: ContainerOf): void;
}

/** Records an Event about a container. */
export function containerEvent(
  ports: WorkerPorts,
  pod: Pod,
  record: ContainerRecord,
  type: "Normal" | "Warning",
  reason: string,
  message: string,
): void {
  if (!ports.events) return;
  const list = record.kind === "app"
    ? "containers"
    : record.kind === "ephemeral"
    ? "ephemeralContainers"
    : "initContainers";
  const { name, namespace, uid, resourceVersion } = pod.metadata;
  ports.recorder.event(
    {
      apiVersion: "v1",
      kind: "Pod",
      name,
      namespace,
      uid,
      resourceVersion,
      fieldPath: `spec.${list}{${record.name}}`,
    },
    type,
    reason,
    message,
  );
}

/** See the module's text. Rejects with a RuntimeError whose message says why, or, once it runs, with what its hook rejected with. */
export async function startContainer(
  context: StartContext,
  record: ContainerRecord,
  container: ContainerOf,
): Promise<void> {
  const { ports, pod, sandbox, signal } = context;
  const runtime = runtimeFor(ports.runtimes, pod, record.image);
  if (!runtime) throw new RuntimeError("ErrImagePull", noRuntime(record.image, ports.runtimes));
  record.runtime = runtime;
  const image = await pull(context, runtime, record, container);
  const { env, mounts, devices } = await surroundings(context, runtime, container);
  await pullVolumes(context, { runtime, record, container, mounts });
  signal.throwIfAborted();
  if (runtime.real) checkNonRoot(pod, container, image.user);
  const lookup = (name: string) => env.get(name);
  const spec: ContainerSpec = {
    sandbox,
    container,
    kind: record.kind,
    attempt: record.restarts,
    env,
    command: container.command?.map((word) => expand(word, lookup)),
    args: container.args?.map((word) => expand(word, lookup)),
    mounts,
    devices,
    imageId: record.imageId,
  };
  const created = runtime.create(spec);
  const id = typeof created === "string" ? created : await created;
  record.id = id;
  containerEvent(ports, pod, record, "Normal", "Created", "Container created");
  if (signal.aborted) {
    await runtime.remove(id);
    signal.throwIfAborted();
  }
  const starting = runtime.start(id, (end) => context.ended(record, id, end));
  if (starting) await starting;
  context.running(record, container);
  containerEvent(ports, pod, record, "Normal", "Started", "Container started");
  await postStart(context, runtime, record, container);
}

/** Environment and mounts; for containers without processes only whether they could be made. */
async function surroundings(context: StartContext, runtime: Runtime, container: ContainerOf) {
  const { ports, pod, facts } = context;
  if (!runtime.real && !ports.volumes) {
    return { env: await simulatedEnvironment(context, container), mounts: [] };
  }
  const { volumes } = ports;
  const textIn = volumes && ((name: string, path: string) => volumes.textIn(pod, name, path));
  const env = await environmentOf(pod, container, facts, ports.sources, textIn);
  if (runtime.real && ports.volumes) {
    const mounts = await ports.volumes.mounts(pod, container, env, runtime);
    return { env, mounts, devices: ports.volumes.devices(pod, container) };
  }
  for (const mount of container.volumeMounts ?? []) subPathOf(mount, env);
  return { env, mounts: [] };
}

/** Pulls the images that the container mounts as volumes; their mounts then name what was pulled. */
async function pullVolumes(
  { ports, pod, sandbox, signal }: StartContext,
  { runtime, record, container, mounts }: {
    runtime: Runtime;
    record: ContainerRecord;
    container: ContainerOf;
    mounts: readonly Mount[];
  },
): Promise<void> {
  for (const { image, name } of mounts) {
    if (!image) continue;
    if (!runtime.mountsImages) {
      throw new RuntimeError(
        "CreateContainerConfigError",
        `volume "${name}" is an image: runtime ${runtime.name} cannot mount images`,
      );
    }
    const { kind, restarts: attempt } = record;
    ports.metrics?.imageVolumes.add({});
    const fetching = () => {
      const text = `Pulling image "${image.reference}"`;
      containerEvent(ports, pod, record, "Normal", "Pulling", text);
    };
    const of = { sandbox, container, kind, attempt, fetching };
    try {
      const { reference, pullPolicy = "IfNotPresent" } = image;
      image.reference = (await runtime.pull(reference, pullPolicy, signal, of)).imageId;
      ports.metrics?.mountedImages.add({});
    } catch (error) {
      if (signal.aborted) throw error;
      ports.metrics?.unmountedImages.add({});
      const text = `failed to pull image volume "${name}" of pod ${pod.metadata.name}: ${
        (error as Error).message
      }`;
      throw new RuntimeError("ErrImagePull", text);
    }
  }
}

/** Where pods come in thousands nobody looks at an environment, but for what `command` and `args` name of it. */
function simulatedEnvironment({ ports, pod, facts }: StartContext, container: ContainerOf) {
  const isNamed = (word: string) => word.includes("$(");
  if (!container.command?.some(isNamed) && !container.args?.some(isNamed)) return NO_ENV;
  const env = container.env?.filter(({ valueFrom }) =>
    !valueFrom || valueFrom.fieldRef || valueFrom.resourceFieldRef
  );
  return environmentOf(pod, { ...container, env, envFrom: undefined }, facts, ports.sources);
}

const NO_ENV: ReadonlyMap<string, string> = new Map();

async function pull(
  context: StartContext,
  runtime: Runtime,
  record: ContainerRecord,
  container: ContainerOf,
): Promise<PulledImage> {
  const { ports, pod, signal } = context;
  const policy = container.imagePullPolicy ?? "IfNotPresent";
  const pulling = runtime.pull(record.image, policy, signal, {
    sandbox: context.sandbox,
    container,
    kind: record.kind,
    attempt: record.restarts,
    fetching: () => {
      const text = `Pulling image "${record.image}"`;
      containerEvent(ports, pod, record, "Normal", "Pulling", text);
    },
  });
  let image;
  try {
    image = await pulling;
  } catch (error) {
    if (signal.aborted) throw error;
    const text = `Failed to pull image "${record.image}": ${(error as Error).message}`;
    if (!(error instanceof RuntimeError) || error.reason === "ErrImagePull") {
      containerEvent(ports, pod, record, "Warning", "Failed", text);
      throw new RuntimeError("ErrImagePull", (error as Error).message);
    }
    throw error;
  }
  record.imageId = image.imageId;
  if (!runtime.real) {
    const text = `Container "${record.name}" is simulated: no runtime of this node runs image ` +
      `"${record.image}"`;
    containerEvent(ports, pod, record, "Normal", "Simulated", text);
    return image;
  }
  const text = image.present
    ? `Container image "${record.image}" already present on machine and can be accessed by the pod`
    : `Successfully pulled image "${record.image}" in ${image.tookMs}ms ` +
      `(${image.tookMs}ms including waiting). Image size: ${image.sizeBytes ?? 0} bytes.`;
  containerEvent(ports, pod, record, "Normal", "Pulled", text);
  return image;
}

/** Refuses to run as root what must not; an image whose user is a name cannot be judged. */
function checkNonRoot(pod: Pod, container: ContainerOf, image: ImageOwner = {}): void {
  const of = container.securityContext, all = pod.spec.securityContext;
  if (!(of?.runAsNonRoot ?? all?.runAsNonRoot)) return;
  const where = `(pod: "${describePod(pod)}", container: ${container.name})`;
  const refuse = (text: string) => {
    throw new RuntimeError("CreateContainerConfigError", `${text} ${where}`);
  };
  const user = of?.runAsUser ?? all?.runAsUser;
  if (user === 0) refuse("container's runAsUser breaks non-root policy");
  if (user !== undefined) return;
  if (image.name) {
    const text = `container has runAsNonRoot and image has non-numeric user (${image.name})`;
    refuse(`${text}, cannot verify user is non-root`);
  }
  if (!image.uid) refuse("container has runAsNonRoot and image will run as root");
}

async function postStart(
  context: StartContext,
  runtime: Runtime,
  record: ContainerRecord,
  container: ContainerOf,
): Promise<void> {
  const hook = container.lifecycle?.postStart;
  if (!hook || !canRun(hook, runtime) || record.phase !== "running") return;
  const { ports, pod, facts, signal } = context;
  const target = { ports, pod, container, record, ip: facts.podIPs[0] ?? "" };
  try {
    await runHook(hook, target, signal);
  } catch (error) {
    if (!signal.aborted) {
      containerEvent(ports, pod, record, "Warning", "FailedPostStartHook", "PostStartHook failed");
    }
    throw error;
  }
}

/** The runtime a container runs on: the one its RuntimeClass names, else the first that can run its image. */
export function runtimeFor(
  runtimes: readonly Runtime[],
  pod: Pod,
  image: string,
): Runtime | undefined {
  const wish = pod.spec.runtimeClassName;
  const named = wish && runtimes.find((r) => r.name === wish);
  if (named) return named.runs(image) ? named : undefined;
  return runtimes.find((r) => r.runs(image));
}

function noRuntime(image: string, runtimes: readonly Runtime[]): string {
  const names = runtimes.map((r) => r.name).join(", ");
  return `no runtime of this node (${names}) can run image "${image}"`;
}
