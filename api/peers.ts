/**
 * The processes that serve one cluster together, as the cluster sees them: who is there, where pods reach them, and how
 * one of them asks a node that another one holds. Where one process owns the store, nothing of this is made.
 *
 * - **There.** Each has an identity Lease `kube-system/apiserver-…`, as upstream's servers do, renewed every ten
 *   seconds; those of processes whose lease in the store has lapsed are deleted.
 * - **Reached by pods.** The endpoints of the `kubernetes` Service are those of all that live. Upstream's reconciler of
 *   leases does the same; each process looks every ten seconds and writes only what differs.
 * - **Nodes.** A node's place in the store names the process that hosts it, or that it has dialled in to. Who is asked
 *   for a node that it does not have opens a connection to that process, `GET /api/v1/nodes/NAME/relay` upgraded to
 *   a WebSocket, under a certificate that says that it is one of them, and asks through it what it would ask the node:
 *   the connection is a node's tunnel the other way round (`client/tunnel.ts`). It is kept while it is used. Where a
 *   process has no address that leads to it (instances of a platform), the same frames go by records of the store.
 */
import { createHash } from "node:crypto";
import type { Clock, Timer } from "../kv/clock.ts";
import type { Processes, ProcessFacts, ProcessRecord } from "../kv/contract.ts";
import type { Material } from "./auth/material.ts";
import { issueClient, type Issued, renewAt } from "./auth/mod.ts";
import type { Client } from "./client/contract.ts";
import type { NodeApi, NodeDialer } from "./client/node_api.ts";
import type { Endpoint } from "./client/outbound.ts";
import { type Carrier, Tunnel } from "./client/tunnel.ts";
import { nodeThrough } from "./client/tunnel_node.ts";
import { formatMicroTime } from "./machinery/time.ts";
import { ApiError, type KubeObject } from "./machinery/types.ts";
import { unavailable } from "./machinery/errors.ts";
import { advertise } from "./server/bootstrap.ts";
import { ALL_NODES, PEER, placeOf, placesOf } from "./server/relay.ts";
import type { Places } from "./server/tunnels.ts";

/** How often a process shows that it is there, and looks who else is: upstream's interval. */
export const PEER_CHECK_MS = 10_000;
/** How long an identity Lease says that it lasts: upstream's. */
const IDENTITY_SECONDS = 3_600;
/** A connection to a peer that nobody used for so long is closed. */
export const RELAY_IDLE_MS = 30_000;

const LEASES = { group: "coordination.k8s.io", version: "v1", plural: "leases" };
const IDENTITY_LABEL = "apiserver.kubernetes.io/identity";

/** What it is made of. */
export interface PeersOptions {
  processes: Processes;
  clock: Clock;
  /** Acts as the server itself. */
  client(): Client;
  hostname(): string;
  /** What the cluster proves itself with. */
  identity(): Promise<Material>;
  /** Further authorities of what peers serve with, in PEM. */
  servingPem?: string;
  /** Opens the connection by which a node of another process is asked. */
  dial(peer: Endpoint, node: string): Promise<Carrier>;
  log(level: "info" | "warn" | "error", text: string, fields?: Record<string, unknown>): void;
}

/** A connection to another process, for one node. */
interface Link {
  readonly api: NodeApi;
  readonly tunnel: Tunnel;
}

/** See the module's text. */
export class Peers {
  readonly #o: PeersOptions;
  readonly #links = new Map<string, Promise<Link>>();
  #certificate: Issued | undefined;
  #timer: Timer | undefined;
  #stopped = false;
  #round: Promise<void> = Promise.resolve();

  constructor(options: PeersOptions) {
    this.#o = options;
  }

  /** Begins to be there: others see it, and it looks after what all of them look after. */
  async start(facts: ProcessFacts): Promise<void> {
    await this.#o.processes.announce(facts);
    await this.#check();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#round;
    for (const link of this.#links.values()) {
      await link.then(({ tunnel }) => tunnel.close("the server is going", 1001), () => {});
    }
    await this.#o.client().delete({ ...IDENTITIES, name: nameOf(this.#o.processes.self.holder) })
      .catch(() => {
        // Another one deletes it
      });
  }

