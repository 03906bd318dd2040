/**
 * Whose token it is that somebody else issued: claims of a checked JWT become a user by the mappings and rules of an
 * AuthenticationConfiguration, as claims by name with a prefix or as CEL.
 */
import type { Clock } from "../../kv/clock.ts";
import type { Outbound } from "../client/outbound.ts";
import type { User } from "../client/contract.ts";
import { celEngine } from "../machinery/crd/engine.ts";
import { DistributedClaim } from "./distributed_claims.ts";
import { issuerOf, TokenError } from "./jwt.ts";
import {
  Budget,
  compiledExpression,
  evaluateProgram,
  loadExpressions,
  type Scope,
  userShown,
  type Values,
} from "./match_conditions.ts";
import { makeUser } from "./names.ts";
import { type JwtClaims, type JwtIssuer, OidcProvider } from "./oidc.ts";
import type { TokenIdentity, TokenSource } from "./tokens.ts";

/** A claim by its name, or an expression. */
export interface ClaimMapping {
  claim?: string;
  /** Put before a claim's value. */
  prefix?: string;
  expression?: string;
}

/** A claim that must have a value, or an expression that must hold. */
export interface ClaimRule {
  claim?: string;
  requiredValue?: string;
  expression?: string;
  message?: string;
}

/** How tokens of one issuer become users. */
export interface JwtAuthenticatorOptions {
  issuer: JwtIssuer;
  claimMappings: {
    username: ClaimMapping;
    groups?: ClaimMapping;
    uid?: ClaimMapping;
    extra?: readonly { key: string; valueExpression: string }[];
  };
  claimValidationRules?: readonly ClaimRule[];
  userValidationRules?: readonly { expression: string; message?: string }[];
}

interface Ports {
  outbound: () => Outbound;
  clock: Clock;
}

/** Tokens of any of several issuers. */
export class JwtTokens implements TokenSource {
  readonly #byIssuer = new Map<string, JwtAuthenticator>();

  constructor(
    options: readonly JwtAuthenticatorOptions[],
    ports: Ports,
    algorithms?: readonly string[],
  ) {
    for (const one of options) {
      this.#byIssuer.set(one.issuer.url, new JwtAuthenticator(one, ports, algorithms));
    }
  }

  async authenticate(
    token: string,
    audiences: readonly string[],
    own: readonly string[],
  ): Promise<TokenIdentity | undefined> {
    const named = issuerOf(token);
    if (named === undefined) return undefined;
    const issuer = named === "accounts.google.com" ? "https://accounts.google.com" : named;
    const authenticator = this.#byIssuer.get(issuer);
    if (!authenticator) return undefined;
    // Such tokens know nothing of our audiences: they are good for all of them
    const good = own.filter((audience) => audiences.includes(audience));
    if (good.length === 0) return undefined;
    const { user, expires } = await authenticator.authenticate(token);
    return { user, audiences: good, expires };
  }
}

/** Tokens of one issuer. */
export class JwtAuthenticator {
  readonly #options: JwtAuthenticatorOptions;
  readonly #provider: OidcProvider;
  /** Where groups are a claim: it may be elsewhere. */
  readonly #groups: DistributedClaim | undefined;

  constructor(options: JwtAuthenticatorOptions, ports: Ports, algorithms?: readonly string[]) {
    const { issuer, claimMappings: { groups } } = options;
    this.#options = options;
    this.#provider = new OidcProvider(issuer, ports, algorithms);
    this.#groups = groups?.claim
      ? new DistributedClaim(groups.claim, { issuer, ports, algorithms })
      : undefined;
  }

