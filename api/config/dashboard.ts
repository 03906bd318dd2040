/** `deno task dashboard`: a link that logs a browser in to a running cluster's dashboard, once, as whoever asks for it. */
import { type Endpoint, type Outbound, OutboundError } from "../client/outbound.ts";
import { kubeconfigEndpoint } from "./kubeconfig_endpoint.ts";
import { flag, type FlagTable, readTable, tableText, text, UsageError } from "./flags.ts";

/** Every flag of `deno task dashboard`. */
export const DASHBOARD_FLAGS = {
  kubeconfig: text("whose cluster, and as whom (default .plesio/kubeconfig)", "FILE"),
  help: flag("this text"),
} as const satisfies FlagTable;

/** What the composition root hands in. */
export interface DashboardPorts {
  outbound: Outbound;
  print(line: string): void;
  /** The address of a link. */
  link(server: string, code: string): string;
}

/** Runs the command. Throws UsageError for what is asked wrongly and what the server refuses. */
export async function runDashboardCommand(
  args: readonly string[],
  { outbound, print, link }: DashboardPorts,
): Promise<void> {
  const { values } = readTable(DASHBOARD_FLAGS, args);
  if (values.help) {
    const what = "Prints a link that logs a browser in to the dashboard, once.";
    return print(tableText(DASHBOARD_FLAGS, what, "deno task dashboard [flags]").trimEnd());
  }
  const endpoint = await kubeconfigEndpoint(values.kubeconfig);
  print(link(endpoint.url, await codeOf(outbound, endpoint)));
}

async function codeOf(outbound: Outbound, endpoint: Endpoint): Promise<string> {
  try {
    const answer = await outbound.send(endpoint, { method: "POST", path: "/plesio/v1/login" });
    const said = JSON.parse(new TextDecoder().decode(answer.body));
    if (answer.status === 201) return said.code;
    throw new UsageError(said.message ?? `the server answered ${answer.status}`);
  } catch (error) {
    if (error instanceof OutboundError) throw new UsageError(error.message);
    throw error;
  }
}
