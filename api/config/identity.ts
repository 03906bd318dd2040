/** Who may say who he is, and who decides what he may do: the options that flags and their files ask for. */
import { type AuthorizerOptions, AUTHORIZERS_DEFAULT } from "../auth/authorizers.ts";
import { type AuthenticationOptions, ISSUER_DEFAULT } from "../auth/mod.ts";
import { certificatesIn, type RequestHeaderOptions } from "../auth/request_header.ts";
import type { TokenWebhookOptions } from "../auth/token_webhook.ts";
import type { User } from "../client/contract.ts";
import { authenticationOptions, oidcOptions, tokensInFile } from "./authentication.ts";
import { authorizationOfModes, authorizationOptions, besides } from "./authorization.ts";
import { type Flags, UsageError } from "./flags.ts";
import type { ReadConfig } from "./server.ts";
import { webhookEndpoint } from "./webhook_endpoint.ts";

/** Options of identity. Each has a default that needs no configuration. */
export interface IdentityOptions {
  /** Bearer tokens and whose they are (default none). */
  tokens?: ReadonlyMap<string, User>;
  /** Further ways to say who one is (default none). */
  authentication?: AuthenticationOptions;
  /** What tokens for this API server are for (default: their issuers). */
  audiences?: readonly string[];
  /** Who decides what may be done, in this order (default: Node, then RBAC). */
  authorization?: readonly AuthorizerOptions[];
  /** What the files say now; it is looked at every minute (default: it does not change). */
  identityAnew?: () => Promise<Pick<IdentityOptions, "authentication" | "authorization">>;
}

type Name = string & keyof Flags;

/** The options that flags and files ask for. Throws UsageError. */
export async function identityOptions(flags: Flags, read: ReadConfig): Promise<IdentityOptions> {
  const files = ["authentication-config", "authorization-config"] as const;
  const identityAnew = () => configured(flags, read);
  return {
    ...await configured(flags, read),
    ...(files.some((flag) => flags[flag] !== undefined) ? { identityAnew } : {}),
  };
}

async function configured(flags: Flags, read: ReadConfig): Promise<IdentityOptions> {
  const tokenFile = flags["token-auth-file"];
  const text = await read("token-auth-file", tokenFile);
  const audiences = flags["api-audiences"];
  const authorization = await authorizationOf(flags, read);
  return {
    ...(tokenFile !== undefined && text !== undefined
      ? { tokens: await usable("token-auth-file", () => tokensInFile(tokenFile, text)) }
      : {}),
    ...(audiences.length ? { audiences } : {}),
    ...(authorization ? { authorization } : {}),
    authentication: {
      ...await foreignTokens(flags, read),
      webhook: await tokenWebhookOf(flags, read),
      requestHeader: await requestHeaderOf(flags, read),
      bootstrapTokens: flags["enable-bootstrap-token-auth"],
      serviceAccounts: serviceAccountsOf(flags),
    },
  };
}

/** What `make` gives; its Errors are mistakes of the person at the keyboard. */
async function usable<T>(flag: string, make: () => T | Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof Error)) throw error;
    throw new UsageError(`--${flag}: ${error.message}`);
  }
}

/** Reads the files that a configuration names. */
function readerOf(flag: Name, read: ReadConfig) {
  return async (path: string) => await read(flag, path) ?? "";
}

