/**
 * Measures the machine, as far as the kernel tells (`/proc`, `statfs`): what the kubelet's cAdvisor tells of the root
 * container. On other systems than Linux memory and disks are all that is known.
 */
import { statfs } from "node:fs/promises";
import type { Clock } from "../../../kv/clock.ts";
import type { FileSystem, InterfaceFigures, MachineFigures, Meter } from "../figures.ts";

/** Ticks of `/proc/stat` in a second, on every Linux there is. */
const TICKS = 100;
const KIB = 1024;
/** Interfaces that are no way out. */
const INNER = /^(lo|veth|cni|docker|br-|plesio)/;

/** Measures by `/proc`; `folder` lies on the node's file system. */
export function machineMeter(
  folder: string,
  clock: Pick<Clock, "now">,
  imageFs?: Meter["imageFs"],
): Meter {
  let last: { at: number; cpu: number; rate: number } | undefined;
  return {
    imageFs,
    nodeFs: () => fileSystem(folder),
    async machine() {
      const [stat, meminfo, vmstat, load, dev] = await Promise.all(
        ["stat", "meminfo", "vmstat", "loadavg", "net/dev"].map((name) => proc(name)),
      );
      const cpu = cpuOf(stat);
      const at = clock.now();
      if (!last || at > last.at) {
        const rate = last ? (cpu - last.cpu) / (at - last.at) * 1000 : 0;
        last = { at, cpu, rate: Math.max(0, rate) };
      }
      return {
        cpuNanoseconds: cpu,
        cpuNanoCores: last.rate,
        ...memoryOf(meminfo, vmstat),
        interfaces: interfacesOf(dev),
        processes: Number(/\/(\d+)/.exec(load)?.[1] ?? 0),
        processesMax: await processesMax(),
      };
    },
  };
}

/** The file system that a path is on. */
export async function fileSystem(path: string): Promise<FileSystem> {
  const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path);
  return {
    capacityBytes: blocks * bsize,
    availableBytes: bavail * bsize,
    usedBytes: (blocks - bfree) * bsize,
    inodes: files,
    inodesFree: ffree,
    inodesUsed: files - ffree,
  };
}

async function proc(name: string): Promise<string> {
  return await Deno.readTextFile(`/proc/${name}`).catch(() => "");
}

/** What all processors were busy, of their time. */
function cpuOf(stat: string): number {
  const fields = /^cpu +(.*)$/m.exec(stat)?.[1].split(" ").map(Number) ?? [];
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields;
  return (user + nice + system + irq + softirq + steal) / TICKS * 1e9;
}

function memoryOf(meminfo: string, vmstat: string): Pick<MachineFigures, "memory" | "swap"> {
  const bytes = (name: string) =>
    Number(new RegExp(`^${name}: +(\\d+)`, "m").exec(meminfo)?.[1] ?? 0) * KIB;
  const count = (name: string) => Number(new RegExp(`^${name} (\\d+)`, "m").exec(vmstat)?.[1] ?? 0);
  const host = meminfo ? undefined : Deno.systemMemoryInfo();
  const capacityBytes = host?.total ?? bytes("MemTotal");
  const usageBytes = capacityBytes - (host?.available ?? bytes("MemFree"));
  return {
    memory: {
      capacityBytes,
      usageBytes,
      workingSetBytes: Math.max(0, usageBytes - bytes("Inactive\\(file\\)")),
      rssBytes: bytes("AnonPages"),
      pageFaults: count("pgfault"),
      majorPageFaults: count("pgmajfault"),
    },
    swap: {
      capacityBytes: bytes("SwapTotal"),
      usageBytes: bytes("SwapTotal") - bytes("SwapFree"),
    },
  };
}

function interfacesOf(dev: string): InterfaceFigures[] {
  const all: InterfaceFigures[] = [];
  for (const line of dev.split("\n")) {
    const [, name, rest] = /^ *([^:|]+): *(.*)$/.exec(line) ?? [];
    if (!name || INNER.test(name)) continue;
    const [rxBytes, , rxErrors, , , , , , txBytes, , txErrors] = rest.split(/ +/).map(Number);
    all.push({ name, rxBytes, rxErrors, txBytes, txErrors });
  }
  return all;
}

async function processesMax(): Promise<number> {
  const [pids, threads] = await Promise.all([
    proc("sys/kernel/pid_max"),
    proc("sys/kernel/threads-max"),
  ]);
  return Math.min(Number(pids) || Infinity, Number(threads) || Infinity);
}
