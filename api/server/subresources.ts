/**
 * Everything below an object: what `status`, `scale`, `binding`, `eviction` and the others do. Streams
 * (`exec`, `attach`, `portforward`, `proxy`, `log`) are answered at the HTTP door, by streams.ts and proxy.ts.
 */
import { badRequest, methodNotAllowed, noSuchResource, notFound } from "../machinery/errors.ts";
import { edit } from "../machinery/edit.ts";
import type { Kind, KubeObject } from "../machinery/types.ts";
import { admissionOf, mutate, review } from "./admit.ts";
import { bindPod } from "./binding.ts";
import { decodeAs, decodeBody, formOf } from "./decoding.ts";
import { type Deps, resourceName, subjectOf, type VirtualAnswer } from "./deps.ts";
import { evictPod } from "./eviction.ts";
import { getObject } from "./list.ts";
import { checkUpdate } from "./prepare.ts";
import type { Answer, ApiRequest } from "./request.ts";
import { getScale, writeScale } from "./scale.ts";
import { change, patchObject, updateObject } from "./writes.ts";

/** How long a token lives that is asked for without a time. */
const TOKEN_SECONDS = 3600;
const TOKEN_REQUEST = formOf("authentication.k8s.io", "v1", "TokenRequest");

/** How what stands beside the resources is written: as custom objects are, in JSON or YAML. */
export const ASIDE: Kind = { ...formOf("plesio.dev", "v1", "Aside"), custom: true };

/**
 * The answer of a subresource of our own, which stands beside upstream's: it is not in discovery, so that clients which
 * walk it find Kubernetes, and is authorized as any subresource.
 */
export function asideOf(
  deps: Deps,
  { kind, subresource }: Pick<ApiRequest, "kind" | "subresource">,
): VirtualAnswer | undefined {
  return subresource ? deps.virtual?.[`${resourceName(kind)}/${subresource}`] : undefined;
}

/** Answers a request for a subresource. */
export function answerSubresource(deps: Deps, request: ApiRequest): Promise<Answer> {
  const { kind, subresource, verb } = request;
  const aside = asideOf(deps, request);
  if (aside) return answerAside(deps, request, aside);
  const row = kind.subresources.find((s) => s.name === subresource);
  if (!row) throw noSuchResource();
  if (!(row.verbs as readonly string[]).includes(verb)) {
    throw methodNotAllowed(subjectOf(kind), verb);
  }
  switch (subresource) {
    case "scale":
      return verb === "get" ? getScale(deps, request) : writeScale(deps, request);
    case "binding":
      return bindPod(deps, request);
    case "eviction":
      return evictPod(deps, request);
    case "token":
      return answerToken(deps, request);
    case "finalize":
      return finalizeNamespace(deps, request);
  }
  if (verb === "get") return getObject(deps, request);
  if (verb === "update") return updateObject(deps, request);
  if (verb === "patch") return patchObject(deps, request);
  throw methodNotAllowed(subjectOf(kind), verb);
}

async function answerAside(
  deps: Deps,
  request: ApiRequest,
  aside: VirtualAnswer,
): Promise<Answer> {
  const { kind, verb } = request;
  if (verb !== "get") throw methodNotAllowed(subjectOf(kind), verb);
  await getObject(deps, request);
  return { code: 200, kind: ASIDE, object: await aside(undefined, request) };
}

/** A namespace's `finalize`: nothing but spec.finalizers is taken from what is sent. */
async function finalizeNamespace(deps: Deps, request: ApiRequest): Promise<Answer> {
  const { object: sent } = decodeBody(deps, request);
  return await change(deps, request, {
    attemptsMax: sent.metadata.resourceVersion ? 1 : 5,
    produce(old) {
      checkUpdate(request, sent, old);
      const object = edit(old) as KubeObject;
      object.spec = { ...object.spec, finalizers: sent.spec?.finalizers ?? [] };
      return { object };
    },
  });
}

/** A ServiceAccount's `token`. */
async function answerToken(deps: Deps, request: ApiRequest): Promise<Answer> {
  if (!deps.tokens) throw methodNotAllowed(subjectOf(request.kind), request.verb);
  const { object } = decodeAs(request, TOKEN_REQUEST);
  object.metadata.namespace ||= request.namespace;
  object.metadata.name ||= request.name;
  object.spec = { ...object.spec };
  object.spec.expirationSeconds ??= TOKEN_SECONDS;
  const admission = admissionOf(deps, request, {
    operation: "CREATE",
    object,
    form: TOKEN_REQUEST,
  });
  await mutate(deps, admission);
  await review(deps, admission);
  const { namespace, name } = request;
  const issued = await deps.tokens.issue({ namespace, name }, object, {
    warn: admission.warn,
    annotate: admission.annotate,
  });
  return { code: 201, kind: TOKEN_REQUEST, object: issued };
}

const COMPONENTS: Readonly<Record<string, string>> = {
  "controller-manager": "ok",
  "etcd-0": "ok",
  scheduler: "ok",
};

/** The old summary of a control plane's health. Whoever reads it has been answered by all of it. */
function componentStatuses({ kind, name }: ApiRequest): Answer {
  const items = Object.entries(COMPONENTS).filter(([one]) => !name || one === name).map(
    ([one, message]) => ({
      apiVersion: "v1",
      kind: "ComponentStatus",
      metadata: { name: one },
      conditions: [{ type: "Healthy", status: "True", message }],
    }),
  );
  if (name && items.length === 0) {
    throw notFound({ group: "", resource: "componentstatus" }, name);
  }
  const list = { apiVersion: "v1", kind: kind.listKind, metadata: {}, items };
  const object = (name ? items[0] : list) as unknown as KubeObject;
  return { code: 200, kind: name ? kind : listForm(kind), object };
}

const listForms = new WeakMap<Kind, Kind>();

/** A row for a kind's list as one object. */
function listForm(kind: Kind): Kind {
  let form = listForms.get(kind);
  if (!form) {
    form = { ...kind, kind: kind.listKind, schema: `${kind.schema}List` };
    listForms.set(kind, form);
  }
  return form;
}

/** Answers a request for a kind that is not stored: reviews, bindings, metrics. */
export async function answerVirtual(deps: Deps, request: ApiRequest): Promise<Answer> {
  const { kind, verb } = request;
  if (kind.group === "" && kind.plural === "bindings") return await bindPod(deps, request);
  const asked = deps.review?.(`${kind.group}/${kind.plural}`);
  if (asked && verb === "create") {
    const { object } = decodeBody(deps, request);
    const admission = admissionOf(deps, request, {
      operation: "CREATE",
      object,
    });
    await mutate(deps, admission);
    await review(deps, admission);
    const { user, namespace } = request;
    const answered = await asked(object, { user, namespace, now: deps.clock.now() });
    return { code: 201, kind, object: answered };
  }
  if (kind.group === "" && kind.plural === "componentstatuses") return componentStatuses(request);
  const answer = deps.virtual?.[resourceName(kind)];
  if (!answer) throw methodNotAllowed(subjectOf(kind), verb);
  if (verb !== "create") {
    const form = verb === "list" ? listForm(kind) : kind;
    return { code: 200, kind: form, object: await answer(undefined, request) };
  }
  if (!request.body) throw badRequest("a body is required");
  const { object } = decodeBody(deps, request);
  if (request.namespace) object.metadata.namespace ??= request.namespace;
  return { code: 201, kind, object: await answer(object, request) };
}
