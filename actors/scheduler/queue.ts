/**
 * The scheduling queue: three places a pending pod may be in, as upstream's.
 *
 * - active: to be tried now, highest priority first, then the one that waited longest;
 * - backing off: to be tried when its backoff ends (1 s, doubling, 10 s at most);
 * - unschedulable: tried and refused; an event that could help moves it on, and so does five minutes' wait.
 *
 * Gated pods (scheduling gates) wait beside them until the pod itself changes. Nothing here sets a timer
 * or reads a clock: times come in, and `nextAt` says when to look again.
 */
import type { Happening, Plugin, PodInfo } from "./framework.ts";
import type { Cause } from "./metrics.ts";

/** First and longest backoff, in ms (upstream's podInitialBackoffSeconds, podMaxBackoffSeconds). */
export const BACKOFF_MS_MIN = 1_000;
export const BACKOFF_MS_MAX = 10_000;
/** How long a pod may be unschedulable before it is tried again unasked, in ms. */
export const UNSCHEDULABLE_MS_MAX = 5 * 60_000;

interface Queued {
  info: PodInfo;
  /** When it was first let in. */
  enteredAt: number;
  /** When it came into the active queue. */
  since: number;
  /** Position in `since` ties. */
  order: number;
  attempts: number;
  place: "active" | "backoff" | "unschedulable" | "gated" | "trying";
  /** End of the backoff, or of the longest wait. */
  dueAt: number;
  plugins: ReadonlySet<string>;
  /** Events that came while it was being tried. */
  missed: Happening[];
}

/** A binary heap; the comparison says whether `a` comes before `b`. */
class Heap<T> {
  readonly #items: T[] = [];
  readonly #before: (a: T, b: T) => boolean;
  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }
  get size(): number {
    return this.#items.length;
  }
  peek(): T | undefined {
    return this.#items[0];
  }
  push(item: T): void {
    const items = this.#items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(item, items[parent])) break;
      items[at] = items[parent];
      at = parent;
    }
    items[at] = item;
  }
  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.#before(items[child + 1], items[child])) child++;
      if (!this.#before(items[child], last)) break;
      items[at] = items[child];
      at = child;
    }
    items[at] = last;
    return top;
  }
}

const NO_PLUGINS: ReadonlySet<string> = new Set();

/** What may let in a pod that a plugin keeps out, beside its own change. */
const UNGATING: ReadonlySet<string> = new Set(["ResourceClaim", "Custom"]);

type PluginsOf = (pod: PodInfo) => ReadonlyMap<string, Plugin>;

/** How a queue may differ from upstream's defaults. */
export interface QueueOptions {
  backoffMsMin?: number;
  backoffMsMax?: number;
  /** Another order than by priority. */
  before?: Plugin["before"];
  /** Hears where a pod comes to, and why. */
  incoming?(queue: "active" | "backoff" | "unschedulable", cause: Cause): void;
}

interface Entry {
  queued: Queued;
  order: number;
}

function prioritized(a: Entry, b: Entry): boolean {
  return a.queued.info.priority !== b.queued.info.priority
    ? a.queued.info.priority > b.queued.info.priority
    : a.order < b.order;
}

/** By a plugin's order; of equals, who came first. */
function ordered(before: NonNullable<Plugin["before"]>) {
  return (a: Entry, b: Entry): boolean => {
    if (before(a.queued.info, b.queued.info)) return true;
    return !before(b.queued.info, a.queued.info) && a.order < b.order;
  };
}

/** See the module's text. */
export class SchedulingQueue {
  readonly #pods = new Map<string, Queued>();
  readonly #pluginsOf: PluginsOf;
  readonly #backoffMsMin: number;
  readonly #backoffMsMax: number;
  readonly #incoming: NonNullable<QueueOptions["incoming"]>;
  // Heaps hold stale entries: an entry counts only while its pod is still in that place with that due time.
  readonly #active: Heap<Entry>;
  readonly #waiting = new Heap<{ queued: Queued; dueAt: number }>((a, b) => a.dueAt < b.dueAt);
  /** The pods that events may concern: those that wait for one and those being tried. */
  readonly #listening = new Set<Queued>();
  /** Those that a plugin keeps out until something happens. */
  readonly #gated = new Set<Queued>();
  #order = 0;
  #activeCount = 0;

