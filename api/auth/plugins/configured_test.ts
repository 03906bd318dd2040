/** Plugins that are told something by the administrator. */
import { assertEquals } from "@std/assert";
import { fakeOutbound, type FakeServer } from "../../client/outbound_fixture.ts";
import { inOrder } from "../authorize.ts";
import { RbacAuthorizer } from "../rbac.ts";
import { admission, admit, messageOf, namespace, State, stillClock } from "../state_fixture.ts";
import { withCredentials } from "../webhook_credentials.ts";
import { createPlugins, type PluginOptions } from "./mod.ts";
import { pod } from "./plugin_fixture.ts";

const ENDPOINT = { url: "https://images.example.com/" };

function setup(name: string, options: PluginOptions, server: FakeServer = () => ({})) {
  const state = new State();
  const { clock, set } = stillClock();
  const outbound = fakeOutbound(server);
  const authorizer = inOrder([new RbacAuthorizer(() => state.view())]);
  const plugins = createPlugins(
    { view: () => state.view(), clock, authorizer, outbound: () => outbound },
    { enable: [name], ...options },
  );
  state.put("/registry/namespaces/ns", namespace("ns"));
  const plugin = plugins.find((one) => one.name === name)!;
  const write = (given: Parameters<typeof admission>[1]) =>
    admission(state, { namespace: "ns", ...given });
  return { state, plugin, write, set, clock, calls: outbound.calls };
}

Deno.test("ImagePolicyWebhook asks once about the same images, for as long as an answer counts", async () => {
  let status: Record<string, unknown> = { allowed: true, auditAnnotations: { k: "v" } };
  const { plugin, write, state, set, clock, calls } = setup(
    "ImagePolicyWebhook",
    { imagePolicy: { endpoint: ENDPOINT, allowMs: 1_000, denyMs: 0 } },
    () => ({ json: { apiVersion: "imagepolicy.k8s.io/v1alpha1", kind: "ImageReview", status } }),
  );
  const annotations = { "x.image-policy.k8s.io/y": "1", other: "2" };
  const a = () =>
    write({
      resource: "pods",
      object: pod({ containers: [{ image: "a" }], initContainers: [{ image: "b" }] }, {
        annotations,
      }),
    });
  const first = a();
  assertEquals(await messageOf(() => admit(plugin, first, state)), "");
  assertEquals(first.annotations, { "imagepolicywebhook.image-policy.k8s.io/k": "v" });
  assertEquals(calls[0].body, {
    kind: "ImageReview",
    apiVersion: "imagepolicy.k8s.io/v1alpha1",
    metadata: {},
    spec: {
      containers: [{ image: "a" }, { image: "b" }],
      annotations: { "x.image-policy.k8s.io/y": "1" },
      namespace: "ns",
    },
    status: { allowed: false },
  });
  await admit(plugin, a(), state);
  assertEquals(calls.length, 1);
  set(clock.now() + 1_000);
  status = { allowed: false, reason: "old" };
  for (let i = 0; i < 2; i++) {
    assertEquals(
      await messageOf(() => admit(plugin, a(), state)),
      `pods "web" is forbidden: image policy webhook backend denied one or more images: old`,
    );
  }
  assertEquals(calls.length, 3);
});

Deno.test("ImagePolicyWebhook lets nobody in when nobody answers, unless it is told to", async () => {
  const broken: FakeServer = () => ({ status: 503, text: "" });
  const closed = setup("ImagePolicyWebhook", { imagePolicy: { endpoint: ENDPOINT } }, broken);
  assertEquals(
    await messageOf(() =>
      admit(closed.plugin, closed.write({ resource: "pods", object: pod() }), closed.state)
    ),
    `pods "web" is forbidden: the server is currently unable to handle the request`,
  );
  const imagePolicy = { endpoint: ENDPOINT, defaultAllow: true };
  const open = setup("ImagePolicyWebhook", { imagePolicy }, broken);
  const a = open.write({ resource: "pods", object: pod() });
  assertEquals(await messageOf(() => admit(open.plugin, a, open.state)), "");
  assertEquals(a.annotations, { "imagepolicywebhook.image-policy.k8s.io/failed-open": "true" });
  assertEquals(a.object!.metadata.annotations, { "alpha.image-policy.k8s.io/failed-open": "true" });
});

