/** Network: pods among themselves and behind services of every type. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  type Behaviour,
  type Manifest,
  NO_LOW_PORTS,
  type PodSketch,
  service,
} from "./behaviour.ts";
import { get, type Program, serve, STAY } from "./programs.ts";
import { eventually, type Scene } from "./scene.ts";

const listening = (port: number) => ({ tcpSocket: { port }, periodSeconds: 1 });

/** A pod that answers on 8080 with its name, and is ready then. */
export function server(app: string, more: PodSketch = {}): PodSketch {
  const { container, ...rest } = more;
  return {
    run: serve(8080),
    metadata: { labels: { app } },
    container: { readinessProbe: listening(8080), ...container },
    ...rest,
  };
}

const HTTP = [{ port: 80, targetPort: 8080 }];

/** Servers of a service, ready. */
async function servers(scene: Scene, app: string, ...names: string[]): Promise<void> {
  for (const name of names) await scene.pod(name, server(app));
  for (const name of names) await scene.ready(name);
}

/** A pod to ask from. */
export async function client(scene: Scene): Promise<void> {
  await scene.pod("client", { run: STAY });
  await scene.ready("client");
}

const addressOf = async (scene: Scene, name: string): Promise<string> =>
  (await scene.get("Service", name)).spec.clusterIP;

/** Who answers, asked some times. */
async function heard(scene: Scene, url: string, times = 8): Promise<string[]> {
  const said = new Set<string>();
  // In one process: starting one for each question would take most of the time.
  const program: Program = {
    sh: `for i in $(seq ${times}); do timeout 2 wget -qO- ${url}; echo; done`,
    ts: `for (let i = 0; i < ${times}; i++) {
      say(await fetch(${
      JSON.stringify(url)
    }, { headers: { connection: "close" } }).then((a) => a.text(), () => ""));
    }`,
  };
  for (const line of (await scene.says("client", program)).split("\n")) said.add(line);
  said.delete("");
  return [...said].sort();
}

/** Both of two answer sooner or later. */
const bothAnswer = (scene: Scene, url: string, wanted: string[]) =>
  eventually(`answers of ${wanted}`, async () => {
    const said = await heard(scene, url);
    return said.length === wanted.length && said.every((one, i) => one === wanted[i]);
  });

/** How a connection is refused. */
const refusal = (url: string): Program => ({
  sh: `timeout 4 wget -qO- ${url} 2>&1; true`,
  ts: `const signal = AbortSignal.timeout(4000);
    say(await fetch(${
    JSON.stringify(url)
  }, { signal }).then((a) => a.text(), (e) => e.message + e.cause))`,
});

/** Answers with the address that asked. */
const WHO_ASKS: Program = {
  ts: `Deno.serve({ port: 8080 }, (_, { remoteAddr }) => new Response(remoteAddr.hostname))`,
};

/** Answers each datagram with a word. */
const ECHO = (port: number): Program => ({
  ts: `const socket = Deno.listenDatagram({ port: ${port}, hostname: "0.0.0.0", transport: "udp" });
    on("SIGTERM", () => Deno.exit(0));
    for await (const [, from] of socket) await socket.send(new TextEncoder().encode("datagram"), from);`,
});
/** Sends datagrams until one is answered. */
const SEND = (host: string, port: number): Program => ({
  ts: `const socket = Deno.listenDatagram({ port: 0, hostname: "0.0.0.0", transport: "udp" });
    const to = { transport: "udp", hostname: ${JSON.stringify(host)}, port: ${port} };
    const send = () => socket.send(new TextEncoder().encode("x"), to);
    send(); const timer = setInterval(send, 300); setTimeout(() => { say("no answer"); Deno.exit() }, 5000);
    const [answer] = await socket.receive(); clearInterval(timer);
    say(new TextDecoder().decode(answer)); Deno.exit();`,
});

