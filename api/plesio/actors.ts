/** `/plesio/v1/actors`: every actor of this process, as it is now. */
import { jsonReply, type Reply } from "../server/http.ts";
import { allowMethods, type Asked } from "./endpoint.ts";

/** Answers it. */
export function actors(asked: Asked): Reply {
  allowMethods(asked, "GET");
  return jsonReply(200, { actors: asked.ports.actors() });
}
