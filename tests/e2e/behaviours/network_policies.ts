/** Network: who may speak to whom. */
import { type Behaviour, type Manifest, NO_ROOT, service } from "./behaviour.ts";
import { server } from "./network_services.ts";
import { get, serve, STAY } from "./programs.ts";
import type { Scene } from "./scene.ts";

const policy = (name: string, spec: object): Manifest => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name },
  spec: { podSelector: {}, ...spec },
});
const from = (...peers: Manifest[]) => [{ from: peers }];
const pods = (matchLabels: object) => ({ podSelector: { matchLabels } });
const SERVER = { podSelector: { matchLabels: { app: "server" } } };
const URL = "http://server/";

/** A server behind a service, and two pods that ask. */
async function three(scene: Scene): Promise<void> {
  await scene.create(service("server", [{ name: "web", port: 80, targetPort: 8080 }]));
  await scene.pod(
    "server",
    server("server", {
      run: serve(8080, "served"),
      container: {
        readinessProbe: { exec: { run: "true" }, periodSeconds: 1 },
        ports: [{ name: "web", containerPort: 8080 }],
      },
    }),
  );
  for (const name of ["a", "b"]) {
    await scene.pod(name, { run: STAY, metadata: { labels: { is: name } } });
  }
  for (const name of ["server", "a", "b"]) await scene.ready(name);
  for (const name of ["a", "b"]) await may(scene, name);
}
const may = (scene: Scene, name: string, url = URL) => scene.answers(name, get(url), "served");
const mayNot = (scene: Scene, name: string, url = URL) =>
  scene.answers(name, get(url), "no answer");

const row = (name: string, then: Behaviour["then"]): Behaviour => ({
  name: `NetworkPolicy ${name}`,
  not: { isolate: NO_ROOT },
  then: async (scene) => {
    await three(scene);
    await then!(scene);
  },
});

export const POLICIES: readonly Behaviour[] = [
  row(
    "should support a 'default-deny-ingress' policy, and stop enforcing it after it is deleted",
    async (scene) => {
      await scene.create(policy("deny", { policyTypes: ["Ingress"] }));
      await mayNot(scene, "a");
      await scene.delete("NetworkPolicy", "deny");
      await may(scene, "a");
    },
  ),
  row(
    "should enforce policy to allow traffic from pods within server namespace based on PodSelector",
    async (scene) => {
      await scene.create(policy("a", { ...SERVER, ingress: from(pods({ is: "a" })) }));
      await mayNot(scene, "b");
      await may(scene, "a");
    },
  ),
  row("should allow ingress access from updated pod, and deny it", async (scene) => {
    await scene.create(policy("good", { ...SERVER, ingress: from(pods({ is: "good" })) }));
    await mayNot(scene, "a");
    await scene.patch("Pod", "a", { metadata: { labels: { is: "good" } } });
    await may(scene, "a");
    await scene.patch("Pod", "a", { metadata: { labels: { is: "bad" } } });
    await mayNot(scene, "a");
  }),
  row(
    "should enforce policy based on NamespaceSelector with MatchExpressions, and PodSelector",
    async (scene) => {
      const key = "kubernetes.io/metadata.name";
      const selector = (values: string[], operator = "In") => ({
        namespaceSelector: { matchExpressions: [{ key, operator, values }] },
      });
      await scene.create(
        policy("others", { ...SERVER, ingress: from(selector([scene.namespace], "NotIn")) }),
      );
      await mayNot(scene, "a");
      const own = { ...selector([scene.namespace]), ...pods({ is: "a" }) };
      await scene.patch("NetworkPolicy", "others", { spec: { ingress: from(own) } });
      await may(scene, "a");
      await mayNot(scene, "b");
    },
  ),
  row("should allow ingress access on one named port", async (scene) => {
    await scene.create(policy("web", { ...SERVER, ingress: [{ ports: [{ port: "web" }] }] }));
    await may(scene, "a");
    await scene.patch("NetworkPolicy", "web", { spec: { ingress: [{ ports: [{ port: 81 }] }] } });
    await mayNot(scene, "a");
  }),
  row("should not allow access by TCP when a policy specifies only UDP", async (scene) => {
    const ports = [{ port: 8080, protocol: "UDP" }];
    await scene.create(policy("udp", { ...SERVER, ingress: [{ ports }] }));
    await mayNot(scene, "a");
  }),
  row(
    "should enforce multiple, stacked policies with overlapping podSelectors, allow-all taking precedence",
    async (scene) => {
      await scene.create(policy("deny", { policyTypes: ["Ingress"] }));
      await mayNot(scene, "a");
      await scene.create(policy("all", { ...SERVER, ingress: [{}] }));
      await may(scene, "a");
      await may(scene, "b");
    },
  ),
  row("should deny egress from pods based on PodSelector", async (scene) => {
    await scene.create(policy("quiet", {
      podSelector: { matchLabels: { is: "a" } },
      policyTypes: ["Egress"],
    }));
    await mayNot(scene, "a");
    await may(scene, "b");
  }),
  row(
    "should allow egress access to server in CIDR block, and enforce except clause",
    async (scene) => {
      const { podIP } = (await scene.get("Pod", "server")).status;
      const url = `http://${podIP}:8080/`;
      const block = (more = {}) => [{ to: [{ ipBlock: { cidr: "10.0.0.0/8", ...more } }] }];
      await scene.create(
        policy("block", {
          podSelector: { matchLabels: { is: "a" } },
          policyTypes: ["Egress"],
          egress: block(),
        }),
      );
      await may(scene, "a", url);
      await scene.patch("NetworkPolicy", "block", {
        spec: { egress: block({ except: [`${podIP}/32`] }) },
      });
      await mayNot(scene, "a", url);
      await may(scene, "b", url);
    },
  ),
];
