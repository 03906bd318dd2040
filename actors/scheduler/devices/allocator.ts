/**
 * Allocates devices to claims on one node: the first solution of an exhaustive search over requests, alternatives and
 * devices that keeps selectors, taints, constraints and shared counters (upstream: dynamic-resource-allocation/structured,
 * v1.36). Pure: who asks says what exists and what is taken, and keeps the result. A device that allows several
 * allocations is given to as many as its capacity holds (`capacity.ts`).
 */
import { SelectorError } from "../../../api/machinery/device_selectors.ts";
import { tolerates } from "../../../api/machinery/taints.ts";
import { type CapacityBook, consumedBy } from "./capacity.ts";
import { CounterBook, type Device, type Obj, type Pool, reaches } from "./pools.ts";
import type { NodeInfo } from "../framework.ts";

/** Most devices of one claim. */
export const DEVICES_MAX = 32;
/** Most steps of one search; upstream bounds its time. */
export const STEPS_MAX = 200_000;

/** What is allocated to one claim, as its status says it. */
export interface Allocation {
  devices: {
    results: {
      request: string;
      driver: string;
      pool: string;
      device: string;
      adminAccess?: boolean;
      tolerations?: readonly unknown[];
      /** Of a device that several share: which share, and what it takes. */
      shareID?: string;
      consumedCapacity?: Record<string, string>;
      /** What is waited for before a pod is bound, and what ends the wait. */
      bindingConditions?: readonly string[];
      bindingFailureConditions?: readonly string[];
    }[];
    config?: Record<string, unknown>[];
  };
  nodeSelector?: { nodeSelectorTerms: Record<string, unknown>[] };
  /** When it was written. */
  allocationTimestamp?: string;
}

/** What there is. */
export interface Ground {
  pools: readonly Pool[];
  /** DeviceClasses by name. */
  classOf(name: string): Obj | undefined;
  /** Ids of devices that are taken. */
  taken: ReadonlySet<string>;
  /** What is taken of those that several share. */
  capacity: CapacityBook;
  /** A new name of a share. */
  shareId(): string;
  /** Whether a device is what a CEL expression asks for; throws for a bad one. */
  matches(expression: string, device: Device): boolean;
}

/** Something is wrong with a claim, with what it asks for, or (`onNode`) with what one node offers. */
export class AllocationError extends Error {
  readonly onNode: boolean;
  constructor(message: string, onNode = false) {
    super(message);
    this.onNode = onNode;
  }
}

/** A request, or one of its alternatives. */
interface Wanted {
  /** `request`, or `request/alternative`. */
  name: string;
  parent: string;
  deviceClass: Obj;
  // deno-lint-ignore no-explicit-any -- a device request as the API has it
  spec: any;
  candidates: readonly Device[];
  count: number;
  admin: boolean;
  /** What is taken of each device that several share, by its id. */
  consumed: ReadonlyMap<string, Record<string, string>>;
}

interface Chosen {
  wanted: Wanted;
  devices: Device[];
}

interface Constraint {
  requests: ReadonlySet<string>;
  attribute: string;
  distinct: boolean;
}

/** One allocation per claim; undefined: the node has not what they ask for. Throws AllocationError. */
export function allocate(
  node: NodeInfo,
  claims: readonly Obj[],
  ground: Ground,
): Allocation[] | undefined {
  const search = new Search(node, ground);
  const chosen = search.run(claims);
  if (!chosen) {
    if (search.sawInvalid) {
      throw new AllocationError("invalid resource pools were encountered", true);
    }
    return undefined;
  }
  return claims.map((claim, i) => ({
    devices: {
      results: chosen[i].flatMap(({ wanted, devices }) =>
        devices.map((device) => ({
          request: wanted.name,
          driver: device.driver,
          pool: device.pool,
          device: device.name,
          ...(wanted.admin && { adminAccess: true }),
          ...(wanted.spec.tolerations && { tolerations: wanted.spec.tolerations }),
          ...bindingOf(device),
          ...(isShared(device) && !wanted.admin && {
            shareID: ground.shareId(),
            consumedCapacity: wanted.consumed.get(device.id),
          }),
        }))
      ),
      ...configOf(claim, chosen[i]),
    },
    ...nodeSelectorOf(node, chosen[i].flatMap(({ devices }) => devices)),
  }));
}

