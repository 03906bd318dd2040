/**
 * API aggregation: APIServices with a Service, followed in the store. Each is checked (availability), asked what it
 * serves (discovery) and how (OpenAPI), when something about it changes, every half minute, and after a failure
 * sooner. What was learned is written to its status, and served merged with what this server serves itself.
 *
 * It promises: a group-version that is built in is never handed to a service, but for `metrics.k8s.io`, which exists
 * for clients of a metrics server and may be taken by one; without such APIServices nothing is watched, no timer is
 * set and no request looks further than one number.
 */
import type { Timer } from "../../../kv/clock.ts";
import type { Event, Watch } from "../../../kv/contract.ts";
import { edit } from "../../machinery/edit.ts";
import type { DeepReadonly, Kind, KubeObject } from "../../machinery/types.ts";
import { API_SERVICES } from "../api_services.ts";
import { type Deps, timeText } from "../deps.ts";
import type { RemoteVersions } from "../discovery.ts";
import { type Availability, missing, probe } from "./availability.ts";
import { learnDiscovery } from "./discovered.ts";
import { learnDocument } from "./documents.ts";
import { type FrontProxyIdentity, Remote } from "./remote.ts";

/** How often each is looked at without a reason, in ms. */
export const CHECK_MS = 30_000;
/** First wait after a failure, in ms; it doubles up to `CHECK_MS`. */
export const RETRY_MS = 1_000;
/** How often what a remote serves is asked anew, in ms. */
export const REFRESH_MS = 60_000;
/** Series of one metric at most. */
const SERIES_MAX = 500;
/** What is said of what this server serves itself. */
const LOCAL: Availability = {
  status: "True",
  reason: "Local",
  message: "Local APIServices are always available",
};
/** The group that a service may take from this server. */
const GIVEN_AWAY = "metrics.k8s.io";

type Stored = DeepReadonly<KubeObject>;

/** What other servers serve, for those who look after all there is. */
export interface RemoteKinds {
  kinds: Pick<Kind, "group" | "version" | "plural" | "kind" | "namespaced" | "verbs">[];
  /** Group-versions that may have kinds nobody knows of now. */
  stale: string[];
}

/** What the work on one remote is at. */
interface Work {
  running: boolean;
  /** Something changed while it ran. */
  again: boolean;
  failures: number;
  refreshedAt?: number;
  timer?: Timer;
}

/** See the module's text. */
export class Aggregation implements RemoteVersions {
  readonly #deps: Deps;
  readonly #identity: () => Promise<FrontProxyIdentity | undefined>;
  readonly #remotes = new Map<string, Remote>();
  readonly #work = new Map<string, Work>();
  /** How often one was lost, by labels of the metric. */
  readonly #lost = new Map<string, number>();
  /** Watches on Services and their endpoints, while there are remotes. */
  #watches: Watch<KubeObject>[] = [];
  #stopped = false;
  version = 0;

  constructor(deps: Deps, identity?: () => Promise<FrontProxyIdentity>) {
    this.#deps = deps;
    this.#identity = identity ?? (() => Promise.resolve(undefined));
  }

  /** Whether nothing is served by others. */
  get empty(): boolean {
    return this.#remotes.size === 0;
  }

