/**
 * The order of authorizers and the words of a refusal.
 */
import { forbidden } from "../machinery/errors.ts";
import type { ApiError } from "../machinery/types.ts";
import type { User } from "../client/contract.ts";
import type { Attributes, Authorizer, Decision, PolicyRule } from "./contract.ts";
import { MASTERS } from "./names.ts";

const ALLOWED: Decision = Object.freeze({ allowed: true });

/**
 * One authorizer of several: members of system:masters pass, then the first that allows decides. The
 * reasons of those that did not allow are joined.
 */
export function inOrder(authorizers: readonly Authorizer[]): Authorizer {
  return {
    authorize(attributes: Attributes): Decision {
      if (attributes.user.groups.includes(MASTERS)) return ALLOWED;
      let reasons: string[] | undefined;
      for (const authorizer of authorizers) {
        const decision = authorizer.authorize(attributes);
        if (decision.allowed) return decision;
        if (decision.reason) (reasons ??= []).push(decision.reason);
      }
      return reasons ? { allowed: false, reason: reasons.join("\n") } : { allowed: false };
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

/** The 403 for attributes that were not allowed. */
export function forbiddenRequest(a: Attributes, decision: Decision): ApiError {
  // Texts must not look like HTML to a browser that shows them.
  const text = refusalText(a).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const subject = { group: a.group, resource: a.resource };
  return forbidden(subject, a.name, decision.reason ? `${text}: ${decision.reason}` : text);
}
