/**
 * What a Service claims: cluster addresses and node ports, given and taken back in the very write that
 * stores the Service, so that none is ever given twice. An address is claimed by its IPAddress object, as
 * upstream does; a port by a record of its own.
 */
import { invalid } from "../machinery/errors.ts";
import { edit } from "../machinery/edit.ts";
import { familyOf } from "../kinds/rules/service_families.ts";
import { formatIp, parseCidr, parseIp } from "../machinery/ip.ts";
import type { DeepReadonly, IpFamily, Kind, KubeObject } from "../machinery/types.ts";
import { type Deps, timeText } from "./deps.ts";

/** Who has what: the write's draft, or a sketch of one. */
export interface Ledger {
  get(key: string): unknown;
  scan(prefix: string): Iterable<{ readonly value: DeepReadonly<KubeObject> }>;
  put(key: string, value: KubeObject): unknown;
  delete(key: string): unknown;
}

/** What a kind's objects claim, exactly, in the write that stores them. */
export interface Claims {
  /** Returns the object with its claims filled in: a private copy wherever it differs. */
  create(deps: Deps, ledger: Ledger, object: KubeObject, dryRun?: boolean): KubeObject;
  update(
    deps: Deps,
    ledger: Ledger,
    object: KubeObject,
    old: DeepReadonly<KubeObject>,
    dryRun?: boolean,
  ): KubeObject;
  release(ledger: Ledger, object: DeepReadonly<KubeObject>): void;
}

/** The range of Services where nothing else is said. */
export const SERVICE_RANGE = "10.96.0.0/12";
/** Node ports (upstream's default). */
export const NODE_PORT_MIN = 30_000;
export const NODE_PORT_MAX = 32_767;
/** The lowest node ports are left for those who ask for them by number. */
const NODE_PORTS_STATIC = 86;
/** The last addresses of the range are the load balancers'. */
const BALANCER_ADDRESSES = 256;
/** Random draws before a range is searched in order. */
const DRAWS_MAX = 32;

const SERVICES_PATH = "/registry/services/specs";
const ADDRESSES = "/registry/ipaddresses/";
const SERVICE_CIDRS = "/registry/servicecidrs/";
const PORTS = "/registry/ranges/servicenodeports/";

// deno-lint-ignore no-explicit-any -- a Service's fields have been validated
type Spec = any;

/** The claims of a kind's objects, if they have any. */
export function claimsOf(kind: Kind): Claims | undefined {
  return kind.path === SERVICES_PATH ? SERVICES : undefined;
}

const SERVICES: Claims = {
  create(deps, ledger, object, dryRun) {
    const service = edit(object) as KubeObject;
    claimAddresses(deps, ledger, service, { before: [], dryRun });
    claimPorts(deps, ledger, service, new Set());
    return service;
  },
  update(deps, ledger, object, old, dryRun) {
    const service = edit(object) as KubeObject;
    const addresses = addressesOf(old);
    const ports = portsOf(old);
    claimAddresses(deps, ledger, service, { before: addresses, dryRun });
    claimPorts(deps, ledger, service, ports);
    const kept = new Set(addressesOf(service));
    for (const address of addresses) {
      if (!kept.has(address)) ledger.delete(ADDRESSES + nameOf(address));
    }
    const keptPorts = portsOf(service);
    for (const port of ports) if (!keptPorts.has(port)) ledger.delete(PORTS + port);
    return service;
  },
  release(ledger, object) {
    for (const address of addressesOf(object)) ledger.delete(ADDRESSES + nameOf(address));
    for (const port of portsOf(object)) ledger.delete(PORTS + port);
  },
};

/** The addresses a Service has. */
function addressesOf(service: DeepReadonly<KubeObject>): string[] {
  const spec = service.spec ?? {};
  if (spec.type === "ExternalName") return [];
  const all: readonly string[] = spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : []);
  return all.filter((address) => address && address !== "None");
}