  /** Who serves a group-version, if not this server. */
  find(group: string, version: string): Remote | undefined {
    if (this.#remotes.size === 0) return undefined;
    return this.#remotes.get(`${group}/${version}`);
  }

  all(): Iterable<Remote> {
    return this.#remotes.values();
  }

  /** How the remotes fare, in the words of upstream's metrics. */
  lines(): string {
    if (this.empty && this.#lost.size === 0) return "";
    const gauge = "aggregator_unavailable_apiservice";
    const lines = [
      `# HELP ${gauge} Whether an APIService cannot be had, by its name.`,
      `# TYPE ${gauge} gauge`,
    ];
    for (const { name, available } of this.#remotes.values()) {
      lines.push(`${gauge}{name="${name}"} ${available ? 0 : 1}`);
    }
    lines.push(
      `# HELP ${gauge}_total How often an APIService was lost, by its name and why.`,
      `# TYPE ${gauge}_total counter`,
    );
    for (const [labels, count] of this.#lost) lines.push(`${gauge}_total{${labels}} ${count}`);
    return lines.join("\n");
  }

  /** What is served by others, as far as it is known. */
  kinds(): RemoteKinds {
    const found: RemoteKinds = { kinds: [], stale: [] };
    for (const { group, version, resources, freshness } of this.#remotes.values()) {
      if (freshness === "Stale") found.stale.push(`${group}/${version}`);
      for (const { resource: plural, responseKind: { kind }, scope, verbs } of resources) {
        const namespaced = scope === "Namespaced";
        const known = { group, version, plural, kind, namespaced };
        found.kinds.push({ ...known, verbs: verbs as Kind["verbs"] });
      }
    }
    return found;
  }

  /** Something that documents are made of has changed. */
  changed(): void {
    this.version++;
  }

  /** Takes in what is stored, then follows changes until the store closes. */
  async start(): Promise<void> {
    const store = this.#deps.database.objects;
    const view = await store.fresh();
    const watch = store.watch({ prefix: API_SERVICES, after: view.revision });
    for (const { value } of view.scan(API_SERVICES)) this.#take(value);
    void this.#follow(watch, ({ item, type }) => {
      if (type === "delete") this.#forget(item.value);
      else this.#take(item.value);
    }).finally(() => this.#stop());
  }

  async #follow(watch: Watch<KubeObject>, look: (event: Event<KubeObject>) => void): Promise<void> {
    try {
      for await (const { events } of watch) for (const event of events) look(event);
    } catch {
      // The store has closed, and with it everything that could be served
    }
  }

  #stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#work.values()) timer?.cancel();
    this.#watchServices();
  }

