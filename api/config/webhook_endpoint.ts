/**
 * A kubeconfig that says where somebody outside is whom the API server asks (`--authorization-webhook-config-file`,
 * `--authentication-token-webhook-config-file`, `kubeConfigFile` of a configuration): the current context's cluster is the
 * address, its user is who we are to it. Errors are those of upstream's loader.
 */
import { Buffer } from "node:buffer";
import type { Endpoint } from "../client/outbound.ts";
import { parseYaml } from "../machinery/yaml.ts";
import { aggregate } from "./document.ts";

/** Reads a file that a kubeconfig names. */
export type ReadFile = (path: string) => Promise<string>;

interface Named {
  name?: string;
  // deno-lint-ignore no-explicit-any -- looked at field by field
  [field: string]: any;
}

/** Where a kubeconfig's text leads. `read` gets the paths that it names as they stand there. Throws Error. */
export async function webhookEndpoint(text: string, read: ReadFile): Promise<Endpoint> {
  let config: Named;
  try {
    config = (parseYaml(text).value ?? {}) as Named;
  } catch (error) {
    throw new Error(`error loading config file: ${(error as Error).message}`);
  }
  const list = (part: string): Named[] => Array.isArray(config?.[part]) ? config[part] : [];
  const named = (part: string, name: unknown) => list(part).find((one) => one?.name === name);
  if (list("clusters").length === 0 && list("contexts").length === 0) {
    throw invalid([
      "no configuration has been provided, try setting KUBERNETES_MASTER environment variable",
    ]);
  }
  const current = config["current-context"] ?? "";
  const context = current === "" ? {} : named("contexts", current)?.context;
  if (!context) throw invalid([`context was not found for specified context: ${current}`]);
  const problems: string[] = [];
  const user = context.user ? named("users", context.user)?.user : {};
  if (!user) problems.push(`user "${context.user}" was not found for context "${current}"`);
  const cluster = context.cluster ? named("clusters", context.cluster)?.cluster : {};
  if (!cluster) {
    problems.push(`cluster "${context.cluster}" was not found for context "${current}"`);
  } else if (!cluster.server) {
    problems.push(
      context.cluster
        ? `no server found for cluster "${context.cluster}"`
        : "default cluster has no server defined",
    );
  }
  if (problems.length) throw invalid(problems);
  const names = { cluster: String(context.cluster), user: String(context.user) };
  return await endpointOf(cluster, user, { ...names, read });
}

function invalid(problems: readonly string[]): Error {
  return new Error(`invalid configuration: ${aggregate(problems)}`);
}

/** What a kubeconfig may ask of its users and we do not do. */
const UNSUPPORTED = ["exec", "auth-provider", "username", "password", "as"];

type Credentials = Pick<Endpoint, "certificate" | "bearerToken">;

/**
 * The users of a kubeconfig by their names, which there are those of the servers that they are for; the current context's
 * is for every other. Throws Error.
 */
export async function webhookUsers(
  text: string,
  read: ReadFile,
): Promise<Record<string, Credentials>> {
  let config: Named;
  try {
    config = (parseYaml(text).value ?? {}) as Named;
  } catch (error) {
    throw new Error(`error loading config file: ${(error as Error).message}`);
  }
  const found: Record<string, Credentials> = {};
  const problems: string[] = [];
  for (const { name, user = {} } of Array.isArray(config.users) ? config.users as Named[] : []) {
    if (name) found[name] = await credentialsOf(user, { user: name, read, problems });
  }
  if (problems.length) throw invalid(problems);
  const contexts = Array.isArray(config.contexts) ? config.contexts as Named[] : [];
  const current = contexts.find((one) => one.name === config["current-context"])?.context?.user;
  if (found[current] && !found["*"]) found["*"] = found[current];
  return found;
}

interface Reading {
  user: string;
  read: ReadFile;
  problems: string[];
}

/** What a field says, itself or by the file that it names. */
async function contents(
  from: Named,
  field: string,
  { user: owner, read, problems }: Reading,
): Promise<string | undefined> {
  const data = from[`${field}-data`];
  if (data) return Buffer.from(String(data), "base64").toString("utf8");
  const path = from[field];
  if (!path) return undefined;
  try {
    return await read(String(path));
  } catch (error) {
    const what = field === "client-certificate" ? "client-cert" : field;
    problems.push(`unable to read ${what} ${path} for ${owner} due to ${(error as Error).message}`);
    return undefined;
  }
}

async function credentialsOf(user: Named, reading: Reading): Promise<Credentials> {
  const { problems, read } = reading;
  const cert = await contents(user, "client-certificate", reading);
  const key = await contents(user, "client-key", reading);
  if (cert && !key && problems.length === 0) {
    problems.push(
      `client-key-data or client-key must be specified for ${reading.user} to use the clientCert ` +
        `authentication method.`,
    );
  }
  for (const field of UNSUPPORTED) {
    if (user[field]) problems.push(`${field} of user ${reading.user} is not supported here`);
  }
  const token = user.tokenFile ? (await read(String(user.tokenFile))).trim() : user.token;
  return {
    ...(cert && key ? { certificate: { cert, key } } : {}),
    ...(token ? { bearerToken: String(token) } : {}),
  };
}

async function endpointOf(
  cluster: Named,
  user: Named,
  { read, ...names }: { cluster: string; user: string; read: ReadFile },
): Promise<Endpoint> {
  const problems: string[] = [];
  const authority = { user: names.cluster, read, problems };
  const caBundle = await contents(cluster, "certificate-authority", authority);
  const credentials = await credentialsOf(user, { user: names.user, read, problems });
  if (cluster["proxy-url"]) {
    problems.push(`proxy-url of cluster ${names.cluster} is not supported here`);
  }
  if (problems.length) throw invalid(problems);
  return {
    url: addressOf(String(cluster.server)),
    ...(caBundle ? { caBundle } : {}),
    ...(cluster["insecure-skip-tls-verify"] === true ? { insecureSkipTlsVerify: true } : {}),
    ...(cluster["tls-server-name"] ? { serverName: String(cluster["tls-server-name"]) } : {}),
    ...credentials,
  };
}

/** An address without a scheme is plain HTTP, as upstream takes it. */
function addressOf(server: string): string {
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(server) ? server : `http://${server}`;
  try {
    return new URL(url).href;
  } catch {
    throw invalid([`host must be a URL or a host:port pair: "${server}"`]);
  }
}