class Search {
  readonly #node: NodeInfo;
  readonly #ground: Ground;
  readonly #reachable: { pool: Pool; devices: Device[] }[];
  readonly #counters: CounterBook;
  readonly #using = new Set<string>();
  /** How often devices that several share are shared in this search. */
  readonly #shares = new Map<string, number>();
  readonly sawInvalid: boolean;
  #steps = 0;

  constructor(node: NodeInfo, ground: Ground) {
    this.#node = node;
    this.#ground = ground;
    this.#reachable = ground.pools.map((pool) => ({
      pool,
      devices: pool.devices.filter((device) => reaches(device, node)),
    })).filter(({ devices }) => devices.length > 0);
    this.sawInvalid = this.#reachable.some(({ pool }) => pool.invalid);
    this.#counters = new CounterBook(ground.pools, ground.taken);
  }

  /** What is chosen for each request of each claim. */
  run(claims: readonly Obj[]): Chosen[][] | undefined {
    const chosen: Chosen[][] = claims.map(() => []);
    const plans = claims.map((claim) => this.#plan(claim));
    const constraints = claims.map((claim) => constraintsOf(claim));
    const next = (at: number, request: number): boolean => {
      if (at === claims.length) return true;
      const alternatives = plans[at][request];
      if (!alternatives) return next(at + 1, 0);
      const before = chosen[at].reduce((sum, { devices }) => sum + devices.length, 0);
      for (const wanted of alternatives) {
        // "All" of nothing is nothing that could be allocated
        if (before + wanted.count > DEVICES_MAX || wanted.count === 0) continue;
        const choice: Chosen = { wanted, devices: [] };
        chosen[at].push(choice);
        const others = chosen[at];
        if (this.#pick(choice, 0, others, constraints[at], () => next(at, request + 1))) {
          return true;
        }
        chosen[at].pop();
      }
      return false;
    };
    const found = next(0, 0);
    // The ground is only lent: what others have is as it was
    for (const choice of chosen.flat()) {
      for (const device of choice.devices) this.#giveBack(choice.wanted, device);
    }
    return found ? chosen : undefined;
  }

  /** Picks the rest of a request's devices, from `start` on, and goes on with what follows. */
  #pick(
    choice: Chosen,
    start: number,
    all: readonly Chosen[],
    constraints: readonly Constraint[],
    then: () => boolean,
  ): boolean {
    const { wanted, devices } = choice;
    if (++this.#steps > STEPS_MAX) {
      throw new AllocationError(`node ${this.#node.name}: timed out trying to allocate devices`);
    }
    if (devices.length === wanted.count) return then();
    // The order in which a request's devices are picked means nothing: each is looked for behind the last
    for (let i = start; i < wanted.candidates.length; i++) {
      const device = wanted.candidates[i];
      if (!keeps(constraints, wanted, device, all) || !this.#take(wanted, device)) continue;
      devices.push(device);
      if (this.#pick(choice, i + 1, all, constraints, then)) return true;
      devices.pop();
      this.#giveBack(wanted, device);
    }
    return false;
  }

  /** Takes a device, if it is free. An administrator takes what is taken. */
  #take({ admin, consumed }: Wanted, device: Device): boolean {
    if (admin) return true;
    const share = consumed.get(device.id);
    if (share) {
      if (!this.#ground.capacity.has(device, share)) return false;
      this.#ground.capacity.note(device.id, share);
      if (this.#firstShare(device) && !this.#counters.take(device)) {
        this.#ground.capacity.note(device.id, share, -1);
        return false;
      }
      this.#shares.set(device.id, (this.#shares.get(device.id) ?? 0) + 1);
      return true;
    }
    if (this.#ground.taken.has(device.id) || this.#using.has(device.id)) return false;
    if (!this.#counters.take(device)) return false;
    this.#using.add(device.id);
    return true;
  }

  /** The first of those that share a device takes its counters for all of them. */
  #firstShare({ id }: Device): boolean {
    return !this.#shares.has(id) && !this.#ground.taken.has(id);
  }

  #giveBack({ admin, consumed }: Wanted, device: Device): void {
    if (admin) return;
    const share = consumed.get(device.id);
    if (share) {
      this.#ground.capacity.note(device.id, share, -1);
      const left = this.#shares.get(device.id)! - 1;
      if (left > 0) this.#shares.set(device.id, left);
      else this.#shares.delete(device.id);
      if (!this.#firstShare(device)) return;
    } else this.#using.delete(device.id);
    this.#counters.giveBack(device);
  }

  /** For each request of a claim, its alternatives in order. */
  #plan(claim: Obj): Wanted[][] {
    const name = `${claim.metadata.namespace}/${claim.metadata.name}`;
    const plan = (claim.spec.devices?.requests ?? []).map((
      // deno-lint-ignore no-explicit-any -- a request as the API has it
      request: any,
    ) =>
      request.exactly
        ? [this.#wanted(name, request.name, request.name, request.exactly)]
        : (request.firstAvailable ?? []).map((alternative: { name: string }) =>
          this.#wanted(name, `${request.name}/${alternative.name}`, request.name, alternative)
        )
    ) as Wanted[][];
    const least = plan.reduce(
      (sum, alternatives) => sum + Math.min(...alternatives.map(({ count }) => count)),
      0,
    );
    if (least > DEVICES_MAX) {
      throw new AllocationError(
        `claim ${name}: number of requested devices ${least} exceeds the claim limit of ${DEVICES_MAX}`,
      );
    }
    return plan;
  }

  // deno-lint-ignore no-explicit-any -- a request as the API has it
  #wanted(claim: string, name: string, parent: string, spec: any): Wanted {
    const short = name.slice(name.indexOf("/") + 1);
    const deviceClass = this.#ground.classOf(spec.deviceClassName);
    if (!deviceClass) {
      throw new AllocationError(
        `claim ${claim}, request ${short}: could not retrieve device class ${spec.deviceClassName}`,
      );
    }
    const all = spec.allocationMode === "All";
    const pools = this.#reachable.filter(({ pool }) => {
      if (!pool.incomplete && !pool.invalid) return true;
      if (!all) return false;
      const why = pool.incomplete ? "being updated" : "invalid";
      throw new AllocationError(
        `claim ${claim}, request ${short}: asks for all devices, but resource pool ${pool.id} is currently ${why}`,
      );
    });
    const consumed = new Map<string, Record<string, string>>();
    const holds = (device: Device) => {
      const taken = consumedBy(spec.capacity?.requests, device);
      if (taken && isShared(device)) consumed.set(device.id, taken);
      return taken !== undefined;
    };
    const candidates = pools.flatMap(({ devices }) => devices).filter((device) =>
      this.#selected(deviceClass.spec?.selectors, device, `class ${deviceClass.metadata.name}`) &&
      this.#selected(spec.selectors, device, `claim ${claim}`) &&
      tolerated(device, spec.tolerations) && holds(device)
    );
    const count = all ? candidates.length : spec.count ?? 1;
    const admin = spec.adminAccess === true;
    return { name, parent, deviceClass, spec, candidates, count, admin, consumed };
  }

  /** Whether a device is what selectors ask for. An expression that runs into an error is nobody's choice. */
  #selected(
    selectors: readonly { cel: { expression: string } }[] = [],
    device: Device,
    whose: string,
  ): boolean {
    return selectors.every(({ cel }, i) => {
      try {
        return this.#ground.matches(cel.expression, device);
      } catch (error) {
        const stage = error instanceof SelectorError && error.compiling ? "compile" : "runtime";
        const text = (error as Error).message;
        throw new AllocationError(`${whose}: selector #${i}: CEL ${stage} error: ${text}`);
      }
    });
  }
}

