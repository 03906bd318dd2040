/** A runtime whose containers do what a test says, and a dialer that answers what it is told. */
import type { RemoteProcess } from "../../api/client/node_api.ts";
import type { Clock } from "../../kv/clock.ts";
import type { ProbeDialer } from "./ports.ts";
import type { ContainerEnd, ContainerSpec, ExecRequest, Runtime } from "./runtimes/runtime.ts";
import { RuntimeError } from "./runtimes/runtime.ts";

interface Fake {
  id: string;
  name: string;
  spec: ContainerSpec;
  startedAt: number;
  ended?: (end: ContainerEnd) => void;
  over: boolean;
}

export class FakeRuntime implements Runtime {
  readonly name = "fake";
  readonly version = "1";
  readonly real = true;
  /** What happened, in order: `start a`, `TERM a 30000`, `exit a 0`, `exec a: cmd`. */
  readonly log: string[] = [];
  readonly containers: Fake[] = [];
  /** Containers that end at once when they are told to, with this code. */
  obedient: number | undefined = 0;
  pullError: string | undefined;
  startError: string | undefined;
  /** What an exec answers. */
  answer: (command: readonly string[]) => Promise<{ exitCode?: number; output?: string }> = () =>
    Promise.resolve({ exitCode: 0 });
  readonly #clock: Clock;
  #next = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }
  runs(): boolean {
    return true;
  }
  pull(image: string) {
    if (this.pullError) throw new RuntimeError("ErrImagePull", this.pullError);
    return { imageId: `fake://${image}`, present: true };
  }
  startSandbox(): void {}
  stopSandbox(): void {}
  create(spec: ContainerSpec): string {
    const id = `fake://${this.#next++}`;
    const name = spec.container.name;
    this.containers.push({ id, name, spec, startedAt: 0, over: false });
    return id;
  }
  start(id: string, ended: (end: ContainerEnd) => void): void {
    const container = this.containers.find((c) => c.id === id)!;
    if (this.startError) throw new RuntimeError("StartError", this.startError);
    container.ended = ended;
    container.startedAt = this.#clock.now();
    this.log.push(`start ${container.name}`);
  }
  /** Ends the running container of a name. */
  exit(name: string, exitCode: number): void {
    const container = this.containers.find((c) => c.name === name && !c.over && c.ended);
    if (!container) throw new Error(`${name} does not run`);
    container.over = true;
    this.log.push(`exit ${name} ${exitCode}`);
    const { startedAt } = container;
    container.ended!({ exitCode, startedAt, finishedAt: this.#clock.now() });
  }
  stop(id: string, graceMs: number): void {
    const container = this.containers.find((c) => c.id === id)!;
    if (container.over) return;
    this.log.push(`TERM ${container.name} ${graceMs}`);
    const kill = () => container.over || this.exit(container.name, 137);
    if (this.obedient !== undefined) this.exit(container.name, this.obedient);
    else if (graceMs <= 0) kill();
    else this.#clock.timer("work", graceMs, kill);
  }
  resize(_id: string, container: ContainerSpec["container"]): void {
    this.log.push(`resize ${container.name} ${container.resources?.limits?.memory}`);
  }
  remove(): void {}
  recover(): boolean {
    return false;
  }
  logs(): Promise<ReadableStream<Uint8Array>> {
    return Promise.resolve(new Blob(["log\n"]).stream());
  }
  forget(): void {}
  async exec(id: string, request: ExecRequest): Promise<RemoteProcess> {
    const { name } = this.containers.find((c) => c.id === id)!;
    this.log.push(`exec ${name}: ${request.command.join(" ")}`);
    let end: (e: { exitCode?: number }) => void;
    const ended = new Promise<{ exitCode?: number }>((resolve) => end = resolve);
    const answer = this.answer(request.command);
    answer.then(({ exitCode }) => end({ exitCode }));
    const stdout = new ReadableStream<Uint8Array>({
      async start(controller) {
        const { output } = await answer;
        if (output) controller.enqueue(new TextEncoder().encode(output));
        controller.close();
      },
    });
    return { stdout, resize() {}, ended, close: () => end({ exitCode: 137 }) };
  }
  attach(): Promise<RemoteProcess> {
    return Promise.reject(new Error("no"));
  }
  connect(): Promise<never> {
    return Promise.reject(new Error("no"));
  }
  /** What each container uses. */
  memoryBytes = 0;
  stats() {
    const { memoryBytes } = this;
    return { cpuNanoseconds: 0, cpuNanoCores: 0, memoryBytes, workingSetBytes: memoryBytes };
  }
  async close(): Promise<void> {}
}

/** Answers every dial alike until told otherwise. */
export class FakeDialer implements ProbeDialer {
  status = 200;
  error: string | undefined;
  calls = 0;
  http() {
    this.calls++;
    if (this.error) return Promise.reject(new Error(this.error));
    return Promise.resolve({ status: this.status, body: "" });
  }
  tcp() {
    return this.error ? Promise.reject(new Error(this.error)) : Promise.resolve();
  }
  grpc() {
    return Promise.resolve("SERVING");
  }
}
