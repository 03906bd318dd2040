/**
 * `--authentication-config`, the `--oidc-*` flags and `--token-auth-file`: who else may say who he is, checked as
 * kube-apiserver checks it.
 */
import { X509Certificate } from "node:crypto";
import type { AnonymousOptions } from "../auth/authn.ts";
import { JWT_ISSUERS_MAX } from "../auth/limits.ts";
import type {
  ClaimMapping,
  ClaimRule,
  JwtAuthenticatorOptions,
} from "../auth/jwt_authenticator.ts";
import { compiledExpression, loadExpressions } from "../auth/match_conditions.ts";
import type { JwtIssuer } from "../auth/oidc.ts";
import type { User } from "../client/contract.ts";
import { duplicate, index, invalid, required, tooMany } from "../machinery/field_errors.ts";
import { checkDomainPrefixedPath } from "../machinery/names.ts";
import type { Cause } from "../machinery/types.ts";
import {
  causesText,
  type Document,
  type DocumentKind,
  readDocument,
  type Shape,
} from "./document.ts";

const MAPPING: Shape = { claim: "string", prefix: "string", expression: "string" };

const CONFIGURATION: DocumentKind = {
  kind: "AuthenticationConfiguration",
  group: "apiserver.config.k8s.io",
  versions: ["v1", "v1beta1", "v1alpha1"],
  shape: {
    jwt: [{
      issuer: {
        url: "string",
        discoveryURL: "string",
        certificateAuthority: "string",
        audiences: "strings",
        audienceMatchPolicy: "string",
        egressSelectorType: "string",
      },
      claimValidationRules: [{
        claim: "string",
        requiredValue: "string",
        expression: "string",
        message: "string",
      }],
      claimMappings: {
        username: MAPPING,
        groups: MAPPING,
        uid: { claim: "string", expression: "string" },
        extra: [{ key: "string", valueExpression: "string" }],
      },
      userValidationRules: [{ expression: "string", message: "string" }],
    }],
    anonymous: { enabled: "boolean", conditions: [{ path: "string" }] },
  },
};

/** What an AuthenticationConfiguration says. */
export interface AuthenticationDocument {
  jwt: JwtAuthenticatorOptions[];
  anonymous?: AnonymousOptions;
}

/**
 * What a file says. `ownIssuers` are those of ServiceAccount tokens, which nobody else may have. Throws Error in
 * upstream's words.
 */
export async function authenticationOptions(
  text: string,
  ownIssuers: readonly string[],
): Promise<AuthenticationDocument> {
  if (text.trim() === "") throw new Error("empty config data");
  const document = readDocument(text, CONFIGURATION);
  const jwt: Document[] = document.jwt ?? [];
  await loadExpressions();
  const causes = [
    ...issuersCauses(jwt, ownIssuers),
    ...anonymousCauses(document.anonymous),
  ];
  if (causes.length) throw new Error(`invalid authentication configuration: ${causesText(causes)}`);
  return {
    jwt: jwt.map(authenticatorOf),
    ...(document.anonymous ? { anonymous: anonymousOf(document.anonymous) } : {}),
  };
}

function anonymousOf({ enabled = false, conditions = [] }: Document): AnonymousOptions {
  return { enabled, paths: conditions.map(({ path = "" }: Document) => path) };
}

function anonymousCauses(anonymous: Document): Cause[] {
  if (!anonymous || anonymous.enabled || !anonymous.conditions?.length) return [];
  return [invalid(
    "anonymous.conditions",
    anonymous.conditions.map(({ path }: Document) => ({ Path: path })),
    "enabled should be set to true when conditions are defined",
  )];
}

function authenticatorOf(one: Document): JwtAuthenticatorOptions {
  const { url, discoveryURL, certificateAuthority, audiences } = one.issuer;
  const issuer: JwtIssuer = {
    url,
    audiences,
    ...(discoveryURL ? { discoveryUrl: discoveryURL } : {}),
    ...(certificateAuthority ? { certificateAuthority } : {}),
  };
  const { username, groups, uid, extra } = one.claimMappings;
  return {
    issuer,
    claimMappings: {
      username,
      ...(groups ? { groups } : {}),
      ...(uid ? { uid } : {}),
      ...(extra ? { extra } : {}),
    },
    claimValidationRules: one.claimValidationRules ?? [],
    userValidationRules: one.userValidationRules ?? [],
  };
}

