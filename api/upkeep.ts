/**
 * The keys and certificates of a running cluster: what it proves itself with, when that is renewed, and how each kind
 * of key is changed while everything goes on. `Cluster` (actors/cluster/cluster.ts) hands its own methods on to here.
 *
 * | what | by itself | when asked | the former one |
 * | --- | --- | --- | --- |
 * | certificates of the server and the administrator | at two thirds of their life | – | good until it ends |
 * | the authority | at two thirds of its life | `rotateAuthority` | trusted until it ends; vouches for the new one |
 * | keys of ServiceAccount tokens | never | `rotateTokenKey` | verifies until `dropOldTokenKeys` |
 * | authorizers and other issuers | when their files say something else | – | counts no longer |
 * | keys at rest | when others lie beside the database | `rotateSealingKey` | opens until `dropOldSealingKeys` |
 */
import {
  addTokenKey,
  AUTHORITY,
  dropTokenKeys,
  type Material,
  openMaterial,
  openTokenKeys,
  rollAuthority,
  TOKENS,
} from "./auth/material.ts";
import { LOGINS } from "./auth/logins.ts";
import type { Auth } from "./auth/mod.ts";
import type { EncryptionKeys } from "./encryption_keys.ts";
import type { ServerOptions } from "./config/server.ts";
import type { KubeObject } from "./machinery/types.ts";
import type { Clock, Database, Timer } from "../kv/mod.ts";

/** How often certificates are looked at, in ms. */
const RENEW_CHECK_MS = 12 * 3600 * 1000;
/** How often it is looked whether other sealing keys lie beside the database, in ms. */
const SEAL_CHECK_MS = 60_000;

/** How often it is looked whether configuration files of identity have changed, in ms. */
const IDENTITY_CHECK_MS = 60_000;

/** What upkeep works with. */
export interface UpkeepOptions {
  database: Database<KubeObject>;
  clock: Clock;
  /** By which certificates are made. */
  host: Clock;
  auth: Pick<Auth, "tokens" | "logins" | "renew">;
  /** What seals at rest, where that is configured, and what is configured by now. */
  encryption?: EncryptionKeys;
  encryptionAnew: ServerOptions["encryptionAnew"];
  /** What identity is configured by now. */
  identityAnew: ServerOptions["identityAnew"];
  log(level: "info" | "warn" | "error", text: string, fields?: Record<string, unknown>): void;
  /** The names that the server's certificate is to have; `host` is where it listens. */
  names(host: string | undefined): string[];
  /** What the server serves with, or whom it believes, is another: connections go on, new ones see the new. */
  served(material: Material): void;
}

/** See the module's text. */
export class Upkeep {
  readonly #o: UpkeepOptions;
  #material: Promise<Material> | undefined;
  #host: string | undefined;
  #timers: { renewal?: Timer; sealing?: Timer; identity?: Timer } = {};
  #renewed: () => void = () => undefined;
  #stopped = false;
  /** Settles once what other processes have changed counts here too. */
  #following: Promise<void> | undefined;

  constructor(options: UpkeepOptions) {
    this.#o = options;
  }

  /** Takes up what other processes change from now on. */
  follow(): void {
    /** What is done when another process has changed a setting. */
    const followed: Readonly<Record<string, () => Promise<void>>> = {
      [TOKENS]: () => this.#takeTokenKeys(),
      [AUTHORITY]: () => this.#takeAuthority(),
      [LOGINS]: () => this.#o.auth.logins.load(),
    };
    const follow = (name: string) => {
      const take = followed[name];
      if (!take || this.#stopped) return;
      const before = this.#following;
      const following = (async () => {
        await before;
        await take();
      })().catch((error) =>
        this.#o.log("error", "could not take up what another process has changed", {
          setting: name,
          error: String(error),
        })
      ).finally(() => {
        if (this.#following === following) this.#following = undefined;
      });
      this.#following = following;
    };
    this.#o.database.settings.follow(follow);
    // What has changed since it was read at the start
    for (const name of Object.keys(followed)) follow(name);
  }

