/**
 * The order of authorizers and the words of a refusal.
 */
import { forbidden, internal } from "../machinery/errors.ts";
import type { ApiError } from "../machinery/types.ts";
import type { User } from "../client/contract.ts";
import type { Attributes, Authorizer, Decision, PolicyRule, PromptAuthorizer } from "./contract.ts";
import { MASTERS } from "./names.ts";

const ALLOWED: Decision = Object.freeze({ allowed: true });
const NO_OPINION: Decision = Object.freeze({ allowed: false });

/** What those said that did not decide. */
interface Said {
  reasons: string[];
  errors: string[];
}

/**
 * One authorizer of several: members of system:masters pass, then the first that allows or denies decides. The
 * reasons of those that had no opinion are joined. It answers at once as long as those it asks do.
 */
export function inOrder(authorizers: readonly PromptAuthorizer[]): PromptAuthorizer;
export function inOrder(authorizers: readonly Authorizer[]): Authorizer;
export function inOrder(authorizers: readonly Authorizer[]): Authorizer {
  const ask = (
    attributes: Attributes,
    from: number,
    said: Said | undefined,
  ): Decision | Promise<Decision> => {
    for (let i = from; i < authorizers.length; i++) {
      const decision = authorizers[i].authorize(attributes);
      if (decision instanceof Promise) {
        return decision.then((late) => {
          if (late.allowed || late.denied) return late;
          return ask(attributes, i + 1, noted(said, late));
        });
      }
      if (decision.allowed || decision.denied) return decision;
      said = noted(said, decision);
    }
    return said ? summed(said) : NO_OPINION;
  };
  return {
    authorize(attributes) {
      if (attributes.user.groups.includes(MASTERS)) return ALLOWED;
      return ask(attributes, 0, undefined);
    },
    rules(user: User, namespace: string) {
      // What system:masters may do is in no rule but that of its binding to cluster-admin.
      const rules: PolicyRule[] = [];
      const errors: string[] = [];
      let incomplete = false;
      for (const authorizer of authorizers) {
        const found = authorizer.rules(user, namespace);
        rules.push(...found.rules);
        errors.push(...found.errors);
        incomplete ||= found.incomplete === true;
      }
      return { rules, errors, incomplete };
    },
  };
}

function noted(said: Said | undefined, { reason, error }: Decision): Said | undefined {
  if (!reason && !error) return said;
  said ??= { reasons: [], errors: [] };
  if (reason) said.reasons.push(reason);
  if (error) said.errors.push(error);
  return said;
}

function summed({ reasons, errors }: Said): Decision {
  return {
    allowed: false,
    ...(reasons.length ? { reason: reasons.join("\n") } : {}),
    ...(errors.length ? { error: joinedErrors(errors) } : {}),
  };
}

/** Several errors as one text, as upstream's aggregates print. */
export function joinedErrors(errors: readonly string[]): string {
  const unique = [...new Set(errors)];
  return unique.length === 1 ? unique[0] : `[${unique.join(", ")}]`;
}

/** The sentence of a 403, without the authorizer's reason. */
export function refusalText(a: Attributes): string {
  const user = JSON.stringify(a.user.name);
  if (!a.resourceRequest) return `User ${user} cannot ${a.verb} path ${JSON.stringify(a.path)}`;
  const resource = a.subresource ? `${a.resource}/${a.subresource}` : a.resource;
  const where = a.namespace
    ? `in the namespace ${JSON.stringify(a.namespace)}`
    : "at the cluster scope";
  return `User ${user} cannot ${a.verb} resource ${JSON.stringify(resource)} ` +
    `in API group ${JSON.stringify(a.group)} ${where}`;
}

/** Texts must not look like HTML to a browser that shows them. */
function plain(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

/** The 403 for attributes that were not allowed. */
export function forbiddenRequest(a: Attributes, decision: Decision): ApiError {
  const text = plain(refusalText(a));
  const subject = { group: a.group, resource: a.resource };
  return forbidden(subject, a.name, decision.reason ? `${text}: ${decision.reason}` : text);
}

/** What a request is answered that was not allowed: 403, or 500 where no decision could be made. */
export function refusedRequest(a: Attributes, decision: Decision): ApiError {
  if (!decision.error) return forbiddenRequest(a, decision);
  return internal(plain(decision.error));
}
