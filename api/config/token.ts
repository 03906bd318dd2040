/**
 * `deno task token create|list|delete|generate`: bootstrap tokens, with which machines join. Flags and output are
 * `kubeadm token`'s where they mean the same.
 */
import type { Clock } from "../../kv/clock.ts";
import type { Client } from "../client/contract.ts";
import { type Endpoint, type Outbound, OutboundError } from "../client/outbound.ts";
import { outboundClient } from "../client/outbound_client.ts";
import {
  authoritiesNow,
  authorityHashes,
  createToken,
  deleteToken,
  generateToken,
  listTokens,
  TOKEN_GROUP,
  USAGES,
} from "../joining/mod.ts";
import { ApiError } from "../machinery/types.ts";
import {
  duration,
  flag,
  type FlagTable,
  list,
  readTable,
  tableText,
  text,
  UsageError,
  type ValuesOf,
} from "./flags.ts";
import { kubeconfigEndpoint } from "./kubeconfig_endpoint.ts";

/** Every flag of `deno task token`. */
export const TOKEN_FLAGS = {
  kubeconfig: text("whose cluster, and as whom (default .plesio/kubeconfig)", "FILE"),
  ttl: duration("24h0m0s", "how long the token is good; 0: for ever"),
  description: text("what it is for"),
  groups: list("groups its bearer is put into", { fallback: [TOKEN_GROUP] }),
  usages: list("what it may be used for", { fallback: USAGES }),
  "print-join-command": flag("print the command that joins a machine with it"),
  help: flag("this text"),
} as const satisfies FlagTable;

const VERBS = ["create", "list", "delete", "generate"] as const;

/** What the composition root hands in. */
export interface TokenPorts {
  outbound: Outbound;
  clock: Clock;
  print(line: string): void;
  /** For what is said beside the result. */
  warn(line: string): void;
}

/** Most tokens that one command deletes. */
const ARGUMENTS_MAX = 100;

/** Runs the command. Throws UsageError for what is asked wrongly, ApiError for what the server refuses. */
export async function runTokenCommand(args: readonly string[], ports: TokenPorts): Promise<void> {
  const { values, rest } = readTable(TOKEN_FLAGS, args, { argumentsMax: ARGUMENTS_MAX });
  const [verb, ...names] = rest;
  if (values.help || !verb) {
    const what = "Makes, lists and deletes bootstrap tokens, with which machines join.";
    const usage = "deno task token create [TOKEN] | list | delete TOKEN… | generate [flags]";
    return ports.print(tableText(TOKEN_FLAGS, what, usage).trimEnd());
  }
  if (!VERBS.includes(verb as typeof VERBS[number])) {
    throw new UsageError(`Unknown command "${verb}": wanted one of ${VERBS.join(", ")}`);
  }
  if (verb === "generate") return ports.print(generateToken(ports.clock));
  const endpoint = await kubeconfigEndpoint(values.kubeconfig);
  const { outbound, clock, print } = ports;
  const { client } = outboundClient({ outbound, clock, endpoint: () => endpoint });
  try {
    if (verb === "create") await create({ client, endpoint }, values, names, ports);
    else if (verb === "list") print((await listTokens(client, clock)).trimEnd());
    else await deleteAll(client, names, ports);
  } catch (error) {
    if ([TypeError, ApiError, OutboundError].some((kind) => error instanceof kind)) {
      throw new UsageError((error as Error).message);
    }
    throw error;
  }
}

async function create(
  { client, endpoint }: { client: Client; endpoint: Endpoint & { url: string } },
  flags: ValuesOf<typeof TOKEN_FLAGS>,
  names: readonly string[],
  { outbound, clock, print, warn }: TokenPorts,
): Promise<void> {
  if (names.length > 1) throw new UsageError("One token is made at a time");
  const token = names[0] ?? generateToken(clock);
  const { ttl: ttlMs, description, groups, usages } = flags;
  await createToken(client, clock, { token, ttlMs, description, groups, usages });
  if (!flags["print-join-command"]) return print(token);
  const { url } = endpoint;
  if (/^https:\/\/(localhost|127\.|\[::1\])/.test(url)) {
    warn(
      `${url} is an address of this machine alone: start the cluster with --host ADDRESS, so that ` +
        "others can reach it",
    );
  }
  const authorityPem = await authoritiesNow(outbound, endpoint).catch((error) => {
    if (endpoint.caBundle) return endpoint.caBundle;
    throw new UsageError(error.message);
  });
  const hashes = authorityHashes(authorityPem);
  const trusted = endpoint.caBundle && authorityHashes(endpoint.caBundle);
  const own = trusted && hashes.some((hash) => trusted.includes(hash));
  const pins = hashes.map((hash) => ` --ca-hash ${hash}`).join("");
  // Somebody else ends TLS: who believes in whom here is what the kubeconfig says
  const tls = own ? "" : ` --certificate-authority ${trusted ? "FILE" : "system"}`;
  print(`deno task node --server ${url} --token ${token}${pins}${tls}`);
  if (tls.endsWith("FILE")) warn("FILE: the certificate authority of your kubeconfig");
}

async function deleteAll(
  client: Client,
  names: readonly string[],
  { print }: TokenPorts,
): Promise<void> {
  if (names.length === 0) {
    throw new UsageError(
      "missing argument; 'token delete' is missing token of form \"\\\\A([a-z0-9]{6})\\\\.([a-z0-9]{16})\\\\z\" " +
        'or "\\\\A([a-z0-9]{6})\\\\z"',
    );
  }
  for (const name of names) {
    const id = await deleteToken(client, name);
    print(`bootstrap token ${JSON.stringify(id)} deleted`);
  }
}
