/**
 * DynamicResources: pods that claim devices (resource.k8s.io/v1) go where their claims are, or where the devices are that
 * their claims can be given. What is chosen in `filter` is promised in `reserve` and written in `preBind`: the allocation
 * and for whom it is reserved. Semantics and texts are kube-scheduler's (v1.36); `../devices/allocator.ts` searches.
 *
 * Then the pod waits for devices that bind by conditions. Not here: extended resources that are devices.
 */
import type { Client, Informer } from "../../../api/client/contract.ts";
import { loadCrdEngine } from "../../../api/machinery/crd/mod.ts";
import { DeviceSelectors } from "../../../api/machinery/device_selectors.ts";
import { formatTime } from "../../../api/machinery/time.ts";
import { ApiError, type KubeObject } from "../../../api/machinery/types.ts";
import { CapacityBook } from "../devices/capacity.ts";
import { awaitedOf, BINDING_MS_MAX, readinessOf } from "../devices/binding_conditions.ts";
import { allocate, type Allocation, AllocationError, type Ground } from "../devices/allocator.ts";
import { type Obj, type Pool, poolsOf } from "../devices/pools.ts";
import type { Cycle, Happening, NodeInfo, Plugin, PodInfo, Refusal } from "../framework.ts";
import { compileNodeSelector, type NodeMatcher } from "./node_affinity.ts";

const NAME = "DynamicResources";
const FINALIZER = "resource.kubernetes.io/delete-protection";
/** Alternatives of a request score from this down (upstream's FirstAvailableDeviceRequestMaxSize). */
const ALTERNATIVES_MAX = 8;
/** How often a claim's write is tried when somebody else wrote it, too. */
const WRITES_MAX = 5;

const dra = (plural: string) => ({ group: "resource.k8s.io", version: "v1", plural });
const CLAIMS = dra("resourceclaims");

/** What the plugin reads and writes. */
export interface DevicePorts {
  client: Client;
  claims: Informer;
  classes: Informer;
  slices: Informer;
  uuid(): string;
  /** Wall time, in ms. */
  now(): number;
  /** Resolves when `done` answers true; it is asked again when a claim changes. */
  wait(done: () => boolean, timeoutMs: number): Promise<void>;
  /** Says that a pod waits for its devices. */
  said(pod: PodInfo, reason: string, message: string): void;
  /** Says that something changed which no watch tells of. */
  changed(happening: Happening): void;
  /** What plugins of all profiles share, by name. */
  shared: Map<string, unknown>;
  /** Devices that are brought to their nodes are given, and waited for. */
  bindsByConditions: boolean;
}

interface State {
  claims: readonly Obj[];
  /** Which of them are to be allocated. */
  open: readonly Obj[];
  /** Where allocated ones can be used. */
  placed: { claim: Obj; admits: NodeMatcher }[];
  ground: Ground | undefined;
  /** By node: one allocation for each open claim. */
  found: Map<string, Allocation[]>;
  /** Allocated claims that some node could not use. */
  unavailable: Set<Obj>;
}

const refuse = (reason: string, unresolvable = false): Refusal => ({
  plugin: NAME,
  reasons: [reason],
  ...(unresolvable && { unresolvable }),
});