/** The node ports a Service has. */
function portsOf(service: DeepReadonly<KubeObject>): Set<number> {
  const out = new Set<number>();
  for (const port of (service.spec?.ports ?? []) as { nodePort?: number }[]) {
    if (port.nodePort) out.add(port.nodePort);
  }
  if (service.spec?.healthCheckNodePort) out.add(service.spec.healthCheckNodePort);
  return out;
}

// --- addresses ------------------------------------------------------------------------------------------

/** A range of Services. Of IPv6 the first 2 ** 32 addresses are used, so that offsets are numbers. */
interface Range {
  text: string;
  family: IpFamily;
  /** What all of its addresses begin with: nothing of IPv4, 96 bits of IPv6. */
  prefix: readonly number[];
  base: number;
  size: number;
}

const ranges = new Map<string, Range>();

function rangeOf(text: string): Range {
  let range = ranges.get(text);
  if (!range) {
    const cidr = parseCidr(text);
    if (!cidr) {
      throw new TypeError(
        `Cannot use ${JSON.stringify(text)} as the range of Services: not a CIDR`,
      );
    }
    const { bytes } = cidr.ip;
    range = {
      text,
      family: familyOf(text),
      prefix: bytes.slice(0, -4),
      base: numberOf(bytes.slice(-4)),
      size: 2 ** Math.min(32, bytes.length * 8 - cidr.bits),
    };
    ranges.set(text, range);
  }
  return range;
}

/** The cluster's own ranges, by the text that names them all. */
const owned = new Map<string, readonly Range[]>();

function ownRanges(serviceRange: string): readonly Range[] {
  let own = owned.get(serviceRange);
  if (!own) owned.set(serviceRange, own = serviceRange.split(",").map(rangeOf));
  return own;
}

/** The address families of a cluster's ranges of Services. */
export function serviceFamilies(serviceRange: string): readonly IpFamily[] {
  return ownRanges(serviceRange).map(({ family }) => family);
}

function numberOf(bytes: readonly number[]): number {
  return ((bytes[0] * 256 + bytes[1]) * 256 + bytes[2]) * 256 + bytes[3];
}

function addressText({ prefix, base }: Range, offset: number): string {
  const number = base + offset;
  const end = [16777216, 65536, 256, 1].map((unit) => Math.floor(number / unit) % 256);
  if (prefix.length === 0) return end.join(".");
  return formatIp({ family: 6, bytes: [...prefix, ...end], mapped: false, leadingZeros: false });
}

/** The one name of an address, however a Service writes it. */
function nameOf(address: string): string {
  if (familyOf(address) === "IPv4") return address;
  const ip = parseIp(address);
  return ip ? formatIp(ip) : address;
}

function claimAddresses(
  deps: Deps,
  ledger: Ledger,
  service: KubeObject,
  { before, dryRun }: { before: readonly string[]; dryRun: boolean | undefined },
): void {
  const spec: Spec = service.spec;
  if (!spec || spec.type === "ExternalName") return;
  if (spec.clusterIP === "None") {
    spec.clusterIPs = ["None"];
    return;
  }
  const given = addressesOf(service);
  for (const address of given) {
    if (before.includes(address)) continue;
    const why = addressProblem(deps, ledger, address, dryRun);
    if (why) throw refusedAddress(service, given, `failed to allocate IP ${address}: ${why}`);
    claim(deps, ledger, service, address);
  }
  const wanted: readonly IpFamily[] = spec.ipFamilies ?? serviceFamilies(deps.serviceRange);
  const has = new Set(given.map(familyOf));
  const missing = given.length === 0 && !spec.ipFamilies
    ? wanted.slice(0, 1)
    : wanted.filter((family) => !has.has(family));
  const all = [...given, ...missing.map((family) => give(deps, ledger, service, family))];
  spec.clusterIPs = all;
  spec.clusterIP = all[0];
}

