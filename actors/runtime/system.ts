/**
 * The actors of one process: where they are started, found by address, reported on and stopped.
 *
 * Mail to an address of this process goes straight into its mailbox; durable mail goes through the
 * store's queue, whose listener hands keys back here. Mail for an actor that is not here is dropped:
 * a message is only a key, and whoever hosts that actor watches the same objects.
 */
import type { Client } from "../../api/client/contract.ts";
import { Actor, type ActorPorts, type AnyActor } from "./actor.ts";
import type {
  ActorControl,
  ActorHandle,
  ActorReport,
  Behaviour,
  Handled,
  SpawnOptions,
  System,
  SystemPorts,
} from "./contract.ts";
import { Placement } from "./placement.ts";
import { Supervisor } from "./supervisor.ts";

/** Makes the actor system of this process. */
export function createSystem(ports: SystemPorts): System {
  return new ActorSystem(ports);
}

class ActorSystem implements System {
  readonly #ports: SystemPorts;
  readonly #actorPorts: ActorPorts;
  readonly #root: Supervisor;
  readonly #placements = new Map<string, Placement>();
  readonly #byAddress = new Map<string, AnyActor>();
  readonly #observers = new Set<(message: Handled) => void>();
  #stopped: Promise<void> | undefined;

  constructor(ports: SystemPorts) {
    this.#ports = ports;
    this.#root = new Supervisor(ports.clock);
    this.#actorPorts = {
      informers: ports.informers,
      clock: ports.clock,
      log: ports.log,
      spans: ports.spans,
      send: (to, key, options) => this.send(to, key, options),
      register: (actor) => this.#byAddress.set(actor.address, actor),
      unregister: (actor) => {
        if (this.#byAddress.get(actor.address) === actor) this.#byAddress.delete(actor.address);
      },
    };
    ports.queue?.listen((mail) => {
      this.#byAddress.get(mail.to)?.send(mail.key);
    });
  }

  spawn<S>(
    address: string,
    behaviour: Behaviour<S>,
    options: SpawnOptions & { singleton?: boolean; client?: Client } = {},
  ): ActorHandle {
    const client = options.client ?? this.#ports.client;
    const send: ActorHandle["send"] = (key, sendOptions) => this.send(address, key, sendOptions);
    const start = (under: Client, since?: number) => {
      const settings = { address, behaviour, options, client: under, parent: this.#root, since };
      const actor = new Actor(this.#actorPorts, settings);
      this.#root.adopt(actor);
      return actor;
    };
    const { terms } = this.#ports;
    if (!options.singleton || !terms) {
      const actor = start(client);
      return { address, send, stop: () => this.#root.release(actor) };
    }
    if (this.#placements.has(address)) {
      throw new Error(`cannot start actor "${address}": it is placed already`);
    }
    const placement = new Placement({
      name: address,
      terms,
      clock: this.#ports.clock,
      log: this.#ports.log,
      host: (term) => {
        const actor = start(client.under(term), term.revision);
        return () => this.#root.release(actor);
      },
    });
    this.#placements.set(address, placement);
    const stop = async () => {
      await placement.stop();
      this.#placements.delete(address);
    };
    return { address, send, stop };
  }

  send(to: string, key: string, options: { delayMs?: number; durable?: boolean } = {}): void {
    const { queue, log } = this.#ports;
    if (options.durable && queue) {
      queue.send({ to, key, delayMs: options.delayMs }).catch((error) => {
        log("warn", "mail not sent", { to, key, error: String(error) });
      });
      return;
    }
    this.#byAddress.get(to)?.send(key, options);
  }

  report(): ActorReport[] {
    return [...this.#byAddress.values()]
      .map((actor) => actor.report())
      .sort((a, b) => a.address < b.address ? -1 : a.address > b.address ? 1 : 0);
  }

  busy(): string[] {
    const addresses: string[] = [];
    for (const actor of this.#byAddress.values()) {
      if (actor.busy()) addresses.push(actor.address);
    }
    return addresses.sort();
  }

  handled(): number {
    let sum = 0;
    for (const actor of this.#byAddress.values()) sum += actor.handled;
    return sum;
  }

  observe(heard: (message: Handled) => void): () => void {
    const observers = this.#observers;
    // The same function twice is two observers
    const own = (message: Handled) => heard(message);
    observers.add(own);
    this.#actorPorts.heard = (message) => {
      for (const observer of observers) observer(message);
    };
    return () => {
      observers.delete(own);
      if (observers.size === 0) this.#actorPorts.heard = undefined;
    };
  }

  control(address: string): ActorControl | undefined {
    return this.#byAddress.get(address)?.control;
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#end();
    return this.#stopped;
  }

  async #end(): Promise<void> {
    const placements = [...this.#placements.values()].reverse();
    this.#placements.clear();
    await Promise.all(placements.map((placement) => placement.stop()));
    await this.#root.stop();
  }
}
