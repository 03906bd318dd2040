/**
 * The isolate runtime: a container is a `deno` subprocess that sees its pod (`isolate_view.ts`), may do
 * what its SecurityContext says (`isolate_program.ts`), writes its log into files (`logs.ts`) and is
 * bounded by a cgroup where the host allows one. It ends with its node: by the parent-death signal on
 * Linux, by its own watch elsewhere, and by the process records at the node's next start.
 *
 * Isolation between tenants is not promised.
 */
import type { Duplex, RemoteProcess } from "../../../api/client/node_api.ts";
import { badRequest, internal, notFound } from "../../../api/machinery/errors.ts";
import { parseQuantity } from "../../../api/machinery/quantity.ts";
import type { Clock, Timer } from "../../../kv/clock.ts";
import type { ContainerOf, Pod } from "../types.ts";
import { type Cgroup, makeCgroup, removePodGroups } from "./cgroup.ts";
import { type IsolateProcess, ProcessMeter, type ProcessStatus, spawn } from "./isolate_process.ts";
import {
  CODE,
  type Grants,
  isIsolateImage,
  isModule,
  isWasm,
  NotFoundError,
  permissionsOf,
  programOf,
  wordsOf,
} from "./isolate_program.ts";
import {
  chooseView,
  DENO_DIR_INSIDE,
  DENO_INSIDE,
  hostCommand,
  INSIDE,
  OF_SHELLS,
  prepareRoot,
  type ViewName,
} from "./isolate_view.ts";
import { pullImage, wasmOf } from "./isolate_image.ts";
import { lastLines, LogWriter, readLog } from "./logs.ts";
import { ProcessRecords } from "./process_records.ts";
import { openPty, type Pty } from "./pty.ts";
import { duplexOf, remoteProcess, Tee } from "./isolate_streams.ts";
import {
  type ContainerEnd,
  type ContainerSpec,
  type ContainerStats,
  type ExecRequest,
  type ImageWish,
  type LogRequest,
  type PulledImage,
  type Runtime,
  RuntimeError,
  type Sandbox,
} from "./runtime.ts";

export interface IsolateOptions {
  clock: Clock;
  /** Where pods' folders, logs and records lie. */
  folder: string;
  /** Where what all nodes of a machine share lies: modules, the cache of images (`folder`). */
  shared?: string;
  /** Where a pod's port is dialled; the pod's address unless told. */
  endpoint?(ip: string, port: number): { hostname: string; port: number };
  /** Only this view (the best that works). */
  view?: ViewName;
  /** The cluster's DNS, for the view that has no resolv.conf of its own. */
  dnsIP?: string;
  /** Where that answers, if not on port 53: names are then asked for by the preload module in every view. */
  dnsPort?(): number | undefined;
  domain?: string;
}

interface Isolate {
  id: string;
  spec: ContainerSpec;
  folder: string;
  root: string;
  env: Map<string, string>;
  grants: Grants;
  log: LogWriter;
  cgroup?: Cgroup;
  process?: IsolateProcess;
  pty?: Pty;
  out: Tee;
  err: Tee;
  stdin?: WritableStreamDefaultWriter<Uint8Array>;
  meter: ProcessMeter;
  timer?: Timer;
  execs: Set<IsolateProcess>;
  ended?: Promise<ProcessStatus>;
}

const views = new Map<string, Promise<ViewName>>();

/** How long processes may take to end when the node stops. */
const CLOSE_MS = 1000;
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Paths that Deno lets nobody write to who may not do everything. */
const OF_THE_SYSTEM = /^\/(dev|proc|sys)\//;
/** Where a container's message lies besides, when its own path is one of those. */
const MESSAGE_INSIDE = "/.termination-log";
/** Names of variables that a shell hands on; the others, and its own, go another way past it. */
const HANDED_ON = /^[A-Za-z_]\w*$/;
/** Of the message a container may leave behind. */
const MESSAGE_BYTES_MAX = 4096;

/** See the module's text. */
export class IsolateRuntime implements Runtime {
  readonly name = "isolate";
  readonly version = Deno.version.deno;
  readonly real = true;
  recursiveReadOnly = false;
  readonly #options: IsolateOptions;
  readonly #folder: string;
  readonly #modules: string;
  readonly #denoDir: string;
  readonly #records: ProcessRecords;
  readonly #isolates = new Map<string, Isolate>();
  readonly #addresses = new Map<string, string>();
  /** Logs that are being written, by path. */
  readonly #writers = new Map<string, LogWriter>();
  #view: Promise<ViewName> | undefined;