function issuersCauses(jwt: readonly Document[], ownIssuers: readonly string[]): Cause[] {
  if (jwt.length > JWT_ISSUERS_MAX) return [tooMany("jwt", jwt.length, JWT_ISSUERS_MAX)];
  const causes: Cause[] = [];
  const urls = new Set<string>();
  const discoveries = new Set<string>();
  for (const [i, one] of jwt.entries()) {
    const path = index("jwt", i);
    causes.push(...jwtCauses(path, one, ownIssuers));
    const { url = "", discoveryURL } = one.issuer ?? {};
    if (urls.has(url)) causes.push(duplicate(`${path}.issuer.url`, url));
    urls.add(url);
    if (!discoveryURL) continue;
    if (discoveries.has(discoveryURL)) {
      causes.push(duplicate(`${path}.issuer.discoveryURL`, discoveryURL));
    }
    discoveries.add(discoveryURL);
  }
  return causes;
}

/** Which claims the expressions of one authenticator look at. */
interface Looks {
  email: boolean;
  emailVerified: boolean;
}

function jwtCauses(path: string, one: Document, ownIssuers: readonly string[]): Cause[] {
  const looks: Looks = { email: false, emailVerified: false };
  return [
    ...issuerCauses(`${path}.issuer`, one.issuer ?? {}, ownIssuers),
    ...claimRuleCauses(`${path}.claimValidationRules`, one.claimValidationRules ?? [], looks),
    ...mappingsCauses(`${path}.claimMappings`, one.claimMappings ?? {}, looks),
    ...userRuleCauses(`${path}.userValidationRules`, one.userValidationRules ?? []),
  ];
}

function issuerCauses(path: string, issuer: Document, ownIssuers: readonly string[]): Cause[] {
  const { url = "", discoveryURL = "", certificateAuthority, egressSelectorType } = issuer;
  const causes = url ? urlCauses(`${path}.url`, url, ownIssuers) : [required(`${path}.url`)];
  if (discoveryURL) {
    const at = `${path}.discoveryURL`;
    const trimmed = (text: string) => text.replace(/\/+$/, "");
    if (url && trimmed(url) === trimmed(discoveryURL)) {
      causes.push(invalid(at, discoveryURL, "discoveryURL must be different from URL"));
    }
    causes.push(...urlCauses(at, discoveryURL, []));
  }
  causes.push(...audienceCauses(path, issuer));
  if (certificateAuthority) {
    causes.push(...authorityCauses(`${path}.certificateAuthority`, certificateAuthority));
  }
  if (egressSelectorType) {
    const known = ["controlplane", "cluster"].includes(egressSelectorType);
    causes.push(invalid(
      `${path}.egressSelectorType`,
      egressSelectorType,
      known
        ? `oidc: egress lookup for ${JSON.stringify(egressSelectorType)} is not configured`
        : "egress selector must be either controlplane or cluster",
    ));
  }
  return causes;
}

function urlCauses(path: string, text: string, disallowed: readonly string[]): Cause[] {
  const causes: Cause[] = [];
  if (disallowed.includes(text)) {
    const list = [...disallowed].sort().join(" ");
    causes.push(invalid(path, text, `URL must not overlap with disallowed issuers: [${list}]`));
  }
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // Go takes any text for a relative URL: it lacks the scheme
    return [...causes, invalid(path, text, "URL scheme must be https")];
  }
  if (url.protocol !== "https:") causes.push(invalid(path, text, "URL scheme must be https"));
  if (url.username || url.password) {
    causes.push(invalid(path, text, "URL must not contain a username or password"));
  }
  if (url.search) causes.push(invalid(path, text, "URL must not contain a query"));
  if (url.hash) causes.push(invalid(path, text, "URL must not contain a fragment"));
  return causes;
}

function audienceCauses(
  path: string,
  { audiences = [], audienceMatchPolicy: policy = "" }: Document,
): Cause[] {
  const at = `${path}.audiences`;
  if (audiences.length === 0) return [required(at, `at least one ${at} is required`)];
  const causes: Cause[] = [];
  const seen = new Set<string>();
  for (const [i, audience] of audiences.entries()) {
    if (!audience) causes.push(required(index(at, i)));
    if (seen.has(audience)) causes.push(duplicate(index(at, i), audience));
    seen.add(audience);
  }
  const many = audiences.length > 1;
  if (policy !== "MatchAny" && (many || policy)) {
    const text = many
      ? "audienceMatchPolicy must be MatchAny for multiple audiences"
      : "audienceMatchPolicy must be empty or MatchAny for single audience";
    causes.push(invalid(`${path}.audienceMatchPolicy`, policy, text));
  }
  return causes;
}

function authorityCauses(path: string, pem: string): Cause[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  let why = "data does not contain any valid RSA or ECDSA certificates";
  try {
    for (const block of blocks) new X509Certificate(block);
    if (blocks.length) return [];
  } catch (error) {
    why = (error as Error).message;
  }
  return [invalid(path, "<omitted>", why)];
}

