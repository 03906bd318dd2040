/**
 * `GET /plesio/v1/snapshot`: the whole state of the running cluster as one file, for `deno task restore`.
 *
 * It holds every Secret, and the cluster's own keys, which no other answer gives away. So it is sealed by a
 * passphrase that comes in a header: headers are in no audit record, and a file without its passphrase is of
 * no use to anybody. Without the header there is no answer.
 */
import { limits, sealSnapshot } from "../../kv/mod.ts";
import { badRequest } from "../machinery/errors.ts";
import type { Reply } from "../server/http.ts";
import { allowMethods, type Asked } from "./endpoint.ts";

/** What the snapshot is to be sealed by. */
export const PASSPHRASE_HEADER = "plesio-passphrase";

/** Answers it. */
export async function snapshot(asked: Asked): Promise<Reply> {
  allowMethods(asked, "GET");
  const passphrase = asked.call.header(PASSPHRASE_HEADER) ?? "";
  const least = limits.SNAPSHOT_PASSPHRASE_LENGTH_MIN;
  if (passphrase.length < least) {
    throw badRequest(
      "a snapshot holds every Secret and the cluster's own keys: the header " +
        `${PASSPHRASE_HEADER} must give the passphrase it is to be sealed by (${least} characters or more)`,
    );
  }
  const { database, clock } = asked.ports;
  const body = await sealSnapshot(await database.snapshot(), passphrase, clock);
  return { status: 200, headers: { "content-type": "application/octet-stream" }, body };
}
