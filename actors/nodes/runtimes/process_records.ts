/**
 * A file for each process that a node has started: its pid and when that process began. A node that
 * comes back after a crash ends what it finds of its former life before it starts anything; the start
 * time tells a survivor from a stranger that got the same pid.
 */

/** See the module's text. */
export class ProcessRecords {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Notes a process that has just been started. */
  add(pid: number): void {
    Deno.mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    Deno.writeTextFileSync(`${this.#folder}/${pid}`, startOf(pid) ?? "");
  }

  remove(pid: number): void {
    try {
      Deno.removeSync(`${this.#folder}/${pid}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** Ends what a former life left running; resolves once it is gone, with how many there were. */
  async endLeftovers(): Promise<number> {
    let ended = 0;
    let names: string[];
    try {
      names = [...Deno.readDirSync(this.#folder)].map((entry) => entry.name);
    } catch {
      return 0; // the first life
    }
    for (const name of names) {
      const pid = Number(name);
      if (!Number.isInteger(pid)) continue;
      const start = Deno.readTextFileSync(`${this.#folder}/${name}`);
      if (start && startOf(pid) === start) {
        ended++;
        kill(pid);
        await gone(pid, start);
      }
      this.remove(pid);
    }
    return ended;
  }
}

/** How long a killed process may take to vanish. */
const GONE_MS_MAX = 2000;

async function gone(pid: number, start: string): Promise<void> {
  const end = performance.now() + GONE_MS_MAX;
  while (startOf(pid) === start && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}

/** When a process began, in a form that only equals itself; undefined when there is none (or only its remains). */
export function startOf(pid: number): string | undefined {
  if (Deno.build.os === "linux") {
    try {
      const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
      // The second field is the name in parentheses, which may hold anything.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return fields[0] === "Z" ? undefined : `${bootId()} ${fields[19]}`;
    } catch {
      return undefined;
    }
  }
  if (Deno.build.os === "windows") return undefined;
  const { success, stdout } = new Deno.Command("ps", {
    args: ["-o", "lstart=", "-p", String(pid)],
    stderr: "null",
  }).outputSync();
  return success ? new TextDecoder().decode(stdout).trim() || undefined : undefined;
}

let boot: string | undefined;

function bootId(): string {
  return boot ??= Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim();
}
