/**
 * Plesio: Kubernetes as actors. This file is what is run and imported: a program that embeds a cluster begins here
 * (`Cluster.start`), the command line (`deno task start` and the other tasks), and `deno serve` (the default export).
 * How a cluster is put together (the store opened, the API built over it, the actors started) is `actors/cluster/`.
 *
 * Reading order of everything behind it: the README's "One pod, from POST to Running".
 *
 * ```ts
 * import { Cluster } from "./mod.ts";
 *
 * await using cluster = await Cluster.start({ nodes: 2 });
 * await cluster.client.create(
 *   { resource: { group: "", version: "v1", plural: "configmaps" }, namespace: "default" },
 *   { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "hello" }, data: { a: "1" } },
 * );
 * await cluster.settle();
 * ```
 */
import { machineHost, startMachine } from "./actors/nodes/mod.ts";
import { createLogger } from "./actors/runtime/log.ts";
import type { Logger } from "./actors/runtime/mod.ts";
import { runCommand, servedOptions } from "./api/config/command.ts";
import { runDashboardCommand } from "./api/config/dashboard.ts";
import { UsageError } from "./api/config/flags.ts";
import { runKubeconfigCommand } from "./api/config/kubeconfig.ts";
import { type NodePorts, runNodeCommand } from "./api/config/node.ts";
import { runReplayCommand } from "./api/config/replay.ts";
import { runTokenCommand } from "./api/config/token.ts";
import { loginLink } from "./api/plesio/mod.ts";
import { urlOutbound } from "./api/mod.ts";
import { keepServed, lazily, remoteOf, servedBy } from "./api/serve_host.ts";
import { type Clock, DatabaseError, RealClock } from "./kv/mod.ts";
import { Cluster } from "./actors/cluster/cluster.ts";
import { ADMIN } from "./actors/cluster/options.ts";

export { Cluster } from "./actors/cluster/cluster.ts";
export {
  ADMIN,
  type ClusterOptions,
  type Component,
  type ForkOptions,
} from "./actors/cluster/options.ts";
export type { ListenOptions } from "./api/config/serving.ts";

// --- deno serve, Deno Deploy --------------------------------------------------------------------------------

/** The administrator's bearer token comes by the environment. */
const served = lazily(async () => {
  const options = await servedOptions({ log: logTo });
  const token = Deno.env.get("PLESIO_ADMIN_TOKEN");
  const tokens = new Map([...options.tokens ?? [], ...token ? [[token, ADMIN] as const] : []]);
  const start = async (clock: Clock) =>
    (await Cluster.start({ ...options, tokens, clock })).served();
  return servedBy({ ...options, clock: new RealClock(), start });
});

/** `deno serve mod.ts`: opens at the first request (`api/serve.ts`). */
export default {
  fetch: async (request: Request, info?: Deno.ServeHandlerInfo) =>
    await (await served()).fetch(request, info && remoteOf(info)),
};

// --- deno task start, node, token ----------------------------------------------------------------------------------------

type LogOptions = Omit<Parameters<typeof createLogger>[0], "clock" | "write">;

/** A log on the standard error. */
function logTo(options: LogOptions): Logger {
  return createLogger({
    ...options,
    clock: new RealClock(),
    write: (line) => console.error(line),
  });
}

/** What commands beside a cluster work with. */
function beside() {
  const clock = new RealClock();
  const print = (line: string) => console.log(line);
  return { clock, outbound: urlOutbound(clock), print, log: logTo };
}

/** The commands, by the task that runs them. */
const COMMANDS: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  start: (args) => runCommand(args, { start: Cluster.start, log: logTo }),
  replay: (args) => runReplayCommand(args, { ...beside(), replay: (file) => Cluster.replay(file) }),
  node: (args) => {
    const { clock, ...ports } = beside();
    const start: NodePorts["start"] = (machine) =>
      startMachine({ ...machine, clock, host: machineHost() });
    return runNodeCommand(args, { ...ports, clock, hostname: () => Deno.hostname(), start });
  },
  dashboard: (args) => runDashboardCommand(args, { ...beside(), link: loginLink }),
  kubeconfig: (args) =>
    runKubeconfigCommand(args, { ...beside(), env: (name) => Deno.env.get(name) }),
  token: (args) => runTokenCommand(args, { ...beside(), warn: (line) => console.error(line) }),
};

// `deno serve` runs this file as its main module too, without arguments.
const command = import.meta.main ? COMMANDS[Deno.args[0]] : undefined;
if (import.meta.main && !command) keepServed(served);
if (command) {
  try {
    await command(Deno.args.slice(1));
    Deno.exit(0);
  } catch (error) {
    const known = error instanceof UsageError || error instanceof DatabaseError ||
      error instanceof TypeError;
    console.error(known ? `plesio: ${error.message}` : error);
    Deno.exit(1);
  }
}
