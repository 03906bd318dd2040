/**
 * The keys by which an EncryptionConfiguration has values sealed, while the cluster runs: those that it names, and
 * those that KMS plugins keep the keys of.
 *
 * A plugin encrypts a seed, not values. Seeds lie in the database, encrypted; at the start the plugin decrypts all of
 * them, as no value could be read otherwise, and from then on nothing waits for it. When it says that its key is
 * another one, a new seed is made and everything is sealed anew by it; where it cannot be asked, the newest seed
 * goes on sealing, and health checks say so. Processes that share a database share the seeds: who sees another
 * one's value by a seed that it does not know finds it there.
 *
 * A seed goes when no value is sealed by it, and an hour after a newer one came: until then another process may not
 * have heard of that.
 */
import { Buffer } from "node:buffer";
import { type EncryptionOptions, sealingOf } from "./config/encryption.ts";
import { KmsPlugin, type SealedSeed, SEED_BYTES } from "./kms_plugin.ts";
import type { Kinds } from "./machinery/types.ts";
import type { Check } from "./server/health.ts";
import {
  type Clock,
  DatabaseError,
  type FindSealing,
  type KeptSealing,
  type SealCount,
  type Sealing,
  type SealKey,
  sealKeyId,
} from "../kv/mod.ts";

/** How long a seed is kept that another one has taken the place of, in ms. */
export const SEED_KEPT_MS = 3600_000;

/** A seed as the database keeps it. */
interface KeptSeed extends SealedSeed {
  /** When it was made, in wall time. */
  readonly madeMs: number;
}

/** What the keys are found with. */
export interface EncryptionPorts {
  kinds: Kinds;
  clock: Clock;
}

/** See the module's text. */
export class EncryptionKeys {
  readonly #ports: EncryptionPorts;
  #options: EncryptionOptions;
  readonly #plugins: Map<string, KmsPlugin> = new Map();
  /** Decrypted seeds, by what they are encrypted to. */
  readonly #opened: Map<string, SealKey> = new Map();
  #kept: KeptSealing | undefined;
  /** When seeds are looked through again (monotonic, in ms): all that is sealed is read for that. */
  #forgetsAt = 0;
  #found: { sealing: Sealing; of: string; options: EncryptionOptions } | undefined;

  /** Throws TypeError under a manual clock where a plugin is to be asked. */
  constructor(options: EncryptionOptions, ports: EncryptionPorts) {
    if (options.kms.length > 0 && ports.clock.manual) {
      throw new TypeError('Cannot ask KMS plugins under a manual clock: start with clock "real"');
    }
    this.#options = options;
    this.#ports = ports;
  }

