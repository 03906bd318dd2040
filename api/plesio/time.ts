/** `/plesio/v1/time`: how far back the cluster can be seen. */
import { jsonReply, type Reply } from "../server/http.ts";
import { allowMethods, type Asked } from "./endpoint.ts";

/** Answers it. */
export async function time(asked: Asked): Promise<Reply> {
  allowMethods(asked, "GET");
  const { objects } = asked.ports.database;
  const moment = async (revision: number) => ({
    revision,
    time: new Date(await objects.timeOf(revision)).toISOString(),
  });
  const [oldest, newest] = [objects.oldest(), objects.view().revision];
  return jsonReply(200, { oldest: await moment(oldest), newest: await moment(newest) });
}
