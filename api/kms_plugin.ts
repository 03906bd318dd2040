/**
 * A program that keeps the keys of keys (KMS v2, KEP-3299): it encrypts a seed once, and every value is sealed by a key
 * made of the seed. What it says is checked as kube-apiserver checks it, and told in its words.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { connectRpc, type RpcClient } from "./client/grpc.ts";
import type { KmsProvider } from "./config/encryption.ts";
import { KMS_PLUGIN } from "./kms_messages.ts";
import { isDns1123Subdomain } from "./machinery/names.ts";
import type { Clock } from "../kv/mod.ts";

/** Bytes of a seed. */
export const SEED_BYTES = 32;
/** The most that a plugin may answer, in bytes. */
export const KEY_ID_BYTES_MAX = 1024;
export const CIPHERTEXT_BYTES_MAX = 1024;
export const ANNOTATIONS_BYTES_MAX = 32 * 1024;
/** How long it holds what a plugin said of itself, in ms: that it is well, that it is not. */
export const WELL_MS = 20_000;
export const UNWELL_MS = 3_000;

/** A seed, encrypted. */
export interface SealedSeed {
  /** The provider, by its name in the configuration. */
  readonly provider: string;
  /** The plugin's own key, by which it is encrypted. */
  readonly keyId: string;
  /** In base64. */
  readonly ciphertext: string;
  /** What the plugin wants to be given back with it, in base64. */
  readonly annotations?: Readonly<Record<string, string>>;
}

type Client = RpcClient<typeof KMS_PLUGIN.messages>;

/** See the module's text. */
export class KmsPlugin {
  readonly #provider: KmsProvider;
  readonly #clock: Clock;
  #client: Promise<Client> | undefined;
  /** What it said last, of itself, and until when that holds. */
  #said: { keyId?: string; error?: Error; until: number } | undefined;

  constructor(provider: KmsProvider, clock: Clock) {
    this.#provider = provider;
    this.#clock = clock;
  }

  async #call<N extends "Status" | "Decrypt" | "Encrypt">(
    method: N,
    request: Parameters<Client["call"]>[1],
  ) {
    const { endpoint, timeoutMs } = this.#provider;
    this.#client ??= connectRpc(endpoint, KMS_PLUGIN, this.#clock);
    return await (await this.#client).call(method, request, { timeoutMs });
  }

  /** The key by which it encrypts now. Rejects when it is not well. */
  async keyId(): Promise<string> {
    const now = this.#clock.monotonic();
    if (!this.#said || now >= this.#said.until) {
      try {
        this.#said = { keyId: await this.#status(), until: now + WELL_MS };
      } catch (error) {
        this.#said = { error: error as Error, until: now + UNWELL_MS };
      }
    }
    if (this.#said.error) throw this.#said.error;
    return this.#said.keyId!;
  }

  async #status(): Promise<string> {
    const { name } = this.#provider;
    const { version = "", healthz = "", keyId = "" } = await this.#call("Status", {}).catch(
      (error) => {
        throw new Error(
          `failed to perform status section of the healthz check for KMS Provider ${name}, error: ${error.message}`,
        );
      },
    );
    const wrong = [
      ...(healthz === "ok" ? [] : [`got unexpected healthz status: ${healthz}`]),
      ...(version === "v2" || version === "v2beta1"
        ? []
        : [`expected KMSv2 API version v2, got ${version}`]),
      ...keyIdProblem(keyId).map((why) =>
        `got invalid KMSv2 KeyID hash ${JSON.stringify(hashOf(keyId))}: ${why}`
      ),
    ];
    if (wrong.length === 0) return keyId;
    const text = wrong.length === 1 ? wrong[0] : `[${wrong.join(", ")}]`;
    throw new Error(`kmsv2 Provider ${name} is not healthy, error: ${text}`);
  }

  /** Encrypts a seed by the key that it says is its own now. */
  async encrypt(seed: Uint8Array, wanted: string): Promise<SealedSeed> {
    const { name } = this.#provider;
    const plaintext = Buffer.from(seed).toString("base64");
    const answer = await this.#call("Encrypt", { plaintext, uid: this.#clock.uuid() });
    const { ciphertext = "", keyId = "", annotations = {} } = answer;
    const wrong = [
      ...keyIdProblem(keyId),
      ...ciphertextProblem(ciphertext),
      ...annotationsProblem(annotations),
      ...(keyId && keyId !== wanted
        ? [
          `failed to rotate DEK: statusKeyIDHash=${JSON.stringify(hashOf(wanted))}, ` +
          `encryptKeyIDHash=${JSON.stringify(hashOf(keyId))}`,
        ]
        : []),
    ];
    if (wrong.length > 0) {
      throw new Error(`kmsv2 Provider ${name} cannot encrypt: ${wrong.join(", ")}`);
    }
    const more = Object.keys(annotations).length > 0 && { annotations };
    return { provider: name, keyId, ciphertext, ...more };
  }

  async decrypt({ ciphertext, keyId, annotations = {} }: SealedSeed): Promise<Uint8Array> {
    const request = { ciphertext, keyId, annotations, uid: this.#clock.uuid() };
    const { plaintext = "" } = await this.#call("Decrypt", request);
    const seed = new Uint8Array(Buffer.from(plaintext, "base64"));
    if (seed.length === SEED_BYTES) return seed;
    throw new Error(`the seed has ${seed.length} bytes, not ${SEED_BYTES}`);
  }

  async close(): Promise<void> {
    (await this.#client)?.close();
  }
}

/** Key ids are not told: what they are called by is the plugin's own affair. */
const hashOf = (keyId: string): string =>
  keyId && `sha256:${createHash("sha256").update(keyId).digest("hex")}`;

function keyIdProblem(keyId: string): string[] {
  const { length } = new TextEncoder().encode(keyId);
  if (length === 0) return ["keyID is empty"];
  if (length <= KEY_ID_BYTES_MAX) return [];
  return [`keyID is ${length} bytes, which exceeds the max size of ${KEY_ID_BYTES_MAX}`];
}

function ciphertextProblem(ciphertext: string): string[] {
  const { length } = Buffer.from(ciphertext, "base64");
  if (length === 0) return ["encrypted DEK source is empty"];
  if (length <= CIPHERTEXT_BYTES_MAX) return [];
  return [
    `encrypted DEK source is ${length} bytes, which exceeds the max size of ${CIPHERTEXT_BYTES_MAX}`,
  ];
}

function annotationsProblem(annotations: Readonly<Record<string, string>>): string[] {
  const problems: string[] = [];
  let total = 0;
  for (const [key, value] of Object.entries(annotations)) {
    total += Buffer.byteLength(key) + Buffer.from(value, "base64").length;
    if (!key.includes(".") || isDns1123Subdomain(key).length > 0) {
      problems.push(`annotations: Invalid value: ${JSON.stringify(key)}: should be a domain`);
    }
  }
  if (total > ANNOTATIONS_BYTES_MAX) {
    problems.push(
      `total size of annotations is ${total}, which exceeds the max size of ${ANNOTATIONS_BYTES_MAX}`,
    );
  }
  return problems;
}