// deno-lint-ignore no-explicit-any -- tolerations as the API has them
function tolerated({ spec }: Device, tolerations: readonly any[] = []): boolean {
  return (spec.taints ?? []).every((taint) =>
    (taint.effect !== "NoSchedule" && taint.effect !== "NoExecute") ||
    tolerations.some((toleration) => tolerates(toleration, taint))
  );
}

function isShared({ spec }: Device): boolean {
  return spec.allowMultipleAllocations === true;
}

function constraintsOf(claim: Obj): Constraint[] {
  type Spec = { requests?: string[]; matchAttribute?: string; distinctAttribute?: string };
  return ((claim.spec.devices?.constraints ?? []) as readonly Spec[]).map((spec, i) => {
    const attribute = spec.matchAttribute ?? spec.distinctAttribute;
    if (attribute === undefined) {
      throw new AllocationError(
        `claim ${claim.metadata.namespace}/${claim.metadata.name}, constraint #${i}: ` +
          "empty constraint (unsupported constraint type?)",
      );
    }
    const distinct = spec.matchAttribute === undefined;
    return { requests: new Set(spec.requests), attribute, distinct };
  });
}

function concerns({ requests }: Constraint, { name, parent }: Wanted): boolean {
  return requests.size === 0 || requests.has(parent) || requests.has(name);
}

