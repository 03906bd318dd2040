/** A pod's `log`: what a container wrote, as it was or as it comes. */
import type { LogQuery } from "../client/node_api.ts";
import { badRequest, invalid, unavailable } from "../machinery/errors.ts";
import type { Cause } from "../machinery/types.ts";
import { served } from "./codec.ts";
import type { Deps } from "./deps.ts";
import { piecesOf, type Reply } from "./http.ts";
import { getObject } from "./list.ts";
import type { ApiRequest } from "./request.ts";
import { flag } from "./route.ts";
import { containerOf, refOf } from "./streams.ts";

/** Answers a request for a log. */
export async function logReply(deps: Deps, request: ApiRequest): Promise<Reply> {
  const query = request.params.raw ?? new URLSearchParams();
  const { item, kind } = await getObject(deps, { ...request, params: {} });
  const pod = served(kind, item!);
  const options = optionsOf(query, request.name);
  const container = containerOf(pod, query.get("container") ?? "");
  const headers = { "content-type": "text/plain" };
  // Upstream answers nothing for a pod without a node
  if (!pod.spec?.nodeName) return { status: 200, headers, body: new Uint8Array() };
  if (!deps.dialer) throw unavailable(`node ${pod.spec.nodeName} cannot be reached from here`);
  const node = await deps.dialer(pod.spec.nodeName);
  const body = await node.logs({ ...options, pod: refOf(pod), container });
  return { status: 200, headers, body: piecesOf(body) };
}

type Options = Omit<LogQuery, "pod" | "container">;

function optionsOf(query: URLSearchParams, name: string): Options {
  const causes: Cause[] = [];
  const number = (field: string, least: number): number | undefined => {
    const text = query.get(field);
    if (text === null || text === "") return undefined;
    if (!/^[+-]?[0-9]{1,15}$/.test(text)) {
      throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
    }
    const value = Number(text);
    if (value < least) {
      const why = least === 0 ? "must be greater than or equal to 0" : "must be greater than 0";
      causes.push({
        reason: "FieldValueInvalid",
        message: `Invalid value: ${value}: ${why}`,
        field,
      });
    }
    return value;
  };
  const sinceTime = query.get("sinceTime") || undefined;
  if (sinceTime && Number.isNaN(Date.parse(sinceTime))) {
    throw badRequest(`parsing time ${JSON.stringify(sinceTime)}: not a time`);
  }
  const options: Options = {
    follow: flag(query, "follow"),
    previous: flag(query, "previous"),
    timestamps: flag(query, "timestamps"),
    sinceSeconds: number("sinceSeconds", 1),
    sinceTime,
    tailLines: number("tailLines", 0),
    limitBytes: number("limitBytes", 1),
    stream: query.get("stream") || undefined,
  };
  if (options.sinceSeconds !== undefined && sinceTime) {
    causes.push({
      reason: "FieldValueForbidden",
      message: "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
      field: "",
    });
  }
  const { stream } = options;
  if (stream && stream !== "All" && stream !== "Stdout" && stream !== "Stderr") {
    causes.push({
      reason: "FieldValueNotSupported",
      message: `Unsupported value: ${
        JSON.stringify(stream)
      }: supported values: "All", "Stderr", "Stdout"`,
      field: "stream",
    });
  }
  if (causes.length) throw invalid("", "PodLogOptions", name, causes);
  return options;
}
