/**
 * Durability of the whole: `kill -9` under load from several clients, again and again on the same data.
 * No acknowledged write may be lost, no revision reused or taken back, watches must resume over the restart
 * without a gap or a repeat, and no isolate may outlive its pod or run twice.
 *
 * A few rounds run with the tests; `PLESIO_KILL_ROUNDS=100` runs as many as it says.
 */
import { assert, assertEquals } from "@std/assert";
import { RawConnection } from "./raw_http.ts";
import { freePort, Server } from "./server.ts";
import { waiting } from "./until.ts";

const ROUNDS = Number(Deno.env.get("PLESIO_KILL_ROUNDS") ?? 3);
const CLIENTS = 4;
const LOAD_MS = 700;
const MAPS = "/api/v1/namespaces/default/configmaps";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What was answered: name to resourceVersion. */
type Acknowledged = Map<string, number>;

async function write(
  server: Server,
  round: number,
  client: number,
  acknowledged: Acknowledged,
): Promise<void> {
  const connection = await RawConnection.open(server.access).catch(() => undefined);
  for (let i = 0; connection; i++) {
    const name = `r${round}-c${client}-${i}`;
    const object = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name, labels: { load: "1" } },
      data: { name },
    };
    try {
      const { status, body } = await connection.request(
        "POST",
        MAPS,
        encoder.encode(JSON.stringify(object)),
      );
      if (status !== 201) throw new Error(`${status} ${decoder.decode(body)}`);
      acknowledged.set(name, Number(JSON.parse(decoder.decode(body)).metadata.resourceVersion));
    } catch {
      return; // killed
    }
  }
}

/** Follows the load's ConfigMaps from a revision, noting each event once. */
class Follower {
  readonly seen = new Map<string, number>();
  last: number;
  readonly wrong: string[] = [];
  constructor(from: number) {
    this.last = from;
  }
  async follow(server: Server): Promise<void> {
    const connection = await RawConnection.open(server.access);
    let held = "";
    const text = new TextDecoder();
    const path = `${MAPS}?watch=true&labelSelector=load&resourceVersion=${this.last}`;
    for await (const piece of connection.stream(path)) {
      held += text.decode(piece, { stream: true });
      for (let end; (end = held.indexOf("\n")) >= 0; held = held.slice(end + 1)) {
        this.#take(JSON.parse(held.slice(0, end)));
      }
    }
  }
  #take(
    { type, object }: {
      type: string;
      object: { metadata: { name: string; resourceVersion: string } };
    },
  ): void {
    const { name, resourceVersion } = object.metadata;
    const revision = Number(resourceVersion);
    if (type !== "ADDED") this.wrong.push(`${type} ${name}`);
    if (revision <= this.last) this.wrong.push(`${name} at ${revision} after ${this.last}`);
    if (this.seen.has(name)) this.wrong.push(`${name} twice`);
    this.last = Math.max(this.last, revision);
    this.seen.set(name, revision);
  }
}

async function get(server: Server, path: string) {
  const connection = await RawConnection.open(server.access);
  const { status, body } = await connection.request("GET", path);
  connection.close();
  return { status, value: JSON.parse(decoder.decode(body)) };
}

const until = waiting({ withinMs: 30_000 });

/** The processes of this machine that are containers of a pod, by the host name they were given. */
function containersOf(hostname: string): number[] {
  const found: number[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const variables = Deno.readTextFileSync(`/proc/${name}/environ`).split("\0");
      const program = Deno.readTextFileSync(`/proc/${name}/cmdline`);
      if (variables.includes(`HOSTNAME=${hostname}`) && program.includes("deno\0run")) {
        found.push(Number(name));
      }
    } catch {
      continue; // ended meanwhile
    }
  }
  return found;
}

Deno.test(`kill -9, ${ROUNDS} rounds under load`, async () => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-kill-" });
  const port = freePort();
  const name = `program-${crypto.randomUUID().slice(0, 8)}`;
  const acknowledged: Acknowledged = new Map();
  let server = await Server.start({ folder, port });
  await until(
    "the default ServiceAccount",
    async () =>
      (await get(server, "/api/v1/namespaces/default/serviceaccounts/default")).status === 200,
  );
  const program = {
    name: "c",
    image: "denoland/deno:2.9.6",
    args: ["eval", "setInterval(() => {}, 1000)"],
  };
  const connection = await RawConnection.open(server.access);
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: { containers: [program] },
  };
  const made = await connection.request(
    "POST",
    "/api/v1/namespaces/default/pods",
    encoder.encode(JSON.stringify(pod)),
  );
  assertEquals(made.status, 201, decoder.decode(made.body));
  connection.close();
  const follower = new Follower(
    Number((await get(server, `${MAPS}?limit=1`)).value.metadata.resourceVersion),
  );
  let newest = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const running = await until("one program", () => {
      const found = containersOf(name);
      return Promise.resolve(found.length > 0 && found);
    });
    const followed = follower.follow(server).catch(() => undefined);
    const writers = Array.from(
      { length: CLIENTS },
      (_, client) => write(server, round, client, acknowledged),
    );
    await new Promise((resolve) => setTimeout(resolve, LOAD_MS));
    for (const pid of (await server.pids()).filter((pid) => !running.includes(pid))) {
      Deno.kill(pid, "SIGKILL");
    }
    await Promise.all([...writers, followed, server.process.status]);
    server = await Server.start({ folder, port });
    const { value } = await get(server, MAPS);
    const head = Number(value.metadata.resourceVersion);
    assert(head >= newest, `the head went from ${newest} to ${head}`);
    newest = head;
    const stored = new Map<string, number>(
      value.items.map((
        o: { metadata: { name: string; resourceVersion: string } },
      ) => [o.metadata.name, Number(o.metadata.resourceVersion)]),
    );
    const lost = [...acknowledged].filter(([name, revision]) => stored.get(name) !== revision);
    assertEquals(lost, [], `round ${round}: acknowledged and lost`);
  }
  const last = follower.follow(server).catch(() => undefined);
  await until(
    "every acknowledged write seen by the watch",
    () => Promise.resolve([...acknowledged.keys()].every((name) => follower.seen.has(name))),
  );
  assertEquals(follower.wrong, []);
  const revisions = [...follower.seen.values()];
  assertEquals(new Set(revisions).size, revisions.length, "a revision was used twice");
  await until("exactly one program", () => Promise.resolve(containersOf(name).length === 1));
  await server.stop();
  await last;
  assertEquals(containersOf(name), []);
  await Deno.remove(folder, { recursive: true });
});
