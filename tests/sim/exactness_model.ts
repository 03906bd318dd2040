/**
 * The model that `exactness.ts` compares with: it knows what the objects in the log add up to, and nothing of
 * the code under test.
 */
import type { Change, Commit, Obj, Truth } from "./truth.ts";

const SERVICES = "/registry/services/specs/";
const QUOTAS = "/registry/resourcequotas/";
const BUDGETS = "/registry/poddisruptionbudgets/";
const PODS = "/registry/pods/";
const ADDRESSES = "/registry/ipaddresses/";
const PORTS = "/registry/ranges/servicenodeports/";

const UNITS: Record<string, number> = {
  "": 1000,
  m: 1,
  Ki: 1000 * 2 ** 10,
  Mi: 1000 * 2 ** 20,
  Gi: 1000 * 2 ** 30,
  k: 1e6,
  M: 1e9,
  G: 1e12,
};

/** A quantity in thousandths. */
function milli(text: string | undefined): number {
  if (!text) return 0;
  const [, number, unit] = text.match(/^([0-9.]+)(.*)$/)!;
  return Math.round(Number(number) * UNITS[unit]);
}

function hasEnded(pod: Obj): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** Whether a pod's time to end has run out. That is no write: counts with and without it are right. */
function isOver(pod: Obj, now: number): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds } = pod.metadata;
  return deletionTimestamp !== undefined && deletionGracePeriodSeconds !== undefined &&
    now > Date.parse(deletionTimestamp);
}

function addressesOf(service: Obj): string[] {
  if (service.spec.type === "ExternalName") return [];
  return (service.spec.clusterIPs ?? []).filter((ip: string) => ip !== "None");
}

function portsOf(service: Obj): number[] {
  const ports = new Set<number>();
  for (const { nodePort } of service.spec.ports ?? []) if (nodePort) ports.add(nodePort);
  if (service.spec.healthCheckNodePort) ports.add(service.spec.healthCheckNodePort);
  return [...ports];
}

function nodePortsUsed({ spec }: Obj): number {
  if (spec.type === "NodePort") return spec.ports.length;
  if (spec.type !== "LoadBalancer") return 0;
  return spec.allocateLoadBalancerNodePorts === false
    ? spec.ports.filter((port: Obj) => port.nodePort).length
    : spec.ports.length;
}

function cpuOf(pod: Obj, kind: "requests" | "limits", name: string): number {
  return pod.spec.containers.reduce(
    (sum: number, c: Obj) => sum + milli(c.resources?.[kind]?.[name]),
    0,
  );
}

function isBestEffort(pod: Obj): boolean {
  return pod.spec.containers.every((c: Obj) =>
    !Object.keys(c.resources?.requests ?? {}).length &&
    !Object.keys(c.resources?.limits ?? {}).length
  );
}

/** See the module's text. */
export class ExactChecker {
  failure: string | undefined;
  readonly #truth: Truth;
  readonly #now: () => number;
  /** The state after each single revision, as the log has it. */
  readonly #state = new Map<string, Obj | undefined>();
  readonly #rounds = new Map<string, number>();
  #begun = false;
  #revived = false;

  constructor(truth: Truth, now: () => number) {
    this.#truth = truth;
    this.#now = now;
  }

  /** Everything is prepared: from now on it counts. */
  begin(): void {
    this.#begun = true;
  }

  end(): void {
    if (this.#state.size !== this.#truth.state.size) this.#fail("the state is not the log's fold");
  }

  commit({ steps, head }: Commit): void {
    const changes = steps.filter((step): step is Change => !("term" in step));
    // Only a node's word brings an ended pod back to life, and nobody refuses a node's word.
    this.#revived = changes.some(({ key, object, before }) =>
      key.startsWith(PODS) && object && before?.object && hasEnded(before.object) &&
      !hasEnded(object)
    );
    for (const change of changes) this.#step(change);
    if (!this.#begun) return;
    this.#checkClaims(head);
    this.#checkQuotas(head);
    this.#checkBudgets(changes);
  }

  #fail(text: string): void {
    this.failure ??= text;
  }

  *#list(prefix: string): Generator<Obj> {
    for (const [key, object] of this.#state) if (object && key.startsWith(prefix)) yield object;
  }

  #step({ type, key, object, revision }: Change): void {
    const before = this.#state.get(key);
    if (type === "delete") this.#state.delete(key);
    else this.#state.set(key, object);
    if (!this.#begun || type === "delete") return;
    if (key.startsWith(SERVICES)) this.#checkUnique(revision);
    if (key.startsWith(QUOTAS)) this.#checkHard(revision, before, object);
  }

