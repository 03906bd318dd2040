/**
 * Log-ins by link, for browsers: who may already do something makes a code, and whoever brings that code first, in
 * time, gets a bearer token that stands for them for a while. And tickets, for the tab of a browser, which cannot send a
 * token: whoever has one is at one place what a token's user is, as long as that token is good, but for an hour.
 *
 * Codes and tokens are known by their digests alone, in one of the database's settings: every process that serves the
 * cluster takes them, a code is good once over all of them, and a restart ends none. What has an end is forgotten after
 * it; where there are too many, the oldest are. A ticket is written nowhere: it holds what it is good for, sealed by a key
 * that lies beside them.
 */
import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv } from "node:crypto";
import type { Clock } from "../../kv/clock.ts";
import type { User } from "../client/contract.ts";
import { change, type Settings } from "./material.ts";
import { tokenDigest, type Tokens } from "./tokens.ts";

/** How long a code waits for its use. */
export const LOGIN_CODE_MS = 15 * 60_000;
/** How long a token is good that was given for a code. */
export const LOGIN_TOKEN_MS = 8 * 3600_000;
/** Codes that wait at most. */
export const LOGIN_CODES_MAX = 50;
/** Tokens at most. */
export const LOGIN_TOKENS_MAX = 200;
/** Most of what is kept: a setting holds no more. Users in very many groups make it fewer log-ins. */
export const LOGINS_BYTES_MAX = 60 * 1024;

/** How long a ticket is good at most. */
export const TICKET_MS = 3600_000;
/** The setting that holds codes and tokens. */
export const LOGINS = "logins";
const SECRET_BYTES = 32;
/** How tickets are sealed: as long a key as a secret, a number that is used once, the seal. */
const CIPHER = "aes-256-gcm";
const NONCE_BYTES = 12;
const SEAL_BYTES = 16;

/** What a ticket is good for. */
export interface Ticket {
  /** The path that it is for, and whatever lies below. */
  readonly place: string;
  /** Whose rights it has. */
  readonly token: string;
}

/** What is given for a code. */
export interface Login {
  token: string;
  /** Wall time in ms. */
  expires: number;
}

/** A code or a token, and whom it stands for. */
interface Entry {
  digest: string;
  user: User;
  /** Wall time in ms. */
  until: number;
}

/** The newest last. */
interface Kept {
  codes: readonly Entry[];
  tokens: readonly Entry[];
  /** Seals tickets. */
  ticketKey?: string;
}

const NONE: Kept = { codes: [], tokens: [] };

function keptIn(bytes: Uint8Array | undefined): Kept {
  return bytes ? JSON.parse(new TextDecoder().decode(bytes)) : NONE;
}

/** Makes codes and gives tokens for them, and tickets. */
export class Logins {
  readonly #clock: Clock;
  readonly #tokens: Pick<Tokens, "addDigest" | "removeDigest">;
  readonly #settings: Settings;
  #kept = NONE;
  /** One after the other: what was read first must not come last. */
  #work: Promise<unknown> = Promise.resolve();

  /** `kept` is what their setting holds, where that has been read. */
  constructor(
    clock: Clock,
    tokens: Pick<Tokens, "addDigest" | "removeDigest">,
    settings: Settings,
    kept?: Uint8Array,
  ) {
    this.#clock = clock;
    this.#tokens = tokens;
    this.#settings = settings;
    this.#take(keptIn(kept));
  }

  /** Takes up what other processes, and former lives of this one, have given. */
  load(): Promise<void> {
    return this.#next(async () => this.#take(keptIn(await this.#settings.get(LOGINS))));
  }

  /** A code that is good once, for `LOGIN_CODE_MS`. */
  async code(user: User): Promise<string> {
    const code = this.#secret();
    const entry = { digest: tokenDigest(code), user, until: this.#clock.now() + LOGIN_CODE_MS };
    await this.#change((kept) => ({ ...kept, codes: [...kept.codes, entry] }));
    return code;
  }

  /** The token for a code; undefined: there is no such code any more. */
  async exchange(code: string): Promise<Login | undefined> {
    const digest = tokenDigest(code);
    const isIt = (one: Entry) => one.digest === digest && this.#clock.now() < one.until;
    // Who guesses makes nobody write
    await this.load();
    if (!this.#kept.codes.some(isIt)) return undefined;
    const token = this.#secret();
    const expires = this.#clock.now() + LOGIN_TOKEN_MS;
    const given = tokenDigest(token);
    await this.#change((kept) => {
      const found = kept.codes.find(isIt);
      if (!found) return kept;
      return {
        ...kept,
        codes: kept.codes.filter((one) => one !== found),
        tokens: [...kept.tokens, { digest: given, user: found.user, until: expires }],
      };
    });
    // Another process may have been faster; one whose answer was lost finds what it has written
    return this.#kept.tokens.some((one) => one.digest === given) ? { token, expires } : undefined;
  }