/** Makes the plugin. */
export function dynamicResources(
  ports: DevicePorts,
  { bindingTimeout = BINDING_MS_MAX }: { bindingTimeout?: number } = {},
): Plugin {
  const book = (ports.shared.get(NAME) ?? new ClaimBook(ports)) as ClaimBook;
  ports.shared.set(NAME, book);
  /** For postFilter, which has no cycle. */
  const states = new WeakMap<PodInfo, State>();
  const stateOf = (cycle: Cycle) => cycle.state.get(NAME) as State | undefined;
  return {
    name: NAME,
    weight: 2,
    wakesOn: [
      "NodeAdd",
      "NodeLabels",
      "ResourceClaim",
      "OwnClaims",
      "DeviceClass",
      "ResourceSlice",
    ],
    hint: (pod, happening) => hint(pod, happening, ports),
    preEnqueue(pod) {
      if (!pod.pod.spec.resourceClaims?.length) return undefined;
      const claims = claimsOf(pod, ports.claims);
      return typeof claims === "string" ? refuse(claims, true) : undefined;
    },
    preFilter(cycle) {
      if (!cycle.pod.pod.spec.resourceClaims?.length) return "skip";
      const state = book.begin(cycle.pod, bindingTimeout);
      if ("plugin" in state) return state;
      if (state.claims.length === 0) return "skip";
      cycle.state.set(NAME, state);
      states.set(cycle.pod, state);
    },
    filter: (cycle, node) => filter(stateOf(cycle)!, node),
    preScore: (cycle) => (stateOf(cycle) ? undefined : "skip"),
    score: (cycle, node) => score(stateOf(cycle)!, node),
    reserve(cycle, node) {
      const state = stateOf(cycle);
      const found = state?.found.get(node.name);
      state?.open.forEach((claim, i) => book.promise(claim, found![i]));
      return undefined;
    },
    unreserve(cycle) {
      const state = stateOf(cycle);
      if (!state) return;
      for (const claim of state.open) book.withdraw(claim);
      book.release(cycle.pod, state.claims);
    },
    async preBind(cycle, node) {
      const state = stateOf(cycle);
      if (!state) return;
      const found = state.found.get(node.name);
      for (const claim of state.claims) {
        await book.bind(cycle.pod, claim, found?.[state.open.indexOf(claim)]);
      }
      const awaited = ports.bindsByConditions &&
        [...found ?? [], ...state.claims.map(({ status }) => status?.allocation)]
          .some((allocation) => awaitedOf(allocation).length > 0);
      if (!awaited) return;
      const text = `waiting for binding conditions for device on node ${node.name}`;
      ports.said(cycle.pod, "BindingConditionsPending", text);
      await devicesReady(state.claims, ports, bindingTimeout);
    },
    postFilter(pod, { asked }) {
      const state = states.get(pod);
      if (!state) return "no new claims to deallocate";
      for (const claim of state.unavailable) {
        const users = (claim.status?.reservedFor ?? []) as readonly { uid: string }[];
        if (users.some(({ uid }) => uid !== pod.uid)) continue;
        if (!asked) book.deallocate(claim);
        return "deallocation of ResourceClaim completed";
      }
      return "still not schedulable";
    },
  };
}

/** Resolves when all devices of some claims are there; rejects when they will not be. */
async function devicesReady(
  claims: readonly Obj[],
  { claims: informer, now, wait }: DevicePorts,
  msMax: number,
): Promise<void> {
  let failed: string | undefined;
  const isOver = () => {
    const found = claims.map(({ metadata: { namespace, name } }) => {
      const current = informer.get(`${namespace}/${name}`);
      return current ? readinessOf(current, now(), msMax) : `claim ${name} is gone`;
    });
    failed = found.find((one) => typeof one === "string");
    return failed !== undefined || found.every((one) => one === true);
  };
  await wait(isOver, msMax).catch((error) => {
    throw new Error(`device binding timeout: ${error.message}`, { cause: error });
  });
  if (failed !== undefined) throw new Error(failed);
}

/** The claims of a pod, in order; those that turned out not to be needed are left out. A text says what is missing. */
function claimsOf({ pod }: PodInfo, informer: Informer): Obj[] | string {
  const { namespace, name, uid } = pod.metadata;
  const claims: Obj[] = [];
  type Reference = { name: string; resourceClaimName?: string; resourceClaimTemplateName?: string };
  for (const reference of pod.spec.resourceClaims as readonly Reference[]) {
    let claimName = reference.resourceClaimName;
    if (claimName === undefined) {
      const statuses = (pod.status?.resourceClaimStatuses ?? []) as readonly Reference[];
      const made = statuses.find((status) => status.name === reference.name);
      if (!made) return `pod "${namespace}/${name}": ResourceClaim not created yet`;
      claimName = made.resourceClaimName;
      if (claimName === undefined) continue;
    }
    const claim = informer.get(`${namespace}/${claimName}`);
    if (!claim) return `resourceclaim.resource.k8s.io "${claimName}" not found`;
    if (claim.metadata.deletionTimestamp) return `resourceclaim "${claimName}" is being deleted`;
    const owner = claim.metadata.ownerReferences?.find((one) => one.controller);
    if (reference.resourceClaimTemplateName !== undefined && owner?.uid !== uid) {
      return `ResourceClaim ${namespace}/${claimName} was not created for Pod ${namespace}/${name} (Pod is not owner)`;
    }
    claims.push(claim);
  }
  return claims;
}

function hint(pod: PodInfo, { events, object, oldObject }: Happening, ports: DevicePorts): boolean {
  if (events.includes("OwnClaims")) return typeof claimsOf(pod, ports.claims) !== "string";
  if (!events.includes("ResourceClaim")) return true;
  // A claim that is gone, or was deallocated, leaves its devices to others
  const freed = oldObject?.status?.allocation && !object?.status?.allocation;
  const claims = claimsOf(pod, ports.claims);
  if (typeof claims === "string") return false;
  if (freed) return true;
  if (!object || !claims.some((claim) => claim.metadata.uid === object.metadata.uid)) return false;
  return !oldObject || JSON.stringify(oldObject.status) !== JSON.stringify(object.status);
}

