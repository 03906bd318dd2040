/**
 * `/plesio/v1/forks`: forks of the cluster by name, each a whole cluster under a path of its own.
 *
 * | request | answer |
 * | --- | --- |
 * | GET | which there are |
 * | POST `{ name, at, clock, seed }` | makes one, all of it optional: where it begins, `manual` or `real`, chance |
 * | GET, DELETE `/NAME` | one of them; ends it |
 * | `/NAME/…` | the fork's own API: `kubectl --server https://HOST/plesio/v1/forks/NAME get pods` |
 *
 * Making, seeing and ending them takes the right to these paths. What lies under a name is the fork's own server: it
 * finds out by itself who is asking and what they may, as of when it began and as it went on from there: the cluster's
 * credentials are good there, and rights that the cluster has taken away since are still given in a fork. A fork is
 * there until it is ended, or the process is that made it: it lives in the memory of that one, and where several serve
 * a cluster the others answer 421 and say where it is.
 */
import {
  alreadyExists,
  badRequest,
  forbidden,
  notFound,
  unavailable,
} from "../machinery/errors.ts";
import { isDns1123Label } from "../machinery/names.ts";
import { ApiError } from "../machinery/types.ts";
import type { Processes, ProcessRecord } from "../../kv/contract.ts";
import { type Call, inner, jsonReply, type Reply } from "../server/http.ts";
import type { Inner } from "../server/app.ts";
import { asked as body } from "./body.ts";
import { allowMethods, type Asked, split } from "./endpoint.ts";
import type { PlesioPorts } from "./ports.ts";

/** Forks that a cluster keeps by name at once. */
export const FORKS_MAX = 100;
/** The longest description of one, in bytes. */
const BODY_BYTES_MAX = 4_096;
const SUBJECT = { group: "plesio.dev", resource: "forks" };

/** A fork as this page knows it. Its server is made when it is first asked for. */
export interface ForkedCluster {
  readonly api: Inner["server"];
  stop(): Promise<void>;
}

/** How one is made. */
export interface ForkAsked {
  at?: number | string;
  clock?: "manual" | "real";
  seed?: number;
}

interface Fork {
  readonly name: string;
  readonly createdAt: string;
  readonly revision: number;
  readonly asked: ForkAsked;
  readonly cluster: ForkedCluster;
}

/** What the forks of a cluster are made with. */
export interface ForksPorts {
  make(asked: ForkAsked): Promise<{ cluster: ForkedCluster; revision: number }>;
  now(): number;
  /** Where others are told who has one (default: there are no others). */
  processes?: Pick<Processes, "take" | "leave" | "keeperOf" | "self">;
}

/** The forks of a cluster by name, as one of its processes has them. */
export class Forks {
  readonly #ports: ForksPorts;
  readonly #forks = new Map<string, Fork>();
  /** Those that are being made. */
  readonly #coming = new Map<string, Promise<Fork>>();
  #count = 0;
  #stopped = false;

  constructor(ports: ForksPorts) {
    this.#ports = ports;
  }

