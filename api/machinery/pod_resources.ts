/**
 * What a pod asks for and may use in sum: containers together, init containers one after another, sidecars
 * all along; overhead on top; what is said for the whole pod first.
 */
import { type Quantity, tryParseQuantity } from "./quantity.ts";

/** Amounts by resource name. */
export type Amounts = Map<string, Quantity>;

// deno-lint-ignore no-explicit-any -- a pod's spec, checked by its schema
type Any = any;

/** Resources that can be given for a whole pod; huge pages too. */
function isPodLevel(resource: string): boolean {
  return resource === "cpu" || resource === "memory" || resource.startsWith("hugepages-");
}

/** A list of resources as amounts; what is no quantity is left to validation. */
export function amounts(list: Readonly<Record<string, unknown>> | undefined): Amounts {
  const out: Amounts = new Map();
  for (const name in list) {
    const amount = tryParseQuantity(list[name]);
    if (amount) out.set(name, amount);
  }
  return out;
}

/** Adds `more` to `to`. */
export function addAmounts(to: Amounts, more: Amounts): void {
  for (const [name, amount] of more) {
    const known = to.get(name);
    to.set(name, known ? known.add(amount) : amount);
  }
}

/** Raises each amount of `to` to that of `least`. */
export function raiseAmounts(to: Amounts, least: Amounts): void {
  for (const [name, amount] of least) {
    const known = to.get(name);
    if (!known || amount.compare(known) > 0) to.set(name, amount);
  }
}

/**
 * The sum of `requests` or of `limits` over a pod. `overhead` (default true) adds the pod's overhead: always to
 * requests, to limits only where there is one.
 */
export function podAmounts(
  spec: Any,
  part: "requests" | "limits",
  options: { overhead?: boolean; of?: (container: Any, amounts: Amounts) => Amounts } = {},
): Amounts {
  const own = (container: Any) => {
    const listed = amounts(container.resources?.[part]);
    return options.of ? options.of(container, listed) : listed;
  };
  const total: Amounts = new Map();
  for (const container of spec?.containers ?? []) addAmounts(total, own(container));
  const sidecars: Amounts = new Map();
  const most: Amounts = new Map();
  for (const container of spec?.initContainers ?? []) {
    const asked = own(container);
    if (container.restartPolicy === "Always") {
      addAmounts(total, asked);
      addAmounts(sidecars, asked);
      raiseAmounts(most, sidecars);
    } else {
      const now: Amounts = new Map(asked);
      addAmounts(now, sidecars);
      raiseAmounts(most, now);
    }
  }
  raiseAmounts(total, most);
  for (const [name, amount] of amounts(spec?.resources?.[part])) {
    if (isPodLevel(name)) total.set(name, amount);
  }
  if (options.overhead !== false) {
    for (const [name, amount] of amounts(spec?.overhead)) {
      const known = total.get(name);
      if (part === "requests") total.set(name, known ? known.add(amount) : amount);
      else if (known && !known.isZero) total.set(name, known.add(amount));
    }
  }
  return total;
}
