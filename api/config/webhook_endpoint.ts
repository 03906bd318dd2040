/**
 * A kubeconfig that says where a webhook is (`--audit-webhook-config-file` and its like): its current context's
 * cluster is the address, its user is who we are to it. Files that it names are read by who hands over `read`.
 */
import { Buffer } from "node:buffer";
import type { Endpoint } from "../client/outbound.ts";
import { parseYaml } from "../machinery/yaml.ts";

interface Named {
  name?: string;
  // deno-lint-ignore no-explicit-any -- looked at field by field
  [key: string]: any;
}

/** Reads a kubeconfig's text. Throws Error with what is wrong with it. */
export async function webhookEndpoint(
  text: string,
  read: (path: string) => Promise<string>,
): Promise<Endpoint> {
  // deno-lint-ignore no-explicit-any -- looked at field by field
  let config: any;
  try {
    config = parseYaml(text).value;
  } catch (error) {
    throw new Error(`error loading config file: ${(error as Error).message}`);
  }
  const list = (key: string) => (Array.isArray(config?.[key]) ? config[key] : []) as Named[];
  const named = (key: string, name: unknown) => list(key).find((one) => one?.name === name);
  const current = config?.["current-context"] ?? "";
  if (!current) {
    throw new Error("invalid configuration: no configuration has been provided");
  }
  const context = named("contexts", current)?.context;
  if (!context) {
    throw new Error(
      `invalid configuration: context was not found for specified context: ${current}`,
    );
  }
  const cluster = named("clusters", context.cluster)?.cluster;
  if (!cluster?.server) {
    throw new Error(
      `invalid configuration: no server found for cluster ${JSON.stringify(context.cluster ?? "")}`,
    );
  }
  const user = named("users", context.user)?.user ?? {};
  return await endpointOf(cluster, user, read);
}

async function endpointOf(
  cluster: Named,
  user: Named,
  read: (path: string) => Promise<string>,
): Promise<Endpoint> {
  const either = async (from: Named, field: string) => {
    const data = from[`${field}-data`];
    if (data) return Buffer.from(String(data), "base64").toString("utf8");
    return from[field] ? await read(String(from[field])) : undefined;
  };
  const endpoint: Endpoint = { url: String(cluster.server) };
  const authority = await either(cluster, "certificate-authority");
  if (authority) endpoint.caBundle = authority;
  if (cluster["insecure-skip-tls-verify"] === true) endpoint.insecureSkipTlsVerify = true;
  if (cluster["tls-server-name"]) endpoint.serverName = String(cluster["tls-server-name"]);
  const cert = await either(user, "client-certificate");
  const key = await either(user, "client-key");
  if (cert && key) endpoint.certificate = { cert, key };
  const token = user.token ?? (user.tokenFile && (await read(String(user.tokenFile))).trim());
  if (token) endpoint.bearerToken = String(token);
  return endpoint;
}