  constructor(options: IsolateOptions) {
    this.#options = options;
    this.#folder = options.folder;
    const shared = options.shared ?? options.folder;
    this.#modules = `${shared}/modules`;
    this.#denoDir = `${shared}/deno-dir`;
    this.#records = new ProcessRecords(`${options.folder}/processes`);
  }

  /** How isolates of this machine see their pods. */
  view(): Promise<ViewName> {
    return this.#view ??= this.#prepare();
  }

  /** Ends what a former life left running; call it before anything is started. */
  async endLeftovers(): Promise<number> {
    const ended = await this.#records.endLeftovers();
    for (const uid of namesIn(`${this.#folder}/pods`)) removePodGroups(uid);
    return ended;
  }

  async #prepare(): Promise<ViewName> {
    for (const folder of [this.#modules, `${this.#modules}/inside`, this.#denoDir]) {
      Deno.mkdirSync(folder, { recursive: true });
    }
    const files = ["preload", "commands", "shell", "tar", "wasm"].map((name) =>
      `inside/${name}.ts`
    );
    for (const file of [...files, "isolate_program.ts"]) {
      const source = new URL(file, import.meta.url);
      const text = source.protocol === "file:"
        ? await Deno.readTextFile(source)
        : await (await fetch(source)).text();
      await Deno.writeTextFile(`${this.#modules}/${file}`, text);
    }
    const view = this.#options.view ?? await this.#best();
    this.recursiveReadOnly = view === "mount namespace";
    return view;
  }

  /** What the machine allows does not change from node to node. */
  #best(): Promise<ViewName> {
    let view = views.get(this.#modules);
    if (!view) views.set(this.#modules, view = chooseView(`${this.#modules}/probe`, this.#modules));
    return view;
  }

  runs(image: string): boolean {
    return isIsolateImage(image);
  }

  /** The image's id also names the view: it is the one field of a status that is ours to word. */
  async pull(
    image: string,
    policy: string,
    signal: AbortSignal,
    { fetching }: ImageWish,
  ): Promise<PulledImage> {
    const view = (await this.view()).replaceAll(" ", "-");
    const pulled = isModule(image)
      ? await pullImage(image, policy, this.#denoDir, this.#options.clock, signal, fetching)
      : { imageId: `isolate://deno@${this.version}`, present: true };
    return { ...pulled, imageId: `${pulled.imageId}#${view}` };
  }

  async startSandbox(sandbox: Sandbox): Promise<void> {
    this.#addresses.set(sandbox.pod.metadata.uid, sandbox.ips[0] ?? "127.0.0.1");
    await this.view();
  }

  stopSandbox(uid: string): void {
    this.#addresses.delete(uid);
    remove(`${this.#folder}/pods/${uid}/containers`);
    removePodGroups(uid);
  }

  async create(spec: ContainerSpec): Promise<string> {
    const view = await this.view();
    const { pod, hosts, resolv, hostname } = spec.sandbox;
    const { uid } = pod.metadata;
    const { clock } = this.#options;
    const folder = `${this.#folder}/pods/${uid}/containers/${spec.container.name}/${spec.attempt}`;
    const root = `${folder}/root`;
    Deno.mkdirSync(root, { recursive: true });
    const message = `${folder}/termination-log`;
    Deno.writeTextFileSync(message, "");
    const messagePath = messagePathOf(spec.container);
    const wasm = wasmOf(spec.container.image ?? "", this.#denoDir);
    const mounts = [
      ...spec.mounts,
      ...wasm ? [{ ...wasm, readOnly: true }] : [],
      { hostPath: message, containerPath: messagePath, readOnly: false },
      ...OF_THE_SYSTEM.test(messagePath)
        ? [{ hostPath: message, containerPath: MESSAGE_INSIDE, readOnly: false }]
        : [],
      ...fileImage(spec.container.image ?? ""),
    ];
    prepareRoot(root, view === "preload" ? [] : mounts);
    const files = {
      "etc/hosts": hosts,
      "etc/resolv.conf": resolv,
      "etc/hostname": `${hostname}\n`,
      "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
      "etc/group": "root:x:0:\nnogroup:x:65534:\n",
      "etc/nsswitch.conf": "hosts: files dns\n",
    };
    for (const [path, text] of Object.entries(files)) {
      Deno.writeTextFileSync(`${root}/${path}`, text);
    }
    const cwd = spec.container.workingDir || "/";
    Deno.mkdirSync(root + cwd, { recursive: true });
    const id = `isolate://${clock.uuid()}${clock.uuid()}`.replaceAll("-", "");
    const path = this.#logPath(pod, spec.container.name, spec.attempt);
    const log = new LogWriter(path, { clock });
    this.#writers.set(path, log);
    const full = { ...spec, mounts };
    const grants = this.#grants(full, root, view);
    this.#isolates.set(id, {
      id,
      spec: full,
      folder,
      root,
      grants,
      log,
      env: this.#environment(full, root, view, grants),
      cgroup: makeCgroup(uid, spec.container.name, limitsOf(spec.container)),
      out: new Tee(),
      err: new Tee(),
      meter: new ProcessMeter(),
      execs: new Set(),
    });
    return id;
  }

  #grants(spec: ContainerSpec, root: string, view: ViewName): Grants {
    const { pod } = spec.sandbox;
    const security = spec.container.securityContext;
    const own = view !== "preload";
    const paths = spec.mounts.map((m) => own ? m.containerPath : m.hostPath);
    const rw = spec.mounts.filter((m) => !m.readOnly);
    const writable = rw.map((m) => own ? m.containerPath : m.hostPath);
    const readOnlyRoot = security?.readOnlyRootFilesystem ?? false;
    const modules = own ? INSIDE : this.#modules;
    const ip = pod.spec.hostNetwork ? undefined : spec.sandbox.ips[0];
    return {
      permissions: permissionsOf({
        privileged: security?.privileged ?? false,
        ip,
        ownRoot: own,
        readOnlyRoot,
        readable: [root, modules, ...paths],
        writable: own || readOnlyRoot ? writable : [root, ...writable],
      }),
      preload: `${modules}/inside/preload.ts`,
      commands: `${modules}/inside/commands.ts`,
      host: ip,
      privileged: security?.privileged ?? false,
      deno: own ? DENO_INSIDE : Deno.execPath(),
    };
  }

