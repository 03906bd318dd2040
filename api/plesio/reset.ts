/**
 * `POST /plesio/v1/reset`: the cluster's objects are again what they were at its start, in milliseconds; faults and
 * ledger are empty.
 *
 * What differs is written back as ordinary changes of the log: who watches sees objects go and come back, so that caches
 * of clients stay right, actors follow as they follow everything, and revisions and time go on. (A test that wants a
 * cluster of its own, with its own time, takes a fork.)
 */
import { Buffer } from "node:buffer";
import type { Database, Item, Store, View } from "../../kv/contract.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { jsonReply, type Reply } from "../server/http.ts";
import { allowMethods, type Asked, kitOf } from "./endpoint.ts";

/** Objects written back in one write, and their bytes: far below what a commit may hold. */
const STEP_OBJECTS_MAX = 200;
const STEP_BYTES_MAX = 256 * 1024;
/** Where Kubernetes' objects lie; terms and the like are the process's own. */
const PREFIX = "/registry/";

/** Answers it. */
export async function reset(asked: Asked): Promise<Reply> {
  allowMethods(asked, "POST");
  const kit = kitOf(asked);
  const changed = await kit.reset();
  return jsonReply(200, { ...kit.clock(), changed });
}

/** One object that is to be as it was; `was` is absent for one that was not there. */
interface Difference {
  key: string;
  was?: Item<KubeObject>;
  /** Whether somebody owns it: owners go first, lest they make it anew. */
  owned: boolean;
}

/** What a cluster was like at its start. */
export class Baseline {
  readonly #stores: readonly { store: Store<KubeObject>; was: View<KubeObject> }[];

  constructor({ objects, events }: Pick<Database<KubeObject>, "objects" | "events">) {
    this.#stores = [objects, events].map((store) => ({ store, was: store.view() }));
  }

  /** Writes back what differs; resolves with how many objects that were. */
  async restore(): Promise<number> {
    let count = 0;
    for (const { store, was } of this.#stores) {
      const differences = [...differing(was, store.view())];
      differences.sort((a, b) => Number(a.owned) - Number(b.owned));
      for (const step of stepsOf(differences)) {
        await store.write((draft) => {
          for (const { key, was } of step) {
            if (was) draft.put(key, unstamped(was.value));
            else draft.delete(key);
          }
        });
        count += step.length;
      }
    }
    return count;
  }
}

/** A copy whose revision may be set. */
function unstamped(value: KubeObject): KubeObject {
  return { ...value, metadata: { ...value.metadata } };
}

function* differing(was: View<KubeObject>, now: View<KubeObject>): Generator<Difference> {
  for (const item of now.scan(PREFIX)) {
    const before = was.get(item.key);
    if (before === item || before && isSame(before, item)) continue;
    yield { key: item.key, was: before, owned: isOwned(item.value) };
  }
  for (const item of was.scan(PREFIX)) {
    if (!now.get(item.key)) yield { key: item.key, was: item, owned: isOwned(item.value) };
  }
}

function isSame(one: Item<KubeObject>, other: Item<KubeObject>): boolean {
  return one.revision === other.revision || Buffer.compare(one.bytes, other.bytes) === 0;
}

function isOwned({ metadata }: DeepReadonly<KubeObject>): boolean {
  return (metadata.ownerReferences?.length ?? 0) > 0;
}

function* stepsOf(differences: readonly Difference[]): Generator<readonly Difference[]> {
  let step: Difference[] = [];
  let bytes = 0;
  for (const one of differences) {
    const size = one.was?.bytes.length ?? 0;
    if (step.length > 0 && (step.length === STEP_OBJECTS_MAX || bytes + size > STEP_BYTES_MAX)) {
      yield step;
      [step, bytes] = [[], 0];
    }
    step.push(one);
    bytes += size;
  }
  if (step.length > 0) yield step;
}
