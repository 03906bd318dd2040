/**
 * How an API server is configured beyond its defaults: the same options for a program that embeds a cluster and
 * for the command line, whose flags and files become these here.
 */
import type { AuthorizerOptions } from "../auth/authorizers.ts";
import type { User } from "../client/contract.ts";
import { authorizationOfModes, authorizationOptions } from "./authorization.ts";
import { type Flags, UsageError } from "./flags.ts";
import { type ServingOptions, servingOptions } from "./serving.ts";
import type { FrontOptions } from "../server/front_options.ts";
import { frontOptions } from "./front.ts";

/** Options of the API server. Each has a default that needs no configuration. */
export interface ServerOptions extends ServingOptions {
  /** Serve beta kinds too (default false). */
  beta?: boolean;
  /** Admission plugins to switch on or off beside upstream's default. */
  admission?: { enable?: readonly string[]; disable?: readonly string[] };
  /** Bearer tokens and whose they are (default none). */
  tokens?: ReadonlyMap<string, User>;
  /** Who decides what may be done, in this order (default: Node, then RBAC). */
  authorization?: readonly AuthorizerOptions[];
  /** Audit, limits and deadlines. */
  front?: FrontOptions;
}

/** Reads the text of the file that a flag names; undefined where the flag was not given. */
export type ReadConfig = (
  flag: string & keyof Flags,
  path: string | undefined,
) => Promise<string | undefined>;

/** The options that flags ask for. Throws UsageError for what cannot be read or is wrong. */
export async function serverOptions(flags: Flags, read: ReadConfig): Promise<ServerOptions> {
  return {
    beta: flags.beta,
    admission: {
      enable: flags["enable-admission-plugins"],
      disable: flags["disable-admission-plugins"],
    },
    authorization: await authorizationOf(flags, read),
    ...await servingOf(flags, read),
    front: await frontOptions(flags, read),
  };
}

/** A function whose Errors are mistakes of the person at the keyboard. */
async function usable<T>(flag: string, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof Error)) throw error;
    throw new UsageError(`--${flag}: ${error.message}`);
  }
}

/** Reads the files that a configuration names. */
function readerOf(flag: string & keyof Flags, read: ReadConfig) {
  return async (path: string) => await read(flag, path) ?? "";
}

async function authorizationOf(flags: Flags, read: ReadConfig) {
  const modes = flags["authorization-mode"];
  const webhook = "authorization-webhook-config-file";
  const path = flags[webhook];
  if (flags["authorization-config"] !== undefined) {
    if (modes.length || path !== undefined) {
      throw new UsageError(
        "--authorization-config can not be specified when --authorization-mode or " +
          "--authorization-webhook-* flags are defined",
      );
    }
    const text = await read("authorization-config", flags["authorization-config"]) ?? "";
    return await usable(
      "authorization-config",
      () => authorizationOptions(text, readerOf("authorization-config", read)),
    );
  }
  if (modes.length === 0 && path === undefined) return undefined;
  const text = await read(webhook, path);
  return await usable("authorization-mode", () =>
    authorizationOfModes({
      modes,
      ...(path !== undefined && text !== undefined ? { webhook: { path, text } } : {}),
      version: flags["authorization-webhook-version"],
      authorizedMs: flags["authorization-webhook-cache-authorized-ttl"],
      unauthorizedMs: flags["authorization-webhook-cache-unauthorized-ttl"],
    }, readerOf(webhook, read)));
}

async function servingOf(flags: Flags, read: ReadConfig): Promise<ServingOptions> {
  const of = (flag: FileFlag) => read(flag, flags[flag]);
  return servingOptions({
    clientCa: await of("client-ca-file"),
    tlsCert: await of("tls-cert-file"),
    tlsKey: await of("tls-private-key-file"),
    tokenKeys: await of("service-account-key-file"),
    signingKey: await of("service-account-signing-key-file"),
    issuers: flags["service-account-issuer"],
    serviceRange: flags["service-cluster-ip-range"],
  });
}

type FileFlag =
  | "client-ca-file"
  | "tls-cert-file"
  | "tls-private-key-file"
  | "service-account-key-file"
  | "service-account-signing-key-file";