  #environment(spec: ContainerSpec, root: string, view: ViewName, grants: Grants) {
    const own = view !== "preload";
    const { pod, hostname, ips } = spec.sandbox;
    const { dnsIP, domain = "cluster.local" } = this.#options;
    const dnsPort = this.#options.dnsPort?.() ?? 53;
    const searches = [`${pod.metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain];
    const inside = {
      ip: grants.host,
      six: grants.host && ips.find((ip) => ip !== grants.host && ip.includes(":")),
      parent: Deno.pid,
      grants,
      ...(own ? { paths: ownPaths(spec.container) } : {
        root,
        paths: spec.mounts.map((m) => [m.containerPath, m.hostPath]),
      }),
      env: [...spec.env].filter(([name]) => !HANDED_ON.test(name) || OF_SHELLS.includes(name)),
      // A resolv.conf names no ports.
      dns: dnsIP && ips.length && (!own || dnsPort !== 53)
        ? { server: dnsIP, port: dnsPort, searches }
        : undefined,
      // A machine that refuses us port 53 refuses services' low ports, too: they answer higher.
      shifted: dnsIP && dnsPort > 1023
        ? { prefix: `${dnsIP.split(".").slice(0, 2).join(".")}.`, by: dnsPort - 53 }
        : undefined,
    };
    return new Map([
      ["PATH", DEFAULT_PATH],
      ["HOME", own ? "/root" : `${root}/root`],
      ["HOSTNAME", hostname],
      ["DENO_VERSION", this.version],
      ["DENO_DIR", own ? DENO_DIR_INSIDE : this.#denoDir],
      ["DENO_NO_UPDATE_CHECK", "1"],
      ["DENO_NO_PROMPT", "1"],
      ...spec.env,
      ["PLESIO_ISOLATE", JSON.stringify(inside)],
    ]);
  }

  async start(id: string, ended: (end: ContainerEnd) => void): Promise<void> {
    const isolate = this.#isolate(id);
    const { spec } = isolate;
    const { container } = spec;
    const wasm = wasmOf(container.image ?? "", this.#denoDir);
    const words = wordsOf(container.image ?? "", spec.command, spec.args, wasm?.containerPath);
    const startedAt = this.#options.clock.now();
    let pty: Pty | undefined;
    if (container.tty) pty = openPty();
    try {
      const process = await this.#launch(isolate, words, {
        stdin: !pty && (container.stdin ?? false),
        stdout: !pty,
        stderr: !pty,
      }, pty);
      isolate.process = process;
      isolate.pty = pty;
      isolate.stdin = pty?.writable.getWriter() ?? process.stdin?.getWriter();
    } catch (error) {
      pty?.close();
      this.#closeLog(isolate);
      if (error instanceof NotFoundError) throw new RuntimeError("StartError", error.message);
      throw error;
    }
    const { process } = isolate;
    const pumps = [
      this.#pump(isolate, "stdout", pty?.readable ?? process!.stdout),
      this.#pump(isolate, "stderr", process!.stderr),
    ];
    isolate.ended = process!.ended.then(async (status) => {
      for (const one of isolate.execs) one.signal("SIGKILL");
      pty?.close();
      await Promise.allSettled(pumps);
      isolate.out.close();
      isolate.err.close();
      isolate.timer?.cancel();
      this.#closeLog(isolate);
      ended(this.#endOf(isolate, status, startedAt));
      return status;
    });
  }

  async #pump(
    isolate: Isolate,
    name: "stdout" | "stderr",
    stream: ReadableStream<Uint8Array> | undefined,
  ): Promise<void> {
    if (!stream) return;
    const tee = name === "stdout" ? isolate.out : isolate.err;
    for await (const chunk of stream) {
      isolate.log.write(name, chunk);
      tee.write(chunk);
    }
  }

  #closeLog(isolate: Isolate): void {
    isolate.log.close();
    this.#writers.delete(isolate.log.path);
  }

  #endOf(isolate: Isolate, status: ProcessStatus, startedAt: number): ContainerEnd {
    const { container } = isolate.spec;
    const oom = status.exitCode === 137 && isolate.cgroup?.oomKilled();
    const end: ContainerEnd = {
      exitCode: status.exitCode,
      startedAt,
      finishedAt: this.#options.clock.now(),
    };
    if (oom) end.reason = "OOMKilled";
    let message = "";
    try {
      message = Deno.readTextFileSync(`${isolate.folder}/termination-log`);
    } catch {
      // The pod's folder went first.
    }
    const fallback = container.terminationMessagePolicy === "FallbackToLogsOnError";
    if (!message && fallback && status.exitCode !== 0) message = lastLines(isolate.log.path);
    if (message) end.message = message.slice(-MESSAGE_BYTES_MAX);
    isolate.cgroup?.remove();
    return end;
  }

  /** Starts a process in the container's surroundings. */
  async #launch(
    isolate: Isolate,
    words: readonly string[],
    streams: { stdin: boolean; stdout: boolean; stderr: boolean },
    pty?: Pty,
  ): Promise<IsolateProcess> {
    const view = await this.view();
    const { spec, root, grants } = isolate;
    const program = programOf(words, grants);
    const own = view !== "preload";
    let args = program.args;
    let code: string | undefined;
    if (program.code) {
      const name = `eval-${this.#options.clock.uuid()}.${program.code.extension}`;
      code = `${root}/tmp/.${name}`;
      Deno.mkdirSync(`${root}/.eval`, { recursive: true });
      code = `${root}/.eval/${name}`;
      Deno.writeTextFileSync(code, program.code.text);
      const path = own ? `/.eval/${name}` : code;
      args = args.map((word) => word === CODE ? path : word);
    } else if (!own && program.scriptAt !== undefined) {
      args = args.with(program.scriptAt, this.#hostPath(isolate, args[program.scriptAt] ?? ""));
    }
    const env = new Map(isolate.env);
    if (pty && !env.has("TERM")) env.set("TERM", "xterm");
    const cwd = spec.container.workingDir || "/";
    const all = spec.sandbox.pod.spec.securityContext, one = spec.container.securityContext;
    const host = hostCommand(view, {
      root,
      mounts: spec.mounts,
      modules: this.#modules,
      denoDir: this.#denoDir,
      readOnlyRoot: one?.readOnlyRootFilesystem ?? false,
      cwd: own ? cwd : this.#hostPath(isolate, cwd),
      uid: one?.runAsUser ?? all?.runAsUser,
      gid: one?.runAsGroup ?? all?.runAsGroup,
      groups: [
        ...all?.fsGroup === undefined ? [] : [all.fsGroup],
        ...all?.supplementalGroups ?? [],
      ],
      args,
      env,
      joins: isolate.cgroup?.joins ?? [],
      tty: pty?.path,
    });
    const process = spawn(host, this.#records, streams);
    if (code) void process.ended.then(() => remove(code));
    return process;
  }

  /** A container path on the host, for processes without a root of their own. */
  #hostPath(isolate: Isolate, path: string): string {
    if (!path.startsWith("/")) return path;
    let best: { containerPath: string; hostPath: string } | undefined;
    for (const mount of isolate.spec.mounts) {
      const at = mount.containerPath;
      if (path !== at && !path.startsWith(`${at}/`)) continue;
      if (at.length > (best?.containerPath.length ?? -1)) best = mount;
    }
    return best ? best.hostPath + path.slice(best.containerPath.length) : isolate.root + path;
  }

  stop(id: string, graceMs: number, signal = "SIGTERM"): void {
    const isolate = this.#isolates.get(id);
    if (!isolate?.process) return;
    isolate.timer?.cancel();
    if (graceMs <= 0) return isolate.process.signal("SIGKILL");
    isolate.process.signal(signal);
    isolate.timer = this.#options.clock.timer("work", graceMs, () => {
      isolate.process!.signal("SIGKILL");
    });
  }

  resize(id: string, container: ContainerOf): void {
    const isolate = this.#isolate(id);
    const limits = limitsOf(container);
    const { uid } = isolate.spec.sandbox.pod.metadata;
    const joins = isolate.cgroup?.resize(limits) ??
      (isolate.cgroup = makeCgroup(uid, container.name, limits))?.joins ?? [];
    for (const file of joins) Deno.writeTextFileSync(file, String(isolate.process?.pid ?? ""));
  }

  remove(id: string): void {
    const isolate = this.#isolates.get(id);
    if (!isolate) return;
    isolate.process?.signal("SIGKILL");
    isolate.timer?.cancel();
    this.#closeLog(isolate);
    isolate.cgroup?.remove();
    this.#isolates.delete(id);
    remove(isolate.folder);
  }

  /** Processes end with their node: there is nothing to take over. */
  recover(): boolean {
    return false;
  }

  logs(request: LogRequest): Promise<ReadableStream<Uint8Array>> {
    const path = this.#logPath(request.pod, request.container, request.attempt);
    const writer = this.#writers.get(path);
    return Promise.resolve(
      readLog(path, { ...request, follow: request.follow ? writer : undefined }),
    );
  }

  forget(pod: Pod): void {
    const { namespace, name, uid } = pod.metadata;
    remove(`${this.#folder}/logs/${namespace}_${name}_${uid}`);
    remove(`${this.#folder}/pods/${uid}`);
  }

  async exec(id: string, request: ExecRequest): Promise<RemoteProcess> {
    const isolate = this.#isolate(id);
    if (!isolate.process) throw internal("unable to upgrade connection: container is not running");
    const pty = request.tty ? openPty() : undefined;
    let process: IsolateProcess;
    try {
      const streams = { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr };
      const none = { stdin: false, stdout: false, stderr: false };
      process = await this.#launch(isolate, request.command, pty ? none : streams, pty);
    } catch (error) {
      pty?.close();
      if (!(error instanceof NotFoundError)) throw error;
      const text = "error executing command in container: failed to exec in container: failed to " +
        "start exec: OCI runtime exec failed: exec failed: unable to start container process: " +
        `${error.message}: unknown`;
      return {
        stdout: new Blob([]).stream(),
        stderr: new Blob([]).stream(),
        resize() {},
        ended: Promise.resolve({ error: text }),
        close() {},
      };
    }
    isolate.execs.add(process);
    void process.ended.then(() => isolate.execs.delete(process));
    return remoteProcess(process, pty);
  }

  async attach(id: string, request: Omit<ExecRequest, "command">): Promise<RemoteProcess> {
    const isolate = this.#isolate(id);
    if (!isolate.process || !isolate.ended) {
      throw internal("unable to upgrade connection: container is not running");
    }
    const { container } = isolate.spec;
    if (request.tty && !container.tty) {
      throw badRequest(`container ${container.name} did not allocate a TTY`);
    }
    const { pty, stdin } = isolate;
    const detach: (() => void)[] = [];
    const subscribe = (tee: Tee) => {
      const { stream, cancel } = tee.subscribe();
      detach.push(cancel);
      return stream;
    };
    return {
      stdin: request.stdin && stdin
        ? new WritableStream({
          write: (chunk) => stdin.write(chunk),
          close: async () => {
            if (container.stdinOnce && !pty) await stdin.close().catch(() => {});
          },
        })
        : undefined,
      stdout: request.stdout ? subscribe(isolate.out) : undefined,
      stderr: request.stderr && !pty ? subscribe(isolate.err) : undefined,
      resize: (size) => pty?.resize(size),
      ended: isolate.ended.then(({ exitCode }) => ({ exitCode })),
      close: () => detach.forEach((one) => one()),
    };
  }

  async connect(pod: Pod, port: number): Promise<Duplex> {
    const ip = this.#addresses.get(pod.metadata.uid);
    if (!ip) throw notFound({ group: "", resource: "pods" }, pod.metadata.name);
    const at = this.#options.endpoint?.(ip, port) ?? { hostname: ip, port };
    try {
      const connection = await Deno.connect(at);
      connection.setNoDelay(true);
      return duplexOf(connection);
    } catch (error) {
      const why = error instanceof Deno.errors.ConnectionRefused
        ? `dial tcp4 127.0.0.1:${port}: connect: connection refused`
        : (error as Error).message;
      throw internal(
        `error forwarding port ${port} to pod ${pod.metadata.name}, uid ${pod.metadata.uid}: ` +
          `failed to connect to localhost:${port} inside its namespace: ${why}`,
      );
    }
  }

  stats(id: string): ContainerStats | undefined {
    const isolate = this.#isolates.get(id);
    if (!isolate?.process) return undefined;
    return isolate.meter.read(isolate.process.pid, this.#options.clock.now());
  }

  /** Ends all processes: asks first, and kills what is still there after `CLOSE_MS`. */
  async close(): Promise<void> {
    const all = [...this.#isolates.values()];
    for (const isolate of all) {
      isolate.timer?.cancel();
      for (const exec of isolate.execs) exec.signal("SIGKILL");
      isolate.process?.signal("SIGTERM");
    }
    const timer = setTimeout(() => {
      for (const isolate of all) isolate.process?.signal("SIGKILL");
    }, CLOSE_MS);
    await Promise.allSettled(all.map((isolate) => isolate.ended));
    clearTimeout(timer);
    // They are made again when the pods begin again.
    for (const uid of this.#addresses.keys()) removePodGroups(uid);
  }

  /** Removes folders and logs of pods that are no more: they went while the node was away. */
  sweep(known: ReadonlySet<string>): void {
    for (const uid of namesIn(`${this.#folder}/pods`)) {
      if (!known.has(uid)) remove(`${this.#folder}/pods/${uid}`);
    }
    for (const name of namesIn(`${this.#folder}/logs`)) {
      const uid = name.slice(name.lastIndexOf("_") + 1);
      if (!known.has(uid)) remove(`${this.#folder}/logs/${name}`);
    }
  }

  #isolate(id: string): Isolate {
    const isolate = this.#isolates.get(id);
    if (!isolate) throw new Error(`Cannot find container "${id}": it was removed`);
    return isolate;
  }

  #logPath(pod: Pod, container: string, attempt: number): string {
    const { namespace, name, uid } = pod.metadata;
    return `${this.#folder}/logs/${namespace}_${name}_${uid}/${container}/${attempt}.log`;
  }
}

function namesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map((entry) => entry.name);
  } catch {
    return []; // nothing was ever run
  }
}

function limitsOf(container: ContainerOf) {
  const { memory, cpu } = container.resources?.limits ?? {};
  return {
    memoryBytes: memory === undefined ? undefined : parseQuantity(memory).value(),
    milliCpu: cpu === undefined ? undefined : parseQuantity(cpu).milliValue(),
  };
}

function messagePathOf({ terminationMessagePath }: ContainerOf): string {
  return terminationMessagePath ?? "/dev/termination-log";
}

/** What paths lead elsewhere in a container with a root of its own. */
function ownPaths(container: ContainerOf): [string, string][] {
  const path = messagePathOf(container);
  return OF_THE_SYSTEM.test(path) ? [[path, MESSAGE_INSIDE]] : [];
}

/** A module on the host is seen at its own path, with the folder it lies in. */
function fileImage(image: string) {
  if (!image.startsWith("file:") || isWasm(image)) return [];
  const path = decodeURIComponent(new URL(image).pathname);
  const folder = path.slice(0, path.lastIndexOf("/")) || "/";
  return [{ hostPath: folder, containerPath: folder, readOnly: true }];
}

function remove(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
