/** Network: names of services and pods, and what a pod's resolver is told. */
import { assertEquals, assertMatch } from "@std/assert";
import { type Behaviour, NO_LOW_PORTS, service } from "./behaviour.ts";
import { cat, type Program } from "./programs.ts";
import { eventually } from "./scene.ts";
import { client, server } from "./network_services.ts";

/** Prints what a resolver finds for a name: as programs do that just use it. */
const finds = (name: string): Program => ({
  sh: `ping -c1 -w1 ${name} 2>&1 | sed -n 's/^PING [^(]*(\\([^)]*\\)).*/\\1/p'`,
  ts: `const { lookup } = (await import("node:dns")).promises;
    say(await lookup(${JSON.stringify(name)}).then(({ address }) => address, (e) => e.code))`,
});
/** Prints the records of a full name. */
const records = (name: string, type: string): Program => ({
  sh: `nslookup -type=${type.toLowerCase()} ${name} 2>&1`,
  ts: `say(JSON.stringify(await Deno.resolveDns(${
    JSON.stringify(name)
  }, "${type}").catch((e) => e.name)))`,
});

const escaped = (text: string) => text.replaceAll(".", "\\.");
const HTTP = [{ name: "http", port: 80, targetPort: 8080 }];
const RESOLV = { run: cat("/etc/resolv.conf") };