/** What is wrong with an expression over claims or the user. */
function expressionCauses(
  path: string,
  expression: string,
  { scope, types = [], looks }: { scope: "claims" | "user"; types?: string[]; looks?: Looks },
): Cause[] {
  if (looks && looksAt(expression, "email_verified")) looks.emailVerified = true;
  const { problem } = compiledExpression(expression, scope, types);
  return problem === undefined ? [] : [invalid(path, expression, problem)];
}

/** Whether an expression selects a claim, its texts left out of account. */
function looksAt(expression: string, claim: string): boolean {
  const selected = expression.replace(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/g, "''");
  return new RegExp(`(?<![\\w.])claims\\s*\\.\\s*\\??\\s*${claim}(?!\\w)`).test(selected);
}

function claimRuleCauses(path: string, rules: readonly ClaimRule[], looks: Looks): Cause[] {
  const claims = new Set<string>();
  const expressions = new Set<string>();
  return rules.flatMap(({ claim = "", requiredValue, expression = "", message }, i): Cause[] => {
    const at = index(path, i);
    if (claim && expression) {
      return [invalid(at, claim, "claim and expression can't both be set")];
    }
    if (!claim && !expression) return [required(at, "claim or expression is required")];
    const causes: Cause[] = [];
    if (claim) {
      if (message) {
        causes.push(invalid(`${at}.message`, message, "may not be specified when claim is set"));
      }
      if (claims.has(claim)) causes.push(duplicate(`${at}.claim`, claim));
      claims.add(claim);
      return causes;
    }
    if (requiredValue) {
      const text = "may not be specified when expression is set";
      causes.push(invalid(`${at}.requiredValue`, requiredValue, text));
    }
    if (expressions.has(expression)) {
      return [...causes, duplicate(`${at}.expression`, expression)];
    }
    expressions.add(expression);
    const seen = { scope: "claims", types: ["bool"], looks } as const;
    return [
      ...causes,
      ...expressionCauses(`${at}.expression`, expression, { ...seen, types: ["bool"] }),
    ];
  });
}

function mappingsCauses(path: string, mappings: Document, looks: Looks): Cause[] {
  const { username = {}, groups = {}, uid = {}, extra = [] } = mappings;
  const causes = prefixedCauses(`${path}.username`, username, looks);
  if (!username.claim && !username.expression) {
    causes.push(required(`${path}.username`, "claim or expression is required"));
  }
  looks.email = !!username.expression && looksAt(username.expression, "email");
  causes.push(...prefixedCauses(`${path}.groups`, groups));
  if (uid.claim && uid.expression) {
    causes.push(invalid(`${path}.uid`, "", "claim and expression can't both be set"));
  } else if (uid.expression) {
    causes.push(...expressionCauses(`${path}.uid.expression`, uid.expression, { scope: "claims" }));
  }
  causes.push(...extraCauses(`${path}.extra`, extra, looks));
  if (looks.email && !looks.emailVerified) {
    causes.push(invalid(
      `${path}.username.expression`,
      username.expression,
      "claims.email_verified must be used in claimMappings.username.expression or " +
        "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when " +
        "claims.email is used in claimMappings.username.expression",
    ));
  }
  return causes;
}

function prefixedCauses(path: string, mapping: ClaimMapping, looks?: Looks): Cause[] {
  const { claim, prefix, expression } = mapping;
  if (claim && expression) return [invalid(path, "", "claim and expression can't both be set")];
  if (expression) {
    const text = "may not be specified when expression is set";
    return [
      ...(prefix === undefined ? [] : [invalid(`${path}.prefix`, prefix, text)]),
      ...expressionCauses(`${path}.expression`, expression, { scope: "claims", looks }),
    ];
  }
  if (!claim || prefix !== undefined) return [];
  return [required(
    `${path}.prefix`,
    "prefix is required when claim is set. It can be set to an empty string to disable prefixing",
  )];
}

function extraCauses(path: string, extra: readonly Document[], looks: Looks): Cause[] {
  const seen = new Set<string>();
  return extra.flatMap(({ key = "", valueExpression = "" }, i): Cause[] => {
    const at = index(path, i);
    const causes = checkDomainPrefixedPath(`${at}.key`, key);
    if (key !== key.toLowerCase()) causes.push(invalid(`${at}.key`, key, "must be lowercase"));
    const domain = key.includes("/") ? key.slice(0, key.indexOf("/")) : "";
    if (/(^|\.)(kubernetes|k8s)\.io$/.test(domain)) {
      const text = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
      causes.push(invalid(`${at}.key`, key, text));
    }
    if (seen.has(key)) return [...causes, duplicate(`${at}.key`, key)];
    seen.add(key);
    const place = `${at}.valueExpression`;
    if (!valueExpression) return [...causes, required(place)];
    const found = expressionCauses(place, valueExpression, { scope: "claims", looks });
    return [...causes, ...found];
  });
}

