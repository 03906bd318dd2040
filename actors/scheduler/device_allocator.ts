/**
 * Allocates devices to claims on one node: the first solution of an exhaustive search over requests, alternatives and
 * devices that keeps selectors, taints, constraints and shared counters (upstream: dynamic-resource-allocation/structured,
 * v1.36). Pure: who asks says what exists and what is taken, and keeps the result.
 *
 * Not here: capacity that several claims share (`allowMultipleAllocations`; such devices are passed over).
 */
import { SelectorError } from "../../api/machinery/device_selectors.ts";
import { tolerates } from "../../api/machinery/taints.ts";
import { CounterBook, type Device, type Obj, type Pool, reaches } from "./device_pools.ts";
import type { NodeInfo } from "./framework.ts";

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
    }[];
    config?: Record<string, unknown>[];
  };
  nodeSelector?: { nodeSelectorTerms: Record<string, unknown>[] };
}

/** What there is. */
export interface Ground {
  pools: readonly Pool[];
  /** DeviceClasses by name. */
  classOf(name: string): Obj | undefined;
  /** Ids of devices that are taken. */
  taken: ReadonlySet<string>;
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
    return next(0, 0) ? chosen : undefined;
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
      const free = wanted.admin ||
        (!this.#ground.taken.has(device.id) && !this.#using.has(device.id));
      if (!free || !keeps(constraints, wanted, device, all)) continue;
      if (!wanted.admin && !this.#counters.take(device)) continue;
      if (!wanted.admin) this.#using.add(device.id);
      devices.push(device);
      if (this.#pick(choice, i + 1, all, constraints, then)) return true;
      devices.pop();
      if (wanted.admin) continue;
      this.#using.delete(device.id);
      this.#counters.giveBack(device);
    }
    return false;
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
    const candidates = pools.flatMap(({ devices }) => devices).filter((device) =>
      !device.spec.allowMultipleAllocations &&
      this.#selected(deviceClass.spec?.selectors, device, `class ${deviceClass.metadata.name}`) &&
      this.#selected(spec.selectors, device, `claim ${claim}`) &&
      tolerated(device, spec.tolerations)
    );
    const count = all ? candidates.length : spec.count ?? 1;
    return { name, parent, deviceClass, spec, candidates, count, admin: spec.adminAccess === true };
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
  for (const { place } of devices) {
    if (place.nodeName) {
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
