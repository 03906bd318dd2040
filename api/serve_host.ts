/**
 * What a served cluster (`serve.ts`) asks of its host: the database, signals, cron. Deno Deploy and `deno serve` are the
 * same here; what one of them lacks is looked for, not assumed.
 */
import type { Clock } from "../kv/clock.ts";
import type { Database } from "../kv/contract.ts";
import { isFile, openShared } from "../kv/mod.ts";
import type { KubeObject } from "./machinery/types.ts";
import type { Api } from "./mod.ts";
import { lazily, Served, type ServedCluster, type ServeOptions } from "./serve.ts";

export { lazily, type ServedCluster } from "./serve.ts";

/** What answers requests, and may be put to sleep. */
export interface Door {
  fetch(request: Request, remote?: string): Promise<Response>;
  cron(): Promise<void>;
  sleep(): Promise<void>;
}

/** A cluster as it is served. */
export function servedCluster(
  { api, database, busy, stop }: {
    api: Api;
    database: Database<KubeObject>;
    busy(): string[];
    stop(): Promise<void>;
  },
): ServedCluster {
  const { processes, terms: { holder } } = database;
  return {
    holder,
    busy,
    stop,
    answer: (request, remote) => api.serve(request, { remote }),
    leads: () => processes?.leads() ?? true,
    live: async () => (await processes?.live() ?? []).map((one) => one.holder),
  };
}

/** The door of a cluster: over a database that instances share it sleeps, over one of its own it stays awake. */
export function servedBy(
  { kv, clock, log, start }: {
    kv?: string;
    clock: Clock;
    log: ServeOptions["log"];
    start(clock: Clock): Promise<ServedCluster>;
  },
): Door {
  if (kv !== undefined && !isFile(kv)) {
    return new Served({ clock, log, open: () => openShared(kv), start });
  }
  const cluster = lazily(() => start(clock));
  return {
    fetch: async (request, remote) => (await (await cluster()).answer(request, remote)).response,
    cron: () => Promise.resolve(),
    sleep: async () => {
      if (cluster.made()) await (await cluster()).stop();
    },
  };
}

/** The address that a request came from. */
export function remoteOf({ remoteAddr }: Deno.ServeHandlerInfo): string | undefined {
  return "hostname" in remoteAddr ? remoteAddr.hostname : undefined;
}

type Cron = (name: string, schedule: string, handler: () => Promise<void>) => Promise<void>;

/**
 * Wakes what is served when something is due, where the platform has cron, and puts it to sleep in order when the
 * platform ends this instance: it has five seconds then.
 */
export function keepServed(door: (() => Promise<Door>) & { made(): boolean }): void {
  const { cron } = Deno as unknown as { cron?: Cron };
  void cron?.("plesio", "* * * * *", async () => await (await door()).cron())?.catch((error) =>
    console.error(`plesio: no cron: ${error}`)
  );
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    try {
      Deno.addSignalListener(signal, () => {
        const asleep = door.made() ? door().then((one) => one.sleep()) : Promise.resolve();
        asleep.catch(() => undefined).finally(() => Deno.exit(0));
      });
    } catch {
      continue; // a platform without this signal
    }
  }
}
