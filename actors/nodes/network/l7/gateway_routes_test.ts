import { assertEquals } from "@std/assert";
import type { KubeObject } from "../../../../api/machinery/types.ts";
import { commonHosts, GATEWAY_CONTROLLER, gatewayPlans } from "./gateway_routes.ts";

type Spec = Record<string, unknown>;

const object = (name: string, spec: Spec, namespace = "default") =>
  ({ metadata: { name, namespace, generation: 1 }, spec }) as unknown as KubeObject;

const HTTP = { name: "http", port: 80, protocol: "HTTP" };
const REF = { name: "gw" };
const WEB = [{ backendRefs: [{ name: "web", port: 80 }] }];

/** The plan of one Gateway and one route. */
function planned(
  listeners: Spec[],
  route: Spec = {},
  more: { grants?: KubeObject[]; namespace?: string } = {},
) {
  const { grants = [], namespace } = more;
  const known = new Set(["default/web", "other/web", "default/cert"]);
  const found = (key: string) => known.has(key) ? object(key, {}) : undefined;
  const one = object(
    "r",
    { parentRefs: [{ ...REF, namespace: "default" }], rules: WEB, ...route },
    namespace,
  );
  const plans = gatewayPlans({
    classes: [object("plesio", { controllerName: GATEWAY_CONTROLLER })],
    gateways: [object("gw", { gatewayClassName: "plesio", listeners })],
    routes: [one],
    grants,
    namespace: (name) => ({ metadata: { name, labels: { team: name } } }) as unknown as KubeObject,
    service: found,
    secret: found,
  });
  const [plan] = plans.gateways;
  const said = (conditions: { type: string; reason: string }[] = []) =>
    Object.fromEntries(conditions.map(({ type, reason }) => [type, reason]));
  return {
    ports: plan.ports,
    listeners: plan.listeners.map(({ conditions, attachedRoutes }): Record<string, unknown> => ({
      ...said(conditions),
      attachedRoutes,
    })),
    route: said(plans.routes.get(one)?.[0].conditions),
  };
}

Deno.test("commonHosts() is what a listener and a route both have", () => {
  const cases: [own: string | undefined, asked: string[] | undefined, wanted: string[]][] = [
    [undefined, undefined, ["*"]],
    ["a.test", undefined, ["a.test"]],
    [undefined, ["a.test"], ["a.test"]],
    ["*.test", ["a.test", "b.c.test", "test", "x.example"], ["a.test", "b.c.test"]],
    ["a.b.test", ["*.test", "*.c.test"], ["a.b.test"]],
    ["*.test", ["*.test"], ["*.test"]],
    ["a.test", ["b.test"], []],
  ];
  for (const [own, asked, wanted] of cases) assertEquals(commonHosts(own, asked), wanted);
});

Deno.test("gatewayPlans() attaches routes, and says why it does not", async (t) => {
  const from = (from: string, selector?: object) => ({
    ...HTTP,
    allowedRoutes: { namespaces: { from, selector } },
  });
  const elsewhere = { namespace: "other" };
  const cases: [
    name: string,
    accepted: string,
    attached: number,
    () => ReturnType<typeof planned>,
  ][] = [
    ["a route of its namespace", "Accepted", 1, () => planned([HTTP])],
    ["none of another", "NotAllowedByListeners", 0, () => planned([HTTP], {}, elsewhere)],
    ["of all", "Accepted", 1, () => planned([from("All")], {}, elsewhere)],
    [
      "of those selected",
      "Accepted",
      1,
      () => planned([from("Selector", { matchLabels: { team: "other" } })], {}, elsewhere),
    ],
    [
      "a host it has not",
      "NoMatchingListenerHostname",
      0,
      () => planned([{ ...HTTP, hostname: "a.test" }], { hostnames: ["b.test"] }),
    ],
    [
      "a section it has not",
      "NoMatchingParent",
      0,
      () => planned([HTTP], { parentRefs: [{ ...REF, sectionName: "x" }] }),
    ],
    [
      "a filter that is not there",
      "UnsupportedValue",
      0,
      () => planned([HTTP], { rules: [{ filters: [{ type: "RequestMirror" }] }] }),
    ],
  ];
  for (const [name, accepted, attached, plan] of cases) {
    await t.step(name, () => {
      const { route, listeners, ports } = plan();
      assertEquals([route.Accepted, listeners[0].attachedRoutes], [accepted, attached]);
      assertEquals(ports[0].routes.length, attached);
    });
  }
});

Deno.test("gatewayPlans() looks up what is named, across namespaces only where granted", () => {
  const to = (ref: Spec) =>
    planned([HTTP], { rules: [{ backendRefs: [{ name: "web", port: 80, ...ref }] }] });
  assertEquals(to({}).route.ResolvedRefs, "ResolvedRefs");
  assertEquals(to({ name: "none" }).route.ResolvedRefs, "BackendNotFound");
  assertEquals(to({ kind: "Other" }).route.ResolvedRefs, "InvalidKind");
  assertEquals(to({ namespace: "other" }).route.ResolvedRefs, "RefNotPermitted");
  assertEquals(to({ name: "none" }).ports[0].routes[0].backends[0].service, undefined);
  const grant = object("g", {
    from: [{ group: "gateway.networking.k8s.io", kind: "HTTPRoute", namespace: "default" }],
    to: [{ group: "", kind: "Service" }],
  }, "other");
  const granted = planned([HTTP], {
    rules: [{ backendRefs: [{ name: "web", port: 80, namespace: "other" }] }],
  }, { grants: [grant] });
  assertEquals(granted.route.ResolvedRefs, "ResolvedRefs");
  assertEquals(granted.ports[0].routes[0].backends[0].service, "other/web");
});

Deno.test("gatewayPlans() judges listeners by protocol, conflicts and certificates", () => {
  const tls = (name: string) => ({
    name: "tls",
    port: 443,
    protocol: "HTTPS",
    tls: { certificateRefs: [{ name }] },
  });
  assertEquals(planned([{ ...HTTP, protocol: "TCP" }]).listeners[0], {
    Accepted: "UnsupportedProtocol",
    Programmed: "Invalid",
    attachedRoutes: 1,
  });
  assertEquals(planned([tls("cert")]).listeners[0].attachedRoutes, 1);
  const { ports, listeners } = planned([tls("none")]);
  assertEquals([ports, listeners[0]], [[], {
    Accepted: "Accepted",
    Conflicted: "NoConflicts",
    ResolvedRefs: "InvalidCertificateRef",
    Programmed: "Invalid",
    attachedRoutes: 1,
  }]);
  const both = planned([HTTP, { ...tls("cert"), port: 80 }, { ...HTTP, name: "again" }]).listeners;
  assertEquals(both.map((each) => each.Conflicted), [
    "NoConflicts",
    "ProtocolConflict",
    "HostnameConflict",
  ]);
});
