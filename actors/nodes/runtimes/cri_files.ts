/**
 * The files of a container that a kubelet gives it or reads of it: its hosts, the message it leaves behind,
 * its logs' place. They lie in its pod's folder, beside the pod's volumes.
 */
import { HOST_NETWORK_HEAD } from "../pod_files.ts";
import { MESSAGE_PATH, MESSAGE_POLICY } from "./cri_config.ts";
import type { Cri } from "./cri_messages.ts";
import { lastLines } from "./logs.ts";
import type { ContainerEnd, ContainerSpec, Mount } from "./runtime.ts";

/** Of the message a container may leave behind. */
const MESSAGE_BYTES_MAX = 4096;

/** The volumes of a container, and the files that a kubelet gives every container. `pods`: the folder of all pods. */
export async function mountsOf(spec: ContainerSpec, pods: string): Promise<Mount[]> {
  const { sandbox: { pod, hosts }, container, attempt } = spec;
  const folder = `${pods}/${pod.metadata.uid}/containers/${container.name}`;
  await Deno.mkdir(folder, { recursive: true });
  const mounts = [...spec.mounts];
  const taken = (path: string) => mounts.some((mount) => mount.containerPath === path);
  if (!taken("/etc/hosts")) {
    const hostPath = `${folder}/etc-hosts`;
    const text = pod.spec.hostNetwork ? await hostHosts(hosts) : hosts;
    await Deno.writeTextFile(hostPath, text);
    mounts.push({ hostPath, containerPath: "/etc/hosts", readOnly: false });
  }
  const path = container.terminationMessagePath ?? "/dev/termination-log";
  if (path) {
    const hostPath = `${folder}/message-${attempt}`;
    await Deno.writeTextFile(hostPath, "");
    await Deno.chmod(hostPath, 0o666);
    mounts.push({ hostPath, containerPath: path, readOnly: false });
  }
  return mounts;
}

/** How a container ended, with the message that it left. */
export function endOf(status: Cri<"ContainerStatus">): ContainerEnd {
  const { exitCode = 0, reason, message = "", startedAt = 0, finishedAt = 0 } = status;
  const { annotations, mounts = [], logPath } = status;
  const path = annotations?.[MESSAGE_PATH] || "/dev/termination-log";
  const file = mounts.find((mount) => mount.containerPath === path)?.hostPath;
  let left = file ? messageIn(file) : "";
  const fallback = annotations?.[MESSAGE_POLICY] === "FallbackToLogsOnError";
  if (!left && fallback && exitCode !== 0 && logPath) left = lastLines(logPath);
  const words = [message, left].filter((text) => text).join(": ");
  return {
    exitCode,
    ...(reason ? { reason } : {}),
    ...(words ? { message: words } : {}),
    startedAt: Math.floor(startedAt / 1e6),
    // containerd notes a start when it has heard of it: who ends at once has ended before
    finishedAt: Math.floor(Math.max(startedAt, finishedAt) / 1e6),
  };
}

/** What a container wrote into its message's file: the end of it. */
function messageIn(path: string): string {
  try {
    const bytes = Deno.readFileSync(path);
    return new TextDecoder().decode(bytes.subarray(-MESSAGE_BYTES_MAX));
  } catch {
    return ""; // the pod's folder went first
  }
}

/** The machine's own hosts, and the aliases of a pod that shares its network. */
async function hostHosts(hosts: string): Promise<string> {
  const own = await Deno.readTextFile("/etc/hosts").catch(() => "127.0.0.1\tlocalhost\n");
  const aliases = hosts.indexOf("\n# Entries added by HostAliases.");
  return `${HOST_NETWORK_HEAD}\n` + own + (aliases < 0 ? "" : hosts.slice(aliases));
}

/** Removes a folder and all in it; one that is gone is removed. */
export async function removeFolder(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** Removes a log and what was put aside of it. */
export async function removeLog(path: string): Promise<void> {
  const folder = path.slice(0, path.lastIndexOf("/"));
  const name = path.slice(folder.length + 1);
  for await (const entry of Deno.readDir(folder)) {
    if (entry.name === name || entry.name.startsWith(`${name}.`)) {
      await removeFolder(`${folder}/${entry.name}`);
    }
  }
}
