import { assertEquals, assertThrows } from "@std/assert";
import { parse } from "@std/yaml";
import { createKubeconfig, mergeKubeconfig, removeFromKubeconfig } from "./kubeconfig.ts";

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