async function authorizationOf(flags: Flags, read: ReadConfig) {
  const modes = flags["authorization-mode"];
  const webhook = "authorization-webhook-config-file";
  const path = flags[webhook];
  if (flags["authorization-config"] !== undefined) {
    if (modes.length || path !== undefined || flags["authorization-policy-file"] !== undefined) {
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
  const policies = flags["authorization-policy-file"];
  if (modes.length === 0 && path === undefined && policies === undefined) return undefined;
  const text = await read(webhook, path);
  const lines = await read("authorization-policy-file", policies);
  return await usable("authorization-mode", () =>
    authorizationOfModes({
      modes: modes.length ? modes : AUTHORIZERS_DEFAULT.map(({ type }) => type),
      ...(path !== undefined && text !== undefined ? { webhook: { path, text } } : {}),
      ...(policies !== undefined && lines !== undefined
        ? { policies: { path: policies, text: lines } }
        : {}),
      version: flags["authorization-webhook-version"],
      authorizedMs: flags["authorization-webhook-cache-authorized-ttl"],
      unauthorizedMs: flags["authorization-webhook-cache-unauthorized-ttl"],
    }, readerOf(webhook, read)));
}

/** Issuers and anonymity, by a file or by flags. */
async function foreignTokens(flags: Flags, read: ReadConfig): Promise<AuthenticationOptions> {
  const issuers = flags["service-account-issuer"];
  const own = issuers.length ? issuers : [ISSUER_DEFAULT];
  const algorithms = flags["oidc-signing-algs"];
  const byFlags = await oidcOf(flags, read, own);
  const anonymous = flags["anonymous-auth"];
  const open = anonymous === undefined ? {} : { anonymous: { enabled: anonymous } };
  const path = flags["authentication-config"];
  const text = await read("authentication-config", path);
  if (text === undefined) {
    return { ...open, ...(byFlags && { jwt: [byFlags], signingAlgorithms: algorithms }) };
  }
  if (byFlags) {
    throw new UsageError("authentication-config file and oidc-* flags are mutually exclusive");
  }
  const found = await usable("authentication-config", () => authenticationOptions(text, own));
  if (found.anonymous && anonymous !== undefined) {
    throw new UsageError(
      "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is " +
        "configured in authentication configuration file",
    );
  }
  return { ...open, ...found };
}

async function oidcOf(flags: Flags, read: ReadConfig, own: readonly string[]) {
  const ca = await read("oidc-ca-file", flags["oidc-ca-file"]);
  return await usable("oidc-issuer-url", () =>
    oidcOptions({
      issuerUrl: flags["oidc-issuer-url"],
      clientId: flags["oidc-client-id"],
      ca,
      usernameClaim: flags["oidc-username-claim"],
      usernamePrefix: flags["oidc-username-prefix"],
      groupsClaim: flags["oidc-groups-claim"],
      groupsPrefix: flags["oidc-groups-prefix"],
      requiredClaims: flags["oidc-required-claim"],
    }, own));
}

async function tokenWebhookOf(
  flags: Flags,
  read: ReadConfig,
): Promise<TokenWebhookOptions | undefined> {
  const flag = "authentication-token-webhook-config-file";
  const path = flags[flag];
  const text = await read(flag, path);
  if (path === undefined || text === undefined) return undefined;
  const version = flags["authentication-token-webhook-version"];
  if (version !== "v1" && version !== "v1beta1") {
    throw new UsageError(
      `unsupported authentication webhook version "${version}", supported versions are "v1", "v1beta1"`,
    );
  }
  const reading = readerOf(flag, read);
  return {
    endpoint: await usable(
      flag,
      () => webhookEndpoint(text, (file) => reading(besides(path, file))),
    ),
    version,
    cacheMs: flags["authentication-token-webhook-cache-ttl"],
  };
}

const HEADER_FLAGS = [
  "requestheader-username-headers",
  "requestheader-uid-headers",
  "requestheader-group-headers",
  "requestheader-extra-headers-prefix",
  "requestheader-allowed-names",
] as const;

async function requestHeaderOf(
  flags: Flags,
  read: ReadConfig,
): Promise<RequestHeaderOptions | undefined> {
  const flag = "requestheader-client-ca-file";
  const authorities = await read(flag, flags[flag]);
  const [usernameHeaders, uidHeaders, groupHeaders, extraHeaderPrefixes, allowedNames] =
    HEADER_FLAGS.map((name) => flags[name]);
  if (uidHeaders.length && !uidHeaders.some((name) => name.toLowerCase() === "x-remote-uid")) {
    throw new UsageError(
      "--requestheader-uid-headers is set without specifying the standard X-Remote-Uid header - " +
        "API aggregation will not work",
    );
  }
  if (authorities === undefined) return undefined;
  const found = await usable(flag, () => certificatesIn(authorities));
  if (found.length === 0) {
    throw new UsageError(`--${flag}: data does not contain any valid certificates`);
  }
  const clients = await read("client-ca-file", flags["client-ca-file"]);
  const both = new Set(certificatesIn(clients ?? "").map((one) => one.fingerprint256));
  if (allowedNames.length === 0 && found.some((one) => both.has(one.fingerprint256))) {
    throw new UsageError(
      "--requestheader-client-ca-file and --client-ca-file contain overlapping certificates; " +
        "--requestheader-allowed-names must be specified to ensure regular client certificates " +
        "cannot set authenticating proxy headers for arbitrary users",
    );
  }
  return {
    authorities,
    allowedNames,
    usernameHeaders,
    uidHeaders,
    groupHeaders,
    extraHeaderPrefixes,
  };
}

const HOUR_MS = 3_600_000;
/** Longest life of tokens that may be set, in seconds. */
const EXPIRATION_SECONDS_MAX = 2 ** 32;

function serviceAccountsOf(flags: Flags): AuthenticationOptions["serviceAccounts"] {
  const maxMs = flags["service-account-max-token-expiration"];
  if (maxMs !== 0 && (maxMs < HOUR_MS || maxMs > EXPIRATION_SECONDS_MAX * 1000)) {
    throw new UsageError(
      "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds",
    );
  }
  const jwksUri = flags["service-account-jwks-uri"];
  if (jwksUri !== undefined && !jwksUri.startsWith("https://")) {
    throw new UsageError(
      `service-account-jwks-uri requires https scheme, parsed as: ${jwksUri}`,
    );
  }
  return {
    ...(maxMs ? { secondsMax: maxMs / 1000 } : {}),
    extend: flags["service-account-extend-token-expiration"],
    ...(jwksUri ? { jwksUri } : {}),
  };
}