function userRuleCauses(path: string, rules: readonly Document[]): Cause[] {
  const seen = new Set<string>();
  return rules.flatMap(({ expression = "" }, i): Cause[] => {
    const at = `${index(path, i)}.expression`;
    if (!expression) return [required(at)];
    if (seen.has(expression)) return [duplicate(at, expression)];
    seen.add(expression);
    return expressionCauses(at, expression, { scope: "user", types: ["bool"] });
  });
}

// --- flags --------------------------------------------------------------------------------------------

/** What the `--oidc-*` flags say. */
export interface OidcFlags {
  issuerUrl?: string;
  clientId?: string;
  /** Text of the file. */
  ca?: string;
  usernameClaim: string;
  usernamePrefix?: string;
  groupsClaim?: string;
  groupsPrefix?: string;
  requiredClaims: readonly string[];
}

/** The one issuer that flags name; none when they name none. Throws Error. */
export function oidcOptions(
  flags: OidcFlags,
  ownIssuers: readonly string[],
): JwtAuthenticatorOptions | undefined {
  const { issuerUrl, clientId, usernameClaim, usernamePrefix = "", groupsClaim } = flags;
  if (!issuerUrl && !clientId) {
    const { ca, groupsPrefix, requiredClaims } = flags;
    if (!ca && !usernamePrefix && !groupsClaim && !groupsPrefix && !requiredClaims.length) {
      return undefined;
    }
  }
  if (!issuerUrl || !clientId) {
    throw new Error(
      "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set",
    );
  }
  // Names that are not e-mail addresses are told apart by their issuer, unless that is switched off
  const prefix = usernamePrefix === "" && usernameClaim !== "email"
    ? `${issuerUrl}#`
    : usernamePrefix === "-"
    ? ""
    : usernamePrefix;
  const causes = [
    ...urlCauses("jwt[0].issuer.url", issuerUrl, ownIssuers),
    ...(flags.ca ? authorityCauses("jwt[0].issuer.certificateAuthority", flags.ca) : []),
  ];
  if (causes.length) throw new Error(`invalid authentication configuration: ${causesText(causes)}`);
  return {
    issuer: {
      url: issuerUrl,
      audiences: [clientId],
      ...(flags.ca ? { certificateAuthority: flags.ca } : {}),
    },
    claimMappings: {
      username: { claim: usernameClaim, prefix },
      ...(groupsClaim ? { groups: { claim: groupsClaim, prefix: flags.groupsPrefix ?? "" } } : {}),
    },
    claimValidationRules: flags.requiredClaims.map((pair) => {
      const at = pair.indexOf("=");
      if (at < 0) throw new Error(`malformed pair, expect string=string: ${pair}`);
      return { claim: pair.slice(0, at).trim(), requiredValue: pair.slice(at + 1).trim() };
    }),
  };
}

/** Columns of a token file that must be there. */
const TOKEN_COLUMNS_MIN = 3;

/** The tokens of a CSV file: `token,user,uid,"group1,group2"`. Throws Error. */
export function tokensInFile(path: string, text: string): Map<string, User> {
  const tokens = new Map<string, User>();
  for (const record of recordsOf(text)) {
    if (record.length < TOKEN_COLUMNS_MIN) {
      throw new Error(
        `token file '${path}' must have at least 3 columns (token, user name, user uid), found ` +
          `${record.length}`,
      );
    }
    const [token, name, uid, groups] = record;
    if (!token) continue;
    tokens.set(token, {
      name,
      ...(uid ? { uid } : {}),
      groups: groups ? groups.split(",") : [],
    });
  }
  return tokens;
}

/** The records of a CSV text; empty lines are none. */
function recordsOf(text: string): string[][] {
  const records: string[][] = [];
  let record: string[] = [];
  const field = /("(?:[^"]|"")*"|[^,"\r\n]*)(,|\r?\n|$)/y;
  while (field.lastIndex < text.length) {
    const found = field.exec(text);
    if (!found) {
      throw new Error(`record on line ${records.length + 1}: bare " in non-quoted-field`);
    }
    const [, value, end] = found;
    record.push(value.startsWith('"') ? value.slice(1, -1).replace(/""/g, '"') : value);
    if (end === ",") {
      if (field.lastIndex === text.length) record.push("");
      else continue;
    }
    if (record.length > 1 || record[0] !== "") records.push(record);
    record = [];
  }
  return records;
}
