/**
 * Keeps flow control at what the stored FlowSchemas and priority levels say: follows them, lends seats every ten
 * seconds, notes on each FlowSchema whether its level is there, and puts back what every cluster has when it is gone.
 */
import { edit } from "../machinery/edit.ts";
import { formatTime } from "../machinery/time.ts";
import type { KubeObject } from "../machinery/types.ts";
import type { Deps } from "./deps.ts";
import { BORROWING_MS, type LevelObject, type Levels } from "./flow_levels.ts";
import type { FlowSchema } from "./flow_matching.ts";
import { flowObjectsMissing, keepFlowObjects, LEVELS, SCHEMAS } from "./flow_objects.ts";

/** How often what every cluster has is put back. */
const KEEP_MS = 60_000;

interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

/** See the module's text. */
export class FlowKeeper {
  readonly #deps: Deps;
  readonly #levels: Levels;
  #work: Promise<void> = Promise.resolve();
  #closed = false;
  /** Whether any of the objects has changed since it was seen that all are there. */
  #changed = false;

  constructor(deps: Deps, levels: Levels) {
    this.#deps = deps;
    this.#levels = levels;
  }

  /** Takes over what is there, then follows changes until the store closes. */
  async start(): Promise<void> {
    const store = this.#deps.database.objects;
    const view = await store.fresh();
    const watches = [SCHEMAS, LEVELS].map((prefix) =>
      store.watch({ prefix, after: view.revision })
    );
    this.#digest();
    for (const watch of watches) void this.#follow(watch);
    this.#lendLater(BORROWING_MS);
  }

  async #follow(watch: ReturnType<Deps["database"]["objects"]["watch"]>): Promise<void> {
    try {
      for await (const { events } of watch) if (events.length > 0) this.#digest();
    } catch {
      // The store has closed, and with it everything that could be asked for
    }
    this.#closed = true;
  }

  /** Lends seats every ten seconds, while anybody wants any. */
  #lendLater(ms: number): void {
    this.#deps.clock.timer("background", ms, () => {
      if (this.#closed) return;
      const rests = this.#levels.rest((afterMs) => this.#lendLater(afterMs));
      if (!rests) this.#lendLater(BORROWING_MS);
    });
  }

  /** Puts back what every cluster has, if any of it is gone then. */
  #keepLater(): void {
    if (this.#changed) return;
    this.#changed = true;
    this.#deps.clock.timer("background", KEEP_MS, () => {
      if (this.#closed) return;
      this.#changed = false;
      this.#keep();
    });
  }

  #digest(): void {
    this.#keepLater();
    const view = this.#deps.database.objects.view();
    const levels: LevelObject[] = [];
    for (const item of view.scan(LEVELS)) levels.push(item.value as unknown as LevelObject);
    const schemas: FlowSchema[] = [];
    for (const item of view.scan(SCHEMAS)) schemas.push(item.value as unknown as FlowSchema);
    this.#levels.digest(levels, schemas);
    const names = new Set(levels.map((one) => one.metadata.name));
    const stale = schemas.filter((schema) => !isNoted(schema, names));
    if (stale.length === 0) return;
    this.#work = this.#work.then(() => this.#note(stale.map((one) => one.metadata.name)))
      // The store has closed, or another process was faster: the watch brings what it wrote
      .catch(() => {});
  }

  /** Writes the condition that says whether a schema's level is there. */
  async #note(names: readonly string[]): Promise<void> {
    const { database, clock } = this.#deps;
    await database.objects.write((draft) => {
      const now = formatTime(clock.now());
      for (const name of names) {
        const item = draft.get(SCHEMAS + name);
        if (!item) continue;
        const schema = item.value as unknown as FlowSchema;
        const level = schema.spec.priorityLevelConfiguration.name;
        const found = draft.get(LEVELS + level) !== undefined;
        const wanted = dangling(level, found);
        const before = conditionsOf(schema);
        if (before.some((one) => says(one, wanted))) continue;
        const copy = edit(item.value) as KubeObject;
        const others = before.filter((one) => one.type !== "Dangling");
        copy.status = { conditions: [...others, { ...wanted, lastTransitionTime: now }] };
        draft.put(SCHEMAS + name, copy);
      }
    });
  }

  #keep(): void {
    const { database, clock } = this.#deps;
    if (!flowObjectsMissing(database.objects.view())) return;
    this.#keepLater();
    const context = { now: clock.now(), uuid: () => clock.uuid() };
    database.objects.write((draft) => keepFlowObjects(draft, context))
      // The store has closed
      .catch(() => {});
  }
}

function conditionsOf(schema: FlowSchema): Condition[] {
  const status = schema.status as { conditions?: Condition[] } | undefined;
  return [...status?.conditions ?? []];
}

function dangling(level: string, found: boolean): Condition {
  const text = `This FlowSchema references the PriorityLevelConfiguration object named "${level}"`;
  return found
    ? { type: "Dangling", status: "False", reason: "Found", message: `${text} and it exists` }
    : {
      type: "Dangling",
      status: "True",
      reason: "NotFound",
      message: `${text} but there is no such object`,
    };
}

function says(one: Condition, wanted: Condition): boolean {
  return one.type === wanted.type && one.status === wanted.status &&
    one.reason === wanted.reason && one.message === wanted.message;
}

function isNoted(schema: FlowSchema, levels: ReadonlySet<string>): boolean {
  const level = schema.spec.priorityLevelConfiguration.name;
  const wanted = dangling(level, levels.has(level));
  return conditionsOf(schema).some((one) => says(one, wanted));
}