  /** Ends a token before its time. One that was not given so stays what it is. */
  async end(token: string): Promise<void> {
    const ended = tokenDigest(token);
    if (!this.#kept.tokens.some(({ digest }) => digest === ended)) return;
    // Here at once, whatever comes of the database
    this.#tokens.removeDigest(ended);
    await this.#change((kept) => ({
      ...kept,
      tokens: kept.tokens.filter(({ digest }) => digest !== ended),
    }));
  }

  /** A ticket, good for `TICKET_MS`. */
  async ticket({ place, token }: Ticket): Promise<string> {
    if (!this.#kept.ticketKey) await this.#change((kept) => ({ ...kept }));
    const nonce = this.#clock.bytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#ticketKey()!, nonce);
    const text = JSON.stringify([place, token, this.#clock.now() + TICKET_MS]);
    const sealed = [nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()];
    return Buffer.concat(sealed).toString("base64url");
  }

  /** What a ticket is good for; undefined: for nothing (any more). */
  ticketed(ticket: string): Ticket | undefined {
    const key = this.#ticketKey();
    const bytes = Buffer.from(ticket, "base64url");
    const whole = bytes.length >= NONCE_BYTES + SEAL_BYTES &&
      bytes.toString("base64url") === ticket;
    if (!key || !whole) return undefined;
    const cipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES));
    cipher.setAuthTag(bytes.subarray(-SEAL_BYTES));
    let text: string;
    try {
      text = cipher.update(bytes.subarray(NONCE_BYTES, -SEAL_BYTES), undefined, "utf8") +
        cipher.final("utf8");
    } catch {
      return undefined; // nobody here has sealed it
    }
    const [place, token, until] = JSON.parse(text);
    return this.#clock.now() < until ? { place, token } : undefined;
  }

  #ticketKey(): Buffer | undefined {
    const { ticketKey } = this.#kept;
    return ticketKey === undefined ? undefined : Buffer.from(ticketKey, "base64url");
  }

  #change(next: (kept: Kept) => Kept): Promise<void> {
    return this.#next(async () =>
      this.#take(
        await change<Kept>(this.#settings, LOGINS, (kept = NONE) => {
          const made = next(kept);
          return Promise.resolve(made === kept ? kept : this.#bounded(made));
        }),
      )
    );
  }

  #next(what: () => Promise<void>): Promise<void> {
    const done = this.#work.then(what);
    this.#work = done.catch(() => undefined);
    return done;
  }

  /**
   * Without what is over, and without the oldest of too many. The key of tickets is made with the first code: all
   * processes have it before anybody has a ticket.
   */
  #bounded({ codes, tokens, ticketKey = this.#secret() }: Kept): Kept {
    const now = this.#clock.now();
    const newest = (all: readonly Entry[], max: number) =>
      all.filter(({ until }) => until > now).slice(-max);
    const kept = {
      codes: newest(codes, LOGIN_CODES_MAX),
      tokens: newest(tokens, LOGIN_TOKENS_MAX),
      ticketKey,
    };
    const bytesOf = () => new TextEncoder().encode(JSON.stringify(kept)).length;
    while (bytesOf() > LOGINS_BYTES_MAX && (kept.tokens.length > 1 || kept.codes.length > 1)) {
      (kept.tokens.length > 1 ? kept.tokens : kept.codes).shift();
    }
    return kept;
  }

  /** Makes the tokens that are kept, and no others, stand for their users. */
  #take(kept: Kept): void {
    const digests = new Set(kept.tokens.map(({ digest }) => digest));
    const known = new Set(this.#kept.tokens.map(({ digest }) => digest));
    for (const digest of known) if (!digests.has(digest)) this.#tokens.removeDigest(digest);
    for (const { digest, user, until } of kept.tokens) {
      if (!known.has(digest)) this.#tokens.addDigest(digest, user, until);
    }
    this.#kept = kept;
  }

  #secret(): string {
    return Buffer.from(this.#clock.bytes(SECRET_BYTES)).toString("base64url");
  }
}