  /** `pluginsOf`: the plugins of a pod's profile, by name. */
  constructor(pluginsOf: PluginsOf, options: QueueOptions = {}) {
    this.#pluginsOf = pluginsOf;
    const { backoffMsMin = BACKOFF_MS_MIN, backoffMsMax = BACKOFF_MS_MAX, before } = options;
    this.#backoffMsMin = backoffMsMin;
    this.#backoffMsMax = backoffMsMax;
    this.#incoming = options.incoming ?? (() => {});
    this.#active = new Heap(before ? ordered(before) : prioritized);
  }

  /** Pods by place, for metrics (`scheduler_pending_pods`). */
  counts(): Record<"active" | "backoff" | "unschedulable" | "gated", number> {
    const counts = { active: 0, backoff: 0, unschedulable: 0, gated: 0 };
    for (const queued of this.#pods.values()) {
      if (queued.place !== "trying") counts[queued.place]++;
    }
    return counts;
  }

  /** Whether a pod could be popped at once. */
  get ready(): boolean {
    return this.#activeCount > 0;
  }

  has(uid: string): boolean {
    return this.#pods.has(uid);
  }

  /** Where a pod waits; undefined: it is not known. */
  placeOf(uid: string): string | undefined {
    return this.#pods.get(uid)?.place;
  }

  /** How often a pod was tried, and when it was first let in. */
  historyOf(uid: string): { attempts: number; enteredAt: number } | undefined {
    return this.#pods.get(uid);
  }

  /** Which plugins keep how many pods from being scheduled, by the pod's scheduler. */
  refusedBy(): { plugin: string; profile: string; pods: number }[] {
    const counts = new Map<string, { plugin: string; profile: string; pods: number }>();
    for (const { place, plugins, info } of this.#pods.values()) {
      if (place !== "unschedulable" && place !== "backoff") continue;
      const profile = (info.pod.spec.schedulerName as string | undefined) ?? "default-scheduler";
      for (const plugin of plugins) {
        const key = `${plugin} ${profile}`;
        const known = counts.get(key);
        if (known) known.pods++;
        else counts.set(key, { plugin, profile, pods: 1 });
      }
    }
    return [...counts.values()];
  }

  /** Takes a pending pod in, or its new version: what changed may help it. */
  put(info: PodInfo, now: number, change?: Happening): void {
    const known = this.#pods.get(info.uid);
    if (!known) {
      const queued: Queued = {
        info,
        enteredAt: now,
        since: now,
        order: 0,
        attempts: 0,
        place: "gated",
        dueAt: 0,
        plugins: NO_PLUGINS,
        missed: [],
      };
      this.#pods.set(info.uid, queued);
      this.#enter(queued, now);
      return;
    }
    known.info = info;
    if (known.place === "gated") this.#enter(known, now);
    else if (known.place === "unschedulable") {
      if (!change || this.#helps(known, change)) {
        this.#moveOn(known, now, change?.events[0] ?? "UnschedulablePodUpdate");
      }
    } else if (known.place === "active") {
      // Its priority may have changed: the old heap entry goes stale by its order.
      this.#activeCount--;
      this.#activate(known, known.since, "UnschedulablePodUpdate");
    } else if (known.place === "trying" && change) {
      known.missed.push(change);
    }
  }