Deno.test("PodSecurity judges by its defaults, but not whom it exempts", async () => {
  const { plugin, write, state } = setup("PodSecurity", {
    podSecurity: {
      defaults: { enforce: { level: "baseline" } },
      exemptions: { namespaces: ["free"], usernames: ["bob"], runtimeClasses: ["vm"] },
    },
  });
  const object = () => pod({ hostNetwork: true, containers: [{ name: "c", image: "x" }] });
  const judged = async (given: object) => {
    const a = write({ resource: "pods", object: object(), ...given });
    return [await messageOf(() => admit(plugin, a, state)), a.annotations] as const;
  };
  const [message] = await judged({});
  assertEquals(
    message.startsWith(`pods "web" is forbidden: violates PodSecurity "baseline:latest"`),
    true,
  );
  const exempt = (why: string) => ({ "pod-security.kubernetes.io/exempt": why });
  assertEquals(await judged({ namespace: "free" }), ["", exempt("namespace")]);
  assertEquals(await judged({ user: { name: "bob", groups: [] } }), ["", exempt("user")]);
  const vm = object();
  vm.spec.runtimeClassName = "vm";
  assertEquals(await judged({ object: vm }), ["", exempt("runtimeClass")]);
  state.put(
    "/registry/namespaces/ns",
    namespace("ns", {
      labels: { "pod-security.kubernetes.io/enforce": "privileged" },
    }),
  );
  assertEquals((await judged({}))[0], "");
  const labels = { "pod-security.kubernetes.io/warn": "restricted" };
  const free = write({
    resource: "namespaces",
    namespace: "",
    name: "free",
    object: namespace("free", { labels }),
  });
  await admit(plugin, free, state);
  assertEquals(free.warnings, [
    `namespace "free" is exempt from Pod Security, and the policy (warn=restricted:latest) will be ignored`,
  ]);
});

Deno.test("ResourceQuota refuses what is limited and no quota covers", async () => {
  const { plugin, write, state } = setup("ResourceQuota", {
    limitedResources: [
      { resource: "pods", matchContains: ["cpu"] },
      {
        resource: "pods",
        matchScopes: [{ scopeName: "PriorityClass", operator: "In", values: ["high"] }],
      },
    ],
  });
  const object = (spec: object = {}) =>
    pod({ containers: [{ name: "c", resources: { requests: { cpu: "1" } } }], ...spec });
  const refused = (spec?: object) =>
    messageOf(() => admit(plugin, write({ resource: "pods", object: object(spec) }), state));
  assertEquals(
    await refused(),
    `pods "web" is forbidden: insufficient quota to consume: cpu,requests.cpu`,
  );
  assertEquals(await refused({ containers: [{ name: "c" }] }), "");
  state.put("/registry/resourcequotas/ns/q", {
    metadata: { name: "q", namespace: "ns" },
    spec: { hard: { cpu: "9", "requests.cpu": "9" } },
    status: { hard: { cpu: "9", "requests.cpu": "9" }, used: { cpu: "0", "requests.cpu": "0" } },
  });
  assertEquals(await refused(), "");
  assertEquals(
    await refused({ priorityClassName: "high" }),
    "insufficient quota to match these scopes: [{PriorityClass In [high]}]",
  );
});

Deno.test("withCredentials() finds the user that is for a server", () => {
  const users = {
    "a.example.com:8443": { bearerToken: "port" },
    "a.example.com": { bearerToken: "host" },
    "*.example.com": { bearerToken: "star" },
    "*.svc": { bearerToken: "services" },
    "*": { bearerToken: "any" },
  };
  const tokenFor = (endpoint: object) => withCredentials(endpoint, users).bearerToken;
  assertEquals(
    [
      "https://a.example.com:8443/x",
      "https://a.example.com/",
      "https://b.example.com",
      "https://c.d",
    ]
      .map((url) => tokenFor({ url })),
    ["port", "host", "star", "any"],
  );
  assertEquals(tokenFor({ service: { namespace: "n", name: "s" } }), "services");
  assertEquals(withCredentials({ url: "https://c.d" }, {}), { url: "https://c.d" });
});