const endpoints = (scene: Scene, name: string) =>
  scene.client.list<Manifest>(scene.target("EndpointSlice"), {
    labelSelector: `kubernetes.io/service-name=${name}`,
  }).then(({ items }) =>
    items.flatMap((slice) =>
      (slice.endpoints ?? []).filter((one: Manifest) => one.conditions.ready)
        .map((one: Manifest) => one.targetRef?.name ?? one.addresses[0])
    ).sort()
  );

const PODS: readonly Behaviour[] = [
  {
    name: "Granular Checks: Pods should function for intra-pod communication: http",
    then: async (scene) => {
      await servers(scene, "a", "p");
      await client(scene);
      const { podIP } = (await scene.get("Pod", "p")).status;
      await scene.answers("client", get(`http://${podIP}:8080/`), "p");
    },
  },
  {
    name: "Granular Checks: Pods should function for intra-pod communication: udp",
    pod: { run: ECHO(8081) },
    then: async (scene) => {
      const { podIP } = (await scene.ready("p")).status;
      await scene.pod("client", { run: { ts: STAY.ts } });
      await scene.ready("client");
      await scene.answers("client", SEND(podIP, 8081), "datagram");
    },
  },
  {
    name: "Granular Checks: Pods should function between nodes of containers and of isolates",
    alone: "there is no other node",
    then: async (scene) => {
      await servers(scene, "a", "p");
      await scene.create(service("a", HTTP));
      const other = scene.other();
      await other.pod("client", { run: STAY });
      await other.ready("client");
      const { podIP } = (await scene.get("Pod", "p")).status;
      await other.answers("client", get(`http://${podIP}:8080/`), "p");
      await other.answers("client", get("http://a/"), "p");
    },
  },
  {
    name: "Pods should reach the cluster's own API by its service, with their account's rights",
    pod: {
      run: {
        ts: `const account = "/var/run/secrets/kubernetes.io/serviceaccount/";
          const client = Deno.createHttpClient({ caCerts: [read(account + "ca.crt")] });
          const headers = { authorization: "Bearer " + read(account + "token") };
          const ask = (path) => fetch("https://kubernetes.default.svc" + path, { client, headers });
          say((await ask("/version")).status, (await ask("/api/v1/secrets")).status);`,
      },
      spec: { automountServiceAccountToken: true },
    },
    log: "200 403\n",
  },
  {
    name:
      "HostPort validates that there is no conflict between pods with same hostPort but different hostIP " +
      "and protocol",
    not: { isolate: "its pods listen on this machine as they are: there are no ports to map" },
    then: async (scene) => {
      const hostPort = 20_000 + Number(scene.namespace.slice(2));
      await scene.pod("first", { run: STAY });
      const { spec: { nodeName }, status: { hostIP } } = await scene.ready("first");
      const at = (ip: string, protocol: string) =>
        server("a", {
          container: {
            readinessProbe: listening(8080),
            ports: [{ containerPort: 8080, hostPort, hostIP: ip, protocol }],
          },
        });
      await scene.pod("p", at("127.0.0.1", "TCP"));
      await scene.pod("q", at(hostIP, "TCP"));
      await scene.pod("r", at(hostIP, "UDP"));
      for (const name of ["p", "q", "r"]) {
        assertEquals((await scene.ready(name)).spec.nodeName, nodeName);
      }
      await scene.answers("first", get(`http://${hostIP}:${hostPort}/`), "q");
      await eventually(
        "the other by the loopback",
        async () => await (await fetch(`http://127.0.0.1:${hostPort}/`)).text() === "p",
      );
    },
  },
  {
    name:
      "Pod Lifecycle should be able to connect from a Pod to a terminating Pod, and from it to others",
    then: async (scene) => {
      await servers(scene, "a", "q");
      await scene.pod("p", {
        ...server("b", { container: { lifecycle: { preStop: { sleep: { seconds: 60 } } } } }),
        spec: { terminationGracePeriodSeconds: 90 },
      });
      const { podIP } = (await scene.ready("p")).status;
      await client(scene);
      await scene.delete("Pod", "p");
      await scene.is("Pod", "p", ({ metadata }) => metadata.deletionTimestamp);
      await scene.answers("client", get(`http://${podIP}:8080/`), "p");
      const other = (await scene.get("Pod", "q")).status.podIP;
      await scene.answers("p", get(`http://${other}:8080/`), "q");
    },
  },
];