  #checkUnique(revision: number): void {
    const owners = new Map<string | number, string>();
    for (const service of this.#list(SERVICES)) {
      const name = `${service.metadata.namespace}/${service.metadata.name}`;
      for (const claim of [...addressesOf(service), ...portsOf(service)]) {
        const other = owners.get(claim);
        if (other) this.#fail(`@${revision}: ${name} and ${other} both have ${claim}`);
        owners.set(claim, name);
      }
      const { type, clusterIP, clusterIPs } = service.spec;
      if (type !== "ExternalName" && !clusterIP) this.#fail(`@${revision}: ${name} has no address`);
      if (type !== "ExternalName" && clusterIPs?.[0] !== clusterIP) {
        this.#fail(`@${revision}: ${name} has ${clusterIP} and ${clusterIPs}`);
      }
      if (type === "ExternalName" && (clusterIP || portsOf(service).length)) {
        this.#fail(`@${revision}: ${name} is external and has ${clusterIP} ${portsOf(service)}`);
      }
      if (type === "NodePort" && service.spec.ports.some((port: Obj) => !port.nodePort)) {
        this.#fail(`@${revision}: ${name} lacks a node port`);
      }
    }
  }

  #checkHard(revision: number, before: Obj, after: Obj): void {
    const used = after.status?.used ?? {};
    for (const name in used) {
      const now = milli(used[name]);
      if (now <= milli(after.spec.hard[name])) continue;
      const was = milli(before?.status?.used?.[name]);
      if (now > was && !this.#revived) {
        const { namespace, name: quota } = after.metadata;
        this.#fail(`@${revision}: ${namespace}/${quota} uses ${used[name]} ${name} (was ${was})`);
      }
    }
  }

  #checkClaims(revision: number): void {
    const wanted = new Set<string>();
    for (const service of this.#list(SERVICES)) {
      for (const ip of addressesOf(service)) wanted.add(ADDRESSES + ip);
      for (const port of portsOf(service)) wanted.add(PORTS + port);
    }
    for (const key of this.#state.keys()) {
      if (!key.startsWith(ADDRESSES) && !key.startsWith(PORTS)) continue;
      if (!wanted.delete(key)) this.#fail(`@${revision}: ${key} is claimed for nobody`);
    }
    for (const key of wanted) this.#fail(`@${revision}: ${key} is used and not claimed`);
  }

  #checkQuotas(revision: number): void {
    for (const quota of this.#list(QUOTAS)) {
      const { namespace, name } = quota.metadata;
      for (const resource in quota.spec.hard) {
        const [least, most] = this.#usage(namespace, resource, quota.spec.scopes ?? []);
        const text = quota.status?.used?.[resource];
        const used = milli(text);
        if (text === undefined || used < least || used > most) {
          this.#fail(
            `@${revision}: ${namespace}/${name} says ${text} ${resource}, ` +
              `the objects say ${least / 1000} to ${most / 1000}`,
          );
        }
      }
    }
  }

  /** What the objects use, with and without pods that are on their way out. */
  #usage(namespace: string, resource: string, scopes: string[]): [number, number] {
    const sum = (prefix: string, amount: (object: Obj) => number): [number, number] => {
      let total = 0;
      for (const object of this.#list(`${prefix}${namespace}/`)) total += amount(object);
      return [total, total];
    };
    const count = (prefix: string): [number, number] => {
      let total = 0;
      for (const key of this.#state.keys()) {
        if (key.startsWith(`${prefix}${namespace}/`)) total += 1000;
      }
      return [total, total];
    };
    const pods = (amount: (pod: Obj) => number): [number, number] => {
      let least = 0;
      let most = 0;
      for (const pod of this.#list(`${PODS}${namespace}/`)) {
        if (scopes.includes("BestEffort") && !isBestEffort(pod)) continue;
        if (scopes.includes("NotBestEffort") && isBestEffort(pod)) continue;
        if (hasEnded(pod)) continue;
        most += amount(pod);
        if (!isOver(pod, this.#now())) least += amount(pod);
      }
      return [least, most];
    };
    switch (resource) {
      case "pods":
        return pods(() => 1000);
      case "requests.cpu":
        return pods((pod) => cpuOf(pod, "requests", "cpu"));
      case "limits.memory":
        return pods((pod) => cpuOf(pod, "limits", "memory"));
      case "services":
      case "count/services":
        return count(SERVICES);
      case "services.nodeports":
        return sum(SERVICES, (service) => 1000 * nodePortsUsed(service));
      case "services.loadbalancers":
        return sum(SERVICES, ({ spec }) => spec.type === "LoadBalancer" ? 1000 : 0);
      case "requests.storage":
        return sum(
          "/registry/persistentvolumeclaims/",
          ({ spec }) => milli(spec.resources.requests.storage),
        );
      default: {
        const plural = resource.replace(/^count\//, "").replace(/\..*$/, "");
        return count(`/registry/${plural}/`);
      }
    }
  }

  #checkBudgets(changes: Change[]): void {
    for (const { key, type, object, revision } of changes) {
      if (!key.startsWith(BUDGETS) || type === "delete") continue;
      const status = object.status ?? {};
      const round: string | undefined = status.conditions?.[0]?.reason;
      if (!round) continue;
      const granted = Number(round.split("x")[2]);
      const spent = Object.keys(status.disruptedPods ?? {}).length;
      const left = status.disruptionsAllowed ?? 0;
      if (left < 0 || left + spent !== granted) {
        this.#fail(`@${revision}: ${key} granted ${granted}, has ${left} left and ${spent} spent`);
      }
      this.#rounds.set(key, granted);
    }
    for (const change of changes) this.#checkEvicted(change, changes);
  }

  /** A guarded pod that is evicted is charged in the same commit. */
  #checkEvicted({ key, object, before, type, revision }: Change, changes: Change[]): void {
    if (!key.startsWith(PODS)) return;
    const pod = object ?? before?.object;
    const was = before?.object;
    if (!pod || !was || was.metadata.deletionTimestamp) return;
    const evicted = (pod.status?.conditions ?? []).some((c: Obj) =>
      c.reason === "EvictionByEvictionAPI"
    );
    const goes = type === "delete" || pod.metadata.deletionTimestamp;
    if (!evicted || !goes || was.status?.phase !== "Running") return;
    if (was.metadata.labels?.app !== "guarded") return;
    const { namespace, name } = pod.metadata;
    const charged = changes.some((change) =>
      change.key === `${BUDGETS}${namespace}/budget` &&
      change.object?.status?.disruptedPods?.[name] !== undefined
    );
    if (!charged) this.#fail(`@${revision}: ${namespace}/${name} was evicted and not charged`);
  }
}
