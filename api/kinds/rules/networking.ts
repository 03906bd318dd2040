/** Rules of the networking group: Ingress, IngressClass, NetworkPolicy, IPAddress, ServiceCIDR. */

import { internalValue } from "./internal_value.ts";
import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindContext,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import {
  checkCidr,
  checkIp,
  isDns1123Subdomain,
  isPathSegmentName,
} from "../../machinery/names.ts";
import { formatLabelSelector } from "../../machinery/selectors.ts";
import { AGE_COLUMN, column, NAME_COLUMN, type Row } from "./cells.ts";
import { semanticEqual } from "./equality.ts";
import {
  CLASS_ANNOTATION,
  validateIngress,
  validateIngressClass,
  validateIngressClassUpdate,
  validateIngressUpdate,
} from "./ingress_validation.ts";
import { validateNetworkPolicy } from "./network_policy_validation.ts";
import { raiseGeneration, statusHooks } from "./prepare.ts";
import { isSet, Report, SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

function defaultNetworkPolicy(policy: KubeObject): void {
  const spec: Obj = policy.spec ??= {};
  for (const list of [spec.ingress, spec.egress]) {
    for (const rule of list ?? []) {
      for (const port of rule.ports ?? []) port.protocol ??= "TCP";
    }
  }
  // A policy that says nothing is about what comes in, and about what goes out if it has rules for that.
  if (!spec.policyTypes?.length) {
    spec.policyTypes = spec.egress?.length ? ["Ingress", "Egress"] : ["Ingress"];
  }
}

/** Counts changes of the spec, of kinds without a status. */
const counted: Pick<KindHooks, "prepareCreate" | "prepareUpdate"> = {
  prepareCreate(object) {
    object.metadata.generation = 1;
  },
  prepareUpdate(object, old) {
    raiseGeneration(object, old, ["spec"]);
  },
};

function validateIpAddress(address: Stored): Cause[] {
  const r = new Report();
  const ref = address.spec?.parentRef;
  const at = SPEC.child("parentRef");
  if (!isSet(ref)) r.required(at);
  else {
    if (ref.group) r.check(isDns1123Subdomain(ref.group), at.child("group"), ref.group);
    for (const field of ["resource", "name", "namespace"]) {
      const value = ref[field];
      if (value) r.check(isPathSegmentName(value), at.child(field), value);
      else if (field !== "namespace") r.required(at.child(field));
    }
  }
  return r.causes;
}

function validateServiceCidr(object: Stored): Cause[] {
  const r = new Report();
  const cidrs: string[] = object.spec?.cidrs ?? [];
  const at = SPEC.child("cidrs");
  if (cidrs.length === 0) r.required(at, "at least one CIDR required");
  if (cidrs.length > 2) r.invalid(at, cidrs, "may only hold up to 2 values");
  cidrs.forEach((cidr, i) => r.add(checkCidr(`${at.index(i)}`, cidr)));
  const good = r.causes.length === 0;
  if (good && cidrs.length === 2 && cidrs[0].includes(":") === cidrs[1].includes(":")) {
    r.invalid(
      at,
      cidrs,
      "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
    );
  }
  return r.causes;
}

function immutableSpec(field: string, text: string): NonNullable<KindHooks["validateUpdate"]> {
  return (object, old, context) => {
    const r = new Report();
    if (context.subresource === "status") return [];
    if (!semanticEqual(object.spec?.[field], old.spec?.[field])) {
      const value = object.spec?.[field];
      const shown = field === "parentRef" ? internalValue("ParentReference", value) : value ?? null;
      r.invalid(SPEC.child(field), shown, text);
    }
    return r.causes;
  };
}

/** A second block may join the first; nothing else changes. */
function validateServiceCidrUpdate(object: Stored, old: Stored, context: KindContext): Cause[] {
  if (context.subresource === "status") return [];
  const r = new Report();
  const now: string[] = object.spec?.cidrs ?? [], then: string[] = old.spec?.cidrs ?? [];
  const at = SPEC.child("cidrs");
  const grows = then.length === 1 && now.length === 2;
  if (now.length === then.length || grows) {
    then.forEach((cidr, i) => {
      if (cidr !== now[i]) r.invalid(at.index(i), now[i], "field is immutable");
    });
    if (grows) r.add(validateServiceCidr(object));
  } else r.invalid(at, object.spec?.cidrs ?? null, "field is immutable");
  return r.causes;
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  Ingress: {
    ...statusHooks({ generation: true, status: () => ({ loadBalancer: {} }) }),
    validate: validateIngress,
    validateUpdate: validateIngressUpdate,
    warnings({ metadata }, old) {
      if (old || !metadata.annotations || !(CLASS_ANNOTATION in metadata.annotations)) return [];
      const text = "is deprecated, please use 'spec.ingressClassName' instead";
      return [`annotation "${CLASS_ANNOTATION}" ${text}`];
    },
  },
  IngressClass: {
    defaults(object) {
      const parameters = object.spec?.parameters;
      if (parameters) parameters.scope ??= "Cluster";
    },
    ...counted,
    validate: validateIngressClass,
    validateUpdate: validateIngressClassUpdate,
  },
  NetworkPolicy: {
    defaults: defaultNetworkPolicy,
    ...counted,
    validate: validateNetworkPolicy,
    validateUpdate: validateNetworkPolicy,
  },
  IPAddress: {
    validateName: (name) =>
      checkIp("", name).map((c) => c.message.replace(/^Invalid value: "[^"]*": /, "")),
    validate: validateIpAddress,
    validateUpdate: (address, old, context) => [
      ...validateIpAddress(address),
      ...immutableSpec("parentRef", "field is immutable")(address, old, context),
    ],
  },
  ServiceCIDR: {
    ...statusHooks(),
    validate: validateServiceCidr,
    validateUpdate: validateServiceCidrUpdate,
  },
};

const HOSTS_SHOWN = 3;

function hostsText(ingress: Row): string {
  const rules: Obj[] = ingress.spec?.rules ?? [];
  const hosts = rules.slice(0, HOSTS_SHOWN).map((rule) => rule.host).filter(Boolean);
  if (hosts.length === 0) return "*";
  const text = hosts.join(",");
  return rules.length > HOSTS_SHOWN ? `${text} + ${rules.length - HOSTS_SHOWN} more...` : text;
}

function addressText(ingress: Row): string {
  const found = new Set<string>();
  for (const { ip, hostname } of ingress.status?.loadBalancer?.ingress ?? []) {
    if (ip || hostname) found.add(ip || hostname);
  }
  return [...found].sort().join(",");
}

function parametersText({ spec }: Row): string {
  const parameters = spec?.parameters;
  if (!parameters) return "<none>";
  const kind = isSet(parameters.apiGroup)
    ? `${parameters.kind}.${parameters.apiGroup}`
    : parameters.kind;
  return `${kind}/${parameters.name}`;
}

function parentText({ spec }: Row): string {
  const ref = spec?.parentRef;
  if (!ref) return "<none>";
  const resource = (ref.group ? `${ref.resource}.${ref.group}` : ref.resource ?? "").toLowerCase();
  return [resource, ...(ref.namespace ? [ref.namespace] : []), ref.name].join("/");
}

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  Ingress: [
    NAME_COLUMN,
    column("Class", (o) => o.spec?.ingressClassName ?? "<none>"),
    column("Hosts", hostsText),
    column("Address", addressText),
    column("Ports", (o) => o.spec?.tls?.length ? "80, 443" : "80"),
    AGE_COLUMN,
  ],
  IngressClass: [
    NAME_COLUMN,
    column("Controller", (o) => o.spec?.controller ?? ""),
    column("Parameters", parametersText),
    AGE_COLUMN,
  ],
  NetworkPolicy: [
    NAME_COLUMN,
    column("Pod-Selector", (o) => formatLabelSelector(o.spec?.podSelector as Obj)),
    AGE_COLUMN,
  ],
  IPAddress: [NAME_COLUMN, column("ParentRef", parentText)],
  ServiceCIDR: [NAME_COLUMN, column("CIDRs", (o) => (o.spec?.cidrs ?? []).join(",")), AGE_COLUMN],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
