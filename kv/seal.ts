/**
 * Sealing: values at rest are encrypted under one of several keys, synchronously, and bound to their path, so
 * that a sealed value copied to another path does not open.
 *
 * A sealed value says how it was sealed and by which key:
 *
 * | bytes | what |
 * | --- | --- |
 * | 1 | form: 2 AES-GCM, 3 AES-CBC with HMAC-SHA256, 4 ChaCha20-Poly1305, 5 AES-GCM under the value's own key |
 * | 4 | id of the key: the beginning of a digest of it |
 * | 12, 16 or 32 | nonce; of form 5 what the value's key is made of, beside the secret |
 * | 16 or 32 | tag |
 * | … | ciphertext; of AES-CBC padded so that a form's overhead is always the same |
 *
 * (Form 1, of older databases, is AES-256-GCM under the database's one key: nonce, tag, ciphertext.)
 *
 * The newest key seals, every known one opens. A value whose key is not known does not open, and says so:
 * `UnknownKeyError` names the id, never a key.
 */

import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  timingSafeEqual,
} from "node:crypto";
import { DatabaseError, type SealAlgorithm, type Sealing, type SealKey } from "./contract.ts";

/** Bytes of the database's own sealing keys. */
export const SEAL_KEY_BYTES = 32;
/** Keys of its own that a database may have at once. */
export const SEAL_KEYS_MAX = 16;
/** Not sealed. */
export const PLAIN = 0;
/** The form of databases of format 1: under their one key, without its id. */
export const FIRST_FORM = 1;

const ID_BYTES = 4;
const HEAD_BYTES = 1 + ID_BYTES;
const AES_BLOCK = 16;

/** How each algorithm seals. */
interface Form {
  readonly algorithm: SealAlgorithm;
  readonly nonceBytes: number;
  readonly tagBytes: number;
  /** Bytes that ciphertext is longer than what it hides. */
  readonly padding: number;
  /** Lengths of keys that it takes. */
  readonly keyBytes: readonly number[];
}

const FORMS: Readonly<Record<number, Form>> = {
  2: { algorithm: "aesgcm", nonceBytes: 12, tagBytes: 16, padding: 0, keyBytes: [16, 32] },
  3: { algorithm: "aescbc", nonceBytes: 16, tagBytes: 32, padding: AES_BLOCK, keyBytes: [16, 32] },
  4: { algorithm: "secretbox", nonceBytes: 12, tagBytes: 16, padding: 0, keyBytes: [32] },
  5: { algorithm: "seed", nonceBytes: 32, tagBytes: 16, padding: 0, keyBytes: [32] },
};

/** What sealing adds to a value, by its form. */
export const SEAL_BYTES: readonly number[] = [
  0,
  28,
  ...[2, 3, 4, 5].map((form) => {
    const { nonceBytes, tagBytes, padding } = FORMS[form];
    return HEAD_BYTES + nonceBytes + tagBytes + padding;
  }),
];
/** The most that any form adds. */
export const SEAL_BYTES_MAX = Math.max(...SEAL_BYTES);

/** A value needs a key that is not known here. */
export class UnknownKeyError extends DatabaseError {
  readonly keyId: string;
  constructor(path: string, keyId: string) {
    super(
      `Cannot open the sealed value of "${path}": its sealing key ${keyId} is not among those that were given`,
    );
    this.keyId = keyId;
  }
}

/** A key, ready for use. */
interface Ready {
  readonly key: SealKey;
  readonly form: number;
  readonly id: string;
  readonly idBytes: Uint8Array;
}

/** The database's own keys, as its key file holds them: the newest first. Throws DatabaseError. */
export function ownKeys(bytes: Uint8Array, place: string): Uint8Array[] {
  const count = bytes.length / SEAL_KEY_BYTES;
  if (!Number.isInteger(count) || count < 1 || count > SEAL_KEYS_MAX) {
    throw new DatabaseError(
      `The sealing key in ${place} has ${bytes.length} bytes: ${SEAL_KEY_BYTES} are needed for each ` +
        `of up to ${SEAL_KEYS_MAX} keys`,
    );
  }
  return Array.from(
    { length: count },
    (_, i) => bytes.slice(i * SEAL_KEY_BYTES, (i + 1) * SEAL_KEY_BYTES),
  );
}

/** A key's id, in hexadecimal: tells keys apart and gives nothing of them away. */
export function sealKeyId({ algorithm, secret }: SealKey): string {
  const hash = createHash("sha256").update("plesio sealing key ").update(algorithm).update(secret);
  return hash.digest("hex").slice(0, ID_BYTES * 2);
}

/** Throws DatabaseError when a key's length is not one that its algorithm takes. */
export function checkSealKey({ algorithm, secret }: SealKey): void {
  const { keyBytes } = FORMS[formOf(algorithm)];
  if (keyBytes.includes(secret.length)) return;
  throw new DatabaseError(
    `Cannot use a sealing key of ${secret.length} bytes: ${keyBytes.join(" or ")} are needed`,
  );
}

