/**
 * Fronts: what the L7 proxy answers with at an address of its own. A Service of type LoadBalancer holds the address, so
 * that it comes from the same pool as any other; a label says that its traffic is no service proxy's affair.
 */
import { createSecureContext, type SecureContext } from "node:tls";
import { Buffer } from "node:buffer";
import type { Informer } from "../../../../api/client/contract.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../../../api/machinery/types.ts";
import type { ActorContext } from "../../../runtime/contract.ts";
import { SERVICES } from "../../types.ts";
import { PORT_SHIFT, REMAPPED } from "../proxy.ts";
import { PROXY_NAME } from "../traffic.ts";
import { EdgeServer, type EdgeServerOptions } from "./edge_server.ts";
import type { Certificate } from "./ingress_routes.ts";
import { hostMatches, type Route } from "./routes.ts";

type Obj = DeepReadonly<KubeObject>;

/** Who answers for a front's Service. */
const OWN_PROXY = "plesio.dev-l7";

/** A port of a front. */
export interface FrontPort {
  port: number;
  /** In their order. */
  routes: readonly Route[];
  /** With TLS. */
  certificates?: readonly Certificate[];
}

/** See the module's text. */
export interface Front {
  namespace: string;
  /** Of its Service. */
  name: string;
  /** The object that it is for; without it, it goes when it is not wanted any more. */
  owner?: Obj;
  ports: readonly FrontPort[];
}

export function keyOfFront({ namespace, name }: Pick<Front, "namespace" | "name">): string {
  return `${namespace}/${name}`;
}

/** Whether a Service is a front's. */
export function isFront(service: Obj | undefined): boolean {
  return service?.metadata.labels?.[PROXY_NAME] === OWN_PROXY;
}

/** Sees to it that a front has its Service, with its ports. Its address, once it has one. */
export async function ensureFront(
  front: Front,
  services: Informer,
  { client }: ActorContext,
): Promise<string | undefined> {
  const { namespace, name, owner } = front;
  const ports = front.ports.map(({ port }) => ({ name: `p${port}`, port, protocol: "TCP" }));
  const service = services.get(keyOfFront(front));
  const target = { resource: SERVICES, namespace, name };
  if (!service) {
    const references = owner && [{
      apiVersion: owner.apiVersion,
      kind: owner.kind,
      name: owner.metadata.name,
      uid: owner.metadata.uid,
      controller: true,
    }];
    await client.create({ resource: SERVICES, namespace }, {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, labels: { [PROXY_NAME]: OWN_PROXY }, ownerReferences: references },
      spec: { type: "LoadBalancer", allocateLoadBalancerNodePorts: false, ports },
    }).catch((error) => {
      if (!(error instanceof ApiError && error.status.reason === "AlreadyExists")) throw error;
    });
    return undefined;
  }
  if (!isFront(service)) throw new Error(`Service "${keyOfFront(front)}" is somebody else's`);
  const numbers = (list: readonly { port: number }[]) => list.map(({ port }) => port).join();
  if (numbers(service.spec.ports ?? []) !== numbers(ports)) {
    await client.patch(target, { type: "merge", body: { spec: { ports } } });
  }
  return service.status?.loadBalancer?.ingress?.[0]?.ip;
}

/** Certificates as contexts of TLS, each made once for a state of its Secret. */
export class Contexts {
  readonly #made = new Map<string, { version: string; context?: SecureContext; why?: string }>();

  /** The context of a Secret; a reason, where it has none. */
  of(key: string, secret: Obj | undefined): { context?: SecureContext; why?: string } {
    if (!secret) return { why: `secret "${key}" does not exist` };
    const version = `${secret.metadata.uid} ${secret.metadata.resourceVersion}`;
    const known = this.#made.get(key);
    if (known?.version === version) return known;
    const made = { version, ...contextOf(key, secret) };
    this.#made.set(key, made);
    return made;
  }
}

function contextOf(key: string, { data }: Obj): { context?: SecureContext; why?: string } {
  const text = (name: string) => Buffer.from(data?.[name] ?? "", "base64").toString();
  const [cert, own] = [text("tls.crt"), text("tls.key")];
  if (!cert || !own) return { why: `secret "${key}" has no tls.crt and tls.key` };
  try {
    return { context: createSecureContext({ cert, key: own }) };
  } catch (error) {
    return { why: `secret "${key}" is no certificate with its key: ${error}` };
  }
}

/** The certificate for a name: its own, one with a wildcard, one for any, else the first there is. */
export function certificateFor(
  name: string,
  certificates: readonly (Certificate & { context?: SecureContext })[],
): SecureContext | undefined {
  const usable = certificates.filter(({ context }) => context);
  for (const type of ["Exact", "Under", "Any"]) {
    const found = usable.find(({ host }) => host.type === type && hostMatches(host, name));
    if (found) return found.context;
  }
  return usable[0]?.context;
}

interface Listening {
  server: EdgeServer;
  /** The port it listens on, where not the one it is for. */
  moved?: number;
}

/** The ports that are listened on, by `address port`. */
export class Listeners {
  readonly #options: Pick<EdgeServerOptions, "clock" | "upstream">;
  readonly #all = new Map<string, Listening>();

  constructor(options: Pick<EdgeServerOptions, "clock" | "upstream">) {
    this.#options = options;
  }

  /** Listens on a front's ports, each with what it does now. Throws what the system says. */
  async serve(
    address: string,
    front: Front,
    secure: (port: FrontPort) => ((name: string) => SecureContext | undefined) | undefined,
    kept: Set<string>,
  ): Promise<string> {
    const moves: string[] = [];
    for (const port of front.ports) {
      const tls = port.certificates !== undefined;
      const id = `${address} ${port.port} ${tls ? "tls" : ""}`;
      kept.add(id);
      let listening = this.#all.get(id);
      if (!listening) this.#all.set(id, listening = await this.#listen(address, port.port, tls));
      listening.server.update({ routes: port.routes, secure: secure(port) });
      if (listening.moved) moves.push(`${port.port}=${listening.moved}`);
    }
    return moves.sort().join(",");
  }

  /** Closes all but some. */
  async keep(kept: ReadonlySet<string>): Promise<void> {
    for (const [id, { server }] of this.#all) {
      if (kept.has(id)) continue;
      this.#all.delete(id);
      await server.close();
    }
  }

  async #listen(hostname: string, known: number, tls: boolean): Promise<Listening> {
    const open = async (port: number) => {
      const server = new EdgeServer({ ...this.#options, hostname, port, known, tls });
      await server.listen();
      return server;
    };
    try {
      return { server: await open(known) };
    } catch (error) {
      const { code } = error as { code?: string };
      if ((code !== "EACCES" && code !== "EPERM") || known >= 1024) throw error;
      const moved = known + PORT_SHIFT;
      return { server: await open(moved), moved };
    }
  }
}

/** Notes at a front's Service which ports moved, as the service proxy does. */
export async function noteMoves(
  moves: string,
  front: Front,
  services: Informer,
  { client }: ActorContext,
): Promise<void> {
  const service = services.get(keyOfFront(front));
  if (!service || (service.metadata.annotations?.[REMAPPED] ?? "") === moves) return;
  const { namespace, name } = front;
  await client.patch({ resource: SERVICES, namespace, name }, {
    type: "merge",
    body: { metadata: { annotations: { [REMAPPED]: moves || null } } },
  });
}
