/**
 * The way between actors and the API of one process, with the weather of a real network: requests that come late, are
 * answered late, never come, come twice, are done without an answer, or are refused as conflicts; watches that
 * tell late (so that caches are stale, each by its own measure, and kinds arrive out of order), tell twice, break off,
 * and must list again.
 *
 * What a request asks for may be done twice only where a client may ask again: a create that names no name is not.
 */
import { conflict, expired, timedOut, unavailable } from "../../api/machinery/errors.ts";
import type { Client, ClientWatch, Target, WatchEvent } from "../../api/client/contract.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import type { Clock } from "../../kv/clock.ts";

/** How often what happens, as chances of one request or of one batch of a watch. */
export interface Weather {
  /** A request takes up to `lagMs`, before it is done or after. */
  lag: number;
  lagMs: number;
  /** A request never comes. */
  dropped: number;
  /** A request is done, and its answer never comes. */
  unheard: number;
  /** A request comes twice; the second answer is heard. */
  twice: number;
  /** A write is refused as if somebody had written in between. */
  conflict: number;
  /** A watch tells up to `staleMs` late. */
  stale: number;
  staleMs: number;
  /** A watch tells its last event twice. */
  again: number;
  /** A watch breaks off, and half of the time history is gone when it is begun again. */
  broken: number;
}

/** Everything comes at once and once. */
export const FAIR: Weather = {
  lag: 0,
  lagMs: 0,
  dropped: 0,
  unheard: 0,
  twice: 0,
  conflict: 0,
  stale: 0,
  staleMs: 0,
  again: 0,
  broken: 0,
};

/** What a network is made of. */
export interface NetOptions {
  clock: Clock;
  weather(): Weather;
}

/** A client whose requests and watches go through the weather. */
export function throughNet(client: Client, net: NetOptions): Client {
  const read = <T>(ask: () => Promise<T>) => send(net, ask, {});
  return {
    get: (target, query) => read(() => client.get(target, query)),
    list: (target, query) => read(() => client.list(target, query)),
    watch: async <T>(...args: Parameters<Client["watch"]>) =>
      heard(await read(() => client.watch<T>(...args)), net),
    create: (target, object, query) => {
      const { name } = (object as KubeObject).metadata ?? {};
      const isNamed = name !== undefined || target.name !== undefined;
      return send(net, () => client.create(target, object, query), { isNamed });
    },
    update: (target, object, query) =>
      send(net, () => client.update(target, object, query), { isNamed: true, target }),
    patch: (target, patch, query) => {
      const request = { isNamed: true, target: patch.type === "apply" ? undefined : target };
      return send(net, () => client.patch(target, patch, query), request);
    },
    delete: (target, query) => send(net, () => client.delete(target, query), { isNamed: true }),
    deleteCollection: (target, query) =>
      send(net, () => client.deleteCollection(target, query), { isNamed: true }),
    as: (user, agent) => throughNet(client.as(user, agent), net),
    under: (term) => throughNet(client.under(term), net),
    because: (...why) => throughNet(client.because(...why), net),
  };
}

interface Sent {
  /** It may come twice. */
  isNamed?: boolean;
  /** What it may conflict over. */
  target?: Target;
}

async function send<T>(
  { clock, weather }: NetOptions,
  ask: () => Promise<T>,
  { isNamed, target }: Sent,
): Promise<T> {
  const now = weather();
  if (now === FAIR) return await ask();
  const chance = (of: number) => of > 0 && clock.random() < of;
  const isLate = chance(now.lag);
  const isLateBefore = isLate && clock.random() < 0.5;
  if (isLateBefore) await clock.sleep(clock.random() * now.lagMs);
  if (chance(now.dropped)) throw unavailable("the request was lost on its way");
  if (target && chance(now.conflict)) {
    const { group, plural } = target.resource;
    throw conflict({ group, resource: plural }, target.name!);
  }
  if (isNamed && chance(now.twice)) await ask().catch(() => {});
  const isUnheard = chance(now.unheard);
  const answer = await ask();
  if (isLate && !isLateBefore) await clock.sleep(clock.random() * now.lagMs);
  if (isUnheard) throw timedOut("the answer was lost on its way");
  return answer;
}

function heard<T>(watch: ClientWatch<T>, net: NetOptions): ClientWatch<T> {
  return { close: () => watch.close(), [Symbol.asyncIterator]: () => batchesOf(watch, net) };
}

/**
 * Not within `heard`: a generator function that is made for each watch keeps all it can see until the next full
 * collection of garbage, a whole killed cluster here.
 */
async function* batchesOf<T>(
  watch: ClientWatch<T>,
  { clock, weather }: NetOptions,
): AsyncGenerator<readonly WatchEvent<T>[]> {
  // What came while a batch was held back is told right after it: nothing waits twice.
  let heldAt = -1;
  for await (const events of watch) {
    const now = weather();
    if (now === FAIR) {
      yield events;
      continue;
    }
    const chance = (of: number) => of > 0 && clock.random() < of;
    if (clock.monotonic() > heldAt && chance(now.stale)) {
      await clock.sleep(clock.random() * now.staleMs);
      heldAt = clock.monotonic();
    }
    if (chance(now.broken)) {
      if (clock.random() < 0.5) throw expired("too old resource version");
      return;
    }
    yield chance(now.again) ? repeated(events) : events;
  }
}

function repeated<T>(events: readonly WatchEvent<T>[]): readonly WatchEvent<T>[] {
  const last = events.at(-1);
  return last && last.type !== "BOOKMARK" ? [...events, last] : events;
}