const BASIC: readonly Behaviour[] = [
  {
    name: "Services should serve a basic endpoint from pods, and none when they have gone",
    objects: [service("a", HTTP)],
    then: async (scene) => {
      await client(scene);
      assertEquals(await endpoints(scene, "a"), []);
      await servers(scene, "a", "p", "q");
      await eventually("both", async () => (await endpoints(scene, "a")).join() === "p,q");
      await bothAnswer(scene, "http://a/", ["p", "q"]);
      await scene.gone("Pod", "p");
      await eventually("one", async () => (await endpoints(scene, "a")).join() === "q");
      await eventually("its answer", async () => (await heard(scene, "http://a/")).join() === "q");
    },
  },
  {
    name:
      "Services should serve multiport endpoints from pods, by name, and be updated after adding ports",
    objects: [
      service("a", [{ name: "one", port: 80, targetPort: 8080 }]),
    ],
    pod: {
      run: {
        sh: `mkdir /tmp/w; echo -n second > /tmp/w/index.html; httpd -p 8081 -h /tmp/w; ${
          serve(8080, "first").sh
        }`,
        ts: `${serve(8080, "first").ts} ${serve(8081, "second").ts}`,
      },
      metadata: { labels: { app: "a" } },
      container: {
        ports: [{ name: "more", containerPort: 8081 }],
        readinessProbe: listening(8081),
      },
    },
    then: async (scene) => {
      await scene.ready("p");
      await client(scene);
      await scene.answers("client", get("http://a/"), "first");
      const ports = [...(await scene.get("Service", "a")).spec.ports, {
        name: "two",
        port: 81,
        targetPort: "more",
      }];
      await scene.patch("Service", "a", { spec: { ports } });
      await scene.answers("client", get("http://a:81/"), "second");
      await scene.answers("client", get("http://a/"), "first");
    },
  },
  {
    name: "Services should function for node-Service: http, and for a NodePort",
    not: { isolate: NO_LOW_PORTS },
    objects: [service("a", HTTP, { type: "NodePort" })],
    then: async (scene) => {
      await servers(scene, "a", "p");
      await client(scene);
      const { clusterIP, ports: [{ nodePort }] } = (await scene.get("Service", "a")).spec;
      assert(nodePort >= 30_000 && nodePort <= 32_767);
      const ask = (host: string) =>
        eventually(
          `an answer of ${host}`,
          async () =>
            await (await fetch(`http://${host}/`, { headers: { connection: "close" } })).text() ===
              "p",
        );
      await ask(clusterIP);
      const { hostIP } = (await scene.get("Pod", "p")).status;
      await ask(`${hostIP}:${nodePort}`);
      await scene.answers("client", get(`http://${hostIP}:${nodePort}/`), "p");
    },
  },
  {
    name: "Services should function for pod-Service: udp, on the same port as tcp",
    not: { isolate: NO_LOW_PORTS },
    objects: [service("a", [
      { name: "tcp", port: 80, targetPort: 8080 },
      { name: "udp", port: 80, protocol: "UDP", targetPort: 8080 },
    ])],
    then: async (scene) => {
      await scene.pod("p", { ...server("a"), run: { ts: `${serve(8080).ts} ${ECHO(8080).ts}` } });
      await scene.ready("p");
      await scene.pod("client", { run: { ts: STAY.ts } });
      await scene.ready("client");
      const ip = await addressOf(scene, "a");
      await scene.answers("client", { ts: get(`http://${ip}/`).ts }, "p");
      await scene.answers("client", SEND(ip, 80), "datagram");
    },
  },
  {
    name: "Services should allow pods to hairpin back to themselves through services",
    objects: [service("a", HTTP)],
    then: async (scene) => {
      await servers(scene, "a", "p");
      await scene.answers("p", get("http://a/"), "p");
    },
  },
  {
    name: "Services should preserve source pod IP for traffic thru service cluster IP",
    not: { isolate: "a process asks from whichever of its machine's addresses the kernel takes" },
    objects: [service("a", HTTP)],
    pod: { ...server("a"), run: WHO_ASKS },
    then: async (scene) => {
      await scene.ready("p");
      await client(scene);
      const { podIP } = (await scene.get("Pod", "client")).status;
      await scene.answers("client", get("http://a/"), podIP);
    },
  },
  {
    name: "Services should work after the service has been recreated, at another port",
    objects: [service("a", HTTP)],
    then: async (scene) => {
      await servers(scene, "a", "p");
      await client(scene);
      const ip = await addressOf(scene, "a");
      await scene.answers("client", get(`http://${ip}/`), "p");
      await scene.gone("Service", "a");
      await scene.answers("client", get(`http://${ip}/`), "no answer");
      await scene.create(service("a", [{ port: 88, targetPort: 8080 }], { clusterIP: ip }));
      await scene.answers("client", get(`http://${ip}:88/`), "p");
    },
  },
  {
    name: "Services should be rejected when no endpoints exist",
    objects: [service("a", HTTP)],
    then: async (scene) => {
      await client(scene);
      const ip = await addressOf(scene, "a");
      await scene.answers("client", refusal(`http://${ip}/`), /[Cc]onnection refused/);
    },
  },
  {
    name:
      "Services should support named targetPorts that resolve to different ports on different endpoints",
    objects: [service("a", [{ port: 80, targetPort: "web" }])],
    then: async (scene) => {
      for (const [name, port] of [["p", 8080], ["q", 8090]] as const) {
        await scene.pod(name, {
          ...server("a"),
          run: serve(port),
          container: {
            ports: [{ name: "web", containerPort: port }],
            readinessProbe: listening(port),
          },
        });
      }
      await scene.ready("p");
      await scene.ready("q");
      await client(scene);
      await bothAnswer(scene, "http://a/", ["p", "q"]);
    },
  },
  {
    name: "Services should connect to the ports exposed by restartable init containers",
    objects: [service("a", [{ port: 80, targetPort: "side" }])],
    pod: {
      run: STAY,
      metadata: { labels: { app: "a" } },
      spec: {
        initContainers: [{
          name: "side",
          restartPolicy: "Always",
          run: serve(8085, "sidecar"),
          ports: [{ name: "side", containerPort: 8085 }],
          readinessProbe: listening(8085),
        }],
      },
    },
    then: async (scene) => {
      await scene.ready("p");
      await scene.answers("p", get("http://a/"), "sidecar");
    },
  },
  {
    name: "Services should create endpoints for unready pods, if PublishNotReadyAddresses is true",
    objects: [
      service("a", HTTP),
      service("b", HTTP, { selector: { app: "a" }, publishNotReadyAddresses: true }),
    ],
    pod: {
      ...server("a"),
      container: { readinessProbe: { exec: { run: "false" }, periodSeconds: 1 } },
    },
    then: async (scene) => {
      await client(scene);
      await scene.answers("client", get("http://b/"), "p");
      assertEquals(await endpoints(scene, "a"), []);
      assertEquals(await scene.says("client", get("http://a/")), "no answer");
    },
  },
  {
    name: "Services should fallback to terminating endpoints when there are no ready endpoints",
    objects: [service("a", HTTP)],
    pod: {
      ...server("a", { container: { lifecycle: { preStop: { sleep: { seconds: 60 } } } } }),
      spec: { terminationGracePeriodSeconds: 90 },
    },
    then: async (scene) => {
      await scene.ready("p");
      await client(scene);
      await scene.delete("Pod", "p");
      await eventually("no ready endpoint", async () => (await endpoints(scene, "a")).length === 0);
      await scene.answers("client", get("http://a/"), "p");
    },
  },
  {
    name: "Services should function for service endpoints using hostNetwork",
    objects: [service("a", [{ port: 80, targetPort: 20_777 }])],
    alone: "a port of this machine may be anybody's",
    then: async (scene) => {
      const port = 21_000 + Number(scene.namespace.slice(2));
      await scene.patch("Service", "a", { spec: { ports: [{ port: 80, targetPort: port }] } });
      await scene.pod("p", {
        ...server("a"),
        run: serve(port, "of the host"),
        container: { readinessProbe: listening(port) },
        spec: { hostNetwork: true },
      });
      await scene.ready("p");
      await client(scene);
      await scene.answers("client", get("http://a/"), "of the host");
    },
  },
];

