/**
 * Log-ins by link, for browsers: who may already do something makes a code, and whoever brings that code first, in
 * time, gets a bearer token that stands for them for a while. And tickets, for the tab of a browser, which cannot send a
 * token: whoever has one is at one place what a token's user is, as long as that token is good, but for an hour. All of
 * them live in this process alone and are never written anywhere.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Clock } from "../../kv/clock.ts";
import type { User } from "../client/contract.ts";
import { Remembered } from "./remembered.ts";
import type { Tokens } from "./tokens.ts";

/** How long a code waits for its use. */
export const LOGIN_CODE_MS = 15 * 60_000;
/** How long a token is good that was given for a code. */
export const LOGIN_TOKEN_MS = 8 * 3600_000;
/** Codes that wait at most; the oldest goes first. */
export const LOGIN_CODES_MAX = 100;
/** Tokens at most; the oldest goes first. */
export const LOGIN_TOKENS_MAX = 1_000;

/** How long a ticket is good at most. */
export const TICKET_MS = 3600_000;
/** Tickets at most; the longest unused goes first. */
export const TICKETS_MAX = 1_000;

const SECRET_BYTES = 32;

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

/** Makes codes and gives tokens for them, and tickets. */
export class Logins {
  readonly #clock: Clock;
  readonly #tokens: Pick<Tokens, "addStatic" | "removeStatic">;
  /** By the code's digest: comparing digests tells nobody how much of a guess was right. */
  readonly #codes: Remembered<User>;
  readonly #tickets: Remembered<Ticket>;
  /** The newest last. */
  readonly #given = new Set<string>();

  constructor(clock: Clock, tokens: Pick<Tokens, "addStatic" | "removeStatic">) {
    this.#clock = clock;
    this.#tokens = tokens;
    this.#codes = new Remembered(clock, LOGIN_CODES_MAX);
    this.#tickets = new Remembered(clock, TICKETS_MAX);
  }

  /** A code that is good once, for `LOGIN_CODE_MS`. */
  code(user: User): string {
    const code = this.#secret();
    this.#codes.set(digest(code), user, LOGIN_CODE_MS);
    return code;
  }

  /** The token for a code; undefined: there is no such code any more. */
  exchange(code: string): Login | undefined {
    const key = digest(code);
    const user = this.#codes.get(key);
    if (!user) return undefined;
    this.#codes.delete(key);
    const token = this.#secret();
    const expires = this.#clock.now() + LOGIN_TOKEN_MS;
    this.#tokens.addStatic(token, user, expires);
    this.#given.add(token);
    if (this.#given.size > LOGIN_TOKENS_MAX) this.end(this.#given.values().next().value!);
    return { token, expires };
  }

  /** Ends a token before its time. One that was not given here stays what it is. */
  end(token: string): void {
    if (this.#given.delete(token)) this.#tokens.removeStatic(token);
  }

  /** A ticket, good for `TICKET_MS`. */
  ticket(good: Ticket): string {
    const ticket = this.#secret();
    this.#tickets.set(digest(ticket), good, TICKET_MS);
    return ticket;
  }

  /** What a ticket is good for; undefined: for nothing (any more). */
  ticketed(ticket: string): Ticket | undefined {
    return this.#tickets.get(digest(ticket));
  }

  #secret(): string {
    return Buffer.from(this.#clock.bytes(SECRET_BYTES)).toString("base64url");
  }
}

function digest(code: string): string {
  return createHash("sha256").update(code).digest("base64url");
}
