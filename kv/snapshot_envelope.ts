/**
 * A snapshot sealed by a passphrase: a line of magic, a salt (16 bytes), a nonce (12), then the snapshot under
 * AES-256-GCM with its tag. The key is the passphrase's by scrypt, which costs whoever guesses 32 MiB and
 * some 50 ms a guess.
 */

import { createCipheriv, createDecipheriv, scrypt } from "node:crypto";
import type { Clock } from "./clock.ts";
import { DatabaseError } from "./contract.ts";
import { SNAPSHOT_PASSPHRASE_LENGTH_MIN } from "./limits.ts";

const MAGIC = new TextEncoder().encode("plesio sealed snapshot 1\n");
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const SCRYPT = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };
/** Bytes sealed between two turns of the event loop. */
const BYTES_PER_TURN = 4 * 1024 * 1024;

/** Seals a snapshot. Throws TypeError for a passphrase that is easily guessed. */
export async function sealSnapshot(
  snapshot: Uint8Array,
  passphrase: string,
  clock: Clock,
): Promise<Uint8Array<ArrayBuffer>> {
  if (passphrase.length < SNAPSHOT_PASSPHRASE_LENGTH_MIN) {
    throw new TypeError(
      `Cannot seal a snapshot by a passphrase of ${passphrase.length} characters: ` +
        `at least ${SNAPSHOT_PASSPHRASE_LENGTH_MIN} are needed`,
    );
  }
  const salt = clock.bytes(SALT_BYTES);
  const nonce = clock.bytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", await keyOf(passphrase, salt), nonce);
  const head = MAGIC.length + SALT_BYTES + NONCE_BYTES;
  const sealed = new Uint8Array(head + snapshot.length + TAG_BYTES);
  sealed.set(MAGIC);
  sealed.set(salt, MAGIC.length);
  sealed.set(nonce, MAGIC.length + SALT_BYTES);
  for (let at = 0; at < snapshot.length; at += BYTES_PER_TURN) {
    sealed.set(cipher.update(snapshot.subarray(at, at + BYTES_PER_TURN)), head + at);
    await clock.turn();
  }
  cipher.final();
  sealed.set(cipher.getAuthTag(), head + snapshot.length);
  return sealed;
}

/** The snapshot in a file, sealed or not. Throws DatabaseError when it cannot be opened. */
export async function unsealSnapshot(
  file: Uint8Array,
  passphrase: string | undefined,
): Promise<Uint8Array> {
  if (!MAGIC.every((byte, i) => file[i] === byte)) return file;
  if (passphrase === undefined) {
    throw new DatabaseError("Cannot restore: the snapshot is sealed by a passphrase");
  }
  const [saltAt, nonceAt] = [MAGIC.length, MAGIC.length + SALT_BYTES];
  const bodyAt = nonceAt + NONCE_BYTES;
  const key = await keyOf(passphrase, file.subarray(saltAt, nonceAt));
  const opened = createDecipheriv("aes-256-gcm", key, file.subarray(nonceAt, bodyAt));
  try {
    opened.setAuthTag(file.subarray(-TAG_BYTES));
    const snapshot = opened.update(file.subarray(bodyAt, -TAG_BYTES));
    opened.final();
    return new Uint8Array(snapshot.buffer, snapshot.byteOffset, snapshot.length);
  } catch (error) {
    throw new DatabaseError(
      "Cannot restore: the passphrase is another, or the snapshot is torn or was changed",
      { cause: error },
    );
  }
}

function keyOf(passphrase: string, salt: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) =>
    scrypt(
      passphrase.normalize("NFC"),
      salt,
      KEY_BYTES,
      SCRYPT,
      (error, key) => error ? reject(error) : resolve(key),
    )
  );
}
