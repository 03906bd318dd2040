/**
 * The simulated runtime: containers without processes. What they do is data (`stages.ts`); nothing
 * waits unless a stage says so, so a pod is Running within one turn and one write, and a running
 * container holds no timer. Its logs are one line a step, each beginning `simulated:`, made when
 * they are read. exec, attach and port-forward answer 400: nobody shall be misled.
 */
import type { Clock, Timer } from "../../../kv/clock.ts";
import { badRequest } from "../../../api/machinery/errors.ts";
import type { Duplex, RemoteProcess } from "../../../api/client/node_api.ts";
import type { Pod } from "../types.ts";
import type {
  ContainerEnd,
  ContainerSpec,
  ContainerStats,
  ImageUser,
  LogRequest,
  PulledImage,
  Runtime,
  Sandbox,
} from "./runtime.ts";
import { RuntimeError } from "./runtime.ts";
import { defaultStages, type Stages, type StageState } from "./stages.ts";

interface Life {
  attempt: number;
  createdAt: number;
  startedAt?: number;
  end?: ContainerEnd;
}

interface Simulated {
  spec: ContainerSpec;
  state: Exclude<StageState, "pulling"> | "exited";
  life: Life;
  timer?: Timer;
  ended?: (end: ContainerEnd) => void;
}

/** What a simulated container is said to use. */
const STATS: ContainerStats = {
  cpuNanoseconds: 0,
  cpuNanoCores: 1_000_000,
  memoryBytes: 1 << 20,
  workingSetBytes: 1 << 20,
};

export interface SimulatedOptions {
  clock: Clock;
  stages?: Stages;
}

/** See the module's text. */
export class SimulatedRuntime implements Runtime {
  readonly name = "simulated";
  readonly version = "1.0.0";
  readonly real = false;
  readonly #clock: Clock;
  #stages: Stages | undefined;
  readonly #containers = new Map<string, Simulated>();
  /** The last two lives of each container, by `uid/container`. */
  readonly #lives = new Map<string, Life[]>();

  constructor(options: SimulatedOptions) {
    this.#clock = options.clock;
    this.#stages = options.stages;
  }

  runs(_image: string): boolean {
    return true;
  }

  pull(image: string, _policy: string, _signal: AbortSignal, of: ImageUser): PulledImage {
    const failure = this.#stage().next("pulling", of, this.#clock);
    if (failure) {
      const text = failure.message ?? `image "${image}" cannot be pulled`;
      throw new RuntimeError("ErrImagePull", `simulated: ${text}`);
    }
    return { imageId: `simulated://${image}`, present: true };
  }

  startSandbox(_sandbox: Sandbox): void {}
  stopSandbox(_uid: string): void {}

