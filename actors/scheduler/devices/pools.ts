/**
 * Pools of devices, as ResourceSlices publish them: which are whole and sound, which devices a node reaches, what of
 * their shared counters is left (upstream: dynamic-resource-allocation/structured, v1.36).
 */
import type { DeviceSpec } from "../../../api/machinery/device_selectors.ts";
import { parseQuantity } from "../../../api/machinery/quantity.ts";
import type { Taint } from "../../../api/machinery/taints.ts";
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import type { NodeInfo } from "../framework.ts";
import { compileNodeSelector } from "../plugins/node_affinity.ts";

export type Obj = DeepReadonly<KubeObject>;

type Counters = Readonly<Record<string, { value: string | number }>>;

/** Where something lies that a slice, or a device of its own, says. */
interface Place {
  nodeName?: string;
  allNodes?: boolean;
  // deno-lint-ignore no-explicit-any -- a NodeSelector as the API has it
  nodeSelector?: any;
}

/** A device that can be allocated. */
export interface Device {
  /** `driver/pool/device`. */
  id: string;
  driver: string;
  pool: string;
  name: string;
  spec: DeepReadonly<
    DeviceSpec & Place & {
      taints?: readonly Taint[];
      consumesCounters?: readonly { counterSet: string; counters: Counters }[];
      /** It is brought to the node that it is given on, and may not be used elsewhere then. */
      bindsToNode?: boolean;
      bindingConditions?: readonly string[];
      bindingFailureConditions?: readonly string[];
    }
  >;
  place: Place;
}

/** A pool of a driver. */
export interface Pool {
  /** `driver/pool`. */
  id: string;
  /** Slices of its newest generation are missing: it is being written. */
  incomplete: boolean;
  /** Two of its devices have one name, or a device consumes counters that are not there. */
  invalid: boolean;
  devices: readonly Device[];
  /** By set, then by counter. */
  counters: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

/** Sorts slices into pools; slices of older generations count for nothing. */
export function poolsOf(slices: Iterable<Obj>): Pool[] {
  const groups = new Map<string, Obj[]>();
  for (const slice of slices) {
    const { driver, pool } = slice.spec;
    const id = `${driver}/${pool.name}`;
    const group = groups.get(id);
    const newest = group?.[0].spec.pool.generation ?? -1;
    if (!group || pool.generation > newest) groups.set(id, [slice]);
    else if (pool.generation === newest) group.push(slice);
  }
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, group]) => poolOf(id, group));
}

function poolOf(id: string, slices: Obj[]): Pool {
  slices.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const devices: Device[] = [];
  const counters = new Map<string, Map<string, number>>();
  for (const { spec } of slices) {
    for (const set of spec.sharedCounters ?? []) counters.set(set.name, amounts(set.counters));
    for (const device of spec.devices ?? []) {
      devices.push({
        id: `${id}/${device.name}`,
        driver: spec.driver,
        pool: spec.pool.name,
        name: device.name,
        spec: device,
        place: spec.perDeviceNodeSelection ? device : spec,
      });
    }
  }
  const twins = new Set(devices.map((device) => device.name)).size < devices.length;
  const unknown = devices.some(({ spec }) =>
    (spec.consumesCounters ?? []).some(({ counterSet, counters: wanted }) => {
      const known = counters.get(counterSet);
      return !known || Object.keys(wanted).some((name) => !known.has(name));
    })
  );
  return {
    id,
    incomplete: slices.length !== slices[0].spec.pool.resourceSliceCount,
    invalid: twins || unknown,
    devices,
    counters,
  };
}

function amounts(counters: Counters): Map<string, number> {
  return new Map(
    Object.entries(counters).map(([name, { value }]) => [name, parseQuantity(value).value()]),
  );
}

/** Whether a device can be used on a node. */
export function reaches({ place }: Device, node: NodeInfo): boolean {
  if (place.nodeName) return place.nodeName === node.name;
  if (place.allNodes) return true;
  return place.nodeSelector ? compileNodeSelector(place.nodeSelector)(node) : false;
}

/** What is left of pools' shared counters, as devices are taken and given back. */
export class CounterBook {
  readonly #left = new Map<string, number>();

  constructor(pools: readonly Pool[], taken: ReadonlySet<string>) {
    for (const pool of pools) {
      for (const [set, counters] of pool.counters) {
        for (const [name, value] of counters) this.#left.set(`${pool.id}/${set}/${name}`, value);
      }
      if (pool.counters.size === 0) continue;
      for (const device of pool.devices) if (taken.has(device.id)) this.#move(device, -1);
    }
  }

  /** Takes what a device consumes; false, and nothing is taken, when there is too little. */
  take(device: Device): boolean {
    if (!device.spec.consumesCounters) return true;
    this.#move(device, -1);
    if (!this.#wants(device).some(([key]) => this.#left.get(key)! < 0)) return true;
    this.#move(device, 1);
    return false;
  }

  giveBack(device: Device): void {
    if (device.spec.consumesCounters) this.#move(device, 1);
  }

  #move(device: Device, sign: 1 | -1): void {
    for (const [key, value] of this.#wants(device)) {
      this.#left.set(key, (this.#left.get(key) ?? 0) + sign * value);
    }
  }

  #wants({ driver, pool, spec }: Device): [string, number][] {
    return (spec.consumesCounters ?? []).flatMap(({ counterSet, counters }) =>
      Object.entries(counters).map(([name, { value }]): [string, number] => [
        `${driver}/${pool}/${counterSet}/${name}`,
        parseQuantity(value).value(),
      ])
    );
  }
}
