/** What processes of one cluster ask of each other beside their nodes: what all of those use, and what the scheduler has decided. */
import { type NodeUsage, USAGE_PATH } from "../nodes/mod.ts";
import type { NodeApi } from "../../api/client/node_api.ts";
import { badRequest, unavailable } from "../../api/machinery/errors.ts";

/** Under which a process answers why the scheduler, if it runs there, has put a pod where it is. */
const EXPLAIN_PATH = "/plesio/explanation/";

/** Asks processes why a pod is where it is: the one in which the scheduler runs knows. */
export async function explainedBy(others: readonly NodeApi[], pod: string): Promise<unknown> {
  for (const one of others) {
    const asked = new Request(`http://process${EXPLAIN_PATH}${pod}`);
    const answer = await one.fetch(asked).catch(() => undefined);
    if (answer?.ok) return await answer.json();
    await answer?.body?.cancel();
  }
  throw unavailable("no scheduler runs in any process that can be reached");
}

/**
 * One that answers for all of a process: what its nodes use, and why a pod is where it is, if its scheduler leads.
 * Whatever else, it has nothing to say of.
 */
export function allNodesApi(
  usages: () => Promise<NodeUsage[]>,
  explain: (pod: string) => Promise<unknown> | undefined,
): NodeApi {
  const nothing = () =>
    Promise.reject(badRequest("all nodes at once are only asked what they use"));
  const explained = async (pod: string) => {
    const explaining = explain(pod);
    if (!explaining) throw unavailable("no scheduler runs in this process");
    return Response.json(await explaining ?? null);
  };
  return {
    logs: nothing,
    exec: nothing,
    attach: nothing,
    portForward: nothing,
    fetch: async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === USAGE_PATH) return Response.json(await usages());
      return pathname.startsWith(EXPLAIN_PATH)
        ? await explained(pathname.slice(EXPLAIN_PATH.length))
        : await nothing();
    },
  };
}