/** Claims an address of a family that nobody has. */
function give(deps: Deps, ledger: Ledger, service: KubeObject, family: IpFamily): string {
  const own = ownRanges(deps.serviceRange).find((range) => range.family === family);
  const balancers = own && own.family === "IPv4" ? Math.min(BALANCER_ADDRESSES, own.size / 4) : 0;
  const address = own && freeAddress(deps, ledger, own, balancers) ||
    further(deps, ledger, family, (range) => freeAddress(deps, ledger, range, 0));
  if (!address) throw refusedAddress(service, addressesOf(service), "range is full");
  claim(deps, ledger, service, address);
  return address;
}

function addressProblem(
  deps: Deps,
  ledger: Ledger,
  address: string,
  dryRun: boolean | undefined,
): string {
  const own = ownRanges(deps.serviceRange).find(({ family }) => family === familyOf(address));
  if (
    (own && isInside(own, address)) ||
    further(deps, ledger, familyOf(address), (range) => isInside(range, address))
  ) {
    return ledger.get(ADDRESSES + nameOf(address)) ? "provided IP is already allocated" : "";
  }
  // Upstream asks one range in a dry run, and all of them otherwise: hence the two texts.
  if (!dryRun) return "the provided network does not match the current range";
  return `the provided IP (${address}) is not in the valid range. ` +
    `The range of valid IPs is ${own?.text ?? deps.serviceRange}`;
}

function isInside({ family, prefix, base, size }: Range, address: string): boolean {
  const ip = familyOf(address) === family ? parseIp(address) : undefined;
  if (!ip || prefix.some((byte, i) => byte !== ip.bytes[i])) return false;
  const at = numberOf(ip.bytes.slice(-4)) - base;
  // IPv6 has no broadcast address
  return at > 0 && at < (family === "IPv4" ? size - 1 : size);
}

/**
 * What `use` makes of the first range for which it makes something: of the ServiceCIDRs that were added to the
 * cluster's own and that are ready, or of which nobody has said whether they are.
 */
function further<T>(
  deps: Deps,
  ledger: Ledger,
  family: IpFamily,
  use: (range: Range) => T,
): T | undefined {
  const own = ownRanges(deps.serviceRange);
  for (const { value: { metadata, spec, status } } of ledger.scan(SERVICE_CIDRS)) {
    const ready = status?.conditions?.find((each: { type: string }) => each.type === "Ready");
    if (metadata.deletionTimestamp || (ready && ready.status !== "True")) continue;
    for (const text of (spec?.cidrs ?? []) as readonly string[]) {
      if (familyOf(text) !== family || own.some((range) => range.text === text)) continue;
      const found = use(rangeOf(text));
      if (found) return found;
    }
  }
  return undefined;
}

function refusedAddress(service: KubeObject, given: readonly string[], why: string) {
  return invalid("", "Service", service.metadata.name, [{
    reason: "FieldValueInvalid",
    message: `Invalid value: ${JSON.stringify(given)}: ${why}`,
    field: "spec.clusterIPs",
  }]);
}

/** An address nobody has: at random from the upper band, then wherever one is left; `kept` at the end stay free. */
function freeAddress(
  deps: Deps,
  ledger: Ledger,
  range: Range,
  kept: number,
): string | undefined {
  const { size } = range;
  const end = size - kept - 1;
  const reserved = Math.min(Math.max(16, Math.floor(size / 16)), 256);
  const start = reserved < end ? reserved : 1;
  for (let draw = 0; draw < DRAWS_MAX; draw++) {
    const address = addressText(range, start + Math.floor(deps.clock.random() * (end - start)));
    if (!ledger.get(ADDRESSES + address)) return address;
  }
  for (let at = end - 1; at > 0; at--) {
    const address = addressText(range, at);
    if (!ledger.get(ADDRESSES + address)) return address;
  }
  return undefined;
}

function claim(deps: Deps, ledger: Ledger, service: KubeObject, address: string): void {
  const { name, namespace } = service.metadata;
  ledger.put(ADDRESSES + nameOf(address), {
    apiVersion: "networking.k8s.io/v1",
    kind: "IPAddress",
    metadata: {
      name: nameOf(address),
      uid: deps.clock.uuid(),
      creationTimestamp: timeText(deps.clock.now()),
      labels: {
        "ipaddress.kubernetes.io/ip-family": familyOf(address),
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
      },
    } as unknown as KubeObject["metadata"],
    spec: { parentRef: { resource: "services", namespace, name } },
  });
}

