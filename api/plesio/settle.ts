/**
 * `POST /plesio/v1/settle {"within": "1m"}`: answers once nobody has anything to do, with time going on to work that is
 * due up to `within` ahead. 409 with the actors that are still busy when it does not come to rest.
 */
import { jsonReply, type Reply } from "../server/http.ts";
import { asked as body, duration, fields, type ReadersOf } from "./body.ts";
import { going } from "./clock.ts";
import { allowMethods, type Asked, kitOf } from "./endpoint.ts";
import type { SettleOrder } from "./kit.ts";

/** What may be said of it. */
export const settleOrder = fields(
  { ...going, within: duration } satisfies ReadersOf<SettleOrder>,
);

/** Answers it. */
export async function settle(asked: Asked): Promise<Reply> {
  allowMethods(asked, "POST");
  const kit = kitOf(asked);
  await kit.settle(await body(asked.call) as SettleOrder);
  return jsonReply(200, kit.clock());
}
