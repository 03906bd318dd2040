/**
 * Reading one's own writes: a controller that has just created or deleted children must not decide
 * again before its cache shows them, or it creates them twice.
 *
 * A cache knows the newest revision it reflects, and a write's answer names the revision it made: until
 * the cache has reached that one, the key waits. Deletions wait until the cache has lost the object or
 * sees it being deleted. The events that bring the cache there wake the key; a wait that is longer than
 * `OWN_WRITES_MS_MAX` (upstream's expectations time out likewise) is given up.
 *
 * A create whose answer never came may have been done. Then the API is asked for the children there are, and
 * the key waits until the cache has come as far. (Upstream takes it for not done, and may create one too many.)
 */
import type { Client, Informer } from "../../api/client/contract.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../api/machinery/types.ts";
import { keyOf } from "../../api/client/contract.ts";
import type { Clock } from "../../kv/clock.ts";
import { controllerOf } from "./ownership.ts";
import { splitKey } from "./reconciler.ts";

/** How long a cache may be behind a write before it is no longer waited for. */
export const OWN_WRITES_MS_MAX = 5 * 60_000;

interface Expected {
  revision: number;
  /** Children that were told to go, or are gone (then not even one that is being deleted may be seen). */
  deleted: Map<string, { uid: string; gone: boolean }>;
  /** Something may have been created without an answer. */
  unsure: boolean;
  at: number;
}

/**
 * Whether a failed request may have been done nevertheless. A conflict may be with the request itself, which a network
 * delivered twice.
 */
function isUnsure(error: unknown): boolean {
  return !(error instanceof ApiError) || error.code >= 500 || error.code === 409;
}

/** The writes of one controller to one kind of children, by the controller's key. */
export class OwnWrites {
  readonly #informer: Informer;
  readonly #clock: Clock;
  readonly #expected = new Map<string, Expected>();

  constructor(informer: Informer, clock: Clock) {
    this.#informer = informer;
    this.#clock = clock;
  }

  /** Something was created or changed for `key`; `answer` is what the API said. */
  wrote(key: string, answer: DeepReadonly<KubeObject>): void {
    const expected = this.#of(key);
    const revision = Number(answer.metadata.resourceVersion);
    if (revision > expected.revision) expected.revision = revision;
  }

  /** Creates something for `key`: an answer is noted, and so is a failure that may hide what was done. */
  async make<T extends DeepReadonly<KubeObject>>(
    key: string,
    create: () => Promise<T>,
  ): Promise<T> {
    try {
      const answer = await create();
      this.wrote(key, answer);
      return answer;
    } catch (error) {
      if (isUnsure(error)) this.#of(key).unsure = true;
      throw error;
    }
  }

  /** Finds out what was created for `key` without an answer; to be asked before `seen`. */
  settled(key: string, client: Client): Promise<void> | undefined {
    const expected = this.#expected.get(key);
    return expected?.unsure ? this.#settle(key, expected, client) : undefined;
  }

  async #settle(key: string, expected: Expected, client: Client): Promise<void> {
    const { namespace, name } = splitKey(key);
    const { items } = await client.list<KubeObject>({
      resource: this.#informer.resource,
      namespace,
    });
    for (const item of items) {
      // Others' children wake their own keys: they must not be waited for.
      if (controllerOf(item)?.name !== name) continue;
      const revision = Number(item.metadata.resourceVersion);
      if (revision > expected.revision) expected.revision = revision;
    }
    expected.unsure = false;
  }

  /** A child of `key` was told to go; `gone`: the API has it no more. */
  deleted(key: string, child: DeepReadonly<KubeObject>, gone = false): void {
    this.#of(key).deleted.set(keyOf(child), { uid: child.metadata.uid, gone });
  }

  /** Whether the cache shows all that was written for `key`. */
  seen(key: string): boolean {
    const expected = this.#expected.get(key);
    if (!expected) return true;
    if (this.#clock.monotonic() - expected.at < OWN_WRITES_MS_MAX) {
      if (expected.unsure) return false;
      if (Number(this.#informer.resourceVersion) < expected.revision) return false;
      for (const [childKey, { uid, gone }] of expected.deleted) {
        const child = this.#informer.get(childKey);
        if (child?.metadata.uid === uid && (gone || !child.metadata.deletionTimestamp)) {
          return false;
        }
        expected.deleted.delete(childKey);
      }
    }
    this.#expected.delete(key);
    return true;
  }

  /** Nothing is waited for any more: the object of `key` is gone. */
  forget(key: string): void {
    this.#expected.delete(key);
  }

  #of(key: string): Expected {
    let expected = this.#expected.get(key);
    if (!expected) {
      expected = { revision: 0, deleted: new Map(), unsure: false, at: 0 };
      this.#expected.set(key, expected);
    }
    expected.at = this.#clock.monotonic();
    return expected;
  }
}