  /** The user, and when the token ends (wall time in ms). Rejects with TokenError. */
  async authenticate(token: string): Promise<{ user: User; expires: number }> {
    const known = await this.#provider.verify(token);
    const claims = await this.#groups?.expanded(known) ?? known;
    return { user: await userOf(claims, this.#options), expires: Number(claims.exp) * 1000 };
  }
}

function usesExpressions({ claimMappings, ...options }: JwtAuthenticatorOptions): boolean {
  const { username, groups, uid, extra } = claimMappings;
  return [username, groups, uid].some((mapping) => mapping?.expression) || !!extra?.length ||
    !!options.userValidationRules?.length ||
    !!options.claimValidationRules?.some(({ expression }) => expression);
}

/** The user that claims describe. Rejects with TokenError. */
export async function userOf(claims: JwtClaims, options: JwtAuthenticatorOptions): Promise<User> {
  const { username, groups, uid } = options.claimMappings;
  const wanted = usesExpressions(options);
  if (wanted) await loadExpressions();
  const values: Values = { claims: wanted ? celEngine().wrapDyn(claims as never) : claims };
  const name = await nameOf(claims, username, values);
  const user: User = {
    name,
    groups: await groupsOf(claims, groups, values),
    ...given("uid", await uidOf(claims, uid, values)),
    ...given("extra", await extraOf(claims, options, values)),
  };
  for (const { claim, requiredValue = "" } of options.claimValidationRules ?? []) {
    if (claim) checkRequired(claims, claim, requiredValue);
  }
  const claimRules = (options.claimValidationRules ?? []).filter(({ expression }) => expression);
  await checkRules(claimRules, "claims", values);
  const userRules = options.userValidationRules ?? [];
  if (userRules.length) {
    const shown = { username: "", uid: "", groups: [], extra: {}, ...userShown(user) };
    await checkRules(userRules, "user", { user: celEngine().wrapDyn(shown as never) });
  }
  return makeUser(user);
}

function given<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { [P in K]?: V };
}

/** A claim that must be a text. */
function textClaim(claims: JwtClaims, name: string): string {
  if (!Object.hasOwn(claims, name) || claims[name] === null) throw new Error("claim not present");
  const value = claims[name];
  if (typeof value === "string") return value;
  throw new Error(noText(value));
}

/** Go's words for a value that should have been a text. */
function noText(value: unknown): string {
  const type = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
  return `json: cannot unmarshal ${type} into Go value of type string`;
}

/** What `read` gives; its Error becomes a TokenError behind `head`. */
function reading<T>(head: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new TokenError(`${head}: ${(error as Error).message}`);
  }
}

async function nameOf(claims: JwtClaims, mapping: ClaimMapping, values: Values): Promise<string> {
  const { claim, prefix = "", expression } = mapping;
  if (expression) {
    const head = "oidc: error evaluating username claim expression";
    const name = await evaluated(expression, values, head);
    if (typeof name !== "string") {
      throw new TokenError(`${head}: username claim expression must return a string`);
    }
    if (!name) throw new TokenError("oidc: empty username via CEL expression is not allowed");
    return name;
  }
  const head = `oidc: parse username claims ${JSON.stringify(claim)}`;
  const name = reading(head, () => textClaim(claims, claim!));
  // A name of nothing is nobody's
  if (!name) throw new TokenError(`${head}: claim is empty`);
  if (claim === "email" && Object.hasOwn(claims, "email_verified")) {
    const { email_verified: verified } = claims;
    if (typeof verified !== "boolean") {
      throw new TokenError(
        `oidc: parse 'email_verified' claim: json: cannot unmarshal ${typeof verified} into Go ` +
          `value of type bool`,
      );
    }
    if (!verified) throw new TokenError("oidc: email not verified");
  }
  return prefix + name;
}

async function groupsOf(
  claims: JwtClaims,
  mapping: ClaimMapping | undefined,
  values: Values,
): Promise<string[]> {
  const { claim, prefix = "", expression } = mapping ?? {};
  if (claim && Object.hasOwn(claims, claim)) {
    const value = claims[claim];
    const groups = Array.isArray(value) ? value : value === null ? [] : [value];
    if (!groups.every((group) => typeof group === "string")) {
      throw new TokenError(
        `oidc: parse groups claim ${JSON.stringify(claim)}: ${noText(value)}`,
      );
    }
    return groups.map((group) => prefix + group);
  }
  if (!expression) return [];
  const head = "oidc: error evaluating group claim expression";
  return textsOf(await evaluated(expression, values, head), head);
}

