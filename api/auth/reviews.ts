/**
 * The reviews: questions about who somebody is and what they may do, answered without being stored. Each takes
 * the posted object (private to the caller) and returns the answer; bad questions throw ApiError.
 */
import type { User } from "../client/contract.ts";
import { badRequest, invalid as invalidObject } from "../machinery/errors.ts";
import { invalid } from "../machinery/field_errors.ts";
import type { Cause, KubeObject } from "../machinery/types.ts";
import type { Attributes, Authorizer, PolicyRule } from "./contract.ts";
import { TokenError } from "./jwt.ts";
import { checkSelector, selectorText } from "./review_selectors.ts";
import type { Tokens } from "./tokens.ts";

/** What the reviews need. */
export interface ReviewContext {
  user: User;
  /** The namespace of the URL, or empty. */
  namespace: string;
  authorizer: Authorizer;
  tokens: Tokens;
  /** Wall time in ms. */
  now: number;
}

/** Answers one review. */
export type Review = (
  object: KubeObject,
  context: ReviewContext,
) => KubeObject | Promise<KubeObject>;

/** The reviews by group and plural. */
export const REVIEWS: Readonly<Record<string, Review>> = {
  "authentication.k8s.io/tokenreviews": clusterWide(tokenReview),
  "authentication.k8s.io/selfsubjectreviews": selfSubjectReview,
  "authorization.k8s.io/subjectaccessreviews": clusterWide(subjectAccessReview),
  "authorization.k8s.io/localsubjectaccessreviews": localSubjectAccessReview,
  "authorization.k8s.io/selfsubjectaccessreviews": clusterWide(selfSubjectAccessReview),
  "authorization.k8s.io/selfsubjectrulesreviews": selfSubjectRulesReview,
};

/** A namespace that is named all the same counts as none. */
function clusterWide(review: Review): Review {
  return (object, context) => {
    if (object.metadata?.namespace) {
      const { namespace: _, ...metadata } = object.metadata;
      object.metadata = metadata;
    }
    return review(object, context);
  };
}

const GROUP = "authorization.k8s.io";

function userInfo(user: User): Record<string, unknown> {
  return {
    username: user.name,
    ...(user.uid ? { uid: user.uid } : {}),
    groups: [...user.groups],
    ...(user.extra && Object.keys(user.extra).length ? { extra: { ...user.extra } } : {}),
  };
}

/** Whose token is this, and for which audiences? */
export async function tokenReview(
  object: KubeObject,
  { tokens }: ReviewContext,
): Promise<KubeObject> {
  const token = object.spec?.token;
  if (!token) throw badRequest("token is required for TokenReview in authentication");
  const asked: string[] = object.spec.audiences ?? [];
  try {
    const found = await tokens.authenticate(token, asked.length ? asked : undefined);
    object.status = {
      authenticated: true,
      user: userInfo(found.user),
      audiences: [...found.audiences],
    };
  } catch (error) {
    if (!(error instanceof TokenError)) throw error;
    object.status = { user: {}, error: reviewError(error.message) };
  }
  return object;
}

/** Upstream asks for its own loopback token first, and says so. */
function reviewError(why: string): string {
  const none = "invalid bearer token";
  return why === none ? why : `[${none}, ${why.replace(/^\[(.*)\]$/s, "$1")}]`;
}

/** Who am I? */
export function selfSubjectReview(object: KubeObject, { user, now }: ReviewContext): KubeObject {
  return {
    kind: object.kind,
    apiVersion: object.apiVersion,
    metadata: { creationTimestamp: new Date(now).toISOString().replace(/\.\d+Z$/, "Z") },
    status: { userInfo: userInfo(user) },
  } as unknown as KubeObject;
}

/** May somebody do this? */
export async function subjectAccessReview(
  object: KubeObject,
  context: ReviewContext,
): Promise<KubeObject> {
  refuse([...checkSpec(object.spec ?? {}, true), ...checkMetadata(object, "")]);
  return await decide(object, subjectOf(object.spec), context);
}

/** May somebody do this, in this namespace? */
export async function localSubjectAccessReview(
  object: KubeObject,
  context: ReviewContext,
): Promise<KubeObject> {
  const { spec = {}, metadata } = object;
  const { namespace } = context;
  if (metadata?.namespace && metadata.namespace !== namespace) {
    throw badRequest(
      "the namespace of the provided object does not match the namespace sent on the request",
    );
  }
  object.metadata = { ...metadata, namespace };
  const causes = [...checkSpec(spec, true), ...checkMetadata(object, "namespace")];
  const attributes = spec.resourceAttributes;
  if (attributes && (attributes.namespace ?? "") !== namespace) {
    causes.push(invalid(
      "spec.resourceAttributes.namespace",
      attributes.namespace ?? "",
      "must match metadata.namespace",
    ));
  }
  if (spec.nonResourceAttributes) {
    causes.push(invalid(
      "spec.nonResourceAttributes",
      internalPath(spec.nonResourceAttributes),
      "disallowed on this kind of request",
    ));
  }
  refuse(causes);
  if (!namespace) throw badRequest("namespace is required on this type: ");
  return await decide(object, subjectOf(spec), context);
}

