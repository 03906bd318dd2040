/** Rules of the discovery group: EndpointSlices (upstream's `pkg/apis/discovery`). */

import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { parseIp, unmapped } from "../../machinery/ip.ts";
import {
  checkFullyQualifiedDomainName,
  checkIp,
  checkIpLegacy,
  isDns1123Label,
  isLabelValue,
  isQualifiedName,
  nameIsDnsSubdomain,
} from "../../machinery/names.ts";
import { AGE_COLUMN, column, listWithMore, NAME_COLUMN, type Row } from "./cells.ts";
import { semanticEqual } from "./equality.ts";
import { validateNonSpecialIp } from "./ip_validation.ts";
import { validateLabels } from "./meta.ts";
import { addressWarning } from "./pod_warnings.ts";
import { isSet, Path, Report } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const ADDRESS_TYPES = ["FQDN", "IPv4", "IPv6"];
const PROTOCOLS = ["SCTP", "TCP", "UDP"];
const TOPOLOGY_MAX = 16;
const ADDRESSES_MAX = 100;
const PORTS_MAX = 20_000;
const ENDPOINTS_MAX = 1000;
const HINTS_MAX = 8;
const ZONE_LABEL = "topology.kubernetes.io/zone";
const ADDRESS_TYPE = new Path("addressType");
const ENDPOINTS = new Path("endpoints");
const PORTS = new Path("ports");

function validateAddress(type: string, address: string, list: Path, i: number, r: Report): void {
  const path = list.index(i);
  if (type === "FQDN") {
    r.add(checkFullyQualifiedDomainName(`${path}`, address));
    return;
  }
  const causes = type === "IPv4" ? checkIpLegacy(`${path}`, address) : checkIp(`${path}`, address);
  r.add(causes);
  if (causes.length > 0) return;
  const ip = parseIp(address, { sloppy: true });
  if (!ip || `IPv${unmapped(ip).family}` !== type) {
    r.invalid(list, address, `must be an ${type} address`);
  }
  validateNonSpecialIp(address, path, r);
}

/** Hints name zones or nodes: few of them, each once. */
function validateHints(
  hints: Obj[],
  check: (name: string) => readonly string[],
  path: Path,
  r: Report,
): void {
  if (hints.length > HINTS_MAX) {
    r.tooMany(path, hints.length, HINTS_MAX);
    return;
  }
  const seen = new Set<string>();
  hints.forEach(({ name = "" }, i) => {
    const at = path.index(i).child("name");
    if (seen.has(name)) r.duplicate(at, name);
    seen.add(name);
    r.check(check(name), at, name);
  });
}

function isNodeName(name: string): string[] {
  return nameIsDnsSubdomain(name, false);
}

function validateEndpoint(endpoint: Obj, type: string, path: Path, r: Report): void {
  const { nodeName, deprecatedTopology: topology, hostname, hints } = endpoint;
  const addresses: string[] = endpoint.addresses ?? [];
  const addressesAt = path.child("addresses");
  if (addresses.length === 0) r.required(addressesAt, "must contain at least 1 address");
  else if (addresses.length > ADDRESSES_MAX) {
    r.tooMany(addressesAt, addresses.length, ADDRESSES_MAX);
  }
  if (ADDRESS_TYPES.includes(type)) {
    for (let i = 0; i < addresses.length; i++) {
      validateAddress(type, addresses[i], addressesAt, i, r);
    }
  }
  if (isSet(nodeName)) r.check(isNodeName(nodeName), path.child("nodeName"), nodeName);
  if (topology) {
    const at = path.child("deprecatedTopology");
    const count = Object.keys(topology).length;
    if (count > TOPOLOGY_MAX) r.tooMany(at, count, TOPOLOGY_MAX);
    validateLabels(topology, at, r);
  }
  if (isSet(hostname)) r.check(isDns1123Label(hostname), path.child("hostname"), hostname);
  if (!hints) return;
  const { forZones, forNodes } = hints;
  if (forZones) validateHints(forZones, isLabelValue, path.child("hints", "forZones"), r);
  if (forNodes) validateHints(forNodes, isNodeName, path.child("hints", "forNodes"), r);
}

function validatePorts(ports: Obj[], r: Report): void {
  if (ports.length > PORTS_MAX) {
    r.tooMany(PORTS, ports.length, PORTS_MAX);
    return;
  }
  const names = new Set<string>();
  ports.forEach(({ name = "", protocol, appProtocol }, i) => {
    const at = PORTS.index(i);
    if (name !== "") r.check(isDns1123Label(name), at.child("name"), name);
    if (names.has(name)) r.duplicate(at.child("name"), name);
    names.add(name);
    if (!isSet(protocol)) r.required(at.child("protocol"));
    else if (!PROTOCOLS.includes(protocol)) {
      r.notSupported(at.child("protocol"), protocol, PROTOCOLS);
    }
    if (isSet(appProtocol)) {
      r.check(isQualifiedName(appProtocol), at.child("appProtocol"), appProtocol);
    }
  });
}

