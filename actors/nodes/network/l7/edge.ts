/**
 * The L7 proxy of a cluster, as an actor: what Ingresses and Gateways say becomes ports that are listened on, and where
 * they answer is written into their status. Routes are made anew at each change; requests look up the endpoints of a
 * service in the caches, so that pods that come and go change nothing here.
 *
 * Without Ingress or Gateway it holds no address and listens on nothing.
 */
import type { Informer } from "../../../../api/client/contract.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../../../api/machinery/types.ts";
import type { ActorContext, Behaviour } from "../../../runtime/contract.ts";
import { ENDPOINT_SLICES, SECRETS, SERVICES } from "../../types.ts";
import { BY_SERVICE, serviceOf } from "../endpoints.ts";
import { candidatesOf, type Place, reachable, type ServicePort } from "../traffic.ts";
import type { Upstream } from "./edge_server.ts";
import {
  certificateFor,
  Contexts,
  ensureFront,
  type Front,
  type FrontPort,
  isFront,
  keyOfFront,
  Listeners,
  noteMoves,
} from "./fronts.ts";
import { Gateways } from "./gateways.ts";
import {
  INGRESS_CONTROLLER,
  ingressCertificates,
  ingressRoutes,
  isOurs,
  ownClasses,
} from "./ingress_routes.ts";
import { type Backend, inOrder } from "./routes.ts";

type Obj = DeepReadonly<KubeObject>;

const networking = (plural: string) => ({ group: "networking.k8s.io", version: "v1", plural });
const CLASSES = networking("ingressclasses");
const INGRESSES = networking("ingresses");

/** The one message: look at everything. */
const SYNC = "sync";
/** Changes that come within this of each other are looked at together, in ms. */
const GATHER_MS = 10;
/** The class that is made, and its front. */
const CLASS = "plesio";
const FRONT = { namespace: "kube-system", name: "plesio-ingress" };

/** Options of `edge`. */
export interface EdgeOptions {
  /** Which nodes are here, for hints of topology. */
  place(context: ActorContext): Place;
  /** Whether the Gateway API's kinds are made (false); they are served in any case where they are there. */
  gatewayApi?: boolean;
  /** Where an endpoint answers on this machine; undefined: it must not be dialled. */
  locate(endpoint: { ip: string; port: number }): { hostname: string; port: number } | undefined;
  /** Called after each look. */
  applied?(): void;
}

interface State {
  classes: Informer;
  ingresses: Informer;
  services: Informer;
  slices: Informer;
  gateways: Gateways;
  /** Once a certificate was named. */
  secrets?: Informer;
  /** Secrets that are looked at. */
  named: Set<string>;
  contexts: Contexts;
  listeners: Listeners;
  unsubscribe: (() => void)[];
}

/** The actor: `l7/<machine>`. */
export function edge(options: EdgeOptions): Behaviour<State> {
  return {
    async start(context) {
      const informer = (resource: typeof CLASSES) => context.informers.for(resource);
      const [classes, ingresses] = [informer(CLASSES), informer(INGRESSES)];
      const [services, slices] = [informer(SERVICES), informer(ENDPOINT_SLICES)];
      slices.index(BY_SERVICE, serviceOf);
      const look = () => context.send(context.address, SYNC, { delayMs: GATHER_MS });
      const unsubscribe = [
        classes.subscribe(look),
        ingresses.subscribe(look),
        services.subscribe(({ object, old }) => {
          if (isFront(object ?? old) || !object || !old) look();
        }),
      ];
      const gateways = new Gateways(context, look);
      const turns = new Map<string, number>();
      const upstream = (backend: Backend) =>
        upstreamOf(backend, { services, slices }, turns, context, options);
      const listeners = new Listeners({ clock: context.clock, upstream });
      await makeClass(context);
      if (options.gatewayApi) await gateways.define();
      look();
      const made = { contexts: new Contexts(), listeners, gateways, unsubscribe };
      return { classes, ingresses, services, slices, named: new Set(), ...made };
    },
    handle: async (_key, state, context) => {
      await sync(state, context);
      options.applied?.();
    },
    async stop(state) {
      for (const end of state.unsubscribe) end();
      state.gateways.close();
      await state.listeners.keep(new Set());
    },
  };
}

/** The class of ours that an Ingress gets which names none, once: who deletes it does not want it until the next start. */
async function makeClass({ client }: ActorContext): Promise<void> {
  await client.create({ resource: CLASSES }, {
    apiVersion: "networking.k8s.io/v1",
    kind: "IngressClass",
    metadata: {
      name: CLASS,
      annotations: { "ingressclass.kubernetes.io/is-default-class": "true" },
    },
    spec: { controller: INGRESS_CONTROLLER },
  }).catch((error) => {
    if (!(error instanceof ApiError && error.status.reason === "AlreadyExists")) throw error;
  });
}

