/** A cluster for programs that embed it: what it is made of is `parts.ts`, what it can be told `options.ts`. */
import { localCloud, startControlPlane, UNINITIALIZED } from "../mod.ts";
import {
  advertised,
  balancerRange,
  clusterRanges,
  keptRanges,
  localNodes,
  startLocalNodes,
} from "../nodes/mod.ts";
import type { ActorReport } from "../runtime/mod.ts";
import { busyOf, settler } from "../runtime/rest.ts";
import { authenticationData } from "../../api/auth/front_proxy.ts";
import { LOGINS } from "../../api/auth/logins.ts";
import { type Material, openTokenKeys } from "../../api/auth/material.ts";
import { approvalsFor, createKubeconfig, serverNames, signedStatus } from "../../api/auth/mod.ts";
import type { Client, Informers } from "../../api/client/contract.ts";
import { Listings } from "../../api/client/overlay.ts";
import { apisOf } from "../../api/config/features.ts";
import { loadModule, removeFolder } from "../../api/config/files.ts";
import { COMPONENTS } from "../../api/config/flags.ts";
import {
  addressIn,
  EVERY_ADDRESS,
  firstAddress,
  type ListenOptions,
  urlOf,
} from "../../api/config/serving.ts";
import { publishJoining } from "../../api/joining/mod.ts";
import {
  type Diff,
  diffOf,
  type DiffOptions,
  exportOf,
  Forks,
  loginLink,
  type Moment,
  momentOf,
  type Story,
  type StoryOf,
  storyOf,
  TestKit,
  timeNamed,
} from "../../api/plesio/mod.ts";
import { KUBELET_PORT } from "../../api/client/node_api.ts";
import type { Api } from "../../api/mod.ts";
import type { Auditor } from "../../api/server/audit.ts";
import {
  bootstrap,
  publishAuthentication,
  publishClusterInfo,
} from "../../api/server/bootstrap.ts";
import type { Listener, TlsFiles } from "../../api/server/listen.ts";
import { endpointOf, placesIn } from "../../api/peers.ts";
import { clockOf, forkOptions, isReal } from "../../api/ground.ts";
import { EncryptionKeys } from "../../api/encryption_keys.ts";
import { openCluster } from "../../api/open_cluster.ts";
import { replayIncident } from "../../api/replay.ts";
import { type ServedCluster, servedCluster } from "../../api/serve_host.ts";
import { Upkeep } from "../../api/upkeep.ts";
import type { Clock } from "../../kv/mod.ts";
import { ADMIN, type ClusterOptions, type ForkOptions } from "./options.ts";
import { build, type Ground, type Parts } from "./parts.ts";

/** A whole cluster in this process. */
export class Cluster {
  readonly #ground: Ground;
  /** Those that have a name. */
  readonly #forks: Forks;
  readonly #listening: Listener[] = [];
  /** What the caches of its forks share. */
  #listings: Listings | undefined;
  /** Absent in a fork that nobody has touched yet. */
  #made: Parts | undefined;
  #stopped: Promise<void> | undefined;
  /** Where others are told that the server is, once it listens, and its names beside those it always has. */
  #url: string | undefined;
  #names: readonly string[] = [];

