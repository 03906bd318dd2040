/**
 * The authorizer library: expressions that ask whether the user of the request (or a ServiceAccount) may do
 * something. Who decides is handed in; a decision that takes time is waited for outside (`Pending`), and
 * the expression starts again with it.
 */
import { nameIsDnsLabel, nameIsDnsSubdomain } from "../names.ts";
import { method } from "./registry.ts";
import { CelError, Opaque, type Value } from "./values.ts";

/** What an expression asks to be checked. */
export interface AccessCheck {
  /** Instead of the user of the request. */
  serviceAccount?: { namespace: string; name: string };
  verb: string;
  /** Of a check of no resource; the fields below are then empty. */
  path?: string;
  group: string;
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
  fieldSelector?: string;
  labelSelector?: string;
}

/** What came of a check. */
export interface AccessDecision {
  allowed: boolean;
  reason?: string;
  error?: string;
}

/** Decides. Throws Pending where the decision takes time. */
export interface AccessChecks {
  decide(check: AccessCheck): AccessDecision;
}

/** An evaluation cannot go on before something is settled; then it is to be started again. */
export class Pending extends Error {
  readonly settled: Promise<unknown>;
  constructor(settled: Promise<unknown>) {
    super("an authorization check is under way");
    this.settled = settled;
  }
}

const PACKAGE = "kubernetes.authorization";
export const AUTHORIZER = `${PACKAGE}.Authorizer`;
export const RESOURCE_CHECK = `${PACKAGE}.ResourceCheck`;
const PATH_CHECK = `${PACKAGE}.PathCheck`;
const GROUP_CHECK = `${PACKAGE}.GroupCheck`;
const DECISION = `${PACKAGE}.Decision`;

interface Asking {
  checks: AccessChecks;
  check: AccessCheck;
}

const NOTHING: AccessCheck = {
  verb: "",
  group: "",
  resource: "",
  subresource: "",
  namespace: "",
  name: "",
};

/** The value of `authorizer`. */
export function authorizerValue(checks: AccessChecks): Value {
  return asking(AUTHORIZER, { checks, check: NOTHING });
}

/** The value of `authorizer.requestResource`. */
export function resourceCheckValue(
  checks: AccessChecks,
  of: Pick<AccessCheck, "group" | "resource" | "subresource" | "namespace" | "name">,
): Value {
  return asking(RESOURCE_CHECK, { checks, check: { ...NOTHING, ...of } });
}

function asking(type: string, value: Asking): Opaque {
  return new Opaque(type, value, type);
}

/** The check with more said. */
function more(type: string, from: Opaque, change: Partial<AccessCheck>): Opaque {
  const { checks, check } = from.value as Asking;
  return asking(type, { checks, check: { ...check, ...change } });
}

function filled(text: string, what: string): string {
  if (text.trim() === "") throw new CelError(`${what} must not be empty`);
  return text;
}

/** Defines everything here. */
export function defineAuthorizer(): void {
  method(AUTHORIZER, "path", ["string"], PATH_CHECK, (a: Opaque, path: string) => {
    return more(PATH_CHECK, a, { path: filled(path, "path") });
  });
  method(AUTHORIZER, "group", ["string"], GROUP_CHECK, (a: Opaque, group: string) => {
    return more(GROUP_CHECK, a, { group });
  });
  method(
    AUTHORIZER,
    "serviceAccount",
    ["string", "string"],
    AUTHORIZER,
    (a: Opaque, namespace: string, name: string) => {
      if (nameIsDnsSubdomain(name, false).length) {
        throw new CelError("Invalid service account name");
      }
      if (nameIsDnsLabel(namespace, false).length) {
        throw new CelError("Invalid service account namespace");
      }
      return more(AUTHORIZER, a, { serviceAccount: { namespace, name } });
    },
  );
  method(GROUP_CHECK, "resource", ["string"], RESOURCE_CHECK, (g: Opaque, resource: string) => {
    return more(RESOURCE_CHECK, g, { resource: filled(resource, "resource") });
  });
  for (const field of ["subresource", "namespace", "name"] as const) {
    method(RESOURCE_CHECK, field, ["string"], RESOURCE_CHECK, (r: Opaque, text: string) => {
      return more(RESOURCE_CHECK, r, { [field]: text });
    });
  }
  for (const field of ["fieldSelector", "labelSelector"] as const) {
    method(RESOURCE_CHECK, field, ["string"], RESOURCE_CHECK, (r: Opaque, text: string) => {
      return more(RESOURCE_CHECK, r, { [field]: text });
    });
  }
  for (const type of [PATH_CHECK, RESOURCE_CHECK]) {
    method(type, "check", ["string"], DECISION, (from: Opaque, verb: string) => {
      const { checks, check } = from.value as Asking;
      return new Opaque(DECISION, checks.decide({ ...check, verb }), DECISION);
    });
  }
  const told = (v: Opaque) => v.value as AccessDecision;
  method(DECISION, "allowed", [], "bool", (v: Opaque) => told(v).allowed);
  method(DECISION, "reason", [], "string", (v: Opaque) => told(v).reason ?? "");
  method(DECISION, "errored", [], "bool", (v: Opaque) => told(v).error !== undefined);
  method(DECISION, "error", [], "string", (v: Opaque) => told(v).error ?? "");
}
