/**
 * Durability of the whole: `kill -9` under load from several clients, again and again on the same data.
 * No acknowledged write may be lost, no revision reused or taken back, watches must resume over the restart
 * without a gap or a repeat, and no isolate may outlive its pod or run twice.
 *
 * A few rounds run with the tests; `PLESIO_KILL_ROUNDS=100` runs as many as it says.
 */
import { assert, assertEquals } from "@std/assert";
import { type Acknowledged, Follower, lostOf, MAPS, writeMap } from "./kill_load.ts";
import { RawConnection } from "./raw_http.ts";
import { freePort, Server } from "./server.ts";
import { waiting } from "./until.ts";

const ROUNDS = Number(Deno.env.get("PLESIO_KILL_ROUNDS") ?? 3);
const CLIENTS = 4;
const LOAD_MS = 700;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Writes until the server is killed. */
async function write(
  server: Server,
  acknowledged: Acknowledged,
  { round, client }: { round: number; client: number },
): Promise<void> {
  const connection = await RawConnection.open(server.access).catch(() => undefined);
  try {
    for (let i = 0; connection; i++) {
      await writeMap(connection, `r${round}-c${client}-${i}`, acknowledged);
    }
  } catch {
    return; // killed
  }
}

/** Follows until the server is killed. */
async function follow(server: Server, follower: Follower): Promise<void> {
  await RawConnection.open(server.access).then((one) => follower.follow(one)).catch(() =>
    undefined
  );
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
      return found.length > 0 && found;
    });
    const followed = follow(server, follower);
    const writers = Array.from(
      { length: CLIENTS },
      (_, client) => write(server, acknowledged, { round, client }),
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
    assertEquals(lostOf(acknowledged, value), [], `round ${round}: acknowledged and lost`);
  }
  const last = follow(server, follower);
  await until(
    "every acknowledged write seen by the watch",
    () => follower.hasSeen(acknowledged),
  );
  assertEquals(follower.wrong, []);
  const revisions = [...follower.seen.values()];
  assertEquals(new Set(revisions).size, revisions.length, "a revision was used twice");
  await until("exactly one program", () => containersOf(name).length === 1);
  await server.stop();
  await last;
  assertEquals(containersOf(name), []);
  await Deno.remove(folder, { recursive: true });
});