async function uidOf(
  claims: JwtClaims,
  mapping: ClaimMapping | undefined,
  values: Values,
): Promise<string | undefined> {
  const { claim, expression } = mapping ?? {};
  if (claim) {
    const head = `oidc: parse uid claim ${JSON.stringify(claim)}`;
    return reading(head, () => textClaim(claims, claim)) || undefined;
  }
  if (!expression) return undefined;
  const head = "oidc: error evaluating uid claim expression";
  const uid = await evaluated(expression, values, head);
  if (typeof uid !== "string") {
    throw new TokenError(`${head}: uid claim expression must return a string`);
  }
  return uid || undefined;
}

async function extraOf(
  claims: JwtClaims,
  { claimMappings }: JwtAuthenticatorOptions,
  values: Values,
): Promise<Record<string, string[]> | undefined> {
  const extra: Record<string, string[]> = {};
  if (typeof claims.jti === "string" && claims.jti) {
    extra["authentication.kubernetes.io/credential-id"] = [`JTI=${claims.jti}`];
  }
  for (const { key, valueExpression } of claimMappings.extra ?? []) {
    const head = "oidc: error evaluating extra claim expression";
    const value = await evaluated(valueExpression, values, "");
    const texts = textsOf(value, `${head}: ${valueExpression}`);
    if (texts.length) extra[key] = texts;
  }
  return Object.keys(extra).length ? extra : undefined;
}

/** A text or a list of texts; nothing where it is null, empty texts left out. */
function textsOf(value: unknown, head: string): string[] {
  if (value === null) return [];
  const list = Array.isArray(value) ? value : [value];
  if (!list.every((one) => typeof one === "string")) {
    throw new TokenError(`${head}: expression must return a string or a list of strings`);
  }
  return list.filter((text) => text !== "");
}

/** What an expression over claims gives, as JSON. */
async function evaluated(expression: string, values: Values, head: string): Promise<unknown> {
  const value = await resultOf({ expression, scope: "claims", types: [] }, values, head);
  return celEngine().toJson(value as never);
}

async function resultOf(
  { expression, scope, types }: { expression: string; scope: Scope; types: readonly string[] },
  values: Values,
  head: string,
): Promise<unknown> {
  const { program, problem } = compiledExpression(expression, scope, types);
  const before = head ? `${head}: ` : "";
  if (!program) throw new TokenError(before + problem);
  const outcome = await evaluateProgram(program, values, new Budget(Infinity));
  if (outcome.error !== undefined) throw new TokenError(before + outcome.error);
  return outcome.value;
}

function checkRequired(claims: JwtClaims, claim: string, wanted: string): void {
  if (!Object.hasOwn(claims, claim)) {
    throw new TokenError(`oidc: required claim ${claim} not present in ID token`);
  }
  const value = reading(`oidc: parse claim ${claim}`, () => textClaim(claims, claim));
  if (value === wanted) return;
  throw new TokenError(
    `oidc: required claim ${claim} value does not match. Got = ${value}, want = ${wanted}`,
  );
}

async function checkRules(
  rules: readonly { expression?: string; message?: string }[],
  scope: "claims" | "user",
  values: Values,
): Promise<void> {
  const head = scope === "claims"
    ? "oidc: error evaluating claim validation expression"
    : "oidc: error evaluating user info validation rule";
  for (const { expression = "", message = "" } of rules) {
    const held = await resultOf({ expression, scope, types: ["bool"] }, values, head);
    if (held === true) continue;
    throw new TokenError(`${head}: validation expression '${expression}' failed: ${message}`);
  }
}
