import { assert, assertEquals, assertThrows } from "@std/assert";
import { parse } from "@std/yaml";
import { createKubeconfig, mergeKubeconfig, removeFromKubeconfig } from "./kubeconfig.ts";
import { createTokenKey } from "./pki.ts";

const ACCESS = {
  server: "https://127.0.0.1:6443",
  authorityPem: "CA",
  certificatePem: "CERT",
  keyPem: "KEY",
};

// deno-lint-ignore no-explicit-any -- what YAML gives
const read = (text: string): any => parse(text);

Deno.test("createKubeconfig() names cluster, context and user plesio", () => {
  assertEquals(read(createKubeconfig(ACCESS)), {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "plesio",
    clusters: [{
      name: "plesio",
      cluster: { server: "https://127.0.0.1:6443", "certificate-authority-data": btoa("CA") },
    }],
    contexts: [{ name: "plesio", context: { cluster: "plesio", user: "plesio" } }],
    users: [{
      name: "plesio",
      user: { "client-certificate-data": btoa("CERT"), "client-key-data": btoa("KEY") },
    }],
  });
});

const MINE = `# kept by hand
apiVersion: v1
kind: Config
preferences: {colors: true}
current-context: work
extensions: [{name: x, extension: {a: 1}}]
clusters:
- {name: work, cluster: {server: "https://work", proxy-url: "http://p", insecure-skip-tls-verify: false}}
- {name: plesio, cluster: {server: "https://old"}}
contexts:
- {name: work, context: {cluster: work, user: me, namespace: "0123"}}
users:
- name: me
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: ["a", "on", "1e3"]}}
`;

Deno.test("mergeKubeconfig() replaces its own entries and touches nothing else", () => {
  const before = read(MINE);
  const merged = read(mergeKubeconfig(MINE, ACCESS));
  assertEquals(merged["current-context"], "plesio");
  assertEquals(merged.clusters.length, 2);
  assertEquals(merged.clusters[1].cluster.server, ACCESS.server);
  assertEquals(merged.clusters[0], before.clusters[0]);
  assertEquals(merged.users[0], before.users[0]);
  assertEquals(merged.contexts[0], before.contexts[0]);
  assertEquals(merged.preferences, before.preferences);
  assertEquals(merged.extensions, before.extensions);
  const again = mergeKubeconfig(mergeKubeconfig(MINE, ACCESS), ACCESS);
  assertEquals(again, mergeKubeconfig(MINE, ACCESS));
  const removed = read(removeFromKubeconfig(again));
  assertEquals(removed.users, before.users);
  assertEquals(removed["current-context"], "");
});

Deno.test("mergeKubeconfig() starts a new file from nothing", () => {
  for (const text of ["", "  \n", "---\n"]) {
    assertEquals(mergeKubeconfig(text, ACCESS), createKubeconfig(ACCESS));
  }
});

Deno.test("mergeKubeconfig() refuses what is no kubeconfig", () => {
  const cases: [string, string][] = [
    ["a: [", "cannot read the kubeconfig as YAML"],
    ["just text", "wanted a mapping, found a string"],
    ["[1, 2]", "wanted a mapping, found a list"],
    ["kind: Pod", 'its kind is "Pod"'],
    ["clusters: 3", "clusters is not a list of entries"],
    ["users: [3]", "users is not a list of entries"],
  ];
  for (const [text, message] of cases) {
    assertThrows(() => mergeKubeconfig(text, ACCESS), TypeError, message);
  }
});

const BY_HAND = `# my clusters
apiVersion: v1
kind: Config
clusters:   # two of them
  # the old one
  - name: old
    cluster:
      server: https://old   # do not touch
      port: 0123
  - cluster: {server: "https://stale"}
    name: plesio
  # the last
  - name: last
    cluster: {server: https://last}
contexts: []
users:
- name: me
  user:
    auth-provider:
      config:
        expiry: 2030-01-01T00:00:00Z
        number: 12345678901234567890

# end
current-context: old # mine
preferences: {}
`;

Deno.test("mergeKubeconfig() keeps comments and notation of what is not its own", () => {
  const merged = mergeKubeconfig(BY_HAND, ACCESS);
  for (const line of BY_HAND.split("\n")) {
    if (line.includes("stale") || line.includes("contexts:") || line.includes("current-context")) {
      continue;
    }
    if (line.trim() !== "name: plesio") assertEquals(merged.includes(line), true, line);
  }
  assertEquals(merged.includes("stale"), false);
  assertEquals(merged.includes("current-context: plesio"), true);
  const { clusters, contexts, users } = read(merged);
  assertEquals(clusters.map((c: { name: string }) => c.name), ["old", "plesio", "last"]);
  assertEquals(contexts.length, 1);
  assertEquals(users.map((u: { name: string }) => u.name), ["me", "plesio"]);
  const removed = removeFromKubeconfig(merged);
  assertEquals(read(removed).clusters.length, 2);
  assertEquals(read(removed).contexts, []);
  assertEquals(removed.includes("# the last"), true);
});

Deno.test("mergeKubeconfig() finds another way where lines cannot be edited", () => {
  const flow =
    '{"clusters": [{"name": "a", "cluster": {"server": "x"}}], "users": [], "contexts": []}';
  const { clusters } = read(mergeKubeconfig(flow, ACCESS));
  assertEquals(clusters.map((c: { name: string }) => c.name), ["a", "plesio"]);
  const anchored = "clusters: &all\n- name: a\n  cluster: {server: x}\nother: *all\n";
  const merged = read(mergeKubeconfig(anchored, ACCESS));
  assertEquals(merged.clusters.length, 2);
  assertEquals(merged.other.length, 1);
  const empty = read(mergeKubeconfig("clusters:\ncontexts: null\n", ACCESS));
  assertEquals([empty.clusters.length, empty.contexts.length, empty.users.length], [1, 1, 1]);
});

Deno.test("createKubeconfig() says that an EC key is one", () => {
  const text = createKubeconfig({ server: "https://x", keyPem: createTokenKey() });
  const [, data] = /client-key-data: (.*)/.exec(text)!;
  assert(atob(data).startsWith("-----BEGIN EC PRIVATE KEY-----\n"), atob(data));
});
