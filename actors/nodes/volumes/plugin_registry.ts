/**
 * How programs of the machine offer themselves to its kubelet: each puts a socket in `plugins_registry` and is asked
 * what it is; when the socket goes, so does the plugin (pkg/kubelet/pluginmanager). A registration that failed is
 * tried again, with growing pauses.
 */
import type { Clock, Timer } from "../../../kv/clock.ts";
import type { Logger } from "../../runtime/mod.ts";
import { connectRpc } from "../../../api/client/grpc.ts";
import { REGISTRATION } from "./csi_messages.ts";

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 120_000;
/** How long a plugin may take to say what it is. */
const ANSWER_MS_MAX = 10_000;
/** Names of a moment come together: one look serves them all. */
const SETTLE_MS = 50;

/** What a plugin says of itself. */
export interface PluginInfo {
  name: string;
  endpoint: string;
  versions: readonly string[];
}

/** Takes plugins of one type. */
export interface PluginHandler {
  register(plugin: PluginInfo): Promise<void>;
  deregister(plugin: PluginInfo): Promise<void>;
}

/** What it needs. */
export interface RegistryOptions {
  folder: string;
  /** By type: `CSIPlugin`. */
  handlers: Readonly<Record<string, PluginHandler>>;
  clock: Clock;
  log: Logger;
}

interface Known {
  type: string;
  plugin: PluginInfo;
  /** A socket that was made anew is another plugin. */
  inode: string;
}

/** See the module's text. */
export class PluginRegistry {
  readonly #options: RegistryOptions;
  readonly #known = new Map<string, Known>();
  readonly #pauses = new Map<string, number>();
  #watcher: Deno.FsWatcher | undefined;
  #timer: Timer | undefined;
  #scanning: Promise<void> | undefined;
  #again = false;
  #closed = false;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  /** Looks at the sockets that are there, and from now on at all that come and go. */
  async start(): Promise<void> {
    await Deno.mkdir(this.#options.folder, { recursive: true, mode: 0o750 });
    this.#watcher = Deno.watchFs(this.#options.folder);
    void this.#watch(this.#watcher);
    await this.scan();
  }

  async #watch(watcher: Deno.FsWatcher): Promise<void> {
    for await (const { kind } of watcher) {
      if (kind !== "access") this.#scanIn(SETTLE_MS);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watcher?.close();
    this.#timer?.cancel();
    await this.#scanning;
  }

  #scanIn(ms: number): void {
    if (this.#closed) return;
    this.#timer?.cancel();
    this.#timer = this.#options.clock.timer("background", ms, () => void this.scan());
  }

  /** Brings what is known to what is there. */
  async scan(): Promise<void> {
    if (this.#scanning) {
      this.#again = true;
      return await this.#scanning;
    }
    this.#scanning = this.#scan();
    await this.#scanning;
    this.#scanning = undefined;
    if (this.#again && !this.#closed) {
      this.#again = false;
      await this.scan();
    }
  }

  async #scan(): Promise<void> {
    const found = await socketsIn(this.#options.folder);
    for (const [path, known] of this.#known) {
      if (found.get(path) === known.inode) continue;
      this.#known.delete(path);
      await this.#attempt(path, () => this.#handler(known.type)!.deregister(known.plugin));
    }
    for (const path of this.#pauses.keys()) if (!found.has(path)) this.#pauses.delete(path);
    for (const [path, inode] of found) {
      if (this.#known.has(path) || this.#closed) continue;
      if (await this.#attempt(path, () => this.#register(path, inode))) {
        this.#pauses.delete(path);
        continue;
      }
      const pause = Math.min(RETRY_MS_MAX, (this.#pauses.get(path) ?? RETRY_MS_MIN / 2) * 2);
      this.#pauses.set(path, pause);
      this.#scanIn(pause);
    }
  }

  async #attempt(path: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      this.#options.log("warn", "plugin not registered", { path, error: String(error) });
      return false;
    }
  }

  #handler(type: string): PluginHandler | undefined {
    return this.#options.handlers[type];
  }

  async #register(path: string, inode: string): Promise<void> {
    const { clock } = this.#options;
    const client = await connectRpc(path, REGISTRATION, clock);
    const timeoutMs = ANSWER_MS_MAX;
    try {
      const info: {
        type?: string;
        name?: string;
        endpoint?: string;
        supportedVersions?: string[];
      } = await client.call("GetInfo", {}, { timeoutMs });
      const { type = "", name = "", supportedVersions: versions = [] } = info;
      const plugin = { name, endpoint: info.endpoint || path, versions };
      let problem = "";
      try {
        const handler = this.#handler(type);
        if (!handler) {
          throw new Error(`no handler registered for plugin type: ${type} at socket ${path}`);
        }
        await handler.register(plugin);
        this.#known.set(path, { type, plugin, inode });
      } catch (error) {
        problem = (error as Error).message;
      }
      const status = { pluginRegistered: !problem, error: problem };
      await client.call("NotifyRegistrationStatus", status, { timeoutMs });
      if (problem) throw new Error(problem);
    } finally {
      client.close();
    }
  }
}

/** The sockets of a folder and those below it, with what tells a new one of the same name. */
async function socketsIn(folder: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const look = async (at: string) => {
    for await (const entry of Deno.readDir(at)) {
      const path = `${at}/${entry.name}`;
      if (entry.name.startsWith(".")) continue;
      if (entry.isDirectory) await look(path);
      else {
        const info = await Deno.stat(path).catch(() => undefined);
        if (info?.isSocket) found.set(path, `${info.ino}@${info.birthtime?.getTime()}`);
      }
    }
  };
  try {
    await look(folder);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found;
}
