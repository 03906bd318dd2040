/**
 * Plugins of services and ingresses: DefaultIngressClass, DenyServiceExternalIPs.
 */
import { refusal } from "../admission.ts";
import type { AdmissionPlugin } from "../contract.ts";
import { newestDefault } from "./default_class.ts";

/** An ingress that names no class gets the default one. */
export const defaultIngressClass: AdmissionPlugin = {
  name: "DefaultIngressClass",
  handles: (a) =>
    a.kind.plural === "ingresses" && a.kind.group === "networking.k8s.io" &&
    a.operation === "CREATE" && !a.subresource,
  mutate(a) {
    const ingress = a.object!;
    if (ingress.spec?.ingressClassName != null) return;
    if (ingress.metadata.annotations?.["kubernetes.io/ingress.class"] !== undefined) return;
    const found = newestDefault(a.view, "/registry/ingressclasses/", [
      "ingressclass.kubernetes.io/is-default-class",
    ]);
    if (found) (ingress.spec ??= {}).ingressClassName = found.metadata.name;
  },
};

/** No service takes external addresses that it did not already have. Off by default, as upstream. */
export const denyServiceExternalIps: AdmissionPlugin = {
  name: "DenyServiceExternalIPs",
  handles: (a) =>
    a.kind.plural === "services" && a.kind.group === "" && !a.subresource &&
    (a.operation === "CREATE" || a.operation === "UPDATE"),
  validate(a) {
    const known: readonly string[] = a.old?.spec?.externalIPs ?? [];
    const wanted: readonly string[] = a.object?.spec?.externalIPs ?? [];
    if (wanted.every((ip) => known.includes(ip))) return;
    throw refusal(a, "Use of external IPs is denied by admission control");
  },
};
