/** `/plesio/v1/login`: a code for a log-in link, which stands for whoever asked for it. */
import { LOGIN_CODE_MS } from "../auth/logins.ts";
import { jsonReply, type Reply } from "../server/http.ts";
import { allowMethods, type Asked } from "./endpoint.ts";

/** Answers it. */
export async function login(asked: Asked): Promise<Reply> {
  allowMethods(asked, "POST");
  const code = await asked.ports.logins.code(asked.user);
  const said = { code, seconds: LOGIN_CODE_MS / 1000 };
  return jsonReply(201, said, { "cache-control": "no-store" });
}
