/** Quantities as numbers: good enough for pictures, not for accounts. */
import { podAmounts } from "../../machinery/pod_resources.ts";
import { tryParseQuantity } from "../../machinery/quantity.ts";

/** A quantity as a number: cores, bytes, pieces. 0 for what is none. */
export function amount(text: unknown): number {
  if (text === undefined || text === null) return 0;
  const found = tryParseQuantity(text);
  return found ? found.approximate() : 0;
}

const SIZES = ["", "Ki", "Mi", "Gi", "Ti", "Pi"] as const;

/** Bytes as people read them. */
export function bytesText(bytes: number): string {
  let size = 0;
  let left = bytes;
  while (left >= 1024 && size < SIZES.length - 1) {
    left /= 1024;
    size++;
  }
  return `${left >= 100 || size === 0 ? Math.round(left) : left.toFixed(1)}${SIZES[size]}`;
}

/** Cores as people read them. */
function coresText(cores: number): string {
  return cores >= 1 ? String(Math.round(cores * 100) / 100) : `${Math.round(cores * 1000)}m`;
}

/** What is counted of nodes and pods, and how it is written. */
export const RESOURCES = [
  { name: "cpu", text: coresText },
  { name: "memory", text: bytesText },
] as const;

/** What a pod asks for, as the scheduler counts it. */
export function requestOf({ spec }: any, resource: string): number {
  return podAmounts(spec, "requests").get(resource)?.approximate() ?? 0;
}
