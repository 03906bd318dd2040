/**
 * Sealing: AES-256-GCM, synchronous, with the key's path as additional data, so that a sealed value
 * copied to another path does not open.
 *
 * Layout: 12 bytes nonce, 16 bytes tag, ciphertext.
 */

import { createCipheriv, createDecipheriv } from "node:crypto";
import { DatabaseError } from "./contract.ts";

/** Bytes of a sealing key. */
export const SEAL_KEY_BYTES = 32;
/** What sealing adds to a value. */
export const SEAL_BYTES = 28;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Seals and opens values under one key. */
export class Sealer {
  readonly #key: Uint8Array;
  readonly #nonce: (length: number) => Uint8Array;

  /** `nonce` draws random bytes: see `Clock.bytes`. */
  constructor(key: Uint8Array, nonce: (length: number) => Uint8Array) {
    if (key.length !== SEAL_KEY_BYTES) {
      throw new DatabaseError(
        `Cannot use a sealing key of ${key.length} bytes: ${SEAL_KEY_BYTES} are needed`,
      );
    }
    this.#key = key;
    this.#nonce = nonce;
  }

  /** The sealed form of `plain`, bound to `path`. */
  seal(path: string, plain: Uint8Array): Uint8Array {
    const nonce = this.#nonce(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonce);
    cipher.setAAD(new TextEncoder().encode(path));
    const sealed = new Uint8Array(SEAL_BYTES + plain.length);
    sealed.set(nonce, 0);
    sealed.set(cipher.update(plain), SEAL_BYTES);
    cipher.final();
    sealed.set(cipher.getAuthTag(), NONCE_BYTES);
    return sealed;
  }

  /** The plain form. Throws DatabaseError when key, path or bytes are not those of the sealing. */
  open(path: string, sealed: Uint8Array): Uint8Array {
    try {
      const decipher = createDecipheriv("aes-256-gcm", this.#key, sealed.subarray(0, NONCE_BYTES));
      decipher.setAAD(new TextEncoder().encode(path));
      decipher.setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      const plain = decipher.update(sealed.subarray(SEAL_BYTES));
      decipher.final();
      return new Uint8Array(plain.buffer, plain.byteOffset, plain.byteLength);
    } catch (error) {
      throw new DatabaseError(
        `Cannot open the sealed value of "${path}": the sealing key is another one or the bytes changed`,
        { cause: error },
      );
    }
  }
}
