/**
 * Capacity of devices that several claims share (`allowMultipleAllocations`): what a request takes of each, by the
 * device's own policy, and what others have left (upstream: dynamic-resource-allocation/structured, v1.36).
 */
import { parseQuantity, quantity } from "../../../api/machinery/quantity.ts";
import type { Device } from "./pools.ts";

type Amount = string | number;

/** A capacity, and how requests for it become what they take. */
interface Capacity {
  value: Amount;
  requestPolicy?: {
    default?: Amount;
    validValues?: readonly Amount[];
    validRange?: { min?: Amount; max?: Amount; step?: Amount };
  };
}

const valueOf = (amount: Amount) => parseQuantity(amount).value();

/** What is taken of a capacity; undefined: the policy does not allow it. */
function takenOf(requested: Amount | undefined, { value, requestPolicy }: Capacity) {
  if (requested === undefined) return requestPolicy?.default ?? value;
  const { validRange: range, validValues: values } = requestPolicy ?? {};
  const wanted = valueOf(requested);
  if (range?.min !== undefined) {
    const min = valueOf(range.min);
    const step = range.step === undefined ? 0 : valueOf(range.step);
    let taken: Amount = requested;
    if (wanted < min) taken = range.min;
    else if (step > 0) {
      const rounded = min + step * Math.ceil((wanted - min) / step);
      if (rounded !== wanted) taken = quantity(rounded, parseQuantity(requested).format).toString();
    }
    return range.max !== undefined && valueOf(taken) > valueOf(range.max) ? undefined : taken;
  }
  if (values) return values.find((one) => valueOf(one) >= wanted);
  return requested;
}

/** What a request takes of a device's capacities; undefined: the device has not what it asks for. */
export function consumedBy(
  requests: Readonly<Record<string, Amount>> = {},
  { spec }: Device,
): Record<string, string> | undefined {
  const capacities = (spec.capacity ?? {}) as Readonly<Record<string, Capacity>>;
  if (Object.keys(requests).some((name) => !Object.hasOwn(capacities, name))) return undefined;
  const consumed: Record<string, string> = {};
  for (const [name, capacity] of Object.entries(capacities)) {
    const taken = takenOf(requests[name], capacity);
    if (taken === undefined || valueOf(taken) > valueOf(capacity.value)) return undefined;
    consumed[name] = String(taken);
  }
  return consumed;
}

/** What is taken of shared devices, by device and capacity. */
export class CapacityBook {
  readonly #taken = new Map<string, number>();

  /** Notes what an allocation has. */
  note(device: string, consumed: Readonly<Record<string, Amount>>, sign: 1 | -1 = 1): void {
    for (const [name, amount] of Object.entries(consumed)) {
      const key = `${device} ${name}`;
      this.#taken.set(key, (this.#taken.get(key) ?? 0) + sign * valueOf(amount));
    }
  }

  /** Whether a device has so much left. */
  has({ id, spec }: Device, consumed: Readonly<Record<string, Amount>>): boolean {
    return Object.entries(consumed).every(([name, amount]) =>
      valueOf(spec.capacity![name].value) - (this.#taken.get(`${id} ${name}`) ?? 0) >=
        valueOf(amount)
    );
  }
}
