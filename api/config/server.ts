/**
 * How an API server is configured beyond its defaults: the same options for a program that embeds a cluster and
 * for the command line, whose flags and files become these here.
 */
import type { PluginOptions } from "../auth/mod.ts";
import { admissionOfFlags } from "./admission.ts";
import type { ApiSettings } from "./features.ts";
import type { Flags } from "./flags.ts";
import { type IdentityOptions, identityOptions } from "./identity.ts";
import { type ServingOptions, servingOptions } from "./serving.ts";
import { encryptionOfFlags, type EncryptionOptions } from "./encryption.ts";
import type { FrontOptions } from "../server/front_options.ts";
import { frontOptions } from "./front.ts";
import type { Environment } from "./tracing.ts";

/** Options of the API server. Each has a default that needs no configuration. */
export interface ServerOptions extends IdentityOptions, ServingOptions, ApiSettings {
  /** Admission plugins to switch on or off beside upstream's default, and what they are told. */
  admission?: PluginOptions;
  /** What is sealed at rest by what (default: Secrets, by the database's own key). */
  encryption?: EncryptionOptions;
  /** Reads that anew: asked every minute, where it is given. */
  encryptionAnew?: () => Promise<EncryptionOptions>;
  /** Whether actors may be paused, stepped and resumed over HTTP (default no). */
  actorControl?: boolean;
  /** Audit, limits and deadlines. */
  front?: FrontOptions;
}

/** Reads the text of the file that a flag names; undefined where the flag was not given. */
export type ReadConfig = (
  flag: string & keyof Flags,
  path: string | undefined,
) => Promise<string | undefined>;

/** The options that flags ask for. Throws UsageError for what cannot be read or is wrong. */
export async function serverOptions(
  flags: Flags,
  read: ReadConfig,
  env?: Environment,
): Promise<ServerOptions> {
  return {
    beta: flags.beta,
    runtimeConfig: flags["runtime-config"],
    featureGates: flags["feature-gates"],
    admission: {
      enable: flags["enable-admission-plugins"],
      disable: flags["disable-admission-plugins"],
      ...await admissionOfFlags(flags, read),
    },
    ...await identityOptions(flags, read),
    ...await servingOf(flags, read),
    ...await encryptionOfFlags(flags, read),
    actorControl: flags["actor-control"],
    front: await frontOptions(flags, read, env),
  };
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
    clusterCidr: flags["cluster-cidr"],
  });
}

type FileFlag =
  | "client-ca-file"
  | "tls-cert-file"
  | "tls-private-key-file"
  | "service-account-key-file"
  | "service-account-signing-key-file";
