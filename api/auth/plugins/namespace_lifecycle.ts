/**
 * NamespaceLifecycle: nothing is created in a namespace that does not exist or is being terminated, and three
 * namespaces cannot be deleted. Checked early on the base state, and exactly inside the commit.
 */
import type { View } from "../../../kv/contract.ts";
import { forbidden, notFound } from "../../machinery/errors.ts";
import { ApiError, type KubeObject } from "../../machinery/types.ts";
import { refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";

const IMMORTAL = new Set(["default", "kube-system", "kube-public"]);

/** Upstream's NamespaceLifecycle. */
export const namespaceLifecycle: AdmissionPlugin = {
  name: "NamespaceLifecycle",
  refuses: true,
  handles(a) {
    if (isNamespace(a)) return a.operation === "DELETE" && !a.subresource;
    // Whoever may ask for a review must not learn from it which namespaces exist.
    return a.operation === "CREATE" && a.namespace !== "" &&
      a.kind.plural !== "localsubjectaccessreviews";
  },
  mutate(a) {
    if (!isNamespace(a)) checkActive(a, a.view);
    else if (IMMORTAL.has(a.name)) {
      const subject = { group: "", resource: "namespaces" };
      throw forbidden(subject, a.name, "this namespace may not be deleted");
    }
  },
  commit(a, draft) {
    // Events lie in a store of their own, in which there are no namespaces.
    if (!isNamespace(a) && a.kind.store !== "events") checkActive(a, draft);
  },
};

function isNamespace(a: Admission): boolean {
  return a.kind.plural === "namespaces" && a.kind.group === "";
}

function checkActive(a: Admission, view: View<KubeObject>): void {
  const namespace = view.get(`/registry/namespaces/${a.namespace}`)?.value;
  if (!namespace) throw notFound({ group: "", resource: "namespaces" }, a.namespace);
  if (namespace.status?.phase !== "Terminating") return;
  const { status } = refusal(
    a,
    `unable to create new content in namespace ${a.namespace} because it is being terminated`,
  );
  const cause = {
    reason: "NamespaceTerminating",
    message: `namespace ${a.namespace} is being terminated`,
    field: "metadata.namespace",
  };
  throw new ApiError({ ...status, details: { ...status.details, causes: [cause] } });
}
