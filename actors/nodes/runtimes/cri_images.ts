/**
 * Images of a container runtime: whether they are there, and fetching them by the pod's policy with the
 * credentials of its pull secrets (`pkg/kubelet/images/image_manager.go`, `pkg/credentialprovider`).
 */
import type { Clock } from "../../../kv/clock.ts";
import type { RpcClient } from "../../../api/client/grpc.ts";
import type { Pod } from "../types.ts";
import type { CRI, Cri } from "./cri_messages.ts";
import { type ImageOwner, neverPulled, type PulledImage, RuntimeError } from "./runtime.ts";

/** A Secret as a pull needs it: its type and data (base64). */
export interface PullSecret {
  type?: string;
  data?: Readonly<Record<string, string>>;
}

export interface ImageOptions {
  client: RpcClient<typeof CRI.messages>;
  clock: Clock;
  /** Reads a pull secret; undefined when there is none. */
  secret(namespace: string, name: string): Promise<PullSecret | undefined>;
}

/** An image may be large and its registry far: what is not there after so long is tried again. */
const PULL_TIMEOUT_MS = 30 * 60_000;

/** What a node's status lists at most: images, and names of each. */
const IMAGES_MAX = 50;
const NAMES_MAX = 5;

const DOMAIN = String.raw`(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d+)?`;
const PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const REFERENCE = new RegExp(
  String.raw`^(?:${DOMAIN}/)?${PART}(?:/${PART})*(?::[\w][\w.-]{0,127})?` +
    String.raw`(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?$`,
);

/** See the module's text. */
export class CriImages {
  readonly #options: ImageOptions;
  /** The runtime's own ids of images, by what statuses show. */
  readonly #ids = new Map<string, string>();
  readonly #users = new Map<string, ImageOwner>();

  constructor(options: ImageOptions) {
    this.#options = options;
  }

  /** What the runtime is told instead of an image's shown id. */
  idOf(imageId: string): string {
    return this.#ids.get(imageId) ?? imageId;
  }

  /** Who an image's programs run as, once it has been pulled. */
  userOf(imageId: string): ImageOwner | undefined {
    return this.#users.get(imageId);
  }

  /** Makes an image ready. `fetching` is called when it has to be fetched. */
  async pull(
    image: string,
    policy: string,
    pod: Pod,
    { signal, fetching }: { signal: AbortSignal; fetching(): void },
  ): Promise<PulledImage> {
    const { client, clock } = this.#options;
    checkReference(image);
    if (policy !== "Always") {
      const there = await this.#status(image);
      if (there) return this.#pulled(there, { present: true });
      if (policy === "Never") throw neverPulled(image);
    }
    fetching();
    const started = clock.monotonic();
    const credentials = credentialsFor(image, await this.#secrets(pod));
    let failure: Error | undefined;
    for (const auth of credentials.length ? credentials : [undefined]) {
      try {
        const request = { image: { image }, ...(auth ? { auth } : {}) };
        await client.call("PullImage", request, { timeoutMs: PULL_TIMEOUT_MS, signal });
        const fetched = await this.#status(image);
        if (!fetched) throw new Error(`image "${image}" is gone right after it was pulled`);
        const tookMs = Math.round(clock.monotonic() - started);
        return this.#pulled(fetched, { present: false, tookMs });
      } catch (error) {
        failure = error as Error;
        if (signal.aborted) break;
      }
    }
    throw failure;
  }

  /** What is there, the largest first. */
  async list(): Promise<{ names: string[]; sizeBytes: number }[]> {
    const { images = [] } = await this.#options.client.call("ListImages", {});
    return images
      .map(({ repoDigests = [], repoTags = [], size = 0 }) => ({
        names: [...repoDigests, ...repoTags].slice(0, NAMES_MAX),
        sizeBytes: size,
      }))
      .sort((a, b) => b.sizeBytes - a.sizeBytes)
      .slice(0, IMAGES_MAX);
  }

  async #status(image: string): Promise<Cri<"Image"> | undefined> {
    try {
      return (await this.#options.client.call("ImageStatus", { image: { image } })).image;
    } catch (error) {
      throw new RuntimeError(
        "ImageInspectError",
        `Failed to inspect image "${image}": ${(error as Error).message}`,
      );
    }
  }

  #pulled(image: Cri<"Image">, facts: Omit<PulledImage, "imageId">): PulledImage {
    const { id = "", repoDigests, size, uid, username } = image;
    const imageId = repoDigests?.[0] ?? id;
    this.#ids.set(imageId, id);
    const user = uid ? { uid: uid.value ?? 0 } : username ? { name: username } : { uid: 0 };
    this.#users.set(imageId, user);
    return { ...facts, imageId, sizeBytes: size ?? 0, user };
  }