// --- ports ----------------------------------------------------------------------------------------------

function claimPorts(
  deps: Deps,
  ledger: Ledger,
  service: KubeObject,
  before: ReadonlySet<number>,
): void {
  const spec: Spec = service.spec;
  const wants = spec?.type === "NodePort" ||
    (spec?.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
  const mine = new Set<number>();
  const ports = (spec?.ports ?? []) as { nodePort?: number; port: number; protocol?: string }[];
  ports.forEach((port, i) => {
    if (!port.nodePort || mine.has(port.nodePort)) return;
    mine.add(port.nodePort);
    if (!before.has(port.nodePort)) {
      takePort(deps, ledger, service, port.nodePort, `spec.ports[${i}].nodePort`);
    }
  });
  if (wants) {
    for (const port of ports) {
      if (port.nodePort) continue;
      // One number serves TCP and UDP of the same port
      const twin = ports.find((p) =>
        p.nodePort && p.port === port.port && p.protocol !== port.protocol
      );
      port.nodePort = twin?.nodePort ?? freePort(deps, ledger, service, mine);
      mine.add(port.nodePort);
    }
  }
  if (spec?.type !== "LoadBalancer" || spec.externalTrafficPolicy !== "Local") return;
  if (!spec.healthCheckNodePort) spec.healthCheckNodePort = freePort(deps, ledger, service, mine);
  else if (!before.has(spec.healthCheckNodePort)) {
    takePort(deps, ledger, service, spec.healthCheckNodePort, "spec.healthCheckNodePort");
  }
}

function takePort(
  deps: Deps,
  ledger: Ledger,
  service: KubeObject,
  port: number,
  field: string,
): void {
  const outside = port < NODE_PORT_MIN || port > NODE_PORT_MAX;
  const why = outside
    ? `provided port is not in the valid range. The range of valid ports is ` +
      `${NODE_PORT_MIN}-${NODE_PORT_MAX}`
    : ledger.get(PORTS + port)
    ? "provided port is already allocated"
    : "";
  if (why) {
    const message = `Invalid value: ${port}: ${why}`;
    throw invalid("", "Service", service.metadata.name, [{
      reason: "FieldValueInvalid",
      message,
      field,
    }]);
  }
  notePort(deps, ledger, service, port);
}

function freePort(
  deps: Deps,
  ledger: Ledger,
  service: KubeObject,
  mine: ReadonlySet<number>,
): number {
  const start = NODE_PORT_MIN + NODE_PORTS_STATIC;
  const free = (port: number) => !mine.has(port) && !ledger.get(PORTS + port);
  let port = 0;
  for (let draw = 0; draw < DRAWS_MAX && !port; draw++) {
    const drawn = start + Math.floor(deps.clock.random() * (NODE_PORT_MAX + 1 - start));
    if (free(drawn)) port = drawn;
  }
  for (let at = NODE_PORT_MAX; at >= NODE_PORT_MIN && !port; at--) if (free(at)) port = at;
  if (!port) {
    throw invalid("", "Service", service.metadata.name, [{
      reason: "InternalError",
      message: "Internal error: failed to allocate a nodePort: range is full",
      field: "spec.ports",
    }]);
  }
  notePort(deps, ledger, service, port);
  return port;
}

function notePort(deps: Deps, ledger: Ledger, service: KubeObject, port: number): void {
  const { name, namespace } = service.metadata;
  ledger.put(PORTS + port, {
    apiVersion: "v1",
    kind: "RangeAllocation",
    metadata: {
      name: String(port),
      uid: "",
      creationTimestamp: timeText(deps.clock.now()),
    } as unknown as KubeObject["metadata"],
    range: `${namespace}/${name}`,
  });
}
