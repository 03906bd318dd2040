/** The load under which processes are killed: ConfigMaps that are created, and a watch that sees each of them once. */
import type { RawConnection } from "./raw_http.ts";

export const MAPS = "/api/v1/namespaces/default/configmaps";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What was answered: name to resourceVersion. What was not may be there or not. */
export type Acknowledged = Map<string, number>;

interface Metadata {
  name: string;
  resourceVersion: string;
}

/** Creates one and notes that it was acknowledged; rejects when it was not. */
export async function writeMap(
  connection: RawConnection,
  name: string,
  acknowledged: Acknowledged,
): Promise<void> {
  const map = { metadata: { name, labels: { load: "1" } }, data: { name } };
  const bytes = encoder.encode(JSON.stringify(map));
  const { status, body } = await connection.request("POST", MAPS, bytes);
  const text = decoder.decode(body);
  if (status !== 201) throw new Error(`${status} ${text}`);
  acknowledged.set(name, Number(JSON.parse(text).metadata.resourceVersion));
}

/** What was acknowledged and is not there as it was, in a list of all. */
export function lostOf(
  acknowledged: Acknowledged,
  { items }: { items: { metadata: Metadata }[] },
): [string, number][] {
  const stored = new Map(items.map(({ metadata }) => [metadata.name, metadata.resourceVersion]));
  return [...acknowledged].filter(([name, revision]) => Number(stored.get(name)) !== revision);
}

/** Follows them as client-go does: from the last revision that it has seen, on whatever connection it is given. */
export class Follower {
  readonly seen: Acknowledged = new Map();
  readonly wrong: string[] = [];
  #last: number;

  constructor(from: number) {
    this.#last = from;
  }

  /** Until the connection ends. */
  async follow(connection: RawConnection): Promise<void> {
    let held = "";
    const text = new TextDecoder();
    const path = `${MAPS}?watch=true&labelSelector=load&resourceVersion=${this.#last}`;
    for await (const piece of connection.stream(path)) {
      held += text.decode(piece, { stream: true });
      for (let end; (end = held.indexOf("\n")) >= 0; held = held.slice(end + 1)) {
        const { type, object } = JSON.parse(held.slice(0, end));
        this.#take(type, object.metadata);
      }
    }
  }

  #take(type: string, { name, resourceVersion }: Metadata): void {
    const revision = Number(resourceVersion);
    if (type !== "ADDED") this.wrong.push(`${type} ${name}`);
    if (revision <= this.#last) this.wrong.push(`${name} at ${revision} after ${this.#last}`);
    if (this.seen.has(name)) this.wrong.push(`${name} twice`);
    this.#last = Math.max(this.#last, revision);
    this.seen.set(name, revision);
  }

  /** Whether it has seen all of these. */
  hasSeen(acknowledged: Acknowledged): boolean {
    return [...acknowledged.keys()].every((name) => this.seen.has(name));
  }
}