function formOf(algorithm: SealAlgorithm): number {
  return Number(Object.keys(FORMS).find((form) => FORMS[Number(form)].algorithm === algorithm));
}

function ready(key: SealKey): Ready {
  checkSealKey(key);
  const id = sealKeyId(key);
  return { key, form: formOf(key.algorithm), id, idBytes: fromHex(id) };
}

/** Seals and opens values; see the module's text. */
export class Sealer {
  readonly #nonce: (length: number) => Uint8Array;
  #own: Ready[] = [];
  #sealing: Sealing | undefined;
  readonly #known: Map<string, Ready> = new Map();
  readonly #written: WeakMap<SealKey, Ready> = new WeakMap();

  /** `own`: the database's keys, the newest first. `nonce` draws random bytes: see `Clock.bytes`. */
  constructor(
    own: readonly Uint8Array[],
    nonce: (length: number) => Uint8Array,
    sealing?: Sealing,
  ) {
    this.#nonce = nonce;
    this.use(own, sealing);
  }

  /** Takes these keys into use, in place of those before. */
  use(own: readonly Uint8Array[], sealing: Sealing | undefined = this.#sealing): void {
    const mine = own.map((secret) => ready({ algorithm: "aesgcm", secret }));
    const others = (sealing?.keys ?? []).map(ready);
    this.#own = mine;
    this.#sealing = sealing;
    this.#known.clear();
    for (const one of [...mine, ...others]) this.#known.set(one.id, one);
  }

  /** Ids of all keys that open something, the newest of the database's own first. */
  get ids(): string[] {
    return [...this.#known.keys()];
  }

  /** The id of the key that seals a path's values from now on; "" where they are not sealed. */
  idFor(path: string): string {
    return this.#sealerOf(path)?.id ?? "";
  }

  /** The form in which a path's values are written from now on. */
  formFor(path: string): number {
    return this.#sealerOf(path)?.form ?? PLAIN;
  }

  /** The sealed form of `plain`, or `plain` itself where the path's values are not sealed. */
  store(path: string, plain: Uint8Array): Uint8Array {
    const one = this.#sealerOf(path);
    return one ? this.#seal(one, path, plain) : plain;
  }

  /** The sealed form of `plain` under the newest of the database's own keys, bound to `path`. */
  seal(path: string, plain: Uint8Array): Uint8Array {
    return this.#seal(this.#own[0], path, plain);
  }

  /** The plain form. Throws DatabaseError when key, path or bytes are not those of the sealing. */
  open(path: string, sealed: Uint8Array): Uint8Array {
    const form = FORMS[sealed[0]];
    if (!form || sealed.length < SEAL_BYTES[sealed[0]]) throw notOpened(path);
    const id = keyIdOf(sealed);
    const one = this.#known.get(id);
    if (!one) throw new UnknownKeyError(path, id);
    if (one.form !== sealed[0]) throw notOpened(path);
    try {
      return opened(one.key, form, path, sealed);
    } catch (error) {
      throw error instanceof DatabaseError ? error : notOpened(path, error);
    }
  }

  /** Opens a value of the first form: under whichever of the database's own keys it was. */
  openFirst(path: string, sealed: Uint8Array): Uint8Array {
    let failure: unknown;
    for (const { key } of this.#own) {
      try {
        const decipher = createDecipheriv("aes-256-gcm", key.secret, sealed.subarray(0, 12));
        decipher.setAAD(encoder.encode(path));
        decipher.setAuthTag(sealed.subarray(12, 28));
        const plain = decipher.update(sealed.subarray(28));
        decipher.final();
        return bytesOf(plain);
      } catch (error) {
        failure = error;
      }
    }
    throw notOpened(path, failure);
  }

  #sealerOf(path: string): Ready | undefined {
    const key = this.#sealing?.of(path);
    if (key === "own") return this.#own[0];
    if (!key) return undefined;
    let one = this.#written.get(key);
    if (!one) this.#written.set(key, one = ready(key));
    return one;
  }

  #seal(one: Ready, path: string, plain: Uint8Array): Uint8Array {
    const form = FORMS[one.form];
    const nonce = this.#nonce(form.nonceBytes);
    const out = new Uint8Array(SEAL_BYTES[one.form] + plain.length);
    out[0] = one.form;
    out.set(one.idBytes, 1);
    out.set(nonce, HEAD_BYTES);
    const at = HEAD_BYTES + form.nonceBytes;
    if (form.algorithm === "aescbc") return sealCbc(one.key, { path, plain, out, at });
    const cipher = aead(one.key, path, nonce);
    out.set(cipher.update(plain), at + form.tagBytes);
    cipher.final();
    out.set(cipher.getAuthTag(), at);
    return out;
  }
}