  /** Settles once what other processes have changed, as far as it was seen, counts here; undefined: it does. */
  get following(): Promise<void> | undefined {
    return this.#following;
  }

  async #takeAuthority(): Promise<void> {
    if (this.#material) await this.#renew(this.#host);
  }

  async #takeTokenKeys(): Promise<void> {
    this.#o.auth.tokens.keys.use(await openTokenKeys(this.#o.database.settings));
  }

  stop(): void {
    this.#stopped = true;
    this.#timers.renewal?.cancel();
    this.#timers.sealing?.cancel();
    this.#timers.identity?.cancel();
  }

  /** What the cluster proves itself with; made at first use, and anew where a host is named that was not before. */
  identity(host?: string): Promise<Material> {
    if (host !== undefined && host !== this.#host) {
      this.#host = host;
      this.#material = this.#open(this.#material);
    }
    return this.#material ??= this.#open();
  }

  /** One after the other: two at once would make two authorities. */
  async #open(before?: Promise<Material>): Promise<Material> {
    const { database, host, names } = this.#o;
    await before?.catch(() => undefined);
    return await openMaterial(database.settings, host, { names: names(this.#host) });
  }

  /** Looks twice a day whether a certificate is due; `renewed` hears when the administrator's was. */
  renewLater(host: string, renewed: () => void = () => undefined): void {
    this.#renewed = renewed;
    this.#timers.renewal = this.#o.host.timer("background", RENEW_CHECK_MS, () => {
      if (this.#stopped) return;
      this.#renew(host).catch((error) =>
        this.#o.log("error", "could not renew certificates", { error: String(error) })
      ).finally(() => this.renewLater(host, renewed));
    });
  }

  async #renew(host?: string): Promise<void> {
    const before = await this.identity(host);
    this.#material = undefined;
    const material = await this.identity(host);
    const { server, admin, trustPem } = material;
    if (server.certificatePem !== before.server.certificatePem || trustPem !== before.trustPem) {
      this.#o.served(material);
    }
    if (admin.certificatePem !== before.admin.certificatePem) this.#renewed();
  }

  /** Puts a new authority in the place of the old one. */
  async rotateAuthority(): Promise<Material> {
    await this.identity();
    await rollAuthority(this.#o.database.settings, this.#o.host);
    await this.#renew();
    return await this.identity();
  }

  /** Signs tokens with a new key from now on. */
  async rotateTokenKey(): Promise<void> {
    this.#o.auth.tokens.keys.use(await addTokenKey(this.#o.database.settings));
  }

  /** Refuses tokens of all keys but the newest from now on. */
  async dropOldTokenKeys(): Promise<void> {
    this.#o.auth.tokens.keys.use(await dropTokenKeys(this.#o.database.settings));
  }

  /** Looks every minute whether keys at rest have changed, and takes up those that have. */
  resealLater(): void {
    const { clock, log } = this.#o;
    this.#timers.sealing = clock.timer("background", SEAL_CHECK_MS, () => {
      if (this.#stopped) return;
      this.#reseal().catch((error) =>
        log("error", "could not take up other sealing keys", { error: String(error) })
      ).finally(() => this.resealLater());
    });
  }

  /** Looks every minute whether identity is configured otherwise; what is wrong is told, and changes nothing. */
  renewIdentityLater(): void {
    const { clock, log, identityAnew, auth } = this.#o;
    if (!identityAnew) return;
    this.#timers.identity = clock.timer("background", IDENTITY_CHECK_MS, () => {
      if (this.#stopped) return;
      identityAnew().then((next) => auth.renew(next)).catch((error) =>
        log("error", "could not take up another configuration of identity", {
          error: String(error),
        })
      ).finally(() => this.renewIdentityLater());
    });
  }

  async #reseal(): Promise<void> {
    const { database: { seals }, encryption, encryptionAnew } = this.#o;
    const next = await encryptionAnew?.();
    if (next) encryption?.use(next);
    await seals.reload();
    await encryption?.forget(() => seals.count());
  }
}