  /** Lets a pod in, unless a plugin keeps it out. */
  #enter(queued: Queued, now: number): boolean {
    if (this.#gate(queued.info)) {
      this.#gated.add(queued);
      return false;
    }
    this.#gated.delete(queued);
    queued.enteredAt = now;
    this.#activate(queued, now, "UnschedulablePodAdd");
    return true;
  }

  /** Forgets a pod: it was bound, deleted, or is somebody else's. */
  remove(uid: string): void {
    const queued = this.#pods.get(uid);
    if (!queued) return;
    if (queued.place === "active") this.#activeCount--;
    queued.place = "trying";
    this.#listening.delete(queued);
    this.#gated.delete(queued);
    this.#pods.delete(uid);
  }

  /** The next pod to try. It stays known until `remove` or `refused`. */
  pop(now: number): PodInfo | undefined {
    this.#wake(now);
    for (;;) {
      const entry = this.#active.pop();
      if (!entry) return undefined;
      const { queued, order } = entry;
      if (queued.place !== "active" || queued.order !== order) continue;
      if (this.#pods.get(queued.info.uid) !== queued) continue;
      this.#activeCount--;
      queued.place = "trying";
      this.#listening.add(queued);
      queued.attempts++;
      queued.missed = [];
      return queued.info;
    }
  }

  /** A pod got its node: events no longer concern it. It stays known until `remove` or `refused`. */
  placed(uid: string): void {
    const queued = this.#pods.get(uid);
    if (!queued || queued.place !== "trying") return;
    queued.missed = [];
    this.#listening.delete(queued);
  }

  /** A try failed. `plugins` refused it; empty: an error, so it comes back after its backoff anyway. */
  refused(uid: string, plugins: ReadonlySet<string>, now: number): void {
    const queued = this.#pods.get(uid);
    if (!queued || queued.place !== "trying") return;
    queued.plugins = plugins;
    const missed = queued.missed;
    queued.missed = [];
    queued.since = now;
    if (plugins.size === 0 || missed.some((happening) => this.#helps(queued, happening))) {
      this.#moveOn(queued, now, "ScheduleAttemptFailure");
      return;
    }
    this.#wait(queued, "unschedulable", now + UNSCHEDULABLE_MS_MAX, "ScheduleAttemptFailure");
  }

  /** Something happened in the cluster: moves the pods that it can help. Returns how many moved. */
  event(happening: Happening, now: number): number {
    let moved = 0;
    for (const queued of this.#listening) {
      if (queued.place === "trying") queued.missed.push(happening);
      if (queued.place !== "unschedulable") continue;
      if (!this.#helps(queued, happening)) continue;
      this.#moveOn(queued, now, happening.events[0]);
      moved++;
    }
    if (this.#gated.size === 0 || !happening.events.some((event) => UNGATING.has(event))) {
      return moved;
    }
    for (const queued of [...this.#gated]) if (this.#enter(queued, now)) moved++;
    return moved;
  }

  /** When something that waits is due next, in the same time as `now`; undefined: nothing waits. */
  nextAt(): number | undefined {
    for (;;) {
      const entry = this.#waiting.peek();
      if (!entry) return undefined;
      if (this.#stale(entry)) this.#waiting.pop();
      else return entry.dueAt;
    }
  }

  #gate(info: PodInfo): boolean {
    for (const plugin of this.#pluginsOf(info).values()) {
      if (plugin.preEnqueue?.(info)) return true;
    }
    return false;
  }

  #helps(queued: Queued, happening: Happening): boolean {
    const plugins = this.#pluginsOf(queued.info);
    for (const name of queued.plugins) {
      const plugin = plugins.get(name);
      if (!plugin) return true;
      if (!plugin.wakesOn.some((event) => happening.events.includes(event))) continue;
      if (plugin.hint?.(queued.info, happening) ?? true) return true;
    }
    return false;
  }

  /** To the active queue, by way of what is left of its backoff. */
  #moveOn(queued: Queued, now: number, cause: Cause): void {
    const backoff = Math.min(
      this.#backoffMsMin * 2 ** (queued.attempts - 1),
      this.#backoffMsMax,
    );
    const dueAt = queued.since + backoff;
    if (queued.attempts === 0 || dueAt <= now) this.#activate(queued, now, cause);
    else this.#wait(queued, "backoff", dueAt, cause);
  }

  #activate(queued: Queued, now: number, cause: Cause): void {
    this.#incoming("active", cause);
    queued.place = "active";
    this.#listening.delete(queued);
    queued.since = now;
    queued.order = ++this.#order;
    this.#activeCount++;
    this.#active.push({ queued, order: queued.order });
  }

  #wait(
    queued: Queued,
    place: "backoff" | "unschedulable",
    dueAt: number,
    cause: Cause,
  ): void {
    this.#incoming(place, cause);
    queued.place = place;
    if (place === "unschedulable") this.#listening.add(queued);
    else this.#listening.delete(queued);
    queued.dueAt = dueAt;
    this.#waiting.push({ queued, dueAt });
  }

  #stale(entry: { queued: Queued; dueAt: number }): boolean {
    const { queued, dueAt } = entry;
    return (queued.place !== "backoff" && queued.place !== "unschedulable") ||
      queued.dueAt !== dueAt || this.#pods.get(queued.info.uid) !== queued;
  }

  #wake(now: number): void {
    for (;;) {
      const entry = this.#waiting.peek();
      if (!entry) return;
      if (this.#stale(entry)) {
        this.#waiting.pop();
        continue;
      }
      if (entry.dueAt > now) return;
      this.#waiting.pop();
      const backedOff = entry.queued.place === "backoff";
      this.#activate(entry.queued, now, backedOff ? "BackoffComplete" : "UnschedulableTimeout");
    }
  }
}
