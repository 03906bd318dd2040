/**
 * Bound ServiceAccount tokens for pods, by TokenRequest, kept until four fifths of their life are over
 * (or a day), as upstream's token manager does (pkg/kubelet/token/token_manager.go).
 */
import type { Client } from "../../../api/client/contract.ts";
import type { Clock } from "../../../kv/clock.ts";
import { type Pod, SERVICE_ACCOUNTS, timestamp } from "../types.ts";
import type { TokenSource } from "./volume_files.ts";

const AGE_MS_MAX = 24 * 3600 * 1000;
const EXPIRATION_SECONDS = 3600;
/** How soon a token that is due is asked for again. */
const LATE_MS = 10_000;

interface Kept {
  token: string;
  refreshAt: number;
  expiresAt: number;
}

/** See the module's text. */
export class PodTokens implements TokenSource {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #kept = new Map<string, Kept>();

  constructor(client: Client, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  async token(
    pod: Pod,
    source: { audience?: string; expirationSeconds?: number },
  ): Promise<{ token: string; refreshInMs: number; expirationTimestamp: string }> {
    const { uid, name, namespace } = pod.metadata;
    const seconds = source.expirationSeconds ?? EXPIRATION_SECONDS;
    const key = `${uid} ${source.audience ?? ""} ${seconds}`;
    const kept = this.#kept.get(key);
    const now = this.#clock.now();
    if (kept && now < kept.refreshAt) {
      return answerOf(kept, kept.refreshAt - now);
    }
    const account = pod.spec.serviceAccountName || "default";
    try {
      const answer = await this.#client.create(
        { resource: SERVICE_ACCOUNTS, namespace, name: account, subresource: "token" },
        {
          apiVersion: "authentication.k8s.io/v1",
          kind: "TokenRequest",
          metadata: { name: account, namespace },
          spec: {
            audiences: source.audience ? [source.audience] : [],
            expirationSeconds: seconds,
            boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid },
          },
        },
      );
      const token = answer.status.token as string;
      const expiresAt = Date.parse(answer.status.expirationTimestamp);
      const refreshAt = Math.min(now + (expiresAt - now) * 0.8, now + AGE_MS_MAX);
      const fresh = { token, refreshAt, expiresAt };
      this.#kept.set(key, fresh);
      return answerOf(fresh, refreshAt - now);
    } catch (error) {
      // A token that is due but still good serves until the API answers again.
      if (kept && now < kept.expiresAt) return answerOf(kept, LATE_MS);
      throw new Error(`failed to fetch token: ${(error as Error).message}`);
    }
  }

  /** Forgets the tokens of a pod. */
  forget(uid: string): void {
    for (const key of this.#kept.keys()) if (key.startsWith(`${uid} `)) this.#kept.delete(key);
  }
}

function answerOf({ token, expiresAt }: Kept, refreshInMs: number) {
  return { token, refreshInMs, expirationTimestamp: timestamp(expiresAt) };
}