function filter(state: State, node: NodeInfo): Refusal | undefined {
  let unavailable = false;
  for (const { claim, admits } of state.placed) {
    if (admits(node)) continue;
    state.unavailable.add(claim);
    unavailable = true;
  }
  if (unavailable) return refuse("resourceclaim not available on the node");
  if (!state.ground) return undefined;
  try {
    const found = allocate(node, state.open, state.ground);
    if (!found) return refuse("cannot allocate all claims");
    state.found.set(node.name, found);
  } catch (error) {
    if (error instanceof AllocationError && error.onNode) return refuse(error.message);
    // Something is wrong with the claim: the try ends, as upstream's does, lest a node hides it
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`running "${NAME}" filter plugin: ${text}`, { cause: error });
  }
}

/** Earlier alternatives are better. */
function score(state: State, node: NodeInfo): number {
  const found = state.found.get(node.name);
  let sum = 0;
  state.open.forEach((claim, i) => {
    const used = new Set(found?.[i].devices.results.map(({ request }) => request));
    for (const request of claim.spec.devices?.requests ?? []) {
      (request.firstAvailable ?? []).forEach((alternative: { name: string }, at: number) => {
        if (used.has(`${request.name}/${alternative.name}`)) sum += ALTERNATIVES_MAX - at;
      });
    }
  });
  return sum;
}

/** What is allocated and promised, and how it is written. */
class ClaimBook {
  readonly #ports: DevicePorts;
  readonly #selectors = new DeviceSelectors();
  /** Allocations that the cache does not show yet, by the claim's uid. */
  readonly #promised = new Map<string, { allocation: Allocation; written: boolean }>();
  #engine: "absent" | "loading" | "loaded" = "absent";
  #pools: { version: string; size: number; pools: Pool[] } | undefined;

  constructor(ports: DevicePorts) {
    this.#ports = ports;
    // Once the cache has shown an allocation it tells of the claim, and of its end
    ports.claims.subscribe(({ object, old }) => {
      if (!object) this.#promised.delete(old!.metadata.uid);
      else if (object.status?.allocation) this.#promised.delete(object.metadata.uid);
    });
  }

