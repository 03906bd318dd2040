/**
 * What a machine holds on behalf of a containerd node's pods, in the namespaces of a test: what must be the same once
 * they have gone as it was before they came.
 */
import { type Containerd, run } from "./containerd.ts";

/** Where a node keeps what is of its pods. */
export interface HeldPlace {
  containerd: Containerd;
  /** The node's folder. */
  node: string;
}

/** What is held, by kind: one line each, in order. */
export type Held = Record<string, readonly string[]>;

/** What came (`+`) and what went (`-`): nothing when the machine is as it was. */
export function changed(before: Held, after: Held): string[] {
  return Object.keys(after).flatMap((kind) => {
    const [old, now] = [before[kind], after[kind]].map((all) => new Set(all));
    return [
      ...after[kind].filter((one) => !old.has(one)).map((one) => `+ ${kind}: ${one}`),
      ...before[kind].filter((one) => !now.has(one)).map((one) => `- ${kind}: ${one}`),
    ];
  });
}

async function lines(program: string, ...args: string[]): Promise<string[]> {
  const { success, text } = await run(program, ...args);
  if (!success) throw new Error(`${program} ${args.join(" ")}: ${text}`);
  return text.split("\n").map((line) => line.trim()).filter((line) => line).sort();
}

function names(folder: string, matching = /./): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) =>
      matching.test(name)
    ).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** The processes that containerd has for pods, by the sandbox that each is for. */
function shims(): string[] {
  const found: string[] = [];
  for (const pid of names("/proc", /^\d+$/)) {
    try {
      const words = Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0");
      if (words[0].includes("containerd-shim")) found.push(words[words.indexOf("-id") + 1]);
    } catch {
      continue; // ended meanwhile
    }
  }
  return found.sort();
}

interface Ruleset {
  nftables: Record<string, { table?: string; name: string; elem?: unknown[] }>[];
}

/** What the kernel's rules of this network namespace know of services and pods: chains are shared and stay. */
async function rules(): Promise<string[]> {
  const { text } = await run("nft", "-j", "list", "ruleset");
  const found: string[] = [];
  for (
    const [kind, { table, name, elem = [] }] of (JSON.parse(text) as Ruleset).nftables.flatMap((
      one,
    ) => Object.entries(one))
  ) {
    if (kind === "table") found.push(`table ${name}`);
    if (kind !== "set" && kind !== "map") continue;
    for (const one of elem) found.push(`${table} ${name} ${JSON.stringify(one)}`);
  }
  return found.sort();
}

/** See the module's text. `uids`: the pods whose cgroups count, for those of other tests lie beside them. */
export async function held(
  { containerd, node }: HeldPlace,
  uids: Iterable<string>,
): Promise<Held> {
  const { folder } = containerd;
  const ctr = async (...args: string[]) => {
    const { text } = await containerd.ctr("-n", "k8s.io", ...args);
    return text.split("\n").map((line) => line.replaceAll(/\s+/g, " ").trim())
      .filter((line) => line && !line.startsWith("TASK")).sort();
  };
  const mounts = (await Deno.readTextFile("/proc/self/mountinfo")).split("\n")
    .map((line) => line.split(" ")[4]).filter((path) => path?.includes(folder)).sort();
  const groups = await run("find", "/sys/fs/cgroup", "-type", "d", "-path", "*kubepods*/pod*");
  const ours = new Set(uids);
  return {
    addresses: names(`${node}/cni`).flatMap((name) => names(`${node}/cni/${name}`, /^\d/)),
    mounts,
    links: await lines("ip", "-o", "link", "show", "type", "veth"),
    routes: (await lines("ip", "-4", "route", "show", "table", "all"))
      .map((route) => route.replace(" linkdown", "")).sort(),
    namespaces: names("/run/netns"),
    rules: await rules(),
    groups: groups.text.split("\n").filter((line) => {
      const [, uid] = /\/pod([0-9a-f-]{36})/.exec(line) ?? [];
      return uid && ours.has(uid);
    }),
    folders: names(`${node}/pods`),
    logs: names(containerd.logs),
    containers: await ctr("containers", "ls", "-q"),
    tasks: await ctr("tasks", "ls", "-q"),
    snapshots: await ctr("snapshots", "ls"),
    leases: await ctr("leases", "ls", "-q"),
    sandboxes: names(`${folder}/state/io.containerd.grpc.v1.cri/sandboxes`),
    kept: names(`${folder}/root/io.containerd.grpc.v1.cri/sandboxes`),
    shims: shims(),
  };
}
