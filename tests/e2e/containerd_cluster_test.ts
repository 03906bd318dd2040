/** A whole cluster with a containerd node beside one of isolates: what pods reach of it, driven by kubectl. */
import { assertEquals, assertMatch } from "@std/assert";
import { Containerd, IMAGES, withContainerd } from "./containerd.ts";
import { kubectl } from "./kubectl.ts";
import { Server } from "./server.ts";

const pod = (name: string, node: string, container: object, labels = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels },
  spec: {
    nodeName: node,
    terminationGracePeriodSeconds: 1,
    containers: [{ name: "c", ...container }],
  },
});

await withContainerd(import.meta.url, () => {
  const loose = { sanitizeOps: false, sanitizeResources: false };
  Deno.test(
    "nodes of both kinds are told apart; a container's port on its node, a debugger and figures",
    loose,
    async () => {
      await using containerd = await Containerd.start(["busybox", "web"]);
      await using server = await Server.start({ flags: containerd.flags });
      const k = (args: string, input?: object) =>
        kubectl(server.kubeconfig, args.split(" "), input);
      await k("wait --for=condition=Ready node/plesio-0 node/plesio-1 --timeout=30s");
      assertMatch(await k("get nodes -o wide"), /plesio-0 .* containerd:\/\/\d.*\n.*isolate:\/\//);
      assertMatch(await k("get node plesio-0 --show-labels"), /plesio\.dev\/runtime=cri/);
      for (;;) if (await k("get sa default").catch(() => "")) break;
      await k(
        "apply -f -",
        pod("web", "plesio-0", {
          image: IMAGES.web,
          ports: [{ containerPort: 80, hostPort: 8088 }],
        }, { app: "web" }),
      );
      await k("wait --for=condition=Ready pod/web --timeout=60s");
      const node = await k("get pod web -o jsonpath={.status.hostIP}");
      const ask = ["exec", "web", "--", "wget", "-qO-", `http://${node}:8088`];
      assertEquals((await kubectl(server.kubeconfig, ask)).trim(), `I am ${IMAGES.web}`);
      const debug = await kubectl(
        server.kubeconfig,
        [
          ["debug", "web", `--image=${IMAGES.busybox}`, "--target=c", "--attach=true", "-q"],
          ["--", "sh", "-c", "sleep 1; ps"],
        ].flat(),
      );
      assertMatch(debug, /httpd -f/);
      assertMatch(
        await k("get --raw /api/v1/nodes/plesio-0/proxy/stats/summary"),
        /"name": ?"web"/,
      );
      assertMatch(
        await k("get --raw /api/v1/nodes/plesio-0/proxy/metrics/resource"),
        /container_memory_working_set_bytes\{container="c",namespace="default",pod="web"\} \d/,
      );
      assertMatch(await k("get node plesio-0 -o jsonpath={.status.images}"), /nginx:1\.27/);
      // Their volumes are mounts: the cluster's folder can go once they have gone.
      await k("delete pods --all");
    },
  );
  Deno.test(
    "of two address families containers and isolates reach each other by both",
    loose,
    async () => {
      await using containerd = await Containerd.start(["busybox", "web", "deno"]);
      const ranges = [
        ...["--cluster-cidr", "10.244.0.0/16,fd00:10:244::/56"],
        ...["--service-cluster-ip-range", "10.96.0.0/12,fd00:10:96::/112"],
      ];
      await using server = await Server.start({ flags: [...containerd.flags, ...ranges] });
      const k = (args: string, input?: object) =>
        kubectl(server.kubeconfig, args.split(" "), input);
      await k("wait --for=condition=Ready node/plesio-0 node/plesio-1 --timeout=30s");
      for (;;) if (await k("get sa default").catch(() => "")) break;
      await k("apply -f -", pod("web", "plesio-0", { image: IMAGES.web }, { app: "web" }));
      await k("apply -f -", pod("client", "plesio-0", { image: IMAGES.web }));
      const code = `Deno.serve({ port: 8080, hostname: "::" }, () => new Response("an isolate"))`;
      const isolate = { image: IMAGES.deno, args: ["eval", code] };
      await k("apply -f -", pod("isolate", "plesio-1", isolate, { app: "isolate" }));
      await k("wait --for=condition=Ready pod --all --timeout=60s");
      const service = (app: string, targetPort: number) => ({
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: app },
        spec: { selector: { app }, ports: [{ port: 80, targetPort }], ipFamilies: ["IPv6"] },
      });
      await k("apply -f -", service("web", 80));
      await k("apply -f -", service("isolate", 8080));
      const [first, second] = (await k("get pod web -o jsonpath={.status.podIPs[*].ip}")).split(
        " ",
      );
      assertMatch(first, /^10\.244\./);
      assertMatch(second, /^fd00:10:244:/);
      const answers: [url: string, text: string][] = [
        [`http://${first}`, `I am ${IMAGES.web}`],
        [`http://[${second}]`, `I am ${IMAGES.web}`],
        ["http://web", `I am ${IMAGES.web}`],
        ["http://isolate", "an isolate"],
      ];
      for (const [url, text] of answers) {
        const ask = `for i in 1 2 3 4 5; do timeout 3 wget -qO- ${url} && break; sleep 1; done`;
        const got = (await kubectl(server.kubeconfig, ["exec", "client", "--", "sh", "-c", ask]))
          .trim();
        assertEquals(got, text, url);
      }
      const fetching = "console.log(await (await fetch('http://web')).text())";
      const ask = ["exec", "isolate", "--", "deno", "eval", fetching];
      assertEquals((await kubectl(server.kubeconfig, ask)).trim(), `I am ${IMAGES.web}`);
      await k("delete pods --all");
    },
  );
});
