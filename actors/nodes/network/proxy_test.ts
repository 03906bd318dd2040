import { assert, assertEquals } from "@std/assert";
import { RealClock } from "../../../kv/clock.ts";
import { openBox } from "../fixture_test.ts";
import { proxy } from "./proxy.ts";
import { ProxyMetrics } from "./proxy_metrics.ts";

const PODS = { group: "", version: "v1", plural: "pods" };

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

/** A server that greets, and a port that leads to it. */
function greeter(text: string) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const done = (async () => {
    for await (const connection of listener) {
      await connection.write(new TextEncoder().encode(text));
      connection.close();
    }
  })();
  const { port } = listener.addr as Deno.NetAddr;
  return { port, [Symbol.asyncDispose]: () => (listener.close(), done) };
}

async function ask(port: number): Promise<string> {
  try {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    return await new Response(connection.readable).text();
  } catch {
    return "refused";
  }
}

Deno.test("proxy() listens on a pod's host port, and says when something else does", async () => {
  await using box = await openBox({ clock: new RealClock() });
  await using server = greeter("hello");
  await using taken = greeter("other");
  const metrics = new ProxyMetrics();
  box.system.spawn(
    "proxy/test",
    proxy({
      nodePortAddresses: () => [],
      hostPortAddresses: (node) => node === "n" ? ["127.0.0.1"] : [],
      local: () => false,
      place: () => ({ nodes: new Set(["n"]) }),
      locate: ({ port }) => ({ hostname: "127.0.0.1", port }),
      metrics,
    }),
  );
  const pod = async (name: string, node: string, hostPort: number) => {
    const ports = [{ containerPort: server.port, hostPort }];
    await box.pod(name, node, { containers: [{ name: "c", image: "x", ports }] });
    const status = { phase: "Running", podIP: "10.244.0.9", podIPs: [{ ip: "10.244.0.9" }] };
    await box.client.patch({ resource: PODS, namespace: "default", name, subresource: "status" }, {
      type: "merge",
      body: { status },
    });
  };
  const [own, others] = [freePort(), freePort()];
  await pod("web", "n", own);
  await pod("elsewhere", "m", others);
  await box.until("the port to answer", async () => await ask(own) === "hello");
  assertEquals(await ask(others), "refused");
  await pod("late", "n", taken.port);
  const [event] = await box.until("the conflict", async () => {
    const found = (await box.events()).filter((text) => text.includes("HostPortConflict"));
    return found.length > 0 && found;
  });
  assertEquals(
    event.replace(/: .*/, ""),
    `Warning HostPortConflict Cannot listen on TCP/127.0.0.1/${taken.port}`,
  );
  const target = { resource: PODS, namespace: "default", name: "web" };
  await box.client.delete(target, { gracePeriodSeconds: 0 });
  await box.until("the port to be closed", async () => await ask(own) === "refused");
  const counted = (line: RegExp) => assert(line.test(metrics.text()), metrics.text());
  counted(/^kubeproxy_sync_proxy_rules_duration_seconds_count\{ip_family="IPv4"\} [1-9]/m);
  counted(/^kubeproxy_sync_proxy_rules_failures_total\{ip_family="IPv4"\} [1-9]/m);
  counted(
    /^kubeproxy_sync_proxy_rules_last_timestamp_seconds\{ip_family="IPv4"\} \d{10}/m,
  );
});