/** The id of the key that sealed a value of a form with an id. */
export function keyIdOf(sealed: Uint8Array): string {
  let id = "";
  for (let i = 1; i < HEAD_BYTES; i++) id += sealed[i].toString(16).padStart(2, "0");
  return id;
}

function aead(key: SealKey, path: string, nonce: Uint8Array) {
  const aad = encoder.encode(path);
  if (key.algorithm === "secretbox") {
    const cipher = createCipheriv("chacha20-poly1305", pathKey(key.secret, path), nonce, TAG_16);
    cipher.setAAD(aad, { plaintextLength: 0 });
    return cipher;
  }
  const cipher = createCipheriv(...gcmOf(key, nonce));
  cipher.setAAD(aad);
  return cipher;
}

/** By which cipher, key and nonce AES-GCM seals. */
function gcmOf(
  { algorithm, secret }: SealKey,
  nonce: Uint8Array,
): ["aes-128-gcm" | "aes-256-gcm", Uint8Array, Uint8Array] {
  if (algorithm === "seed") return ["aes-256-gcm", valueKey(secret, nonce), ONLY_NONCE];
  return [secret.length === 16 ? "aes-128-gcm" : "aes-256-gcm", secret, nonce];
}

/** Of a key that seals one value. */
const ONLY_NONCE = new Uint8Array(12);

/** The first block of HKDF's second half, with SHA-256: a key for one value. */
function valueKey(seed: Uint8Array, info: Uint8Array): Uint8Array {
  return createHmac("sha256", seed).update(info).update("\x01").digest();
}

const TAG_16 = { authTagLength: 16 };

/** A key of the path's own: with nonces of 12 random bytes, one key must not seal too many values. */
function pathKey(secret: Uint8Array, path: string): Uint8Array {
  return createHmac("sha256", secret).update("seal ").update(path).digest();
}

function macKey(secret: Uint8Array): Uint8Array {
  return createHmac("sha256", secret).update("authenticate").digest();
}

/** Encrypts, then authenticates everything before and after the tag, and the path. */
function sealCbc(
  { secret }: SealKey,
  { path, plain, out, at }: { path: string; plain: Uint8Array; out: Uint8Array; at: number },
): Uint8Array {
  const nonce = out.subarray(HEAD_BYTES, at);
  const cipher = createCipheriv(
    secret.length === 16 ? "aes-128-cbc" : "aes-256-cbc",
    secret,
    nonce,
  );
  const body = at + 32;
  const first = cipher.update(plain);
  out.set(first, body);
  out.set(cipher.final(), body + first.length);
  out.set(cbcTag(secret, path, out, at), at);
  return out;
}

function cbcTag(secret: Uint8Array, path: string, sealed: Uint8Array, at: number): Uint8Array {
  return createHmac("sha256", macKey(secret)).update(path).update("\0")
    .update(sealed.subarray(0, at)).update(sealed.subarray(at + 32)).digest();
}

function opened(key: SealKey, form: Form, path: string, sealed: Uint8Array): Uint8Array {
  const at = HEAD_BYTES + form.nonceBytes;
  const nonce = sealed.subarray(HEAD_BYTES, at);
  const body = sealed.subarray(at + form.tagBytes);
  const tag = sealed.subarray(at, at + form.tagBytes);
  const { algorithm, secret } = key;
  if (algorithm === "aescbc") {
    if (!timingSafeEqual(cbcTag(secret, path, sealed, at), tag)) throw notOpened(path);
    const length = body.length - form.padding;
    const padded = (Math.floor(length / AES_BLOCK) + 1) * AES_BLOCK;
    const name = secret.length === 16 ? "aes-128-cbc" : "aes-256-cbc";
    const decipher = createDecipheriv(name, secret, nonce);
    const first = decipher.update(body.subarray(0, padded));
    const last = decipher.final();
    const plain = new Uint8Array(first.length + last.length);
    plain.set(first);
    plain.set(last, first.length);
    return plain;
  }
  const decipher = algorithm === "secretbox"
    ? createDecipheriv("chacha20-poly1305", pathKey(secret, path), nonce, TAG_16)
    : createDecipheriv(...gcmOf(key, nonce));
  decipher.setAAD(encoder.encode(path), { plaintextLength: body.length });
  decipher.setAuthTag(tag);
  const plain = decipher.update(body);
  decipher.final();
  return bytesOf(plain);
}

function notOpened(path: string, cause?: unknown): DatabaseError {
  return new DatabaseError(
    `Cannot open the sealed value of "${path}": the sealing key is another one or the bytes changed`,
    { cause },
  );
}

function bytesOf(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g)!, (pair) => parseInt(pair, 16));
}

const encoder = new TextEncoder();
