/**
 * OwnerReferencesPermissionEnforcement: who changes an object's owners must be able to delete it, and who makes an
 * owner wait for it must be able to set the owner's finalizers. Off by default, as upstream.
 */
import type { OwnerReference } from "../../machinery/types.ts";
import { type PluginContext, refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin, Attributes, Decision } from "../contract.ts";

/** Upstream's OwnerReferencesPermissionEnforcement. */
export function ownerReferences(context: PluginContext): AdmissionPlugin {
  return {
    name: "OwnerReferencesPermissionEnforcement",
    handles: (a) =>
      (a.operation === "CREATE" || a.operation === "UPDATE") &&
      !(a.kind.plural === "pods" && a.subresource === "status"),
    async validate(a) {
      const now = a.object?.metadata?.ownerReferences ?? [];
      const before = a.old?.metadata?.ownerReferences ?? [];
      if (sameOwners(now, before)) return;
      if (a.operation !== "CREATE") {
        const decision = await ask(a, context, {
          verb: "delete",
          group: a.kind.group,
          version: a.kind.version,
          resource: a.kind.plural,
          subresource: a.subresource,
          namespace: a.namespace,
          name: a.name,
        });
        refuse(a, decision, "cannot set an ownerRef on a resource you can't delete");
      }
      await checkBlocking(a, context, { now, before });
    },
  };
}

type Owners = readonly Readonly<OwnerReference>[];

async function checkBlocking(
  a: Admission,
  context: PluginContext,
  { now, before }: { now: Owners; before: Owners },
): Promise<void> {
  const blocking = now.filter((ref) =>
    ref.blockOwnerDeletion && !before.some((b) => b.uid === ref.uid && b.blockOwnerDeletion)
  );
  if (blocking.length === 0) return;
  const finalizers = { verb: "update", subresource: "finalizers" };
  const anything = { ...finalizers, group: "*", version: "*", resource: "*", name: "*" };
  if ((await ask(a, context, anything)).allowed) return;
  for (const ref of blocking) {
    const [group, version] = ref.apiVersion.includes("/")
      ? ref.apiVersion.split("/")
      : ["", ref.apiVersion];
    const row = context.kinds?.()?.byKind(group, version, ref.kind);
    if (!row) {
      throw refusal(
        a,
        `cannot set blockOwnerDeletion in this case because cannot find RESTMapping for ` +
          `APIVersion ${ref.apiVersion} Kind ${ref.kind}: no matches for kind ` +
          `${JSON.stringify(ref.kind)} in version ${JSON.stringify(ref.apiVersion)}`,
      );
    }
    const decision = await ask(a, context, {
      ...finalizers,
      group,
      version,
      resource: row.plural,
      name: ref.name,
      namespace: row.namespaced ? a.namespace : "",
    });
    refuse(
      a,
      decision,
      "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set " +
        "finalizers on",
    );
  }
}

function ask(
  a: Admission,
  { authorizer }: PluginContext,
  attributes: Partial<Attributes>,
): Decision | Promise<Decision> {
  return authorizer.authorize({
    user: a.user,
    verb: "",
    resourceRequest: true,
    group: "",
    version: "",
    resource: "",
    subresource: "",
    namespace: "",
    name: "",
    path: "",
    ...attributes,
  });
}

function refuse(a: Admission, decision: Decision, text: string): void {
  if (!decision.allowed) {
    throw refusal(a, `${text}: ${decision.reason ?? ""}, ${decision.error ?? "<nil>"}`);
  }
}

function sameOwners(a: Owners, b: Owners): boolean {
  return a.length === b.length &&
    a.every((ref, i) =>
      ref.uid === b[i].uid && ref.name === b[i].name && ref.kind === b[i].kind &&
      ref.apiVersion === b[i].apiVersion && ref.controller === b[i].controller &&
      ref.blockOwnerDeletion === b[i].blockOwnerDeletion
    );
}
