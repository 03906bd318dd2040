/** Small durable values beside the stores (`Database.settings`), sealed by the newest of the database's own keys. */

import type { Clock } from "./clock.ts";
import { databaseError } from "./committer.ts";
import { TooLargeError } from "./contract.ts";
import { type KeyRing, settingPath } from "./keyring.ts";
import { SETTING_PREFIX, settingKey } from "./keys.ts";
import { SETTING_BYTES_MAX } from "./limits.ts";
import { patiently } from "./patience.ts";
import { UnknownKeyError } from "./seal.ts";

/** What is kept to find keys: of this database's values, so that no other one has it. */
export const SEALING_SETTING = "sealing";

/** A setting as it was read. */
interface Setting {
  entry: Deno.KvEntryMaybe<Uint8Array>;
  /** In the clear; undefined where there is none. */
  value: Uint8Array | undefined;
}

/** See the module's text. */
export class Settings {
  readonly #o: { kv: Deno.Kv; clock: Clock; keys: KeyRing };

  constructor(options: { kv: Deno.Kv; clock: Clock; keys: KeyRing }) {
    this.#o = options;
  }

  async get(name: string): Promise<Uint8Array | undefined> {
    return (await this.#read(name)).value;
  }

  /** By other keys, where another process has sealed it by them. */
  async #read(name: string): Promise<Setting> {
    const { kv, keys } = this.#o;
    const entry = await kv.get<Uint8Array>(settingKey(name));
    if (entry.value === null) return { entry, value: undefined };
    const open = () => keys.sealer.open(settingPath(name), entry.value!);
    try {
      return { entry, value: open() };
    } catch (error) {
      if (!(error instanceof UnknownKeyError) || !await keys.reloadKeys()) throw error;
      return { entry, value: open() };
    }
  }

  /** Each attempt is made of what is there then; an outcome that is not known is found out by the next one. */
  async change(
    name: string,
    next: (value: Uint8Array | undefined) => Promise<Uint8Array>,
  ): Promise<{ value: Uint8Array; changed: boolean }> {
    const { kv, clock, keys: { sealer } } = this.#o;
    try {
      for (;;) {
        const { entry, value } = await this.#read(name);
        const wanted = await next(value);
        if (wanted === value) return { value, changed: false };
        checkLength(wanted);
        const sealed = sealer.seal(settingPath(name), wanted);
        const { ok } = await patiently(
          clock,
          () => kv.atomic().check(entry).set(entry.key, sealed).commit(),
        );
        if (ok) return { value: wanted, changed: true };
      }
    } catch (error) {
      throw databaseError(error);
    }
  }

  /** All that another database is to have. */
  async all(): Promise<[string, Uint8Array][]> {
    const settings: [string, Uint8Array][] = [];
    for await (const { key } of this.#o.kv.list({ prefix: SETTING_PREFIX })) {
      const name = key[1] as string;
      const value = name === SEALING_SETTING ? undefined : await this.get(name);
      if (value !== undefined) settings.push([name, value]);
    }
    return settings;
  }
}

function checkLength({ length }: Uint8Array): void {
  if (length <= SETTING_BYTES_MAX) return;
  throw new TooLargeError(
    `Cannot keep a setting of ${length} bytes: at most ${SETTING_BYTES_MAX} are allowed`,
    "object",
  );
}
