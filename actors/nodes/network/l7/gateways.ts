/**
 * The Gateway API's objects as the L7 proxy's actor sees them: watched once their kinds are there, whoever defined them,
 * and told what became of them.
 */
import type { Informer } from "../../../../api/client/contract.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../../../api/machinery/types.ts";
import { formatTime } from "../../../../api/machinery/time.ts";
import type { ActorContext } from "../../../runtime/contract.ts";
import { NAMESPACES } from "../../types.ts";
import { gatewayDefinitions } from "./gateway_crds.ts";
import {
  type Condition,
  GATEWAY_CONTROLLER,
  type GatewayPlan,
  type GatewayPlans,
  gatewayPlans,
  type GatewayWorld,
  type ParentStatus,
} from "./gateway_routes.ts";

type Obj = DeepReadonly<KubeObject>;

const GROUP = "gateway.networking.k8s.io";
const of = (plural: string, version = "v1") => ({ group: GROUP, version, plural });
const [CLASSES, GATEWAYS, ROUTES] = ["gatewayclasses", "gateways", "httproutes"].map((plural) =>
  of(plural)
);
const GRANTS = of("referencegrants", "v1beta1");
const DEFINITIONS = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
};
/** The class that is made. */
const CLASS = "plesio";

interface Watched {
  classes: Informer;
  gateways: Informer;
  routes: Informer;
  grants?: Informer;
}

/** See the module's text. */
export class Gateways {
  readonly #context: ActorContext;
  readonly #look: () => void;
  readonly #definitions: Informer;
  readonly #unsubscribe: (() => void)[] = [];
  #watched: Watched | undefined;

