/**
 * Tokens that somebody outside knows, asked by TokenReview, as kube-apiserver's token webhook. What was answered counts
 * for a while, good or not; what failed is asked again. Equal questions at the same time are asked once.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../../kv/clock.ts";
import type { Endpoint, Outbound } from "../client/outbound.ts";
import { TokenError } from "./jwt.ts";
import { TOKENS_CACHED_MAX } from "./limits.ts";
import { makeUser } from "./names.ts";
import { Remembered } from "./remembered.ts";
import { ReviewWebhook } from "./review_webhook.ts";
import type { TokenIdentity, TokenSource } from "./tokens.ts";

/** Who knows further tokens. */
export interface TokenWebhookOptions {
  endpoint: Endpoint;
  /** Of `authentication.k8s.io`. */
  version: "v1" | "v1beta1";
  /** How long an answer counts, in ms. */
  cacheMs: number;
}

const NOBODY = Symbol("nobody's token");

/** Asks the webhook. */
export class TokenWebhook implements TokenSource {
  readonly #webhook: ReviewWebhook;
  readonly #cacheMs: number;
  readonly #answers: Remembered<TokenIdentity | typeof NOBODY>;
  readonly #asked = new Map<string, Promise<TokenIdentity | undefined>>();

  constructor(options: TokenWebhookOptions, ports: { outbound: () => Outbound; clock: Clock }) {
    this.#cacheMs = options.cacheMs;
    this.#answers = new Remembered(ports.clock, TOKENS_CACHED_MAX);
    this.#webhook = new ReviewWebhook({
      ...ports,
      endpoint: options.endpoint,
      apiVersion: `authentication.k8s.io/${options.version}`,
      kind: "TokenReview",
      empty: { user: {} },
    });
  }

  async authenticate(
    token: string,
    audiences: readonly string[],
    own: readonly string[],
  ): Promise<TokenIdentity | undefined> {
    const hash = createHash("sha256").update(token).digest("base64");
    const key = JSON.stringify([hash, ...audiences]);
    const known = this.#answers.get(key);
    if (known !== undefined) return known === NOBODY ? undefined : known;
    let asked = this.#asked.get(key);
    if (!asked) {
      asked = this.#ask(token, audiences, own).finally(() => this.#asked.delete(key));
      this.#asked.set(key, asked);
    }
    const identity = await asked;
    if (this.#cacheMs > 0) this.#answers.set(key, identity ?? NOBODY, this.#cacheMs);
    return identity;
  }

  async #ask(
    token: string,
    audiences: readonly string[],
    own: readonly string[],
  ): Promise<TokenIdentity | undefined> {
    let status: Status;
    try {
      status = await this.#webhook.ask({ token, audiences }) as Status;
    } catch (error) {
      throw new TokenError((error as Error).message);
    }
    const given = Array.isArray(status.audiences) && status.audiences.length
      ? status.audiences
      : own;
    const good = audiences.filter((audience) => given.includes(audience));
    if (good.length === 0) return undefined;
    if (status.authenticated !== true) {
      if (status.error) throw new TokenError(String(status.error));
      return undefined;
    }
    const { username, uid, groups, extra } = status.user ?? {};
    return {
      audiences: good,
      user: makeUser({
        name: String(username ?? ""),
        groups: Array.isArray(groups) ? groups.map(String) : [],
        ...(uid ? { uid: String(uid) } : {}),
        ...(extra && Object.keys(extra).length ? { extra: textsByKey(extra) } : {}),
      }),
    };
  }
}

/** A TokenReview's status as somebody outside sent it. */
interface Status {
  authenticated?: unknown;
  error?: unknown;
  audiences?: readonly string[];
  user?: { username?: unknown; uid?: unknown; groups?: unknown; extra?: Record<string, unknown> };
}

function textsByKey(extra: Record<string, unknown>): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(extra).map(([key, values]) =>
      [key, Array.isArray(values) ? values.map(String) : []] as const
    ),
  );
}
