/**
 * `deno task replay --file FILE`: a cluster that goes through an incident's revisions once more, to be looked at with
 * kubectl as it stands at the end, and at any moment of it by `--server …/plesio/v1/at/REVISION`.
 */
import type { Access } from "../auth/kubeconfig.ts";
import { interrupted } from "./command.ts";
import { readBytes, writeKubeconfigs } from "./files.ts";
import {
  COMPONENTS,
  flag,
  type FlagTable,
  integer,
  readTable,
  tableText,
  text,
  UsageError,
} from "./flags.ts";

/** Its flags. */
export const REPLAY_FLAGS = {
  file: text("what /plesio/v1/export gave", "FILE"),
  port: integer(6443, "where the cluster answers, on 127.0.0.1", { max: 65_535 }),
  kubeconfig: text(
    "where its administrator's kubeconfig is written (default: replay.kubeconfig)",
    "FILE",
  ),
  resume: flag("go on from the end, with controllers and simulated nodes, by the machine's clock"),
  nodes: integer(2, "with --resume: how many nodes", { max: 10_000 }),
  help: flag("this text"),
} as const satisfies FlagTable;

/** A cluster as the command needs it. */
export interface ReplayedCluster {
  listen(options: { port: number; underManualClock: boolean }): Promise<{ url: string }>;
  access(): Promise<Access>;
  fork(options: {
    clock: "real";
    nodes: number;
    components: typeof COMPONENTS;
  }): Promise<ReplayedCluster>;
  stop(): Promise<void>;
}

/** Runs the command until it is told to stop. Throws UsageError, and what replaying throws. */
export async function runReplayCommand(
  args: readonly string[],
  { replay, print }: {
    replay(file: Uint8Array): Promise<ReplayedCluster>;
    print(line: string): void;
  },
): Promise<void> {
  const { values: flags } = readTable(REPLAY_FLAGS, args);
  if (flags.help) {
    const what = "Replays an incident as a cluster.";
    return print(tableText(REPLAY_FLAGS, what, "deno task replay --file FILE [flags]").trimEnd());
  }
  if (!flags.file) throw new UsageError("Cannot replay nothing: say --file FILE");
  const stopping = interrupted();
  const replayed = await replay(await readBytes("file", flags.file));
  const cluster = flags.resume
    ? await replayed.fork({ clock: "real", nodes: flags.nodes, components: COMPONENTS })
    : replayed;
  try {
    const { url } = await cluster.listen({ port: flags.port, underManualClock: true });
    const file = flags.kubeconfig ?? "replay.kubeconfig";
    for (const line of await writeKubeconfigs(await cluster.access(), { file, own: undefined })) {
      print(line);
    }
    print(`Replayed: ready at ${url}${flags.resume ? ", going on" : ""}`);
    print(`Try: kubectl --kubeconfig ${file} get pods -A`);
    print(`Stopping (${await stopping})`);
  } finally {
    await cluster.stop();
    await replayed.stop();
  }
}
