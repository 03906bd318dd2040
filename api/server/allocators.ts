/**
 * What a Service claims: cluster addresses and node ports, given and taken back in the very write that
 * stores the Service, so that none is ever given twice. An address is claimed by its IPAddress object, as
 * upstream does; a port by a record of its own.
 */
import { invalid } from "../machinery/errors.ts";
import { edit } from "../machinery/edit.ts";
import { parseCidr, parseIp } from "../machinery/ip.ts";
import type { DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";
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
    for (const address of addresses) if (!kept.has(address)) ledger.delete(ADDRESSES + address);
    const keptPorts = portsOf(service);
    for (const port of ports) if (!keptPorts.has(port)) ledger.delete(PORTS + port);
    return service;
  },
  release(ledger, object) {
    for (const address of addressesOf(object)) ledger.delete(ADDRESSES + address);
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

interface Range {
  text: string;
  base: number;
  size: number;
}

const ranges = new Map<string, Range>();

function rangeOf(text: string): Range {
  let range = ranges.get(text);
  if (!range) {
    const cidr = parseCidr(text);
    if (!cidr || cidr.ip.family !== 4) {
      throw new TypeError(
        `Cannot use ${JSON.stringify(text)} as the range of Services: not an IPv4 CIDR`,
      );
    }
    range = { text, base: numberOf(cidr.ip.bytes), size: 2 ** (32 - cidr.bits) };
    ranges.set(text, range);
  }
  return range;
}

function numberOf(bytes: readonly number[]): number {
  return ((bytes[0] * 256 + bytes[1]) * 256 + bytes[2]) * 256 + bytes[3];
}

function addressText(number: number): string {
  return `${Math.floor(number / 16777216) % 256}.${Math.floor(number / 65536) % 256}.` +
    `${Math.floor(number / 256) % 256}.${number % 256}`;
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
  if (given.length === 0) {
    const own = rangeOf(deps.serviceRange);
    const balancers = Math.min(BALANCER_ADDRESSES, own.size / 4);
    const address = freeAddress(deps, ledger, own, balancers) ??
      further(deps, ledger, (range) => freeAddress(deps, ledger, range, 0));
    if (!address) throw refusedAddress(service, given, "range is full");
    claim(deps, ledger, service, address);
    spec.clusterIP = address;
    spec.clusterIPs = [address];
    return;
  }
  for (const address of given) {
    if (before.includes(address)) continue;
    const why = addressProblem(deps, ledger, address, dryRun);
    if (why) throw refusedAddress(service, given, `failed to allocate IP ${address}: ${why}`);
    claim(deps, ledger, service, address);
  }
  spec.clusterIPs = given;
  spec.clusterIP = given[0];
}

function addressProblem(
  deps: Deps,
  ledger: Ledger,
  address: string,
  dryRun: boolean | undefined,
): string {
  if (
    isInside(rangeOf(deps.serviceRange), address) ||
    further(deps, ledger, (range) => isInside(range, address))
  ) {
    return ledger.get(ADDRESSES + address) ? "provided IP is already allocated" : "";
  }
  // Upstream asks one range in a dry run, and all of them otherwise: hence the two texts.
  if (!dryRun) return "the provided network does not match the current range";
  return `the provided IP (${address}) is not in the valid range. ` +
    `The range of valid IPs is ${deps.serviceRange}`;
}

function isInside({ base, size }: Range, address: string): boolean {
  const ip = parseIp(address);
  const at = ip?.family === 4 ? numberOf(ip.bytes) - base : -1;
  return at > 0 && at < size - 1;
}

/**
 * What `use` makes of the first range for which it makes something: of the ServiceCIDRs that were added to the
 * cluster's own and that are ready, or of which nobody has said whether they are.
 */
function further<T>(deps: Deps, ledger: Ledger, use: (range: Range) => T): T | undefined {
  for (const { value: { metadata, spec, status } } of ledger.scan(SERVICE_CIDRS)) {
    const ready = status?.conditions?.find((each: { type: string }) => each.type === "Ready");
    if (metadata.deletionTimestamp || (ready && ready.status !== "True")) continue;
    for (const text of (spec?.cidrs ?? []) as readonly string[]) {
      if (text === deps.serviceRange || parseCidr(text)?.ip.family !== 4) continue;
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
  { base, size }: Range,
  kept: number,
): string | undefined {
  const end = size - kept - 1;
  const reserved = Math.min(Math.max(16, Math.floor(size / 16)), 256);
  const start = reserved < end ? reserved : 1;
  for (let draw = 0; draw < DRAWS_MAX; draw++) {
    const address = addressText(base + start + Math.floor(deps.clock.random() * (end - start)));
    if (!ledger.get(ADDRESSES + address)) return address;
  }
  for (let at = end - 1; at > 0; at--) {
    const address = addressText(base + at);
    if (!ledger.get(ADDRESSES + address)) return address;
  }
  return undefined;
}

function claim(deps: Deps, ledger: Ledger, service: KubeObject, address: string): void {
  const { name, namespace } = service.metadata;
  ledger.put(ADDRESSES + address, {
    apiVersion: "networking.k8s.io/v1",
    kind: "IPAddress",
    metadata: {
      name: address,
      uid: deps.clock.uuid(),
      creationTimestamp: timeText(deps.clock.now()),
      labels: {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
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