  create(spec: ContainerSpec): string {
    const id = `simulated://${this.#hex()}${this.#hex()}`;
    const life: Life = { attempt: spec.attempt, createdAt: this.#clock.now() };
    this.#containers.set(id, { spec, state: "created", life });
    const key = `${spec.sandbox.pod.metadata.uid}/${spec.container.name}`;
    const lives = this.#lives.get(key);
    if (lives) this.#lives.set(key, [lives[lives.length - 1], life]);
    else this.#lives.set(key, [life]);
    return id;
  }

  start(id: string, ended: (end: ContainerEnd) => void): void | Promise<void> {
    const container = this.#containers.get(id);
    if (!container) throw new Error(`Cannot start container "${id}": it does not exist`);
    container.ended = ended;
    const next = this.#stage().next("created", container.spec, this.#clock);
    if (next && next.afterMs > 0) {
      return new Promise((resolve) => {
        container.timer = this.#clock.timer("work", next.afterMs, () => {
          if (container.state === "created") this.#run(container);
          resolve();
        });
      });
    }
    this.#run(container);
  }

  stop(id: string, graceMs: number): void {
    const container = this.#containers.get(id);
    if (!container || container.state === "exited") return;
    container.timer?.cancel();
    const next = this.#stage().next("stopping", container.spec, this.#clock);
    const killed = !next || next.afterMs > graceMs;
    const afterMs = killed ? graceMs : next.afterMs;
    const exitCode = killed ? 137 : next.exitCode;
    container.state = "stopping";
    if (afterMs <= 0) this.#end(container, exitCode);
    else {
      container.timer = this.#clock.timer("work", afterMs, () => this.#end(container, exitCode));
    }
  }

  remove(id: string): void {
    const container = this.#containers.get(id);
    container?.timer?.cancel();
    this.#containers.delete(id);
  }

  recover(
    pod: Pod,
    status: { name: string; id: string; startedAt: number },
    ended: (end: ContainerEnd) => void,
  ): boolean {
    const init = pod.spec.initContainers?.find((c) => c.name === status.name);
    const container = pod.spec.containers.find((c) => c.name === status.name) ?? init;
    if (!container || !status.id.startsWith("simulated://")) return false;
    const spec: ContainerSpec = {
      sandbox: { pod, ips: [], hostname: pod.metadata.name, hosts: "", resolv: "" },
      container,
      kind: init ? (init.restartPolicy === "Always" ? "sidecar" : "init") : "app",
      attempt: 0,
      env: new Map(),
      command: container.command,
      args: container.args,
      mounts: [],
      imageId: "",
    };
    const { startedAt } = status;
    const life: Life = { attempt: 0, createdAt: startedAt, startedAt };
    const simulated: Simulated = { spec, state: "running", life, ended };
    this.#containers.set(status.id, simulated);
    this.#lives.set(`${pod.metadata.uid}/${status.name}`, [life]);
    // What its stage had still to wait of; never in this turn, the caller has not noted it yet.
    const next = this.#stage().next("running", spec, this.#clock);
    if (next) {
      const leftMs = Math.max(1, startedAt + next.afterMs - this.#clock.now());
      const fire = () => this.#end(simulated, next.exitCode, next.message);
      simulated.timer = this.#clock.timer("work", leftMs, fire);
    }
    return true;
  }

  /** Forgets a pod's containers, which `recover` would find again as they are; false: something is due of one. */
  release(pod: Pod, containers: readonly { id?: string }[]): boolean {
    const ids = containers.map(({ id = "" }) => id);
    if (ids.some((id) => this.#containers.get(id)?.timer)) return false;
    for (const id of ids) this.remove(id);
    this.forget(pod);
    return true;
  }

  async logs(request: LogRequest): Promise<ReadableStream<Uint8Array>> {
    const lives = this.#lives.get(`${request.pod.metadata.uid}/${request.container}`) ?? [];
    const last = lives[lives.length - 1];
    // After a restart of the node attempts are not known: the newest life answers for the newest attempt.
    const life = lives.find((l) => l.attempt === request.attempt) ?? last;
    const spec = request.pod.spec;
    const image = [...spec.containers, ...(spec.initContainers ?? [])]
      .find((c) => c.name === request.container)?.image ?? "";
    const send = (lines: readonly Line[]) => {
      let kept = lines.filter((l) => request.sinceMs === undefined || l.at >= request.sinceMs);
      if (request.stream === "Stderr") kept = [];
      if (request.tailLines !== undefined) {
        kept = request.tailLines === 0 ? [] : kept.slice(-request.tailLines);
      }
      const text = kept.map((l) => request.timestamps ? `${iso(l.at)} ${l.text}\n` : `${l.text}\n`);
      const bytes = new TextEncoder().encode(text.join(""));
      return request.limitBytes === undefined ? bytes : bytes.subarray(0, request.limitBytes);
    };
    const first = life ? linesOf(life, request.container, image) : [];
    return new ReadableStream({
      async start(controller) {
        const bytes = send(first);
        if (bytes.length) controller.enqueue(bytes);
        if (request.follow && life && !life.end) {
          await request.ended;
          const rest = linesOf(life, request.container, image).slice(first.length);
          if (rest.length) controller.enqueue(send(rest));
        }
        try {
          controller.close();
        } catch {
          // The reader went away while the container still ran.
        }
      },
    });
  }

  forget(pod: Pod): void {
    const { uid } = pod.metadata;
    for (const c of pod.spec.containers) this.#lives.delete(`${uid}/${c.name}`);
    for (const c of pod.spec.initContainers ?? []) this.#lives.delete(`${uid}/${c.name}`);
    for (const c of pod.spec.ephemeralContainers ?? []) this.#lives.delete(`${uid}/${c.name}`);
  }

  exec(id: string): Promise<RemoteProcess> {
    return Promise.reject(this.#refusal(id));
  }

  attach(id: string): Promise<RemoteProcess> {
    return Promise.reject(this.#refusal(id));
  }

  connect(pod: Pod): Promise<Duplex> {
    const container = pod.spec.containers[0]?.name ?? "";
    return Promise.reject(badRequest(simulatedText(container, pod.metadata.name)));
  }

  stats(id: string): ContainerStats | undefined {
    return this.#containers.get(id)?.state === "running" ? STATS : undefined;
  }

  async close(): Promise<void> {
    for (const container of this.#containers.values()) container.timer?.cancel();
    this.#containers.clear();
  }

  #run(container: Simulated): void {
    container.state = "running";
    container.life.startedAt = this.#clock.now();
    const next = this.#stage().next("running", container.spec, this.#clock);
    if (!next) return;
    const fire = () => this.#end(container, next.exitCode, next.message);
    if (next.afterMs > 0) container.timer = this.#clock.timer("work", next.afterMs, fire);
    else queueMicrotask(fire); // the caller notes that it runs before it hears that it ended
  }

  #end(container: Simulated, exitCode: number, message?: string): void {
    if (container.state === "exited") return;
    container.timer?.cancel();
    container.state = "exited";
    const now = this.#clock.now();
    const end: ContainerEnd = {
      exitCode,
      startedAt: container.life.startedAt ?? now,
      finishedAt: now,
    };
    if (message) end.message = message;
    container.life.end = end;
    container.ended?.(end);
  }

  #refusal(id: string): Error {
    const spec = this.#containers.get(id)?.spec;
    const pod = spec?.sandbox.pod.metadata.name ?? "";
    return badRequest(simulatedText(spec?.container.name ?? id, pod));
  }

  #stage(): Stages {
    return this.#stages ??= defaultStages();
  }

  #hex(): string {
    return this.#clock.uuid().replaceAll("-", "");
  }
}

/** The answer to whoever wants a process of a simulated container. */
export function simulatedText(container: string, pod: string): string {
  return `container "${container}" of pod "${pod}" is simulated: no process runs in it`;
}

interface Line {
  at: number;
  text: string;
}

function linesOf(life: Life, container: string, image: string): Line[] {
  const lines: Line[] = [{
    at: life.createdAt,
    text: `simulated: created container ${container} of image ${image}; no process runs in it`,
  }];
  if (life.startedAt !== undefined) {
    lines.push({ at: life.startedAt, text: `simulated: started container ${container}` });
  }
  if (life.end) {
    const text = `simulated: container ${container} exited with code ${life.end.exitCode}`;
    lines.push({ at: life.end.finishedAt, text });
  }
  return lines;
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace(/(\.\d+)?Z$/, (_, part) => `${part ?? ""}000000Z`);
}
