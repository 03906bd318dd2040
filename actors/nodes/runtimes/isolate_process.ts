/**
 * Processes of isolates: spawned in a session of their own (so that a Ctrl-C meant for the node does not
 * reach them, and a kill reaches all that they started), recorded for the next life of the node, and
 * measured.
 */
import type { ProcessRecords } from "./process_records.ts";
import type { ContainerStats } from "./runtime.ts";
import type { HostCommand } from "./isolate_view.ts";

/** How a process ended. */
export interface ProcessStatus {
  exitCode: number;
  signal?: number;
}

/** A process that runs. */
export interface IsolateProcess {
  readonly pid: number;
  readonly stdin?: WritableStream<Uint8Array>;
  readonly stdout?: ReadableStream<Uint8Array>;
  readonly stderr?: ReadableStream<Uint8Array>;
  readonly ended: Promise<ProcessStatus>;
  signal(name: string): void;
}

const SIGNALS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
};

/** Starts a process. Streams that are not wanted are /dev/null. */
export function spawn(
  host: HostCommand,
  records: ProcessRecords,
  streams: { stdin: boolean; stdout: boolean; stderr: boolean },
): IsolateProcess {
  const child = new Deno.Command(host.command, {
    args: host.args,
    cwd: host.cwd,
    env: host.env,
    clearEnv: true,
    stdin: streams.stdin ? "piped" : "null",
    stdout: streams.stdout ? "piped" : "null",
    stderr: streams.stderr ? "piped" : "null",
    detached: Deno.build.os !== "windows",
  }).spawn();
  const { pid } = child;
  records.add(pid);
  const ended = child.status.then(({ code, signal }) => {
    // What it started ends with it, as in a container whose first process ends.
    killGroup(pid);
    records.remove(pid);
    const number = signal ? SIGNALS[signal] : undefined;
    return number ? { exitCode: 128 + number, signal: number } : { exitCode: code };
  });
  return {
    pid,
    stdin: streams.stdin ? child.stdin : undefined,
    stdout: streams.stdout ? child.stdout : undefined,
    stderr: streams.stderr ? child.stderr : undefined,
    ended,
    signal: (name) => {
      if (name === "SIGKILL") killGroup(pid);
      try {
        child.kill(name as Deno.Signal);
      } catch {
        // It has ended already.
      }
    },
  };
}

function killGroup(pid: number): void {
  if (Deno.build.os === "windows") return;
  try {
    Deno.kill(-pid, "SIGKILL");
  } catch {
    // Nobody is left in it.
  }
}

/** CPU time and memory of a process, by /proc; remembers the last look for the rate. */
export class ProcessMeter {
  #at = 0;
  #cpu = 0;
  #rate = 0;

  /** `now` in milliseconds; undefined when the process is gone or the platform has no /proc. */
  read(pid: number, now: number): ContainerStats | undefined {
    let stat: string, memory: string;
    try {
      stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
      memory = Deno.readTextFileSync(`/proc/${pid}/statm`);
    } catch {
      return undefined;
    }
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Clock ticks are a hundredth of a second on every Linux that Deno runs on.
    const cpu = (Number(fields[11]) + Number(fields[12])) * 1e7;
    const [, resident, shared] = memory.split(" ").map(Number);
    if (!this.#at) this.#rate = 0;
    else if (now - this.#at >= RATE_MS_MIN) {
      this.#rate = (cpu - this.#cpu) / (now - this.#at) * 1000;
    }
    if (!this.#at || now - this.#at >= RATE_MS_MIN) {
      this.#at = now;
      this.#cpu = cpu;
    }
    return {
      cpuNanoseconds: cpu,
      cpuNanoCores: Math.max(0, this.#rate),
      memoryBytes: resident * PAGE_BYTES,
      // Pages of the binary are shared with every other isolate.
      workingSetBytes: (resident - shared) * PAGE_BYTES,
    };
  }
}

const RATE_MS_MIN = 5000;
const PAGE_BYTES = 4096;
