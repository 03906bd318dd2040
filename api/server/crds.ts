/**
 * CustomResourceDefinitions at work: each one's names are accepted or refused, its versions become rows of
 * the table of kinds, its objects go before it does. The watch on definitions is the only input, so that every
 * process over one database serves the same kinds.
 */
import { loadCrdEngine } from "../machinery/crd/engine.ts";
import {
  CLEANUP_FINALIZER,
  type Crd,
  customKinds,
  isTrue,
  statusOf,
  withCondition,
} from "../machinery/crd/mod.ts";
import { edit } from "../machinery/edit.ts";
import { sameJson } from "../machinery/json_value.ts";
import { schemas } from "../kinds/schemas.ts";
import type { View } from "../../kv/contract.ts";
import type { User } from "../client/contract.ts";
import type { DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";
import { customServiceChanges, keepCustomServices } from "./api_services.ts";
import { ConversionMetrics, conversionWebhook } from "./conversions.ts";
import { type Deps, timeText } from "./deps.ts";
import { deleteObject } from "./deletes.ts";
import type { ApiRequest } from "./request.ts";

const PATH = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
/** Objects of a definition that are deleted at once. */
const DELETES_AT_ONCE = 64;
/** What can still be done with objects whose definition is being deleted. */
const ENDING_VERBS: Kind["verbs"] = [
  "get",
  "list",
  "watch",
  "update",
  "patch",
  "delete",
  "deletecollection",
];
const SYSTEM: User = { name: "system:apiserver", groups: ["system:masters"] };

type Definition = DeepReadonly<Crd>;

function sameResource(a: Kind, b: Kind): boolean {
  return a.group === b.group && a.version === b.version && a.plural === b.plural;
}

/** What a definition has come to. */
interface Served {
  readonly crd: Definition;
  readonly rows: readonly Kind[];
  /** What is left of the rows' verbs; absent: all. */
  readonly verbs?: Kind["verbs"];
  /** Tells those who hold one of the rows that others are served, or none. */
  readonly replaced: AbortController;
}

/** Whether both make the same rows. */
function servesSame(a: Definition, b: Definition): boolean {
  return a.metadata.uid === b.metadata.uid && sameJson(a.spec, b.spec) &&
    sameJson(a.status?.acceptedNames, b.status?.acceptedNames);
}

/** Serves what the stored definitions say. */
export class Definitions {
  readonly #deps: Deps;
  readonly #served = new Map<string, Served>();
  readonly #emptying = new Set<string>();
  readonly #metrics = new ConversionMetrics();
  #work: Promise<void> = Promise.resolve();
  /** The state whose definitions were all taken up, for who asks. */
  #takenUp: View<KubeObject> | undefined;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** What conversion webhooks were asked, for `/metrics`. */
  metricsText(): string {
    return this.#metrics.text();
  }

  /** Serves what is there, then follows changes until the store closes. Resolves when all that was there is served. */
  async start(): Promise<void> {
    const store = this.#deps.database.objects;
    const view = await store.fresh();
    const watch = store.watch({ prefix: PATH, after: view.revision });
    for (const item of view.scan(PATH)) this.#queue(item.key.slice(PATH.length));
    await this.#work;
    void this.#follow(watch);
  }

  /**
   * Settles once everything is served that the definitions of a state say; undefined: it is. For a process that others
   * share the store with: what they have defined comes by the watch, which a request may overtake.
   */
  caughtUp(view: View<KubeObject>): Promise<void> | undefined {
    if (!this.#takenUp || !view.isAsIn?.(this.#takenUp, PATH)) return this.#takeUp(view);
    // An older one would keep alive whatever was there when a definition changed last
    this.#takenUp = view;
    return undefined;
  }

  async #takeUp(view: View<KubeObject>): Promise<void> {
    const before = this.#takenUp;
    if (before) {
      for (const { before: old, after } of view.changedFrom!(before, PATH)) {
        this.#queue((after ?? old)!.key.slice(PATH.length));
      }
    } else for (const { key } of view.scan(PATH)) this.#queue(key.slice(PATH.length));
    await this.#work;
    this.#takenUp = view;
  }

  async #follow(watch: ReturnType<Deps["database"]["objects"]["watch"]>): Promise<void> {
    try {
      for await (const { events } of watch) {
        for (const { key } of events) this.#queue(key.slice(PATH.length));
      }
    } catch {
      // The store has closed, and with it everything that could be served
    }
  }

  #queue(name: string): void {
    // What fails here has met a closed store, or a definition that its validation should have refused
    this.#work = this.#work.then(() => this.#sync(name)).catch(() => {});
  }

  async #sync(name: string): Promise<void> {
    const view = this.#deps.database.objects.view();
    const item = view.get(PATH + name);
    if (!item) return await this.#forget(name);
    const crd = item.value as Definition;
    if (crd.metadata.deletionTimestamp) return await this.#end(name, crd);
    await loadCrdEngine();
    const others: Definition[] = [];
    for (const other of view.scan(PATH)) others.push(other.value as Definition);
    const status = statusOf(crd, others, timeText(this.#deps.clock.now()));
    const next = { ...crd, status } as Definition;
    if (isTrue(next, "Established")) await this.#serve(name, next);
    await this.#register(crd.spec.group, others);
    if (sameJson(status, crd.status)) return;
    await this.#write(name, item.revision, (copy) => {
      copy.status = edit(status) as Crd["status"];
    });
  }

  /** Rows are made anew only when they would be others: whoever watches goes on where only a status has changed. */
  async #serve(name: string, crd: Definition, verbs?: Kind["verbs"]): Promise<void> {
    const before = this.#served.get(name);
    const same = before !== undefined && servesSame(before.crd, crd);
    if (same && before.verbs === verbs) return;
    const served = { ...(same ? before : await this.#make(crd)), verbs };
    this.#served.set(name, served);
    const rows = verbs ? served.rows.map((row) => ({ ...row, verbs })) : served.rows;
    this.#deps.kinds.setCustom(name, rows);
    if (!same) before?.replaced.abort();
  }

  async #make(crd: Definition): Promise<Served> {
    const rows = await customKinds(crd, schemas, conversionWebhook(this.#deps, crd, this.#metrics));
    // A definition never takes the place, or the storage, of a built-in kind
    const built = this.#deps.kinds.all().filter((kind) => !kind.custom);
    const free = rows.filter((row) =>
      !built.some((kind) => kind.path === row.path || sameResource(kind, row))
    );
    const replaced = new AbortController();
    return { crd, replaced, rows: free.map((row) => ({ ...row, replaced: replaced.signal })) };
  }

  async #forget(name: string): Promise<void> {
    this.#deps.kinds.setCustom(name, []);
    this.#served.get(name)?.replaced.abort();
    this.#served.delete(name);
    // A name that was taken may be free now
    const left: Definition[] = [];
    for (const { key, value } of this.#deps.database.objects.view().scan(PATH)) {
      if (!isTrue(value as Definition, "NamesAccepted")) this.#queue(key.slice(PATH.length));
      left.push(value as Definition);
    }
    await this.#register(name.slice(name.indexOf(".") + 1), left);
  }

  /** Keeps the APIServices of a group's versions. */
  async #register(group: string, definitions: readonly Definition[]): Promise<void> {
    const { database, clock } = this.#deps;
    const changes = customServiceChanges(database.objects.view(), group, definitions);
    if (changes.add.length === 0 && changes.remove.length === 0) return;
    const context = { now: clock.now(), uuid: () => clock.uuid() };
    await database.objects.write((draft) => keepCustomServices(draft, group, changes, context));
  }

  /** Changes a definition as it was at a revision; one that moved since comes again by the watch. */
  async #write(name: string, revision: number, change: (crd: Crd) => void): Promise<void> {
    await this.#deps.database.objects.write((draft) => {
      const current = draft.get(PATH + name);
      if (!current || current.revision !== revision) return;
      const copy = edit(current.value) as Crd;
      change(copy);
      const gone = copy.metadata.deletionTimestamp && !copy.metadata.finalizers?.length;
      if (gone) draft.delete(PATH + name, copy);
      else draft.put(PATH + name, copy);
    });
  }

  /** A definition that is being deleted: its objects go first. */
  async #end(name: string, crd: Definition): Promise<void> {
    if (!crd.metadata.finalizers?.includes(CLEANUP_FINALIZER)) return;
    if (this.#emptying.has(name)) return;
    this.#emptying.add(name);
    await this.#serve(name, crd, ENDING_VERBS);
    // Objects with finalizers may take long: other definitions do not wait
    void this.#empty(name, crd).catch(() => {}).finally(() => this.#emptying.delete(name));
  }

  async #empty(name: string, crd: Definition): Promise<void> {
    const store = this.#deps.database.objects;
    const prefix = `/registry/${crd.spec.group}/${crd.spec.names.plural}/`;
    const watch = store.watch({ prefix, after: store.view().revision });
    try {
      await this.#deleteAll(name, prefix);
      if (store.view().count(prefix) > 0) {
        for await (const _ of watch) if (store.view().count(prefix) === 0) break;
      }
    } finally {
      watch.close();
    }
    const now = timeText(this.#deps.clock.now());
    const current = store.view().get(PATH + name);
    if (!current) return;
    await this.#write(name, current.revision, (copy) => {
      copy.metadata.finalizers = copy.metadata.finalizers?.filter((f) => f !== CLEANUP_FINALIZER);
      const conditions = withCondition(copy.status?.conditions ?? [], {
        type: "Terminating",
        status: "False",
        reason: "InstanceDeletionCompleted",
        message: "removed all instances",
      }, now);
      copy.status = { ...copy.status, conditions };
    });
  }

  async #deleteAll(name: string, prefix: string): Promise<void> {
    const [kind] = this.#served.get(name)?.rows ?? [];
    if (!kind) return;
    const items = [...this.#deps.database.objects.view().scan(prefix)];
    for (let at = 0; at < items.length; at += DELETES_AT_ONCE) {
      const some = items.slice(at, at + DELETES_AT_ONCE);
      await Promise.all(some.map(({ value }) => this.#deleteOne(kind, value)));
    }
  }

  async #deleteOne(kind: Kind, object: DeepReadonly<KubeObject>): Promise<void> {
    const request: ApiRequest = {
      verb: "delete",
      kind,
      namespace: object.metadata.namespace ?? "",
      name: object.metadata.name,
      subresource: "",
      user: SYSTEM,
      agent: "plesio",
      params: {},
      deleteOptions: { propagationPolicy: "Background" },
      warnings: [],
    };
    // One that has gone already is as good; one that is refused keeps its definition
    await deleteObject(this.#deps, request).catch(() => {});
  }
}