  async #secrets(pod: Pod): Promise<PullSecret[]> {
    const found: PullSecret[] = [];
    for (const { name } of pod.spec.imagePullSecrets ?? []) {
      // One that is missing is no failure: the image may be public.
      const secret = name && await this.#options.secret(pod.metadata.namespace ?? "", name);
      if (secret) found.push(secret);
    }
    return found;
  }
}

/** Refuses what is no image's name, in the words of Go's reference parser. */
export function checkReference(image: string): void {
  if (REFERENCE.test(image)) return;
  const why = REFERENCE.test(image.toLowerCase())
    ? "repository name must be lowercase"
    : "invalid reference format";
  throw new RuntimeError(
    "InvalidImageName",
    `Failed to apply default image tag "${image}": couldn't parse image name "${image}": ` +
      (why === "invalid reference format" ? why : `invalid reference format: ${why}`),
  );
}

interface DockerAuth {
  username?: string;
  password?: string;
  auth?: string;
  identitytoken?: string;
  registrytoken?: string;
}

/** The credentials of pull secrets that fit an image's registry, the closest first. */
export function credentialsFor(
  image: string,
  secrets: readonly PullSecret[],
): Cri<"AuthConfig">[] {
  const target = registryPath(image);
  const fitting: { key: string; auth: Cri<"AuthConfig"> }[] = [];
  for (const { type, data } of secrets) {
    const json = type === "kubernetes.io/dockerconfigjson"
      ? parsed(data?.[".dockerconfigjson"])?.auths
      : type === "kubernetes.io/dockercfg"
      ? parsed(data?.[".dockercfg"])
      : undefined;
    for (const [server, auth] of Object.entries((json ?? {}) as Record<string, DockerAuth>)) {
      const key = serverPath(server);
      if (fits(key, target)) fitting.push({ key, auth: authOf(auth) });
    }
  }
  return fitting.sort((a, b) => b.key.length - a.key.length).map(({ auth }) => auth);
}

function parsed(base64: string | undefined) {
  try {
    return base64 === undefined
      ? undefined
      : JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(base64)));
  } catch {
    return undefined; // as upstream: a secret that says nothing gives nothing
  }
}

/** An image's registry and path; what names no registry is Docker Hub's. */
function registryPath(image: string): string {
  const name = image.replace(/@.*$/, "").replace(/:[^/]*$/, "");
  const [first, ...rest] = name.split("/");
  const named = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  if (named) return `${first === "docker.io" ? "index.docker.io" : first}/${rest.join("/")}`;
  return `index.docker.io/${rest.length ? name : `library/${name}`}`;
}

function serverPath(server: string): string {
  const path = server.replace(/^https?:\/\//, "").replace(/\/+$/, "").replace(/\/v[12]$/, "");
  return path === "docker.io" ? "index.docker.io" : path;
}

/** Whether a registry of a secret (parts of its host may be globs) is the image's. */
function fits(key: string, target: string): boolean {
  const [keyHost, ...keyPath] = key.split("/");
  const [host, ...path] = target.split("/");
  const keyParts = keyHost.split("."), parts = host.split(".");
  if (keyParts.length !== parts.length) return false;
  const glob = (part: string) =>
    new RegExp(
      `^${part.replace(/[^*?\w:-]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".")}$`,
    );
  if (!keyParts.every((part, i) => glob(part).test(parts[i]))) return false;
  return path.join("/").startsWith(keyPath.join("/"));
}

function authOf(entry: DockerAuth): Cri<"AuthConfig"> {
  let { username, password } = entry;
  if (entry.auth && (!username || !password)) {
    const text = new TextDecoder().decode(Uint8Array.fromBase64(entry.auth));
    const colon = text.indexOf(":");
    if (colon >= 0) [username, password] = [text.slice(0, colon), text.slice(colon + 1)];
  }
  return {
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...(entry.identitytoken ? { identityToken: entry.identitytoken } : {}),
    ...(entry.registrytoken ? { registryToken: entry.registrytoken } : {}),
  };
}
