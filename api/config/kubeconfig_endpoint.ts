/** The server that a kubeconfig names, and as whom it is asked. */
import type { Endpoint } from "../client/outbound.ts";
import { readConfig } from "./files.ts";
import { UsageError } from "./flags.ts";
import { webhookEndpoint } from "./webhook_endpoint.ts";

/** Reads it, with the files that it names (default: what `deno task start` wrote). Throws UsageError. */
export async function kubeconfigEndpoint(
  path = ".plesio/kubeconfig",
): Promise<Endpoint & { url: string }> {
  const config = (await readConfig("kubeconfig", path))!;
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  const read = async (file: string) =>
    (await readConfig("kubeconfig", file.startsWith("/") ? file : folder + file))!;
  const endpoint = await webhookEndpoint(config, read).catch((error) => {
    throw new UsageError(`Cannot use --kubeconfig "${path}": ${error.message}`);
  });
  return { ...endpoint, url: endpoint.url!.replace(/\/$/, "") };
}