  /** Finds nodes here, else at the process that has them. */
  dialer(here: NodeDialer): NodeDialer {
    return async (node) => {
      try {
        return await here(node);
      } catch (error) {
        if (!(error instanceof ApiError && error.code === 503)) throw error;
        const peer = await this.#o.processes.keeperOf(...placesOf(node));
        if (!peer || peer.holder === this.#o.processes.self.holder) throw error;
        return await this.#nodeAt(peer, node);
      }
    };
  }

  /** All other processes, as one node each that answers for all of its own. */
  async others(): Promise<NodeApi[]> {
    const { processes } = this.#o;
    const peers = (await processes.live()).filter(({ holder }) => holder !== processes.self.holder);
    const found = await Promise.allSettled(peers.map((peer) => this.#nodeAt(peer, ALL_NODES)));
    return found.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
  }

  async #nodeAt(peer: ProcessRecord, node: string): Promise<NodeApi> {
    const { url, holder } = peer;
    const name = `${holder}/${node}`;
    const link = this.#links.get(name) ?? this.#open(peer, node, name);
    this.#links.set(name, link);
    try {
      return (await link).api;
    } catch (error) {
      if (error instanceof ApiError) throw error;
      const way = url ?? "records";
      throw unavailable(`node "${node}" cannot be reached through ${way}: ${textOf(error)}`);
    }
  }

  async #open({ url, holder }: ProcessRecord, node: string, name: string): Promise<Link> {
    const { clock, processes } = this.#o;
    try {
      // What has no address, or none that leads there, is reached by records of the store
      const carrier = await (url ? this.#dial(url, node) : undefined)?.catch((error) =>
        this.#o.log("warn", "no way to another process but records", { url, error: textOf(error) })
      ) ?? processes.connect(holder, node);
      const tunnel = new Tunnel(carrier, { clock });
      void tunnel.closed.then(() =>
        this.#links.delete(name)
      );
      this.#closeWhenIdle(tunnel, false);
      return { tunnel, api: nodeThrough(tunnel) };
    } catch (error) {
      this.#links.delete(name);
      throw error;
    }
  }

  async #dial(url: string, node: string): Promise<Carrier> {
    const { servingPem } = this.#o;
    const { trustPem, authority } = await this.#o.identity();
    const certificate = await this.#certificateBy(authority);
    return await this.#o.dial({
      url,
      caBundle: servingPem ? `${trustPem}\n${servingPem}` : trustPem,
      certificate: { cert: certificate.certificatePem, key: certificate.keyPem },
    }, node);
  }

  #closeWhenIdle(tunnel: Tunnel, wasIdle: boolean): void {
    if (wasIdle && tunnel.calls === 0) return tunnel.close("nobody asks");
    const timer = this.#o.clock.timer(
      "background",
      RELAY_IDLE_MS,
      () => this.#closeWhenIdle(tunnel, tunnel.calls === 0),
    );
    void tunnel.closed.then(() => timer.cancel());
  }

  async #certificateBy(authority: Issued): Promise<Issued> {
    const { clock } = this.#o;
    if (!this.#certificate || clock.now() >= renewAt(this.#certificate)) {
      this.#certificate = await issueClient(authority, clock, {
        commonName: PEER.name,
        organizations: [...PEER.groups],
      });
    }
    return this.#certificate;
  }

  async #check(): Promise<void> {
    this.#round = this.#look().catch((error) =>
      this.#o.log("warn", "could not look after the processes", { error: textOf(error) })
    );
    await this.#round;
    if (this.#stopped) return;
    this.#timer = this.#o.clock.timer("background", PEER_CHECK_MS, () => void this.#check());
  }

  async #look(): Promise<void> {
    const { processes } = this.#o;
    const client = this.#o.client();
    await this.#renew();
    const live = await processes.live();
    await advertise(client, live.flatMap(({ endpoint }) => endpoint ?? []));
    const names = new Set(live.map(({ holder }) => nameOf(holder)));
    const { items } = await client.list(IDENTITIES, { labelSelector: IDENTITY_LABEL });
    for (const { metadata: { name } } of items) {
      if (!names.has(name)) await client.delete({ ...IDENTITIES, name }).catch(unlessGone);
    }
  }

  async #renew(): Promise<void> {
    const { clock, processes: { self } } = this.#o;
    const client = this.#o.client();
    const name = nameOf(self.holder);
    const renewTime = formatMicroTime(clock.now());
    try {
      await client.patch({ ...IDENTITIES, name }, { type: "merge", body: { spec: { renewTime } } });
    } catch (error) {
      unlessGone(error);
      await client.create(IDENTITIES, {
        metadata: {
          name,
          labels: {
            [IDENTITY_LABEL]: "kube-apiserver",
            "kubernetes.io/hostname": this.#o.hostname(),
          },
        },
        spec: {
          holderIdentity: `${name}_${self.holder}`,
          leaseDurationSeconds: IDENTITY_SECONDS,
          renewTime,
        },
      } as unknown as KubeObject);
    }
  }
}

/** The other processes of a cluster; undefined where one owns the store. */
export function peersOf(
  { database: { processes }, ...options }: Omit<PeersOptions, "processes"> & {
    database: { readonly processes?: Processes };
  },
): Peers | undefined {
  return processes && new Peers({ ...options, processes });
}

const IDENTITIES = { resource: LEASES, namespace: "kube-system" };

/** The name of a process's Lease. */
function nameOf(holder: string): string {
  return `apiserver-${createHash("sha256").update(holder).digest("hex").slice(0, 26)}`;
}

function unlessGone(error: unknown): void {
  if (!(error instanceof ApiError && error.code === 404)) throw error;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** How long a name is waited for that a process has, which may be dead: longer than a lease. */
export const NAME_WAIT_MS = 20_000;
const NAME_LOOK_MS = 1_000;

/** Says in the store which nodes are here; nobody waits for what is only said. */
export function placesIn(processes: Processes, clock: Clock): Places & {
  own(node: string): Promise<void>;
} {
  let work: Promise<unknown> = Promise.resolve();
  const next = (what: () => Promise<void>) => {
    // Each after the other: a node may come again while it is said that it has gone
    work = work.then(what).catch(() => {
      // The store is away; a node that is not found dials in anew, or is asked again
    });
  };
  return {
    taken: (node) => next(() => processes.take(placeOf(node))),
    left: (node) => next(() => processes.leave(placeOf(node))),
    async own(node) {
      const until = clock.monotonic() + NAME_WAIT_MS;
      for (;;) {
        const keeper = await processes.keeperOf(placeOf(node));
        if (!keeper || keeper.holder === processes.self.holder) break;
        if (clock.monotonic() >= until) {
          throw new Error(
            `Cannot host node "${node}": another process does (${keeper.url ?? keeper.holder}); ` +
              "give the nodes of each process another --node-prefix",
          );
        }
        await clock.sleep(NAME_LOOK_MS, { kind: "background" });
      }
      await processes.take(placeOf(node));
    },
  };
}

/** Where a server answers to pods: what it is told, if pods anywhere can reach that. */
export function endpointOf(ip: string, port: number): ProcessFacts["endpoint"] {
  const reachable = /^\d+\.\d+\.\d+\.\d+$/.test(ip) && !ip.startsWith("127.");
  return reachable ? { ip, port } : undefined;
}
