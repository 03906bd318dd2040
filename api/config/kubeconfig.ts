/**
 * `deno task kubeconfig --server URL --token TOKEN`: how a cluster elsewhere is reached, by a bearer token, into your own
 * kubeconfig or a file. For clusters whose TLS ends at a platform, which has no client certificates.
 */
import type { Access } from "../auth/kubeconfig.ts";
import { readConfig, readOwnKubeconfig, writeKubeconfigs } from "./files.ts";
import { file, flag, type FlagTable, readTable, tableText, text, UsageError } from "./flags.ts";

/** Every flag of `deno task kubeconfig`. */
export const KUBECONFIG_FLAGS = {
  server: text("where the API is, such as https://name.deno.net", "URL"),
  token: text("the bearer token (default: PLESIO_ADMIN_TOKEN)"),
  "certificate-authority": file("whom to believe (default: the machine's authorities)"),
  kubeconfig: text("write it there, and leave your own alone", "FILE"),
  name: text("of cluster, context and user (default plesio)"),
  help: flag("this text"),
} as const satisfies FlagTable;

/** What the composition root hands in. */
export interface KubeconfigPorts {
  env(name: string): string | undefined;
  print(line: string): void;
}

/** Runs the command. Throws UsageError for what is asked wrongly. */
export async function runKubeconfigCommand(
  args: readonly string[],
  { env, print }: KubeconfigPorts,
): Promise<void> {
  const { values } = readTable(KUBECONFIG_FLAGS, args);
  if (values.help) {
    const what = "Writes how a cluster elsewhere is reached into a kubeconfig.";
    const usage = "deno task kubeconfig --server URL --token TOKEN [flags]";
    return print(tableText(KUBECONFIG_FLAGS, what, usage).trimEnd());
  }
  const authority = values["certificate-authority"];
  const access: Access = {
    server: serverOf(values.server),
    token: tokenOf(values.token ?? env("PLESIO_ADMIN_TOKEN")),
    authorityPem: await readConfig("certificate-authority", authority),
    ...(values.name && { name: values.name }),
  };
  const own = values.kubeconfig ? undefined : await readOwnKubeconfig(env);
  for (const line of await writeKubeconfigs(access, { file: values.kubeconfig, own })) print(line);
}

function serverOf(server: string | undefined): string {
  if (!server) throw new UsageError("--server is needed: where the API is");
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (url && /^https?:$/.test(url.protocol)) return server.replace(/\/+$/, "");
  throw new UsageError(`--server must be a URL such as https://name.deno.net, not "${server}"`);
}

function tokenOf(token: string | undefined): string {
  if (!token) throw new UsageError("--token is needed, or PLESIO_ADMIN_TOKEN in the environment");
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageError("--token must be printable and without spaces");
}