const affinity = (type: string): Behaviour => ({
  name:
    `Services should have session affinity work for service with type ${type}, and be able to switch it`,
  objects: [service("a", HTTP, { type, sessionAffinity: "ClientIP" })],
  then: async (scene) => {
    await servers(scene, "a", "p", "q", "r");
    await client(scene);
    const { clusterIP, ports: [{ nodePort }] } = (await scene.get("Service", "a")).spec;
    const { hostIP } = (await scene.get("Pod", "client")).status;
    const url = type === "NodePort" ? `http://${hostIP}:${nodePort}/` : `http://${clusterIP}/`;
    await eventually("an answer", async () => (await heard(scene, url, 1)).length === 1);
    assertEquals((await heard(scene, url, 12)).length, 1);
    await scene.patch("Service", "a", { spec: { sessionAffinity: "None" } });
    await eventually("others' answers", async () => (await heard(scene, url, 12)).length > 1);
  },
});

/** A service that becomes one of another type. */
const becomes = (
  from: object,
  to: object,
  title: string,
  sees: (scene: Scene) => Promise<unknown>,
): Behaviour => ({
  name: `Services should be able to change the type from ${title}`,
  objects: [service("other", HTTP), service("a", HTTP, from)],
  then: async (scene) => {
    await servers(scene, "a", "p");
    await scene.pod("o", server("other"));
    await scene.ready("o");
    await client(scene);
    await scene.patch("Service", "a", { spec: to });
    await sees(scene);
  },
});
const external = {
  type: "ExternalName",
  externalName: "other.NAMESPACE.svc.cluster.local",
  clusterIP: null,
};