  /** `look` is called when there is something new. */
  constructor(context: ActorContext, look: () => void) {
    this.#context = context;
    this.#look = look;
    this.#definitions = context.informers.for(DEFINITIONS);
    this.#unsubscribe.push(this.#definitions.subscribe(({ key }) => {
      if (key.endsWith(`.${GROUP}`)) look();
    }));
  }

  /** Makes the kinds, where a cluster does not have them. */
  async define(): Promise<void> {
    for (const definition of gatewayDefinitions()) {
      await unlessThere(this.#context.client.create({ resource: DEFINITIONS }, definition));
    }
  }

  close(): void {
    for (const end of this.#unsubscribe) end();
  }

  /** What is to be served and told; undefined while the kinds are not there. */
  async plans(
    world: Pick<GatewayWorld, "service" | "secret">,
  ): Promise<GatewayPlans | undefined> {
    if (!this.#established(CLASSES) || !this.#established(GATEWAYS) || !this.#established(ROUTES)) {
      return undefined;
    }
    const { classes, gateways, routes, grants } = this.#watched ??= await this.#watch();
    const { informers } = this.#context;
    return gatewayPlans({
      ...world,
      classes: classes.list(),
      gateways: gateways.list(),
      routes: routes.list(),
      grants: grants?.list() ?? [],
      namespace: (name) => informers.for(NAMESPACES).get(name),
    });
  }

  #established({ plural, version }: ReturnType<typeof of>): boolean {
    const { spec, status } = this.#definitions.get(`${plural}.${GROUP}`) ?? {} as Obj;
    return (spec?.versions ?? []).some((v: Obj) => v.name === version && v.served) &&
      (status?.conditions ?? []).some((c: Obj) => c.type === "Established" && c.status === "True");
  }

  async #watch(): Promise<Watched> {
    const { client, informers } = this.#context;
    await unlessThere(client.create({ resource: CLASSES }, {
      apiVersion: `${GROUP}/v1`,
      kind: "GatewayClass",
      metadata: { name: CLASS },
      spec: { controllerName: GATEWAY_CONTROLLER },
    }));
    const [classes, gateways, routes] = [CLASSES, GATEWAYS, ROUTES].map((resource) =>
      informers.for(resource)
    );
    const grants = this.#established(GRANTS) ? informers.for(GRANTS) : undefined;
    const all = [classes, gateways, routes, ...(grants ? [grants] : [])];
    await Promise.all(all.map((informer) => informer.whenSynced()));
    this.#unsubscribe.push(...all.map((informer) => informer.subscribe(this.#look)));
    return { classes, gateways, routes, grants };
  }

  /** Writes what became of classes and routes. */
  async tell({ classes, routes }: GatewayPlans): Promise<void> {
    for (const found of classes) {
      const { generation = 0 } = found.metadata;
      const accepted: Condition = {
        type: "Accepted",
        status: "True",
        reason: "Accepted",
        message: "",
        observedGeneration: generation,
      };
      const conditions = this.#merged(found.status?.conditions, [accepted]);
      if (conditions) await this.#write(CLASSES, found, { conditions });
    }
    for (const [route, told] of routes) await this.#tellRoute(route, told);
  }

  async #tellRoute(route: Obj, told: readonly ParentStatus[]): Promise<void> {
    const present = (route.status?.parents ?? []) as readonly Obj[];
    const others = present.filter(({ controllerName }) => controllerName !== GATEWAY_CONTROLLER);
    const own = present.filter(({ controllerName }) => controllerName === GATEWAY_CONTROLLER);
    let changed = own.length !== told.length;
    const parents = told.map(({ parentRef, conditions }) => {
      const before = own.find((one) => JSON.stringify(one.parentRef) === JSON.stringify(parentRef));
      const merged = this.#merged(before?.conditions, conditions);
      changed ||= merged !== undefined;
      return {
        parentRef,
        controllerName: GATEWAY_CONTROLLER,
        conditions: merged ?? before!.conditions,
      };
    });
    if (changed) await this.#write(ROUTES, route, { parents: [...others, ...parents] });
  }

  /** Writes what became of a Gateway; without an address it is not programmed. */
  async tellGateway({ gateway, ports, listeners }: GatewayPlan, address?: string): Promise<void> {
    const { generation: observedGeneration = 0 } = gateway.metadata;
    const usable = ports.length > 0;
    const condition = (type: string, yes: boolean, reason: string): Condition => ({
      type,
      status: yes ? "True" : "False",
      reason,
      message: "",
      observedGeneration,
    });
    const invalid = listeners.some(({ conditions }) =>
      conditions.some(({ type, status }) => type === "Programmed" && status === "False")
    );
    const wanted = [
      condition("Accepted", usable, invalid ? "ListenersNotValid" : "Accepted"),
      condition(
        "Programmed",
        usable && address !== undefined,
        !usable ? "Invalid" : address === undefined ? "AddressNotAssigned" : "Programmed",
      ),
    ];
    const { status } = gateway;
    const conditions = this.#merged(status?.conditions, wanted);
    const before = (status?.listeners ?? []) as readonly Obj[];
    let changed = conditions !== undefined || before.length !== listeners.length ||
      status?.addresses?.[0]?.value !== address;
    const all = listeners.map((listener) => {
      const old = before.find(({ name }) => name === listener.name);
      const merged = this.#merged(old?.conditions, listener.conditions);
      changed ||= merged !== undefined || old?.attachedRoutes !== listener.attachedRoutes;
      return { ...listener, conditions: merged ?? old!.conditions };
    });
    if (!changed) return;
    await this.#write(GATEWAYS, gateway, {
      conditions: conditions ?? status.conditions,
      listeners: all,
      addresses: address ? [{ type: "IPAddress", value: address }] : [],
    });
  }

  /** Conditions with their times: one that says the same keeps its own. Undefined: all of them do. */
  #merged(present: readonly Obj[] = [], wanted: readonly Condition[]): object[] | undefined {
    const now = formatTime(this.#context.clock.now());
    let changed = present.length !== wanted.length;
    const merged = wanted.map((condition) => {
      const before = present.find(({ type }) => type === condition.type);
      const { status, reason, message, observedGeneration } = condition;
      if (
        before?.status === status && before.reason === reason && before.message === message &&
        before.observedGeneration === observedGeneration
      ) return before;
      changed = true;
      const lastTransitionTime = before?.status === status ? before.lastTransitionTime : now;
      return { ...condition, lastTransitionTime };
    });
    return changed ? merged : undefined;
  }

  async #write(resource: ReturnType<typeof of>, object: Obj, status: object): Promise<void> {
    const { namespace, name, uid } = object.metadata;
    await this.#context.client.patch({ resource, namespace, name, subresource: "status" }, {
      type: "merge",
      body: { metadata: { uid }, status } as never,
    }).catch((error) => {
      if (!(error instanceof ApiError && error.status.reason === "NotFound")) throw error;
    });
  }
}

async function unlessThere(created: Promise<unknown>): Promise<void> {
  await created.catch((error) => {
    if (!(error instanceof ApiError && error.status.reason === "AlreadyExists")) throw error;
  });
}