  /** What the configuration says by now; counts when the keys are found next. */
  use(options: EncryptionOptions): void {
    if (JSON.stringify(options) === JSON.stringify(this.#options)) return;
    this.#options = options;
    // One may be asked elsewhere now
    const plugins = [...this.#plugins.values()];
    this.#plugins.clear();
    for (const plugin of plugins) plugin.close().catch(() => {});
  }

  /** Whether keys may change without a change of the configuration. */
  get changes(): boolean {
    return this.#options.kms.length > 0;
  }

  /** Finds what is sealed by what; the same object where that has not changed. */
  readonly find: FindSealing = async (kept) => {
    this.#kept = kept;
    const { kinds } = this.#ports;
    const options = this.#options;
    const seeds = options.kms.length > 0 ? await this.#seeds(kept, options) : [];
    const of = seeds.map(({ ciphertext }) => ciphertext).join(" ");
    if (this.#found?.of === of && this.#found.options === options) return this.#found.sealing;
    const newest = new Map<string, SealKey>();
    for (const seed of seeds) newest.set(seed.provider, this.#opened.get(seed.ciphertext)!);
    const keys = seeds.map(({ ciphertext }) => this.#opened.get(ciphertext)!);
    const sealing = sealingOf(options, kinds, { newest, keys });
    this.#found = { sealing, of, options };
    return sealing;
  };

  /** Those of the configuration's providers, all decrypted, the newest of each last. */
  async #seeds(kept: KeptSealing, { kms }: EncryptionOptions): Promise<KeptSeed[]> {
    const here = (all: readonly KeptSeed[]) =>
      all.filter(({ provider }) => kms.some(({ name }) => name === provider));
    let seeds = here(await changed(kept, (all) => all));
    for (const seed of seeds) await this.#open(seed);
    for (const { name } of kms) {
      const last = seeds.findLast(({ provider }) => provider === name);
      try {
        seeds = here(await this.#rotated(kept, name, last) ?? seeds);
      } catch (error) {
        // What it sealed by before goes on sealing; health checks tell
        if (!last) throw new DatabaseError(textOf(error), { cause: error });
      }
    }
    for (const seed of seeds) await this.#open(seed);
    return seeds;
  }

  async #open(seed: SealedSeed): Promise<void> {
    const { provider, ciphertext } = seed;
    if (this.#opened.has(ciphertext)) return;
    try {
      const secret = await this.#plugin(provider).decrypt(seed);
      this.#opened.set(ciphertext, { algorithm: "seed", secret });
    } catch (error) {
      throw new DatabaseError(
        `Cannot open what KMS provider ${provider} has encrypted: ${textOf(error)}`,
        { cause: error },
      );
    }
  }

  /** Makes a seed where the plugin's key is not that of the last one; undefined where it is. */
  async #rotated(
    kept: KeptSealing,
    name: string,
    last: KeptSeed | undefined,
  ): Promise<readonly KeptSeed[] | undefined> {
    const { clock } = this.#ports;
    const plugin = this.#plugin(name);
    const keyId = await plugin.keyId();
    if (last?.keyId === keyId) return undefined;
    const secret = clock.bytes(SEED_BYTES);
    const sealed = await plugin.encrypt(secret, keyId);
    const made: KeptSeed = { ...sealed, madeMs: clock.now() };
    // Another process may have been faster: then its seed is the one
    const all = await changed(kept, (all) => {
      const theirs = all.findLast(({ provider }) => provider === name);
      return theirs?.keyId === keyId ? all : [...all, made];
    });
    if (all.includes(made)) this.#opened.set(made.ciphertext, { algorithm: "seed", secret });
    return all;
  }

  /** Forgets seeds that nothing is sealed by any more; `count` reads all that is sealed. */
  async forget(count: () => Promise<readonly SealCount[]>): Promise<void> {
    const { clock } = this.#ports;
    if (!this.#kept || !this.changes || clock.monotonic() < this.#forgetsAt) return;
    const now = clock.now();
    const isOld = (all: readonly KeptSeed[], seed: KeptSeed, i: number) => {
      const next = all.slice(i + 1).find(({ provider }) => provider === seed.provider);
      return next !== undefined && now - next.madeMs >= SEED_KEPT_MS;
    };
    const all = await changed(this.#kept, (all) => all);
    if (!all.some((seed, i) => isOld(all, seed, i))) return;
    this.#forgetsAt = clock.monotonic() + SEED_KEPT_MS;
    const used = new Set((await count()).map(({ id }) => id));
    await changed(this.#kept, (all) => {
      const left = all.filter((seed, i) => {
        const key = this.#opened.get(seed.ciphertext);
        return !key || used.has(sealKeyId(key)) || !isOld(all, seed, i);
      });
      return left.length === all.length ? all : left;
    });
  }

  #plugin(name: string): KmsPlugin {
    let plugin = this.#plugins.get(name);
    if (!plugin) {
      const provider = this.#options.kms.find((one) => one.name === name)!;
      this.#plugins.set(name, plugin = new KmsPlugin(provider, this.#ports.clock));
    }
    return plugin;
  }

  /** Health checks of plugins, by upstream's names; one for all where the configuration may change. */
  checks(reloads: boolean): Readonly<Record<string, Check>> {
    const check = (name: string) => async () => void await this.#plugin(name).keyId();
    if (!this.changes) return {};
    if (reloads) {
      return {
        "kms-providers": async () => {
          for (const { name } of this.#options.kms) await check(name)();
        },
      };
    }
    return Object.fromEntries(
      this.#options.kms.map(({ name }, i) => [`kms-provider-${i}`, check(name)]),
    );
  }

  async close(): Promise<void> {
    for (const plugin of this.#plugins.values()) await plugin.close();
  }
}

/** Changes the seeds in the database; the same list leaves it as it is. */
async function changed(
  kept: KeptSealing,
  next: (seeds: readonly KeptSeed[]) => readonly KeptSeed[],
): Promise<readonly KeptSeed[]> {
  let seeds: readonly KeptSeed[] = [];
  await kept.change((bytes) => {
    const before: readonly KeptSeed[] = bytes ? JSON.parse(Buffer.from(bytes).toString()) : [];
    seeds = next(before);
    const same = bytes && seeds === before;
    return Promise.resolve(same ? bytes : new TextEncoder().encode(JSON.stringify(seeds)));
  });
  return seeds;
}

const textOf = (error: unknown): string => error instanceof Error ? error.message : String(error);