export const NAMES: readonly Behaviour[] = [
  {
    name: "DNS should provide DNS for the cluster, also by partial qualified names",
    not: { isolate: NO_LOW_PORTS },
    then: async (scene) => {
      await client(scene);
      const at = { ...scene.at("Service", "kubernetes"), namespace: "default" };
      const { clusterIP } = (await scene.client.get(at)).spec;
      for (
        const name of [
          "kubernetes.default",
          "kubernetes.default.svc",
          "kubernetes.default.svc.cluster.local",
        ]
      ) {
        await scene.answers("client", finds(name), clusterIP);
      }
    },
  },
  {
    name: "DNS should provide DNS for services, also by partial qualified names",
    not: { isolate: NO_LOW_PORTS },
    objects: [service("a", HTTP)],
    then: async (scene) => {
      await client(scene);
      const { clusterIP } = (await scene.get("Service", "a")).spec;
      const { namespace } = scene;
      for (
        const name of [
          "a",
          `a.${namespace}`,
          `a.${namespace}.svc`,
          `a.${namespace}.svc.cluster.local`,
        ]
      ) {
        await scene.answers("client", finds(name), clusterIP);
      }
      await scene.answers("client", finds("none"), /^(ENOTFOUND|EAI_AGAIN)?$/);
    },
  },
  {
    name: "DNS should provide records A, SRV and PTR of services",
    not: { isolate: NO_LOW_PORTS },
    objects: [service("a", HTTP)],
    then: async (scene) => {
      await client(scene);
      const { clusterIP } = (await scene.get("Service", "a")).spec;
      const full = `a.${scene.namespace}.svc.cluster.local`;
      const ask = (name: string, type: string, wanted: RegExp) =>
        scene.answers("client", records(name, type), wanted);
      await ask(full, "A", new RegExp(escaped(clusterIP)));
      await ask(
        `_http._tcp.${full}`,
        "SRV",
        new RegExp(`(80 ${escaped(full)}|"port":80.*${escaped(full)})`),
      );
      const reversed = clusterIP.split(".").reverse().join(".");
      await ask(`${reversed}.in-addr.arpa`, "PTR", new RegExp(escaped(full)));
    },
  },
  {
    name:
      "DNS should provide DNS for pods of a headless service, for Hostname and Subdomain, and by address",
    not: { isolate: NO_LOW_PORTS },
    objects: [service("sub", HTTP, { clusterIP: "None", selector: { app: "a" } })],
    then: async (scene) => {
      await scene.pod("p", { ...server("a"), spec: { hostname: "called", subdomain: "sub" } });
      const { podIP } = (await scene.ready("p")).status;
      await client(scene);
      const { namespace } = scene;
      const domain = `${namespace}.svc.cluster.local`;
      await scene.answers("client", finds(`sub.${domain}`), podIP);
      await scene.answers("client", finds(`called.sub.${domain}`), podIP);
      await scene.answers("client", finds("called.sub"), podIP);
      const dashed = podIP.replaceAll(".", "-");
      await scene.answers("client", finds(`${dashed}.${namespace}.pod.cluster.local`), podIP);
    },
  },
  {
    name:
      "DNS should leave unready pods out of a headless service, unless they are to be published",
    not: { isolate: NO_LOW_PORTS },
    objects: [
      service("a", HTTP, { clusterIP: "None" }),
      service("b", HTTP, {
        clusterIP: "None",
        selector: { app: "a" },
        publishNotReadyAddresses: true,
      }),
    ],
    pod: {
      ...server("a"),
      container: { readinessProbe: { exec: { run: "false" }, periodSeconds: 1 } },
    },
    then: async (scene) => {
      const { status: { podIP } } = await scene.phase("p", "Running");
      await client(scene);
      await scene.answers("client", finds("b"), podIP);
      assertMatch(await scene.says("client", finds("a")), /^(ENOTFOUND|EAI_AGAIN)?$/);
    },
  },
  {
    name: "DNS should provide DNS for ExternalName services, and for what they become",
    not: { isolate: NO_LOW_PORTS },
    objects: [
      service("other", HTTP),
      service("a", HTTP, {
        type: "ExternalName",
        externalName: "other.NAMESPACE.svc.cluster.local",
      }),
    ],
    then: async (scene) => {
      await client(scene);
      const ipOf = async (name: string) => (await scene.get("Service", name)).spec.clusterIP;
      await scene.answers("client", finds("a"), await ipOf("other"));
      await scene.patch("Service", "a", { spec: { type: "ClusterIP", externalName: null } });
      await scene.answers("client", finds("a"), await ipOf("a"));
    },
  },
  {
    name: "DNS should support configurable pod DNS nameservers",
    pod: {
      ...RESOLV,
      spec: {
        dnsPolicy: "None",
        dnsConfig: { nameservers: ["1.1.1.1"], searches: ["resolv.conf.local"] },
      },
    },
    log: "search resolv.conf.local\nnameserver 1.1.1.1\n",
  },
  {
    name: "DNS should support configurable pod resolv.conf, merged with the cluster's",
    pod: {
      ...RESOLV,
      spec: {
        dnsConfig: {
          nameservers: ["1.1.1.1"],
          searches: ["my.search"],
          options: [{ name: "ndots", value: "2" }, { name: "edns0" }],
        },
      },
    },
    log:
      /^search b-\d+\.svc\.cluster\.local svc\.cluster\.local cluster\.local .*my\.search\nnameserver 1(0|27)\.\d+\.0\.10\nnameserver 1\.1\.1\.1\noptions ndots:2 edns0\n$/,
  },
  {
    name:
      "DNS should work with the pod containing more than 6 DNS search paths and longer than 256 search " +
      "list characters",
    pod: {
      ...RESOLV,
      spec: {
        dnsConfig: {
          searches: Array.from({ length: 12 }, (_, i) => `${"d".repeat(40)}${i}.example`),
        },
      },
    },
    log: /d{40}11\.example/,
  },
  {
    name:
      "DNS should be the machine's for policy Default and for hostNetwork, unless ClusterFirstWithHostNet is " +
      "asked for",
    pod: { ...RESOLV, spec: { dnsPolicy: "Default" } },
    ends: "Succeeded",
    then: async (scene) => {
      const own = await scene.logs("p");
      assertEquals(/svc\.cluster\.local/.test(own), false);
      for (const [name, dnsPolicy] of [["q", "ClusterFirst"], ["r", "ClusterFirstWithHostNet"]]) {
        await scene.once(name, { ...RESOLV, spec: { dnsPolicy, hostNetwork: true } });
      }
      assertEquals(await scene.logs("q"), own);
      assertMatch(await scene.logs("r"), /^search b-\d+\.svc\.cluster\.local /);
    },
  },
  {
    name: "DNS should provide /etc/hosts entries for the cluster",
    objects: [service("sub", HTTP, { clusterIP: "None" })],
    pod: { run: cat("/etc/hosts"), spec: { hostname: "called", subdomain: "sub" } },
    log: /^\d[\d.]+\tcalled\.sub\.b-\d+\.svc\.cluster\.local\tcalled$/m,
  },
  {
    name: "DNS should tell of services as they come and go",
    not: { isolate: NO_LOW_PORTS },
    then: async (scene) => {
      await client(scene);
      await scene.answers("client", finds("late"), /^(ENOTFOUND|EAI_AGAIN)?$/);
      await scene.create(service("late", HTTP));
      const { clusterIP } = (await scene.get("Service", "late")).spec;
      await scene.answers("client", finds("late"), clusterIP);
      await scene.gone("Service", "late");
      await eventually(
        "its end",
        async () => await scene.says("client", finds("late")) !== clusterIP,
      );
    },
  },
];