const TYPES: readonly Behaviour[] = [
  affinity("ClusterIP"),
  affinity("NodePort"),
  becomes(
    external,
    { type: "ClusterIP", externalName: null },
    "ExternalName to ClusterIP",
    (scene) => scene.answers("client", get("http://a/"), "p"),
  ),
  becomes(
    external,
    { type: "NodePort", externalName: null, ports: [{ port: 80, targetPort: 8080 }] },
    "ExternalName to NodePort",
    async (scene) => {
      const { ports: [{ nodePort }] } = (await scene.get("Service", "a")).spec;
      const { hostIP } = (await scene.get("Pod", "client")).status;
      await scene.answers("client", get(`http://${hostIP}:${nodePort}/`), "p");
    },
  ),
  becomes(
    {},
    external,
    "ClusterIP to ExternalName",
    // The name is another's from now on, and so is who answers there.
    (scene) => scene.answers("client", get("http://a:80/"), "o"),
  ),
  {
    name:
      "Services should be possible to connect to a service via ExternalIP when the external IP is not " +
      "assigned to a node",
    not: { isolate: "its machine, here, has no route to such an address, as every process needs" },
    then: async (scene) => {
      const ip = `203.0.113.${1 + Number(scene.namespace.slice(2)) % 250}`;
      await scene.create(service("a", HTTP, { externalIPs: [ip] }));
      await servers(scene, "a", "p");
      await client(scene);
      await scene.answers("client", get(`http://${ip}/`), "p");
    },
  },
  {
    name: "LoadBalancers should work for type=LoadBalancer, with an address at once",
    objects: [service("a", HTTP, { type: "LoadBalancer" })],
    then: async (scene) => {
      const [{ ip, ipMode }] = await scene.is(
        "Service",
        "a",
        ({ status }) => status?.loadBalancer?.ingress,
      );
      assertEquals(ipMode, "VIP");
      await servers(scene, "a", "p");
      await client(scene);
      await scene.answers("client", get(`http://${ip}/`), "p");
    },
  },
  {
    name: "Services should implement service.kubernetes.io/service-proxy-name and headless",
    objects: ["service-proxy-name", "headless"].map((label, i) => ({
      ...service(`s${i}`, HTTP, { selector: { app: "a" } }),
      metadata: { name: `s${i}`, labels: { [`service.kubernetes.io/${label}`]: "foo" } },
    })),
    then: async (scene) => {
      await servers(scene, "a", "p");
      await scene.create(service("a", HTTP));
      await client(scene);
      await scene.answers("client", get("http://a/"), "p");
      for (const name of ["s0", "s1"]) {
        assertEquals(
          await scene.says("client", get(`http://${await addressOf(scene, name)}/`)),
          "no answer",
        );
      }
      await scene.patch("Service", "s0", {
        metadata: { labels: { "service.kubernetes.io/service-proxy-name": null } },
      });
      await scene.answers("client", get(`http://${await addressOf(scene, "s0")}/`), "p");
    },
  },
  {
    name: "Proxy should proxy through a service and a pod",
    objects: [service("a", [{ name: "web", port: 80, targetPort: 8080 }])],
    then: async (scene) => {
      await servers(scene, "a", "p");
      const of = `/api/v1/namespaces/${scene.namespace}`;
      for (
        const path of ["pods/p:8080", "services/a:80", "services/a:web", "services/http:a:web"]
      ) {
        await eventually(
          `an answer of ${path}`,
          async () => await (await scene.fetch(`${of}/${path}/proxy/`)).text() === "p",
        );
      }
      const refused = await scene.fetch(`${of}/services/none/proxy/`);
      assertMatch((await refused.json()).message, /services "none" not found/);
    },
  },
];