/** May I do this? */
export async function selfSubjectAccessReview(
  object: KubeObject,
  context: ReviewContext,
): Promise<KubeObject> {
  refuse([...checkSpec(object.spec ?? {}, false), ...checkMetadata(object, "")]);
  return await decide(object, context.user, context);
}

/** What may I do in a namespace? */
export function selfSubjectRulesReview(object: KubeObject, context: ReviewContext): KubeObject {
  const namespace = object.spec?.namespace;
  if (!namespace) throw badRequest("no namespace on request");
  const { rules, errors, incomplete } = context.authorizer.rules(context.user, namespace);
  return {
    kind: object.kind,
    apiVersion: object.apiVersion,
    metadata: {},
    spec: {},
    status: {
      resourceRules: rules.filter((r) => r.resources?.length).map(resourceRule),
      nonResourceRules: rules.filter((r) => r.nonResourceURLs?.length)
        .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
      incomplete: incomplete === true,
      ...(errors.length ? { evaluationError: joined(errors) } : {}),
    },
  } as unknown as KubeObject;
}

function joined(errors: readonly string[]): string {
  return errors.length === 1 ? errors[0] : `[${errors.join(", ")}]`;
}

function resourceRule({ verbs, apiGroups, resources, resourceNames }: PolicyRule) {
  return {
    verbs,
    ...(apiGroups?.length ? { apiGroups } : {}),
    resources,
    ...(resourceNames?.length ? { resourceNames } : {}),
  };
}

// deno-lint-ignore no-explicit-any -- the spec of a review as it was posted
type Spec = Record<string, any>;

function subjectOf(spec: Spec): User {
  return {
    name: spec.user ?? "",
    groups: spec.groups ?? [],
    ...(spec.uid ? { uid: spec.uid } : {}),
    ...(spec.extra ? { extra: spec.extra } : {}),
  };
}

async function decide(
  object: KubeObject,
  user: User,
  { authorizer }: ReviewContext,
): Promise<KubeObject> {
  const { resourceAttributes: resource, nonResourceAttributes: path } = object.spec;
  const fields = selectorText("fieldSelector", resource?.fieldSelector);
  const labels = selectorText("labelSelector", resource?.labelSelector);
  const attributes: Attributes = {
    user,
    verb: (resource ?? path).verb ?? "",
    resourceRequest: resource !== undefined,
    group: resource?.group ?? "",
    version: resource?.version || "*",
    resource: resource?.resource ?? "",
    subresource: resource?.subresource ?? "",
    namespace: resource?.namespace ?? "",
    name: resource?.name ?? "",
    path: path?.path ?? "",
    ...(fields.text ? { fieldSelector: fields.text } : {}),
    ...(labels.text ? { labelSelector: labels.text } : {}),
  };
  const decision = await authorizer.authorize(attributes);
  const problems = [fields.problem, labels.problem, decision.error]
    .filter((text) => text !== undefined);
  object.status = {
    allowed: decision.allowed,
    ...(decision.denied ? { denied: true } : {}),
    ...(decision.reason ? { reason: decision.reason } : {}),
    ...(problems.length ? { evaluationError: problems.join("; ") } : {}),
  };
  return object;
}

/** Upstream has forgotten the kind when it says so. */
function refuse(causes: readonly Cause[]): void {
  if (causes.length) throw invalidObject(GROUP, "", "", causes);
}

/** As upstream's internal type is printed. */
function internalPath({ path = "", verb = "" }: Spec): Record<string, string> {
  return { Path: path, Verb: verb };
}

function checkSpec(spec: Spec, subject: boolean): Cause[] {
  const causes: Cause[] = [];
  const { resourceAttributes: resource, nonResourceAttributes: path } = spec;
  if (resource && path) {
    causes.push(invalid(
      "spec.nonResourceAttributes",
      internalPath(path),
      "cannot be specified in combination with resourceAttributes",
    ));
  }
  if (!resource && !path) {
    causes.push(invalid(
      "spec.resourceAttributes",
      null,
      "exactly one of nonResourceAttributes or resourceAttributes must be specified",
    ));
  }
  if (subject && !spec.user && !spec.groups?.length) {
    causes.push(invalid("spec.user", "", "at least one of user or group must be specified"));
  }
  causes.push(...checkSelector("fieldSelector", resource?.fieldSelector));
  causes.push(...checkSelector("labelSelector", resource?.labelSelector));
  return causes;
}

/** In upstream's order, the first of them. */
const META_FIELDS = [
  "name",
  "generateName",
  "namespace",
  "uid",
  "labels",
  "annotations",
  "ownerReferences",
  "finalizers",
];

/** A review is not an object: it has no name, labels or owners (but `except`). */
function checkMetadata(object: KubeObject, except: string): Cause[] {
  const metadata: Record<string, unknown> = { ...object.metadata };
  for (const name of ["managedFields", "creationTimestamp", except]) delete metadata[name];
  const used = Object.values(metadata).some((value) =>
    value !== undefined && value !== null && value !== "" && value !== 0 &&
    (typeof value !== "object" || Object.keys(value).length > 0)
  );
  if (!used) return [];
  const text = except ? `must be empty except for ${except}` : "must be empty";
  const ordered = Object.fromEntries(
    META_FIELDS.filter((name) => name in object.metadata)
      .map((name) => [name, object.metadata[name as keyof typeof object.metadata]]),
  );
  return [invalid("metadata", ordered, text)];
}