  /** What a try starts from, or why there is none. */
  begin(pod: PodInfo, bindingMsMax: number): State | Refusal {
    const claims = claimsOf(pod, this.#ports.claims);
    if (typeof claims === "string") return refuse(claims, true);
    const open: Obj[] = [];
    const placed: State["placed"] = [];
    for (const claim of claims) {
      const promised = this.#promised.get(claim.metadata.uid);
      const allocation = claim.status?.allocation ?? (promised?.written && promised.allocation);
      if (allocation) {
        const selector = allocation.nodeSelector;
        const lapsed = this.#ports.bindsByConditions &&
          typeof readinessOf(claim, this.#ports.now(), bindingMsMax) === "string";
        if (lapsed) placed.push({ claim, admits: () => false });
        else if (selector) placed.push({ claim, admits: compileNodeSelector(selector) });
        continue;
      }
      const { namespace, name } = claim.metadata;
      if (promised) {
        return refuse(
          `resource claim ${namespace}/${name} is in the process of being allocated`,
          true,
        );
      }
      const missing = this.#missingClass(claim);
      if (missing) return missing;
      open.push(claim);
    }
    if (open.length > 0 && this.#engine !== "loaded") return this.#loading();
    const ground = open.length > 0 ? this.#ground() : undefined;
    return { claims, open, placed, ground, found: new Map(), unavailable: new Set() };
  }

  #missingClass(claim: Obj): Refusal | undefined {
    for (const request of claim.spec.devices?.requests ?? []) {
      const exact = request.exactly && [{ ...request.exactly, name: undefined }];
      for (const one of exact ?? request.firstAvailable ?? []) {
        const name = one.name ? `${request.name}/${one.name}` : request.name;
        if (this.#ports.classes.get(one.deviceClassName)) continue;
        return refuse(`request ${name}: device class ${one.deviceClassName} does not exist`, true);
      }
    }
    return undefined;
  }

  /** The language of selectors is loaded with the first claim that needs it. */
  #loading(): Refusal {
    if (this.#engine === "absent") {
      this.#engine = "loading";
      const settle = (state: "loaded" | "absent") => () => {
        this.#engine = state;
        this.#ports.changed({ events: ["DeviceClass"] });
      };
      loadCrdEngine().then(settle("loaded"), settle("absent"));
    }
    return refuse("device selectors are being loaded", true);
  }

  #ground(): Ground {
    const { classes, claims, slices } = this.#ports;
    const taken = new Set<string>();
    const capacity = new CapacityBook();
    const take = (allocation: Allocation) => {
      for (const result of allocation.devices.results) {
        const { driver, pool, device, adminAccess, shareID, consumedCapacity } = result;
        const id = `${driver}/${pool}/${device}`;
        if (shareID) capacity.note(id, consumedCapacity ?? {});
        if (!adminAccess) taken.add(id);
      }
    };
    for (const claim of claims.list()) if (claim.status?.allocation) take(claim.status.allocation);
    for (const { allocation } of this.#promised.values()) take(allocation);
    if (this.#pools?.version !== slices.resourceVersion || this.#pools.size !== slices.size) {
      const { resourceVersion: version, size } = slices;
      this.#pools = { version, size, pools: poolsOf(slices.list()) };
      if (!this.#ports.bindsByConditions) {
        for (const pool of this.#pools.pools) {
          pool.devices = pool.devices.filter(({ spec }) => !spec.bindingConditions?.length);
        }
      }
    }
    return {
      pools: this.#pools.pools,
      classOf: (name) => classes.get(name),
      taken,
      capacity,
      shareId: () => this.#ports.uuid(),
      matches: (expression, device) =>
        this.#selectors.matches(expression, device.driver, device.spec),
    };
  }

  promise({ metadata }: Obj, allocation: Allocation): void {
    this.#promised.set(metadata.uid, { allocation, written: false });
  }

  withdraw({ metadata }: Obj): void {
    const promised = this.#promised.get(metadata.uid);
    if (promised && !promised.written) this.#promised.delete(metadata.uid);
  }

  /** Writes a claim's allocation, where it is new, and that it is reserved for a pod. */
  async bind(pod: PodInfo, claim: Obj, allocation: Allocation | undefined): Promise<void> {
    const { namespace, name, uid } = claim.metadata;
    const target = { resource: CLAIMS, namespace, name };
    const { client } = this.#ports;
    for (let attempt = 1;; attempt++) {
      try {
        let fresh: Obj = await client.get<KubeObject>(target);
        if (fresh.metadata.uid !== uid) throw new Error(`claim ${namespace}/${name} got replaced`);
        const { finalizers = [] } = fresh.metadata;
        if (allocation && fresh.status?.allocation) {
          throw new Error(`claim ${namespace}/${name} got allocated elsewhere in the meantime`);
        }
        if (!allocation && !fresh.status?.allocation) {
          throw new Error(`claim ${namespace}/${name} got deallocated in the meantime`);
        }
        if (allocation && !finalizers.includes(FINALIZER)) {
          const metadata = { ...fresh.metadata, finalizers: [...finalizers, FINALIZER] };
          const held: unknown = { ...fresh, metadata };
          fresh = await client.update<KubeObject>(target, held as KubeObject);
        }
        const users = (fresh.status?.reservedFor ?? []) as readonly { uid: string }[];
        const reserved = users.some((user) => user.uid === pod.uid);
        if (reserved && !allocation) return;
        const user = { resource: "pods", name: pod.pod.metadata.name, uid: pod.uid };
        const status = {
          ...fresh.status,
          allocation: {
            ...(this.#ports.bindsByConditions && {
              allocationTimestamp: formatTime(this.#ports.now()),
            }),
            ...allocation ?? fresh.status?.allocation,
          },
          reservedFor: reserved ? users : [...users, user],
        };
        const written: unknown = { ...fresh, status };
        await client.update<KubeObject>(
          { ...target, subresource: "status" },
          written as KubeObject,
        );
        const promised = this.#promised.get(uid);
        if (promised) promised.written = true;
        return;
      } catch (error) {
        const raced = error instanceof ApiError && error.code === 409;
        if (!raced || attempt >= WRITES_MAX) throw error;
      }
    }
  }

  /** A pod that was not bound uses its claims no more; their allocations stay, as upstream's do. */
  release(pod: PodInfo, claims: readonly Obj[]): void {
    for (const { metadata: { namespace, name, uid } } of claims) {
      const user = { $patch: "delete", uid: pod.uid };
      const current = this.#ports.claims.get(`${namespace}/${name}`);
      const users = (current?.status?.reservedFor ?? []) as readonly { uid: string }[];
      if (!users.some((one) => one.uid === pod.uid)) continue;
      this.#write(namespace!, name, { metadata: { uid }, status: { reservedFor: [user] } });
    }
  }

  /** Takes back what nobody uses: it may be had elsewhere. */
  deallocate({ metadata: { namespace, name, uid } }: Obj): void {
    const status = { allocation: null, reservedFor: null, devices: null };
    this.#write(namespace!, name, { metadata: { uid }, status });
  }

  #write(namespace: string, name: string, body: Record<string, never> | object): void {
    const target = { resource: CLAIMS, namespace, name, subresource: "status" };
    // What fails is written again with the pod's next try
    this.#ports.client.patch(target, { type: "strategic", body: body as never }).catch(() => {});
  }
}
