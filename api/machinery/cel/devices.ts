/**
 * The variable `device` of selectors in resource.k8s.io: a device's driver, attributes and capacities. What has no domain
 * of its own is of the driver's; a domain that a device knows nothing of is empty, not an error (upstream:
 * dynamic-resource-allocation/cel, v1.36).
 */
import { parseQuantity } from "../quantity.ts";
import type { DeepReadonly } from "../types.ts";
import { semverValue } from "./semver.ts";
import { CelError, Opaque, type Value } from "./values.ts";

/** A device as slices list it. */
export interface DeviceSpec {
  name: string;
  attributes?: Record<string, { int?: number; bool?: boolean; string?: string; version?: string }>;
  capacity?: Record<string, { value: string | number }>;
  allowMultipleAllocations?: boolean;
}

const EMPTY = new Map<Value, Value>();

/** A map of domains: every domain is there. */
class Domains extends Map<Value, Value> {
  override get(key: Value): Value {
    return super.get(key) ?? EMPTY;
  }
  override has(_key: Value): boolean {
    return true;
  }
}

function byDomain<T>(
  entries: DeepReadonly<Record<string, T>> | undefined,
  driver: string,
  valueOf: (entry: DeepReadonly<T>) => Value,
): Domains {
  const domains = new Domains();
  for (const [name, entry] of Object.entries(entries ?? {})) {
    const slash = name.indexOf("/");
    const domain = slash < 0 ? driver : name.slice(0, slash);
    let ids = domains.get(domain) as Map<Value, Value>;
    if (ids === EMPTY) domains.set(domain, ids = new Map());
    ids.set(name.slice(slash + 1), valueOf(entry as DeepReadonly<T>));
  }
  return domains;
}

/** The value of `device`. Throws CelError for an attribute that has none. */
export function deviceValue(driver: string, device: DeepReadonly<DeviceSpec>): Map<Value, Value> {
  return new Map<Value, Value>([
    ["driver", driver],
    ["allowMultipleAllocations", device.allowMultipleAllocations ?? false],
    [
      "attributes",
      byDomain(device.attributes, driver, ({ int, bool, string, version }) => {
        if (int !== undefined) return BigInt(int);
        if (version !== undefined) return semverValue(version);
        const plain = bool ?? string;
        if (plain === undefined) throw new CelError("unsupported attribute value");
        return plain;
      }),
    ],
    [
      "capacity",
      byDomain(device.capacity, driver, ({ value }) => {
        const quantity = parseQuantity(value);
        return new Opaque("kubernetes.Quantity", quantity, quantity.toString());
      }),
    ],
  ]);
}
