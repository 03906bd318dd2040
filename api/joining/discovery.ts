/**
 * How a machine gets to know a cluster of which it has only an address, a token and the hash of a public key: it reads
 * `kube-public/cluster-info` from whoever answers there, without saying anything; believes it when the token has signed
 * it and its authority's key is the one of the hash; and reads it again over TLS by that authority, or by the one it was
 * told of where somebody else ends TLS. Only then the token itself is sent. As kubeadm does (cmd/kubeadm/app/discovery/token, v1.36), with its words.
 */
import { Buffer } from "node:buffer";
import { parse } from "@std/yaml";
import type { Clock } from "../../kv/clock.ts";
import { type Endpoint, type Outbound, OutboundError } from "../client/outbound.ts";
import { SIGNATURE_PREFIX, signatureIsGood } from "../machinery/detached_signature.ts";
import { authorityHashes, parseToken } from "./bootstrap_tokens.ts";

/** How long a cluster is looked for, and how often. */
export const DISCOVERY_MS_MAX = 5 * 60_000;
export const DISCOVERY_RETRY_MS = 5_000;

const PATH = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
const ANSWER_BYTES_MAX = 1024 * 1024;

/** What a machine knows of the cluster beforehand. */
export interface Discovery {
  /** `https://10.0.0.1:6443`. */
  server: string;
  token: string;
  /** `sha256:…`; any of them will do. None: whatever the token has signed is believed. */
  caHashes: readonly string[];
  /** Whose certificate the server shows, where that is not the cluster's authority's: a platform ends TLS. */
  tls?: TlsAuthority;
}

/** By whom a server's certificate is known. */
export interface TlsAuthority {
  /** In PEM; absent: the authorities that this machine believes. */
  caBundle?: string;
}

/** What it is made with. */
export interface DiscoveryPorts {
  outbound: Outbound;
  clock: Clock;
  /** Hears why it goes on looking. */
  waiting?: (why: string) => void;
}

/** Discovery has failed for good: another try would not help. */
export class DiscoveryError extends Error {
  override name = "DiscoveryError";
}

/** Resolves with the cluster's authorities (PEM). Rejects with DiscoveryError. */
export async function discover(known: Discovery, ports: DiscoveryPorts): Promise<string> {
  const { server, caHashes } = known;
  const token = parseToken(known.token);
  for (const hash of caHashes) checkHash(hash);
  const insecure = { url: server, insecureSkipTlsVerify: true };
  const first = await signedInfo(insecure, token.id, ports);
  const { id, secret } = token;
  const signature = first[SIGNATURE_PREFIX + id];
  if (!signatureIsGood(signature, { content: first.kubeconfig, id, secret })) {
    throw new DiscoveryError(
      "failed to verify JWS signature of received cluster info object, can't trust this API Server",
    );
  }
  const authorityPem = authorityOf(first.kubeconfig);
  if (caHashes.length === 0) return authorityPem;
  const found = authorityHashes(authorityPem);
  if (!found.some((hash) => caHashes.some((wanted) => wanted.toLowerCase() === hash))) {
    throw new DiscoveryError(
      "cluster CA found in cluster-info ConfigMap is invalid: none of the public keys " +
        `${JSON.stringify(found.join(":"))} are pinned`,
    );
  }
  const { caBundle } = known.tls ?? { caBundle: authorityPem };
  const second = await signedInfo({ url: server, caBundle }, id, ports);
  if (second.kubeconfig !== first.kubeconfig) {
    throw new DiscoveryError(
      "the second kubeconfig from the cluster-info ConfigMap (using validated TLS) was different " +
        "from the first",
    );
  }
  return authorityPem;
}

/** The authorities that the cluster names now, asked over TLS. Rejects when it cannot be asked. */
export async function authoritiesNow(
  outbound: Outbound,
  { url, caBundle }: Pick<Endpoint, "url" | "caBundle">,
): Promise<string> {
  return authorityOf((await ask({ url, caBundle }, outbound)).kubeconfig);
}

function checkHash(hash: string): void {
  if (/^sha256:[0-9a-f]{64}$/i.test(hash)) return;
  throw new DiscoveryError(
    `invalid public key hash ${JSON.stringify(hash)}: wanted "sha256:" and 64 hexadecimal digits`,
  );
}

/** The data of cluster-info, once this token has signed it. */
async function signedInfo(
  endpoint: Endpoint,
  id: string,
  { outbound, clock, waiting }: DiscoveryPorts,
): Promise<Record<string, string>> {
  const until = clock.monotonic() + DISCOVERY_MS_MAX;
  let last: string | undefined;
  for (;;) {
    let why: string;
    try {
      const data = await ask(endpoint, outbound);
      if (data[SIGNATURE_PREFIX + id]) return data;
      why = `could not find a JWS signature in the cluster-info ConfigMap for token ID "${id}"`;
    } catch (error) {
      if (error instanceof DiscoveryError) throw error;
      why = error instanceof Error ? error.message : String(error);
      if (error instanceof OutboundError && error.failure === "certificate") {
        throw new DiscoveryError(why);
      }
    }
    if (clock.monotonic() >= until) throw new DiscoveryError(why);
    if (why !== last) waiting?.(last = why);
    await clock.sleep(DISCOVERY_RETRY_MS);
  }
}

async function ask(endpoint: Endpoint, outbound: Outbound): Promise<Record<string, string>> {
  const request = { method: "GET", path: PATH, bytesMax: ANSWER_BYTES_MAX };
  const { status, body } = await outbound.send(endpoint, request);
  const text = new TextDecoder().decode(body);
  if (status === 401 || status === 403) {
    throw new DiscoveryError(
      "this API Server does not show its cluster-info ConfigMap to who has no credentials: is " +
        "anonymous authentication switched off, or is it no Kubernetes?",
    );
  }
  if (status !== 200) {
    throw new Error(
      `failed to request the cluster-info ConfigMap: ${status} ${text.slice(0, 200)}`,
    );
  }
  let data: Record<string, string>;
  try {
    data = JSON.parse(text).data ?? {};
  } catch {
    throw new DiscoveryError(`${endpoint.url} answers, but is no Kubernetes API server`);
  }
  if (!data.kubeconfig) {
    throw new DiscoveryError(
      "there is no kubeconfig key in the cluster-info ConfigMap. This API Server isn't set up for " +
        "token bootstrapping, can't connect",
    );
  }
  return data;
}

function authorityOf(kubeconfig: string): string {
  const bad = new DiscoveryError(
    "couldn't parse the kubeconfig file in the cluster-info ConfigMap",
  );
  let encoded: unknown;
  try {
    const config = parse(kubeconfig) as { clusters?: { cluster?: Record<string, unknown> }[] };
    encoded = config.clusters?.[0]?.cluster?.["certificate-authority-data"];
  } catch {
    throw bad;
  }
  if (typeof encoded !== "string") throw bad;
  return Buffer.from(encoded, "base64").toString("utf8");
}