/** Whether a device may join those already chosen. */
function keeps(
  constraints: readonly Constraint[],
  wanted: Wanted,
  device: Device,
  all: readonly Chosen[],
): boolean {
  return constraints.every((constraint) => {
    if (!concerns(constraint, wanted)) return true;
    const own = attributeOf(device, constraint.attribute);
    if (own === undefined) return false;
    return all.every((choice) =>
      !concerns(constraint, choice.wanted) ||
      choice.devices.every((other) =>
        (attributeOf(other, constraint.attribute) === own) !== constraint.distinct
      )
    );
  });
}

/** An attribute by its whole name, as a text that is equal for equal values only. */
function attributeOf({ driver, spec }: Device, name: string): string | undefined {
  const slash = name.indexOf("/");
  const found = spec.attributes?.[name] ??
    (name.slice(0, slash) === driver ? spec.attributes?.[name.slice(slash + 1)] : undefined);
  if (!found) return undefined;
  const [entry] = Object.entries(found);
  return entry && JSON.stringify(entry);
}

/** What drivers are told: the classes' configuration, each once, then the claim's own. */
function configOf(claim: Obj, chosen: readonly Chosen[]): { config?: Record<string, unknown>[] } {
  const config: Record<string, unknown>[] = [];
  const byClass = new Map<string, Wanted[]>();
  for (const { wanted } of chosen) {
    const { name } = wanted.deviceClass.metadata;
    byClass.set(name, [...byClass.get(name) ?? [], wanted]);
  }
  for (const all of byClass.values()) {
    const requests = all.map(({ name }) => name);
    for (const one of all[0].deviceClass.spec?.config ?? []) {
      config.push({ source: "FromClass", requests, ...one });
    }
  }
  for (const { requests, ...one } of claim.spec.devices?.config ?? []) {
    const none = !requests?.length;
    const used = none ||
      chosen.some(({ wanted }) =>
        requests.includes(wanted.parent) || requests.includes(wanted.name)
      );
    if (used) config.push({ source: "FromClaim", ...(!none && { requests }), ...one });
  }
  return config.length > 0 ? { config } : {};
}

/** What a device binds by. */
function bindingOf({ spec: { bindingConditions, bindingFailureConditions } }: Device) {
  return {
    ...(bindingConditions && { bindingConditions }),
    ...(bindingFailureConditions && { bindingFailureConditions }),
  };
}

/** Where an allocation can be used; absent: everywhere. */
function nodeSelectorOf(
  node: NodeInfo,
  devices: readonly Device[],
): Pick<Allocation, "nodeSelector"> {
  const matchFields: unknown[] = [];
  const matchExpressions: unknown[] = [];
  const add = (list: unknown[], requirement: unknown) => {
    if (!list.some((one) => JSON.stringify(one) === JSON.stringify(requirement))) {
      list.push(requirement);
    }
  };
  for (const { place, spec } of devices) {
    if (place.nodeName || spec.bindsToNode) {
      const field = { key: "metadata.name", operator: "In", values: [node.name] };
      return { nodeSelector: { nodeSelectorTerms: [{ matchFields: [field] }] } };
    }
    const term = place.nodeSelector?.nodeSelectorTerms[0] ?? {};
    for (const one of term.matchFields ?? []) add(matchFields, one);
    for (const one of term.matchExpressions ?? []) add(matchExpressions, one);
  }
  if (matchFields.length + matchExpressions.length === 0) return {};
  const term = {
    ...(matchExpressions.length > 0 && { matchExpressions }),
    ...(matchFields.length > 0 && { matchFields }),
  };
  return { nodeSelector: { nodeSelectorTerms: [term] } };
}