  all(): Fork[] {
    return [...this.#forks.values()];
  }

  get(name: string): Fork | undefined {
    return this.#forks.get(name);
  }

  async create(name: string | undefined, asked: ForkAsked): Promise<Fork> {
    if (this.#stopped) throw unavailable("the cluster is being stopped");
    while (name === undefined || name === "") {
      const next = `fork-${++this.#count}`;
      if (!this.#forks.has(next) && !this.#coming.has(next)) name = next;
    }
    const [problem] = isDns1123Label(name);
    if (problem) throw badRequest(`a fork cannot be called ${JSON.stringify(name)}: ${problem}`);
    if (this.#forks.has(name) || this.#coming.has(name)) throw alreadyExists(SUBJECT, name);
    if (this.#forks.size + this.#coming.size >= FORKS_MAX) {
      throw forbidden(SUBJECT, name, `there are ${FORKS_MAX} forks already: delete one first`);
    }
    const coming = this.#begin(name, asked);
    this.#coming.set(name, coming);
    try {
      return await coming;
    } finally {
      this.#coming.delete(name);
    }
  }

  async #begin(name: string, asked: ForkAsked): Promise<Fork> {
    const { make, now, processes } = this.#ports;
    if (await this.#keeperOf(name)) throw alreadyExists(SUBJECT, name);
    await processes?.take(placeOf(name));
    try {
      const { cluster, revision } = await make(asked);
      const fork = { name, createdAt: new Date(now()).toISOString(), revision, asked, cluster };
      this.#forks.set(name, fork);
      return fork;
    } catch (error) {
      await processes?.leave(placeOf(name));
      throw error;
    }
  }

  async delete(name: string): Promise<void> {
    const fork = this.#forks.get(name);
    if (!fork) throw notFound(SUBJECT, name);
    this.#forks.delete(name);
    // First what cannot fail: the database may be away
    await fork.cluster.stop();
    await this.#ports.processes?.leave(placeOf(name));
  }

  /** What is said to who asks for one that is not here. */
  async absent(name: string): Promise<ApiError> {
    const keeper = await this.#keeperOf(name);
    if (!keeper) return notFound(SUBJECT, name);
    const where = keeper.url ? `: ask ${keeper.url}` : "";
    const message = `fork "${name}" lives in another process of the cluster${where}`;
    return new ApiError({ code: 421, reason: "Misdirected", message });
  }

  /** The other process that has one. */
  async #keeperOf(name: string): Promise<ProcessRecord | undefined> {
    const { processes } = this.#ports;
    const keeper = await processes?.keeperOf(placeOf(name));
    return keeper?.holder === processes?.self.holder ? undefined : keeper;
  }

  /** Ends them all, those that are being made too. Where they were, the process takes back when it ends itself. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.allSettled(this.#coming.values());
    const all = this.all();
    this.#forks.clear();
    await Promise.all(all.map(({ cluster }) => cluster.stop()));
  }
}

function placeOf(name: string): string {
  return `fork/${name}`;
}

function shown({ name, createdAt, revision, asked: { at, clock, seed } }: Fork) {
  return { name, path: `/plesio/v1/forks/${name}`, createdAt, revision, at, clock, seed };
}

/** The server of a fork that a call is for; undefined: it is for this page. */
export function forkOf(call: Call, asked: string, { forks }: PlesioPorts): Inner | undefined {
  const { first, rest } = split(asked);
  const fork = rest ? forks.get(first) : undefined;
  if (!fork) return undefined;
  const under = call.path.slice(0, call.path.length - rest.length);
  return { server: fork.cluster.api, call: inner(call, under) };
}

/** Answers it. */
export async function forks(asked: Asked): Promise<Reply> {
  const { call, rest, ports } = asked;
  const name = rest.slice(1);
  if (name === "") {
    allowMethods(asked, "GET", "POST");
    if (call.method === "GET") {
      return jsonReply(200, { forks: ports.forks.all().map(shown), limit: FORKS_MAX });
    }
    const { name: wanted, ...how } = await bodyOf(call);
    return jsonReply(201, shown(await ports.forks.create(wanted, how)));
  }
  const fork = ports.forks.get(name);
  if (!fork) throw await ports.forks.absent(split(rest).first);
  allowMethods(asked, "GET", "DELETE");
  if (call.method === "GET") return jsonReply(200, shown(fork));
  await ports.forks.delete(name);
  return jsonReply(200, { kind: "Status", apiVersion: "v1", status: "Success", details: { name } });
}

/** What a POST says. Throws 400 for what is no description of a fork. */
async function bodyOf(call: Call): Promise<ForkAsked & { name?: string }> {
  const refusal = "a fork is described in JSON";
  const said = await body(call, { bytesMax: BODY_BYTES_MAX, refusal });
  if (typeof said !== "object" || said === null || Array.isArray(said)) {
    throw badRequest('a fork is described by an object such as {"name": "trial"}');
  }
  for (const [key, value] of Object.entries(said)) {
    const wrong = problemOf(key, value);
    if (wrong) throw badRequest(`${key}: ${JSON.stringify(value)} ${wrong}`);
  }
  return said;
}

function problemOf(key: string, value: unknown): string | undefined {
  switch (key) {
    case "name":
      return typeof value === "string" ? undefined : "is no name";
    case "at":
      return typeof value === "string" || typeof value === "number"
        ? undefined
        : "is neither a revision nor a time";
    case "clock":
      return value === "manual" || value === "real" ? undefined : 'is neither "manual" nor "real"';
    case "seed":
      return Number.isSafeInteger(value) ? undefined : "is no integer";
    default:
      return "is not known: a fork has name, at, clock and seed";
  }
}