  private constructor(ground: Ground) {
    this.#ground = ground;
    const { clock, database } = ground;
    this.#forks = new Forks({
      make: async (asked) => {
        const audit = this.api.auditUnder("/plesio/v1/forks/");
        const cluster = await this.#fork(asked, audit);
        return { cluster, revision: cluster.#ground.database.objects.view().revision };
      },
      now: () => clock.now(),
      processes: database.processes,
    });
  }

  /** Starts one. Resolves when the API answers; nodes and controllers are on their way (see `settle`). */
  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const { components = COMPONENTS, log = () => undefined } = options;
    const clock = clockOf(options);
    const real = isReal(options);
    if (real && clock.manual) {
      throw new TypeError(
        `Cannot run real processes under a manual clock: runtime "${options.runtime}" wants clock "real"`,
      );
    }
    const keys = options.encryption &&
      new EncryptionKeys(options.encryption, { kinds: apisOf(options).kinds, clock });
    const database = await openCluster({ ...options, keys }, clock).catch(async (error) => {
      await keys?.close();
      throw error;
    });
    try {
      const ranges = real && components.includes("network")
        ? await keptRanges(database.settings, options)
        : undefined;
      const tokenKeys = await openTokenKeys(database.settings);
      const cluster = new Cluster({ options, clock, database, keys, ranges, tokenKeys, log });
      const { kinds, client, kit, auth, cidrs: { serviceRange } } = cluster.#make();
      await bootstrap({
        database,
        kinds,
        clock,
        client,
        serviceRange,
        apiIP: ranges?.apiIP ?? addressIn(serviceRange, 1),
        // A bare API server has no DNS beside it, and no Service for one
        ...(components.includes("network") &&
          { dnsIP: ranges?.dnsIP ?? addressIn(serviceRange, 10) }),
        advertise: advertised(ranges),
      });
      await cluster.#begin(options.data && `${await Deno.realPath(options.data)}/volumes`);
      await auth.logins.load();
      await kit?.begin();
      return cluster;
    } catch (error) {
      await database.close();
      await keys?.close();
      throw error;
    }
  }

  /**
   * A cluster that goes through an incident's revisions once more (`export`), and stands where that ended: to be read,
   * at every revision of it. Its controllers rest; `fork` with all components goes on, from any of its moments.
   */
  static async replay(file: Uint8Array, options: ClusterOptions = {}): Promise<Cluster> {
    const { database, clock } = await replayIncident(file);
    const { log = () => undefined } = options;
    const tokenKeys = await openTokenKeys(database.settings);
    const own = { nodes: 0, components: ["api"] as const, ...options };
    return new Cluster({ options: own, clock, database, ranges: undefined, tokenKeys, log });
  }

  /** Acts as the administrator, by way of authorization and admission like everybody. */
  get client(): Client {
    return this.#parts.client;
  }

  get clock(): Clock {
    return this.#parts.clock;
  }

  get api(): Api {
    return this.#parts.api;
  }

  get informers(): Informers {
    return this.#parts.informers;
  }

  /** A fork's parts are made, and begin to work, when somebody first asks for one of them. */
  get #parts(): Parts {
    if (this.#made) return this.#made;
    const parts = this.#make();
    this.#begin().catch((error) =>
      parts.log("error", "a fork did not start", { error: String(error) })
    );
    return parts;
  }

  #make(): Parts {
    const { database, keys, clock, options, log, ranges } = this.#ground;
    const made = build(this.#ground, () => this.#parts.upkeep, this.#forks);
    const serviceIp = ranges?.apiIP ?? addressIn(made.cidrs.serviceRange, 1);
    const upkeep = new Upkeep({
      database,
      clock,
      host: made.host,
      auth: made.auth,
      encryption: keys,
      encryptionAnew: options.encryptionAnew,
      identityAnew: options.identityAnew,
      log,
      names: (host) => {
        const ownPorts = made.nodes.flatMap((node) => node.addresses);
        const hosts = [host, ranges && advertised(ranges).ip, ...ownPorts, ...this.#names]
          .filter((name) => name !== undefined && !EVERY_ADDRESS.has(name)) as string[];
        return serverNames({ serviceIp, hosts });
      },
      served: (material) => {
        for (const listener of this.#listening) listener.reload(this.#tls(material));
      },
    });
    return this.#made = { ...made, upkeep };
  }

  /** Starts the actors. `localPathRoot`: where volumes of this machine lie, if there are any. */
  async #begin(localPathRoot?: string): Promise<void> {
    const { options, clock, host, ranges, upkeep, nodes, simulated, view, ...parts } = this.#parts;
    const { processes } = parts.database;
    const { components = COMPONENTS } = options;
    startControlPlane(parts.system, {
      client: parts.client,
      ports: {
        kinds: parts.kinds,
        remoteKinds: () => parts.api.remoteKinds(),
        read: (path, user) => parts.api.fetch(new Request(`https://plesio${path}`), { user }),
        rootCa: async () => (await upkeep.identity()).trustPem,
        legacyToken: (account) => parts.auth.tokens.legacyToken(account),
        certificates: {
          approvalsFor,
          signedStatus: async (csr) => signedStatus(csr, (await upkeep.identity()).authority, host),
        },
        ...parts.shared,
        ...(options.cloudZones?.length && { cloud: localCloud({ zones: options.cloudZones }) }),
        clusterCidr: parts.cidrs.podRange,
        loadBalancerCidr: balancerRange(options.loadBalancerPool, ranges),
        ...(localPathRoot && { localPathRoot, removeFolder }),
      },
      controllers: components.includes("controllers") ? options.controllers : "",
      scheduler: components.includes("scheduler") &&
        {
          ...options.scheduler,
          view,
          outbound: parts.outbound,
          load: loadModule,
          features: parts.shared.features,
        },
    });
    if (options.data || options.encryptionAnew || parts.keys?.changes) upkeep.resealLater();
    upkeep.renewIdentityLater();
    if (processes) upkeep.follow();
    await processes?.announce({});
    if (!components.includes("nodes")) return;
    const wanted = localNodes(options, {
      clock,
      ranges,
      ...(processes && { places: placesIn(processes, clock) }),
      ...(options.cloudZones?.length && { taints: [UNINITIALIZED] }),
      temporary: () => Deno.makeTempDir({ prefix: "plesio-" }),
    });
    const started = startLocalNodes(parts.system, wanted, { nodes, simulated });
    // A former life of theirs may have to be waited for, which the API need not
    if (!processes) await started;
    else started.catch((error) => parts.log("error", "no nodes", { error: String(error) }));
  }

  /** Answers a request as the server would, without sockets; as the administrator unless it says who it is. */
  fetch = (request: Request | string, init?: RequestInit): Promise<Response> => {
    const asked = typeof request === "string" ? new URL(request, "https://plesio").href : request;
    const call = new Request(asked, init);
    return this.api.fetch(call, call.headers.has("authorization") ? {} : { user: ADMIN });
  };

  /** Begins to listen (TLS, client certificates, HTTP/1.1 and 2). */
  async listen(options: ListenOptions = {}): Promise<{ host: string; port: number; url: string }> {
    const { host = "127.0.0.1", port = 6443, peer = {} } = options;
    if (this.clock.manual && !options.underManualClock && !this.#parts.kit) {
      throw new TypeError(
        'Cannot listen under a manual clock: start the cluster with clock "real", or say underManualClock',
      );
    }
    const shown = options.advertise ??
      (EVERY_ADDRESS.has(host) ? firstAddress(Deno.networkInterfaces()) : host);
    this.#names = [shown, ...options.names ?? [], ...peer.ip ? [peer.ip] : []];
    const material = await this.#parts.upkeep.identity(host);
    await publishAuthentication(
      this.client,
      authenticationData({
        clientAuthorityPem: material.trustPem,
        frontProxyPem: await this.#parts.frontProxy.authorityPem(),
      }),
    );
    const tls = this.#tls(material);
    const listener = await this.api.listen({ host, port, tls });
    this.#listening.push(listener);
    this.#url ??= urlOf({ host: shown, port: listener.port });
    const { ranges } = this.#parts;
    await this.#publish(material.trustPem);
    await this.#parts.peers?.start({
      url: urlOf({ host: peer.ip ?? shown, port: peer.port || listener.port }),
      endpoint: ranges ? advertised(ranges) : endpointOf(shown, listener.port),
    });
    // Pods reach the server by the `kubernetes` Service, whose endpoint this is.
    const pods = ranges && this.#listening.length === 1 ? advertised(ranges) : undefined;
    if (pods && !(EVERY_ADDRESS.has(host) && listener.port === pods.port)) {
      this.#listening.push(await this.api.listen({ host: pods.ip, port: pods.port, tls }));
    }
    if (!this.clock.manual) await this.#listenAsNodes(tls);
    this.#parts.upkeep.renewLater(host, options.renewed);
    await this.#parts.kit?.begin();
    return { host, port: listener.port, url: urlOf({ host: shown, port: listener.port }) };
  }

  /** Opens the nodes' own ports, at those of their addresses that are this machine's and have it free. */
  async #listenAsNodes(tls: TlsFiles): Promise<void> {
    for (const { name, addresses } of this.#parts.nodes) {
      for (const host of addresses) {
        const opening = this.api.listen({ host, port: KUBELET_PORT, tls, node: name });
        const listener = await opening.catch((error) => {
          const place = `${host}:${KUBELET_PORT}`;
          this.#parts.log("debug", "a node is not asked at its own port", {
            node: name,
            place,
            error: String(error),
          });
        });
        if (listener) this.#listening.push(listener);
      }
    }
  }

  /** Tells machines that want to join what they need to know. */
  async #publish(authorityPem: string): Promise<void> {
    await Promise.all([
      publishClusterInfo(this.client, { server: this.#url, authorityPem }),
      publishJoining(this.client, this.#parts.cidrs),
    ]);
  }

  /**
   * Puts a new certificate authority in the place of the old one, while the cluster runs. Nobody is shut out: the new
   * one is vouched for by the old one, and what the old one signed stays good until it ends.
   */
  async rotateAuthority(): Promise<void> {
    const { trustPem } = await this.#parts.upkeep.rotateAuthority();
    if (!this.#url) return;
    await publishClusterInfo(this.client, { server: this.#url, authorityPem: trustPem });
  }

  /** Signs ServiceAccount tokens with a new key from now on; those of former keys stay good until they end. */
  async rotateTokenKey(): Promise<void> {
    await this.#parts.upkeep.rotateTokenKey();
  }

  /** Refuses tokens of all keys but the newest from now on. */
  async dropOldTokenKeys(): Promise<void> {
    await this.#parts.upkeep.dropOldTokenKeys();
  }

  /** What it serves with, and whose client certificates are good. */
  #tls({ trustPem, server }: Material): TlsFiles {
    const { serving, clientAuthorities, authentication } = this.#ground.options;
    const cert = serving?.cert ?? server.certificatePem;
    const key = serving?.key ?? server.keyPem;
    const users = [trustPem, clientAuthorities].filter(Boolean).join("\n");
    this.#parts.authorities.users = users;
    const proxies = authentication?.requestHeader?.authorities;
    return { cert, key, ca: proxies ? `${users}\n${proxies}` : users };
  }

  /**
   * Makes a new key at rest and seals everything anew with it, while the cluster runs. The former keys stay until
   * `dropOldSealingKeys`, which refuses while history still needs one.
   */
  async rotateSealingKey(): Promise<void> {
    await this.#ground.database.seals.rotate();
  }

  /** Ids of the keys at rest, the newest of the database's own first. */
  sealingKeys(): readonly string[] {
    return this.#ground.database.seals.ids();
  }

  /** Forgets all sealing keys but the newest. */
  async dropOldSealingKeys(): Promise<void> {
    await this.#ground.database.seals.drop();
  }

  /** A kubeconfig for the administrator; the cluster must be listening. */
  async kubeconfig(): Promise<string> {
    return createKubeconfig(await this.access());
  }

  /** A link by which a browser logs in to the dashboard as the administrator: once, within minutes. */
  async loginLink(): Promise<string> {
    if (!this.#url) throw new Error("Cannot make a link: the cluster does not listen");
    return loginLink(this.#url, await this.#parts.auth.logins.code(ADMIN));
  }

  /** What a kubeconfig says, to be merged into another one. */
  async access() {
    if (!this.#url) throw new Error("Cannot make a kubeconfig: the cluster does not listen");
    const { trustPem, admin } = await this.#parts.upkeep.identity();
    return {
      server: this.#url,
      authorityPem: this.#ground.options.serving?.cert ?? trustPem,
      certificatePem: admin.certificatePem,
      keyPem: admin.keyPem,
    };
  }

  /**
   * Lets everything happen that has something to do: mail, watches, commits, and under a manual clock what is
   * due at later times, up to `within` ms ahead (default 60,000). Rejects with the actors still busy when it
   * does not come to rest (under a real clock: within that time; under a manual one: when they go on and on at one time).
   */
  async settle({ within = 60_000 }: { within?: number } = {}): Promise<void> {
    await settler(this.clock, () => this.#parts)({ within });
  }

  /** What tests do with it beside speaking to its API. Throws where it was started without `testKit`. */
  get kit(): TestKit {
    const { kit } = this.#parts;
    if (kit) return kit;
    throw new TypeError("The cluster has no test kit: start it with testKit: true");
  }

  /** Every actor of this process; none in a fork that nobody has touched. */
  actors(): ActorReport[] {
    return this.#made?.system.report() ?? [];
  }

  /** How an object became what it is: from the request that began it, through every actor. */
  story(object: StoryOf): Promise<Story> {
    return storyOf(this.#parts, object);
  }

  /** The whole state as bytes, to start another cluster from. */
  snapshot(): Promise<Uint8Array> {
    return this.#ground.database.snapshot();
  }

  /**
   * Another cluster that begins where this one is now, or was: both go on without each other. Nothing is copied, so that
   * it takes the same however large the cluster is; its parts begin to work when it is first touched. Its clock goes on
   * from here by itself. It lives in memory, and its nodes are simulated: processes are not forked.
   */
  fork(options: ForkOptions = {}): Promise<Cluster> {
    return this.#fork(options);
  }

  async #fork({ at: moment, ...own }: ForkOptions, audit?: Auditor): Promise<Cluster> {
    const { database, options: { data: _, ...same }, log } = this.#ground;
    const { objects } = database;
    const at = moment === undefined ? undefined : await momentOf(objects, moment);
    const options = {
      ...same,
      ...forkOptions(same, clusterRanges(this.#ground.ranges, same)),
      ...own,
    };
    const startMs = at === undefined ? this.#ground.clock.now() : await objects.timeOf(at);
    const stream = at ?? objects.view().revision;
    const clock = clockOf(options, { startMs, stream });
    const forked = await database.fork({ clock, at });
    const tokenKeys = await openTokenKeys(forked.settings);
    const logins = await forked.settings.get(LOGINS);
    const ranges = undefined;
    const listings = this.#listings ??= new Listings();
    return new Cluster({
      options,
      clock,
      database: forked,
      ranges,
      tokenKeys,
      logins,
      log,
      audit,
      listings,
    });
  }

  /** An incident as the lines of a file: the state at a moment, and every revision until another; without secrets. */
  async export(moments: { from?: Moment; to?: Moment } = {}): Promise<Uint8Array> {
    const lines = await exportOf(this.#ground, moments);
    return await new Response(ReadableStream.from(lines)).bytes();
  }

  /** What changed between two revisions or times (default: until now). */
  diff(from: Moment, to?: Moment, options?: DiffOptions): Promise<Diff> {
    return diffOf(this.#parts, { from, to }, options);
  }

  /** The cluster as it was at a revision, or at a time, to be read. */
  async at(moment: Moment) {
    const { api, database } = this.#parts;
    const found = await api.past.at(await momentOf(database.objects, moment), timeNamed(moment));
    return { ...found, client: found.client(ADMIN) };
  }

  /** This cluster as a door of a platform's sees it. */
  served(): ServedCluster {
    const parts = this.#parts;
    // Nobody waits for it: who wants to join looks until it is there
    parts.upkeep.identity().then(({ trustPem }) => this.#publish(trustPem)).catch((error) => {
      if (this.#stopped) return;
      parts.log("warn", "could not tell machines how to join", { error: String(error) });
    });
    return servedCluster({ ...parts, busy: () => busyOf(parts), stop: () => this.stop() });
  }

  /** Stops in reverse order of starting. Everything answered is durable. */
  stop(): Promise<void> {
    return this.#stopped ??= this.#stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(): Promise<void> {
    await this.#forks.stop();
    if (!this.#made) return await this.#ground.database.close();
    const { system, informers, database, keys, ranges, api, upkeep, nodes, ...more } = this.#made;
    const { simulated, shared, peers } = more;
    upkeep.stop();
    await Promise.all(nodes.map((node) => node.shutDown()));
    await peers?.stop();
    await api.shutdown();
    await Promise.all(nodes.map((node) => node.stop()));
    await Promise.all(simulated.map((nodes) => nodes.stop()));
    await system.stop();
    shared.storageDrivers?.close();
    await informers.stop();
    await api.close();
    await database.close();
    await keys?.close();
    await ranges?.release();
  }
}
