/**
 * `/plesio/v1/logs`: lines of containers' logs from the whole cluster, also of pods that are gone, in the order of
 * their times. Every node is asked by its proxy, with the rights of whoever asks: that takes listing nodes (else 403) and
 * `nodes/proxy` (a node whose logs one may not see is `missing`).
 *
 * Parameters, each of which narrows: `namespace`, `pod`, `container`, `since` and `until` (RFC 3339), `grep`, `limit`
 * (the newest so many). The answer is JSON, or text with `format=text` or `Accept: text/plain`.
 */
import type { User } from "../client/contract.ts";
import { badRequest } from "../machinery/errors.ts";
import { ApiError } from "../machinery/types.ts";
import { jsonReply, type Reply, textReply } from "../server/http.ts";
import { allowMethods, type Asked, parametersOf, wantsText } from "./endpoint.ts";
import type { PlesioPorts } from "./ports.ts";

/** Nodes that are asked at once. */
const NODES_AT_ONCE_MAX = 16;
/** Lines of an answer unless fewer are asked for, and at most. */
export const LINES_MAX = 10_000;

const PARAMETERS = ["namespace", "pod", "container", "since", "until", "grep", "limit", "format"];

interface Line {
  time: string;
  namespace: string;
  pod: string;
  container: string;
  text: string;
}

/** Answers it. */
export async function logs(asked: Asked): Promise<Reply> {
  allowMethods(asked, "GET");
  const query = parametersOf(asked, PARAMETERS);
  check(query);
  const { lines: found, missing } = await gather(asked.ports, asked.user, query);
  const limit = Number(query.get("limit") ?? LINES_MAX);
  const lines = newest(found, Math.min(limit, LINES_MAX));
  if (!wantsText(asked)) return jsonReply(200, { lines, missing });
  const texts = lines.map((l) => `${l.time} ${l.namespace}/${l.pod}/${l.container} ${l.text}\n`);
  return textReply(200, texts.join(""));
}

function check(query: URLSearchParams): void {
  for (const [name, value] of query) {
    const isTime = name === "since" || name === "until";
    if (isTime && Number.isNaN(Date.parse(value))) {
      throw badRequest(`${name} must be a time as in RFC 3339, not "${value}"`);
    }
    if (name === "limit" && !/^[1-9]\d{0,8}$/.test(value)) {
      throw badRequest(`limit must be a positive number, not "${value}"`);
    }
  }
}

/** The newest of lines, in order. */
function newest(lines: Line[], limit: number): Line[] {
  return lines.sort((a, b) => a.time < b.time ? -1 : a.time > b.time ? 1 : 0).slice(-limit);
}

/** The newest lines of all nodes, and the names of those that did not answer. */
async function gather(
  { api }: PlesioPorts,
  user: User,
  query: URLSearchParams,
): Promise<{ lines: Line[]; missing: string[] }> {
  const ask = (path: string) => api().fetch(new Request(`https://plesio${path}`), { user });
  const listed = await ask("/api/v1/nodes");
  if (!listed.ok) throw new ApiError(await listed.json());
  const { items = [] }: { items?: { metadata: { name: string } }[] } = await listed.json();
  const names = items.map(({ metadata }) => metadata.name);
  let lines: Line[] = [];
  const missing: string[] = [];
  const next = names.values();
  const worker = async () => {
    for (const name of next) {
      const found = await ask(`/api/v1/nodes/${name}/proxy/plesio/logs?${query}`);
      const answer = found.ok ? await found.json() : undefined;
      if (answer) { for (const line of answer.lines as Line[]) lines.push(line); }
      else {
        await found.body?.cancel();
        missing.push(name);
      }
      // However many nodes there are, no more is held than two answers' worth
      if (lines.length > 2 * LINES_MAX) lines = newest(lines, LINES_MAX);
    }
  };
  await Promise.all(Array.from({ length: NODES_AT_ONCE_MAX }, worker));
  return { lines, missing: missing.sort() };
}
