import { assertEquals } from "@std/assert";
import { RealClock } from "../../../../kv/clock.ts";
import { type Box, openBox } from "../../fixture_test.ts";
import { REMAPPED } from "../proxy.ts";
import { edge } from "./edge.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const INGRESSES = { group: "networking.k8s.io", version: "v1", plural: "ingresses" };
const SLICES = { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" };

/** Only Linux has all of 127/8. */
const ADDRESS = Deno.build.os === "linux" ? "127.93.0.20" : "127.0.0.1";

/** A service whose only endpoint is a server of this process. */
async function served(box: Box, name: string) {
  const http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => new Response(`${name} ${new URL(request.url).pathname}`),
  );
  const { port } = http.addr as Deno.NetAddr;
  const target = { namespace: "default" };
  await box.client.create({ resource: core("services"), ...target }, {
    metadata: { name },
    spec: {
      clusterIP: name === "a" ? "10.96.1.1" : "10.96.1.2",
      ports: [{ name: "http", port: 80 }],
    },
  });
  await box.client.create({ resource: SLICES, ...target }, {
    metadata: { name: `${name}-1`, labels: { "kubernetes.io/service-name": name } },
    addressType: "IPv4",
    ports: [{ name: "http", port, protocol: "TCP" }],
    endpoints: [{ addresses: ["10.244.0.9"] }],
  });
  return { [Symbol.asyncDispose]: () => http.shutdown() };
}

/** Plays the part of the controller that gives load balancers addresses. */
async function giveAddress(box: Box, namespace: string, name: string): Promise<void> {
  const target = { resource: core("services"), namespace, name };
  await box.until(`${name} to be made`, () => box.client.get(target).catch(() => undefined));
  await box.client.patch({ ...target, subresource: "status" }, {
    type: "merge",
    body: { status: { loadBalancer: { ingress: [{ ip: ADDRESS, ipMode: "VIP" }] } } },
  });
}

Deno.test("edge() serves what Ingresses say, tells them where, and lets go of the address after the last", async () => {
  await using box = await openBox({ clock: new RealClock() });
  await box.client.create({ resource: core("namespaces") }, { metadata: { name: "kube-system" } })
    .catch(() => undefined);
  await using _a = await served(box, "a");
  await using _b = await served(box, "b");
  box.system.spawn(
    "l7/test",
    edge({
      place: () => ({ nodes: new Set(["n"]) }),
      locate: ({ port }) => ({ hostname: "127.0.0.1", port }),
    }),
  );
  const ingress = async (name: string, spec: object) =>
    await box.client.create({ resource: INGRESSES, namespace: "default" }, {
      metadata: { name },
      spec: { ingressClassName: "plesio", ...spec },
    });
  const backend = (name: string) => ({ service: { name, port: { name: "http" } } });
  const path = (to: string) => ({ path: "/", pathType: "Prefix", backend: backend(to) });
  await box.until(
    "the class",
    () =>
      box.client.get({ resource: { ...INGRESSES, plural: "ingressclasses" }, name: "plesio" })
        .catch(() => undefined),
  );
  await ingress("web", { rules: [{ host: "a.test", http: { paths: [path("a")] } }] });
  await ingress("rest", { defaultBackend: backend("b") });
  await ingress("foreign", { ingressClassName: "other", defaultBackend: backend("a") });
  await giveAddress(box, "kube-system", "plesio-ingress");
  const told = (name: string) =>
    box.client.get({ resource: INGRESSES, namespace: "default", name }).then(({ status }) =>
      status?.loadBalancer?.ingress?.[0]?.ip
    );
  await box.until("the status", async () => await told("rest") && await told("web"));
  assertEquals([await told("web"), await told("foreign")], [ADDRESS, undefined]);
  const front = { resource: core("services"), namespace: "kube-system", name: "plesio-ingress" };
  const moved = await box.client.get(front).then(({ metadata }) =>
    metadata.annotations?.[REMAPPED]
  );
  const port = moved ? Number(moved.split(",")[0].split("=")[1]) : 80;
  const ask = async (host: string) => {
    const reply = await new Deno.Command("curl", {
      args: ["-s", "-m", "5", "-H", `host: ${host}`, `http://${ADDRESS}:${port}/x`],
    }).output();
    return new TextDecoder().decode(reply.stdout);
  };
  assertEquals([await ask("a.test"), await ask("other.test")], ["a /x", "b /x"]);
  for (const name of ["web", "rest"]) {
    await box.client.delete({ resource: INGRESSES, namespace: "default", name });
  }
  await box.until(
    "the address to be let go",
    () =>
      box.client.get(front).then(
        ({ metadata }) => metadata.deletionTimestamp !== undefined,
        () => true,
      ),
  );
  assertEquals(await ask("a.test"), "");
});

Deno.test("edge() defines the Gateway API's kinds when asked, and serves a Gateway at an address of its own", async () => {
  await using box = await openBox({ clock: new RealClock() });
  await using _a = await served(box, "a");
  box.system.spawn(
    "l7/test",
    edge({
      gatewayApi: true,
      place: () => ({ nodes: new Set(["n"]) }),
      locate: ({ port }) => ({ hostname: "127.0.0.1", port }),
    }),
  );
  const gateway = (plural: string) => ({
    group: "gateway.networking.k8s.io",
    version: "v1",
    plural,
  });
  const target = { resource: gateway("gateways"), namespace: "default", name: "edge" };
  await box.until(
    "the class",
    () =>
      box.client.get({ resource: gateway("gatewayclasses"), name: "plesio" }).catch(() =>
        undefined
      ),
  );
  await box.client.create({ resource: gateway("gateways"), namespace: "default" }, {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { name: "edge" },
    spec: {
      gatewayClassName: "plesio",
      listeners: [{ name: "http", port: 8931, protocol: "HTTP" }],
    },
  });
  await box.client.create({ resource: gateway("httproutes"), namespace: "default" }, {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name: "r" },
    spec: { parentRefs: [{ name: "edge" }], rules: [{ backendRefs: [{ name: "a", port: 80 }] }] },
  });
  await giveAddress(box, "default", "plesio-gateway-edge");
  const status = await box.until(
    "it to be programmed",
    () => box.client.get(target).then(({ status }) => status?.addresses?.length && status),
  );
  assertEquals(status.conditions.map((c: { type: string; status: string }) => [c.type, c.status]), [
    ["Accepted", "True"],
    ["Programmed", "True"],
  ]);
  await box.until(
    "the route to be attached",
    () => box.client.get(target).then(({ status }) => status?.listeners?.[0].attachedRoutes === 1),
  );
  const reply = await fetch(`http://${ADDRESS}:8931/x`);
  assertEquals(await reply.text(), "a /x");
});
