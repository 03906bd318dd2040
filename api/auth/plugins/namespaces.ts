/**
 * NamespaceAutoProvision makes the namespaces that objects are created in; NamespaceExists refuses writes in those that
 * are not there. Both are off by default, as upstream; NamespaceLifecycle, which is on, refuses creates anyway.
 */
import { notFound } from "../../machinery/errors.ts";
import { ApiError } from "../../machinery/types.ts";
import { type PluginContext, refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";

function isWithin(a: Admission): boolean {
  return a.namespace !== "" && !(a.kind.plural === "namespaces" && a.kind.group === "");
}

function exists(a: Admission): boolean {
  return a.view.get(`/registry/namespaces/${a.namespace}`) !== undefined;
}

/** Upstream's NamespaceAutoProvision. A dry run makes none. */
export function namespaceAutoProvision(context: PluginContext): AdmissionPlugin {
  const { createNamespace, view } = context;
  if (!createNamespace) {
    throw new TypeError("Cannot switch on NamespaceAutoProvision: nobody makes namespaces here");
  }
  return {
    name: "NamespaceAutoProvision",
    handles: (a) => a.operation === "CREATE" && !a.dryRun && isWithin(a),
    async mutate(a) {
      if (exists(a)) return;
      try {
        await createNamespace(a.namespace);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.status.reason !== "AlreadyExists") throw refusal(a, error.message);
      }
      // The plugins behind this one look whether it is there
      a.view = view();
    },
  };
}

/** Upstream's NamespaceExists. */
export const namespaceExists: AdmissionPlugin = {
  name: "NamespaceExists",
  handles: (a) => a.operation !== "CONNECT" && isWithin(a),
  validate(a) {
    if (!exists(a)) throw notFound({ group: "", resource: "namespaces" }, a.namespace);
  },
};