/** Where requests for a backend go; undefined: there is no such port. */
function upstreamOf(
  { service: key, port }: Backend,
  { services, slices }: Pick<State, "services" | "slices">,
  turns: Map<string, number>,
  context: ActorContext,
  { place, locate }: EdgeOptions,
): Upstream | undefined {
  const service = key === undefined ? undefined : services.get(key);
  if (!service) return undefined;
  const ports = (service.spec.ports ?? []) as readonly (ServicePort & { appProtocol?: string })[];
  const found = ports.find((each) => each.port === port || each.name === port);
  if (!found) return undefined;
  const http2 = found.appProtocol === "kubernetes.io/h2c" || found.appProtocol === "grpc";
  if (service.spec.type === "ExternalName") {
    return { places: [{ hostname: service.spec.externalName, port: found.port }], http2 };
  }
  const here = place(context);
  const candidates = candidatesOf(slices.byIndex(BY_SERVICE, key!), found, 4, here.nodes);
  const places = reachable(candidates, here).cluster.flatMap((endpoint) => locate(endpoint) ?? []);
  const turn = (turns.get(key!) ?? 0) + 1;
  turns.set(key!, turn);
  const first = turn % Math.max(1, places.length);
  return { places: [...places.slice(first), ...places.slice(0, first)], http2 };
}

async function sync(state: State, context: ActorContext): Promise<void> {
  const classes = ownClasses(state.classes.list());
  const ingresses = [...state.ingresses.list()].filter((ingress) =>
    isOurs(ingress, classes) && !ingress.metadata.deletionTimestamp
  );
  const front = ingressFront(ingresses);
  state.named.clear();
  const kept = new Set<string>();
  if (front) {
    const address = await serve(front, kept, state, context);
    if (address) await tellIngresses(ingresses, address, context);
  }
  await serveGateways(kept, state, context);
  await state.listeners.keep(kept);
  if (!front && isFront(state.services.get(keyOfFront(FRONT)))) {
    const target = { resource: SERVICES, ...FRONT };
    await context.client.delete(target);
  }
}

/** Serves a front at its address; while it has none there is nothing to serve: the change that gives it one comes back. */
async function serve(
  front: Front,
  kept: Set<string>,
  state: State,
  context: ActorContext,
): Promise<string | undefined> {
  const address = await ensureFront(front, state.services, context);
  if (!address) return undefined;
  const secure = (port: FrontPort) => secureOf(port, state, context);
  const moves = await state.listeners.serve(address, front, secure, kept);
  await noteMoves(moves, front, state.services, context);
  return address;
}

/** Each Gateway has an address of its own. */
async function serveGateways(
  kept: Set<string>,
  state: State,
  context: ActorContext,
): Promise<void> {
  const plans = await state.gateways.plans({
    service: (key) => state.services.get(key),
    secret: (key) => {
      state.named.add(key);
      return (state.secrets ??= watchSecrets(state, context)).get(key);
    },
  });
  if (!plans) return;
  await state.gateways.tell(plans);
  for (const plan of plans.gateways) {
    const { gateway: owner, ports } = plan;
    const { namespace, name } = owner.metadata;
    const front = { namespace: namespace!, name: `plesio-gateway-${name}`, owner, ports };
    const address = ports.length > 0 ? await serve(front, kept, state, context) : undefined;
    await state.gateways.tellGateway(plan, address);
  }
}

/** All Ingresses share an address, as they share their hosts. */
function ingressFront(ingresses: readonly Obj[]): Front | undefined {
  if (ingresses.length === 0) return undefined;
  const routes = inOrder(ingresses.flatMap(ingressRoutes));
  const certificates = ingresses.flatMap(ingressCertificates);
  const ports: FrontPort[] = [{ port: 80, routes }];
  if (certificates.length > 0) ports.push({ port: 443, routes, certificates });
  return { ...FRONT, ports };
}

function secureOf({ certificates }: FrontPort, state: State, context: ActorContext) {
  if (!certificates) return undefined;
  const secrets = state.secrets ??= watchSecrets(state, context);
  const known = certificates.map((certificate) => {
    const { secret } = certificate;
    state.named.add(secret);
    const { context: made, why } = state.contexts.of(secret, secrets.get(secret));
    if (why && secrets.synced) {
      context.log("warn", "a certificate cannot be used", { error: why });
    }
    return { ...certificate, context: made };
  });
  return (name: string) => certificateFor(name, known);
}

function watchSecrets(state: State, context: ActorContext): Informer {
  const secrets = context.informers.for(SECRETS);
  state.unsubscribe.push(secrets.subscribe(({ key }) => {
    if (state.named.has(key)) context.send(context.address, SYNC, { delayMs: GATHER_MS });
  }));
  return secrets;
}

async function tellIngresses(
  ingresses: readonly Obj[],
  address: string,
  { client }: ActorContext,
): Promise<void> {
  for (const { metadata: { namespace, name, uid }, status } of ingresses) {
    const [present, ...others] = status?.loadBalancer?.ingress ?? [];
    if (present?.ip === address && others.length === 0) continue;
    const target = { resource: INGRESSES, namespace, name, subresource: "status" };
    const body = { metadata: { uid }, status: { loadBalancer: { ingress: [{ ip: address }] } } };
    await client.patch(target, { type: "merge", body }).catch((error) => {
      if (!(error instanceof ApiError && error.status.reason === "NotFound")) throw error;
    });
  }
}
