/**
 * A node's own port, where kubelets listen and Node statuses say that they do: its pages for whoever dials it directly,
 * as metrics-server and Prometheus do. Who asks is authenticated as at the API; the right is a node's subresource, as
 * kubelet has it (`pkg/kubelet/server/auth.go`). Logs, exec and the like have the API's own paths, and none here.
 */
import { ANONYMOUS_NAME } from "../auth/names.ts";
import type { User } from "../client/contract.ts";
import { ApiError } from "../machinery/types.ts";
import type { Deps } from "./deps.ts";
import { type Call, type Reply, textReply } from "./http.ts";
import type { Served } from "./listen.ts";
import { failure } from "./passage.ts";
import { pageOfNode } from "./proxy.ts";

/** Kubelet's verbs of methods: unlike the API's, none of HEAD. */
const VERBS: Readonly<Record<string, string>> = {
  GET: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

/** Pages with rights of their own; of some `nodes/proxy` is enough too. */
const SUBRESOURCES: readonly [page: string, subresource: string, orProxy?: true][] = [
  ["/pods", "pods", true],
  ["/runningpods", "pods", true],
  ["/healthz", "healthz", true],
  ["/configz", "configz", true],
  ["/stats", "stats"],
  ["/metrics", "metrics"],
  ["/logs", "log"],
  ["/checkpoint", "checkpoint"],
  ["/statusz", "statusz"],
  ["/flagz", "configz"],
];

/** Of which subresources of its node one right is enough for a page. */
export function subresourcesOf(path: string): string[] {
  const found = SUBRESOURCES.find(([page]) => path === page || path.startsWith(`${page}/`));
  if (!found) return ["proxy"];
  const [, subresource, orProxy] = found;
  return orProxy ? [subresource, "proxy"] : [subresource];
}

/** What a listener at a node's port serves. */
export function kubeletPort(deps: Deps, node: string): Served {
  return {
    async answer(call) {
      try {
        const user = await deps.authenticate(call);
        if (user.name === ANONYMOUS_NAME) return textReply(401, "Unauthorized");
        return await refusal(deps, call, { user, node }) ?? await pageOfNode(deps, call, node);
      } catch (error) {
        if (error instanceof ApiError && error.status.code === 401) {
          return textReply(401, "Unauthorized");
        }
        return failure(error);
      }
    },
    upgrade: (_, socket) => socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"),
  };
}

/** A 403, unless the user has one of the rights that are enough. */
async function refusal(
  deps: Deps,
  { method, path }: Call,
  { user, node }: { user: User; node: string },
): Promise<Reply | undefined> {
  const verb = VERBS[method] ?? "";
  const subresources = subresourcesOf(path);
  for (const subresource of subresources) {
    const decision = await deps.authorizer.authorize({
      user,
      verb,
      resourceRequest: true,
      group: "",
      version: "v1",
      resource: "nodes",
      subresource,
      namespace: "",
      name: node,
      path,
    });
    if (decision.allowed) return undefined;
  }
  return textReply(
    403,
    `Forbidden (user=${user.name}, verb=${verb}, resource=nodes, subresource(s)=[${
      subresources.join(" ")
    }])\n`,
  );
}