  #take(stored: Stored): void {
    const { spec } = stored;
    const key = `${spec.group ?? ""}/${spec.version}`;
    if (!spec.service) {
      this.#forget(stored);
      // One that was handed to a service, and was taken back
      void this.#write(stored.metadata.name, stored, LOCAL);
      return;
    }
    if (this.#isBuiltIn(spec.group ?? "", spec.version)) {
      void this.#write(stored.metadata.name, stored, {
        status: "False",
        reason: "BuiltIn",
        message: `${key} is served by this server and is not handed over to a service`,
      });
      return;
    }
    const remote = new Remote(stored, this.#identity);
    const old = this.#remotes.get(key);
    const same = old && JSON.stringify(old.spec) === JSON.stringify(remote.spec);
    if (old) remote.inherit(old);
    this.#remotes.set(key, remote);
    this.#watchServices();
    if (same && old.available === remote.available) return;
    this.changed();
    const work = this.#work.get(key);
    if (work) work.refreshedAt = undefined;
    this.#check(key);
  }

  #isBuiltIn(group: string, version: string): boolean {
    if (group === GIVEN_AWAY) return false;
    return this.#deps.kinds.all().some((kind) =>
      !kind.custom && kind.group === group && kind.version === version
    );
  }

  #forget(stored: Stored): void {
    const key = `${stored.spec.group ?? ""}/${stored.spec.version}`;
    if (!this.#remotes.delete(key)) return;
    this.#work.get(key)?.timer?.cancel();
    this.#work.delete(key);
    this.changed();
    this.#watchServices();
  }

  /** Services and endpoints are followed while somebody depends on them. */
  #watchServices(): void {
    const wanted = !this.empty && !this.#stopped;
    if (wanted === this.#watches.length > 0) return;
    for (const watch of this.#watches) watch.close();
    this.#watches = [];
    if (!wanted) return;
    const store = this.#deps.database.objects;
    const after = store.view().revision;
    for (const prefix of ["/registry/services/specs/", "/registry/endpointslices/"]) {
      const watch = store.watch({ prefix, after });
      this.#watches.push(watch);
      void this.#follow(watch, ({ item: { value } }) => {
        const { namespace, name, labels } = value.metadata;
        const service = labels?.["kubernetes.io/service-name"] ?? name;
        for (const [key, remote] of this.#remotes) {
          const { service: own } = remote;
          if (own.namespace === namespace && own.name === service) this.#check(key);
        }
      });
    }
  }

  /** Looks at a remote now, or once more if that is being done. */
  #check(key: string): void {
    const work = this.#work.get(key) ?? { running: false, again: false, failures: 0 };
    this.#work.set(key, work);
    if (work.running) {
      work.again = true;
      return;
    }
    work.timer?.cancel();
    work.running = true;
    void this.#look(key, work).catch(() => false).then((good) => {
      work.running = false;
      work.failures = good ? 0 : work.failures + 1;
      if (this.#stopped || this.#work.get(key) !== work) return;
      if (work.again) {
        work.again = false;
        this.#check(key);
        return;
      }
      const wait = good ? CHECK_MS : Math.min(RETRY_MS * 2 ** (work.failures - 1), CHECK_MS);
      work.timer = this.#deps.clock.timer("background", wait, () => this.#check(key));
    });
  }

  #count(remote: Remote, reason: string): void {
    const labels = `name="${remote.name}",reason="${reason}"`;
    if (!this.#lost.has(labels) && this.#lost.size >= SERIES_MAX) return;
    this.#lost.set(labels, (this.#lost.get(labels) ?? 0) + 1);
  }

  async #look(key: string, work: Work): Promise<boolean> {
    const { database, clock } = this.#deps;
    const remote = this.#remotes.get(key);
    if (!remote) return true;
    const found = missing(database.objects.view(), remote) ?? await probe(this.#deps, remote);
    const available = found.status === "True";
    if (available !== remote.available) {
      this.changed();
      if (!available) this.#count(remote, found.reason);
    }
    // Before it is written, so that the write's own event is no news
    remote.available = available;
    if (!available) remote.freshness = "Stale";
    const current = database.objects.view().get(API_SERVICES + remote.name)?.value;
    if (current?.spec.service) await this.#write(remote.name, current, found);
    const now = clock.monotonic();
    const due = work.refreshedAt === undefined || now - work.refreshedAt >= REFRESH_MS;
    if (available && !due && remote.freshness === "Current") return true;
    const before = JSON.stringify([remote.resources, remote.freshness, remote.document?.hash]);
    const good = await learnDiscovery(this.#deps, remote);
    await learnDocument(this.#deps, remote);
    // What was learned is the newest record's, should the APIService have changed meanwhile
    const newest = this.#remotes.get(key);
    if (newest && newest !== remote) newest.inherit(remote);
    const after = JSON.stringify([remote.resources, remote.freshness, remote.document?.hash]);
    if (before !== after) this.changed();
    if (good) work.refreshedAt = now;
    return good && available;
  }

  /** Writes what was found into an APIService's status, unless it says so already. */
  async #write(name: string, stored: Stored, found: Availability): Promise<void> {
    if (says(stored, found)) return;
    const now = timeText(this.#deps.clock.now());
    await this.#deps.database.objects.write((draft) => {
      const current = draft.get(API_SERVICES + name);
      if (!current || says(current.value, found)) return;
      // What was found of a service says nothing of what is served here, and the other way about
      if ((found === LOCAL) === (current.value.spec.service !== undefined)) return;
      const copy = edit(current.value);
      const conditions = (copy.status?.conditions ?? []) as Record<string, string>[];
      const own = conditions.find(({ type }) => type === "Available");
      const turned = own?.status !== found.status;
      const next = { ...own, type: "Available", ...found } as Record<string, string>;
      if (turned) next.lastTransitionTime = now;
      copy.status = {
        ...copy.status,
        conditions: own ? conditions.map((c) => c === own ? next : c) : [...conditions, next],
      };
      draft.put(API_SERVICES + name, copy);
    });
  }
}

function says(stored: Stored, { status, reason, message }: Availability): boolean {
  const conditions = (stored.status?.conditions ?? []) as readonly Record<string, string>[];
  const own = conditions.find(({ type }) => type === "Available");
  return own?.status === status && own.reason === reason && own.message === message;
}