/** A service without a selector, whose endpoints others write. */
const own = service("a", [{ name: "web", port: 80 }], { selector: undefined });

const WRITTEN: readonly Behaviour[] = [
  {
    name:
      "EndpointSlice should support a Service with multiple endpoint IPs specified in multiple EndpointSlices",
    objects: [own],
    then: async (scene) => {
      await servers(scene, "a", "p", "q");
      for (const name of ["p", "q"]) {
        const { podIP } = (await scene.get("Pod", name)).status;
        await scene.create({
          apiVersion: "discovery.k8s.io/v1",
          kind: "EndpointSlice",
          metadata: { name, labels: { "kubernetes.io/service-name": "a" } },
          addressType: "IPv4",
          ports: [{ name: "web", port: 8080, protocol: "TCP" }],
          endpoints: [{ addresses: [podIP] }],
        });
      }
      await client(scene);
      await bothAnswer(scene, "http://a/", ["p", "q"]);
    },
  },
  {
    name:
      "EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete",
    objects: [own],
    then: async (scene) => {
      await servers(scene, "a", "p", "q");
      await client(scene);
      const subsetsOf = async (name: string) => [{
        addresses: [{ ip: (await scene.get("Pod", name)).status.podIP }],
        ports: [{ name: "web", port: 8080 }],
      }];
      const kind = { apiVersion: "v1", kind: "Endpoints", metadata: { name: "a" } };
      await scene.create({ ...kind, subsets: await subsetsOf("p") });
      await scene.answers("client", get("http://a/"), "p");
      await scene.patch("Endpoints", "a", { subsets: await subsetsOf("q") });
      await scene.answers("client", get("http://a/"), "q");
      await scene.delete("Endpoints", "a");
      await scene.answers("client", get("http://a/"), "no answer");
    },
  },
];

export const SERVICES: readonly Behaviour[] = [...PODS, ...BASIC, ...TYPES, ...WRITTEN];