function validateSlice(slice: Stored, old?: Stored): Cause[] {
  const r = new Report();
  const { addressType: type = "" } = slice;
  const endpoints: Obj[] = slice.endpoints ?? [];
  if (type === "") r.required(ADDRESS_TYPE);
  else if (!ADDRESS_TYPES.includes(type)) r.notSupported(ADDRESS_TYPE, type, ADDRESS_TYPES);
  if (endpoints.length > ENDPOINTS_MAX) r.tooMany(ENDPOINTS, endpoints.length, ENDPOINTS_MAX);
  else if (endpoints !== old?.endpoints) {
    endpoints.forEach((endpoint, i) => validateEndpoint(endpoint, type, ENDPOINTS.index(i), r));
  }
  if (slice.ports) validatePorts(slice.ports, r);
  if (old && old.addressType !== type) r.invalid(ADDRESS_TYPE, type, "field is immutable");
  return r.causes;
}

/** A zone may come by its old label; it is kept in the field that replaced it. */
function foldZone(endpoint: Obj): void {
  const topology = endpoint.deprecatedTopology;
  if (!topology || !(ZONE_LABEL in topology)) return;
  endpoint.zone ??= topology[ZONE_LABEL];
  const { [ZONE_LABEL]: _, ...rest } = topology;
  if (Object.keys(rest).length) endpoint.deprecatedTopology = rest;
  else delete endpoint.deprecatedTopology;
}

const MANAGER_LABEL = "endpointslice.kubernetes.io/managed-by";
/** Who writes addresses only in their one form. */
const MANAGERS = new Set([
  "endpointslice-controller.k8s.io",
  "endpointslicemirroring-controller.k8s.io",
]);

function sliceWarnings(slice: Stored, old?: Stored): string[] {
  const lines: string[] = [];
  if (!old && slice.addressType === "FQDN") {
    lines.push("spec.addressType: FQDN endpoints are deprecated");
  }
  if (MANAGERS.has(slice.metadata.labels?.[MANAGER_LABEL] ?? "")) return lines;
  slice.endpoints?.forEach(({ addresses }: Obj, i: number) => {
    addresses?.forEach((address: string, j: number) => {
      addressWarning(address, ENDPOINTS.index(i).child("addresses").index(j), lines);
    });
  });
  return lines;
}

const HOST_LABEL = "kubernetes.io/hostname";

/**
 * What v1 calls deprecated topology is not written any more. A node's name that stood there, and that a writer
 * brings back, lives on in its own field.
 */
function dropTopology(slice: KubeObject, old?: Stored): void {
  if (old && semanticEqual(slice.endpoints, old.endpoints)) return;
  const known = new Set<string>();
  for (const { deprecatedTopology } of old?.endpoints ?? []) {
    if (deprecatedTopology?.[HOST_LABEL]) known.add(deprecatedTopology[HOST_LABEL]);
  }
  for (const endpoint of slice.endpoints ?? []) {
    const node = endpoint.deprecatedTopology?.[HOST_LABEL];
    if (!isSet(endpoint.nodeName) && known.has(node) && isNodeName(node).length === 0) {
      endpoint.nodeName = node;
    }
    delete endpoint.deprecatedTopology;
  }
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  EndpointSlice: {
    defaults(slice) {
      for (const port of slice.ports ?? []) {
        port.name ??= "";
        port.protocol ??= "TCP";
      }
      for (const endpoint of slice.endpoints ?? []) foldZone(endpoint);
    },
    prepareCreate(slice) {
      slice.metadata.generation = 1;
      dropTopology(slice);
    },
    prepareUpdate(slice, old) {
      const same = ["addressType", "endpoints", "ports"]
        .every((field) => semanticEqual(slice[field], old[field])) &&
        semanticEqual(slice.metadata.labels, old.metadata.labels);
      slice.metadata.generation = (old.metadata.generation ?? 0) + (same ? 0 : 1);
      dropTopology(slice, old);
    },
    validate: (slice) => validateSlice(slice),
    warnings: sliceWarnings,
    validateUpdate: (slice, old) => validateSlice(slice, old),
  },
};

const SHOWN_MAX = 3;

function portsText(slice: Row): string {
  const ports: readonly Obj[] = slice.ports ?? [];
  if (ports.length === 0) return "<unset>";
  const shown = ports.slice(0, SHOWN_MAX).map(({ name, port }) => String(port ?? name ?? "*"));
  return listWithMore(shown, ports.length, SHOWN_MAX) || "<unset>";
}

function endpointsText(slice: Row): string {
  const shown: string[] = [];
  let count = 0;
  for (const endpoint of slice.endpoints ?? []) {
    const addresses = endpoint.addresses ?? [];
    count += addresses.length;
    for (const address of addresses) if (shown.length < SHOWN_MAX) shown.push(address);
  }
  return count === 0 ? "<unset>" : listWithMore(shown, count, SHOWN_MAX);
}

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  EndpointSlice: [
    NAME_COLUMN,
    column("AddressType", (o) => o.addressType ?? ""),
    column("Ports", portsText),
    column("Endpoints", endpointsText),
    AGE_COLUMN,
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
