/**
 * Programs of the host that know what no kernel call does: network file systems, initiators, formatting. What they
 * say of a failure is passed on in the kubelet's form (k8s.io/mount-utils), a program that is missing by name.
 */

/** What a program answered. */
export interface ToolResult {
  code: number;
  /** Both of its streams, as they came. */
  output: string;
}

/** Runs a program; code 127 when there is none of that name. */
export type HostTools = (command: string, args: readonly string[]) => Promise<ToolResult>;

/** Where a kubelet's programs lie, whatever the environment says. */
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MISSING = 127;

/** Runs programs of this machine. */
export const hostTools: HostTools = async (command, args) => {
  try {
    const path = findProgram(command);
    if (!path) throw new Deno.errors.NotFound(command);
    const { code, stdout, stderr } = await new Deno.Command(path, {
      args: [...args],
      env: { PATH, LC_ALL: "C" },
      stdin: "null",
    }).output();
    const text = new TextDecoder();
    return { code, output: text.decode(stdout) + text.decode(stderr) };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { code: MISSING, output: "" };
  }
};

function findProgram(command: string): string | undefined {
  for (const folder of PATH.split(":")) {
    try {
      if (Deno.statSync(`${folder}/${command}`).isFile) return `${folder}/${command}`;
    } catch {
      // Not in this folder.
    }
  }
}

/** How a program failed, in Go's words. */
export function failureOf(command: string, { code }: ToolResult): string {
  return code === MISSING
    ? `exec: "${command}": executable file not found in $PATH`
    : `exit status ${code}`;
}

/** A mount by `mount`, which finds the helper for the type. */
export async function mountByTool(
  tools: HostTools,
  { type, source, target, options }: {
    type: string;
    source: string;
    target: string;
    options: readonly string[];
  },
): Promise<void> {
  const args = ["-t", type, ...options.length ? ["-o", options.join(",")] : [], source, target];
  const result = await tools("mount", args);
  if (result.code === 0) return;
  throw new Error(
    `mount failed: ${failureOf("mount", result)}\nMounting command: mount\n` +
      `Mounting arguments: ${args.join(" ")}\nOutput: ${result.output}`,
  );
}

const UNFORMATTED = 2;

/** Mounts a disk; one without a file system gets one first, never one that is to be read only. */
export async function formatAndMount(
  tools: HostTools,
  { device, target, fsType = "ext4", options }: {
    device: string;
    target: string;
    fsType?: string;
    options: readonly string[];
  },
): Promise<void> {
  const format = await formatOf(tools, device);
  if (format === "") {
    if (options.includes("ro")) {
      throw new Error(
        `cannot mount unformatted disk ${device} as we are manipulating it in read-only mode`,
      );
    }
    const flags = fsType === "xfs" ? ["-f"] : /^ext[34]$/.test(fsType) ? ["-F", "-m0"] : [];
    const made = await tools(`mkfs.${fsType}`, [...flags, device]);
    if (made.code !== 0) {
      throw new Error(
        `format of disk "${device}" failed: type:("${fsType}") target:("${target}") ` +
          `options:("${options.join(",")}") errcode:(${failureOf(`mkfs.${fsType}`, made)}) ` +
          `output:(${made.output}) `,
      );
    }
  }
  const all = [...options, "defaults"];
  await mountByTool(tools, { type: fsType, source: device, target, options: all });
}

/** The file system on a disk; empty when there is none. */
async function formatOf(tools: HostTools, device: string): Promise<string> {
  const args = ["-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device];
  const result = await tools("blkid", args);
  if (result.code === UNFORMATTED) return "";
  if (result.code !== 0) {
    throw new Error(`failed to get disk format of disk ${device}: ${failureOf("blkid", result)}`);
  }
  const found = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(result.output)?.[1];
  // A partition table is not ours to format away.
  return found("TYPE") ?? (found("PTTYPE") ? "unknown data, probably partitions" : "");
}
