import { assertEquals } from "@std/assert";
import { openBox } from "../fixture_test.ts";
import { answering, gonePods } from "./gone_pods.ts";

const PODS = { group: "", version: "v1", plural: "pods" };

const flow = (to: string) =>
  `tcp      6 117 SYN_SENT src=10.244.0.1 dst=10.96.0.9 sport=40000 dport=80 [UNREPLIED] src=${to} dst=10.244.0.1 sport=80 dport=40000 mark=0 use=1`;

Deno.test("flows end that lead to pods which are gone, and no others", async () => {
  await using box = await openBox();
  const asked: string[] = [];
  const netfilter = {
    apply: () => Promise.resolve(),
    ask: (_program: string, args: readonly string[]) => {
      asked.push(args.join(" "));
      return Promise.resolve(["10.244.0.5", "10.244.0.6", "10.244.0.7"].map(flow).join("\n"));
    },
  };
  box.system.spawn("flows/test", gonePods({ netfilter }));
  const pod = async (name: string, ip: string, spec: object = {}) => {
    await box.pod(name, "n0", { containers: [{ name: "c", image: "x" }], ...spec });
    await address(name, ip);
  };
  const address = async (name: string, ip: string) => {
    const status = { podIP: ip, podIPs: [{ ip }] };
    const target = { resource: PODS, namespace: "default", name, subresource: "status" };
    await box.client.patch(target, { type: "merge", body: { status } });
  };
  const remove = (name: string) =>
    box.client.delete({ resource: PODS, namespace: "default", name }, { gracePeriodSeconds: 0 });
  await pod("gone", "10.244.0.5");
  await pod("moves", "10.244.0.6");
  await pod("stays", "10.244.0.7");
  await pod("host", "192.168.7.1", { hostNetwork: true });
  const pods = box.informers.for(PODS);
  const seen = () => pods.get("default/host")?.status?.podIP === "192.168.7.1";
  await box.until("the pods to be seen", seen);
  await remove("gone");
  await remove("host");
  await address("moves", "10.244.0.8");
  await box.pass("the flows to end", 500, () => asked.length === 3);
  assertEquals(asked, [
    "-L -f ipv4",
    "-D -f ipv4 --reply-src 10.244.0.5",
    "-D -f ipv4 --reply-src 10.244.0.6",
  ]);
});

Deno.test("an address that another pod has got keeps its flows", async () => {
  await using box = await openBox();
  let asked = 0;
  const ask = () => Promise.resolve(String(asked++));
  box.system.spawn(
    "flows/test",
    gonePods({ netfilter: { apply: () => Promise.resolve(), ask } }),
  );
  const spec = { containers: [{ name: "c", image: "x" }] };
  for (const name of ["first", "second", "last"]) {
    await box.pod(name, "n0", spec);
    const ip = name === "last" ? "10.244.0.6" : "10.244.0.5";
    const target = { resource: PODS, namespace: "default", name, subresource: "status" };
    const body = { status: { podIP: ip, podIPs: [{ ip }] } };
    await box.client.patch(target, { type: "merge", body });
  }
  const pods = box.informers.for(PODS);
  await box.until("the pods to be seen", () => pods.get("default/last")?.status?.podIP);
  const remove = (name: string) =>
    box.client.delete({ resource: PODS, namespace: "default", name }, { gracePeriodSeconds: 0 });
  await remove("first");
  await box.until("it to go", () => !pods.get("default/first"));
  await box.manual.advance(2_000);
  await box.until("rest", () => box.system.busy().length === 0);
  assertEquals(asked, 0);
  await remove("last");
  await box.pass("a look at the flows", 500, () => asked === 1);
});

Deno.test("answering() reads from where flows are answered", () => {
  const udp =
    "udp      17 29 src=10.244.0.6 dst=10.96.0.10 sport=40000 dport=53 src=10.244.0.5 dst=10.244.0.6 sport=8080 dport=40000 mark=0 use=1";
  assertEquals(answering(`${flow("10.244.0.4")}\n${udp}\n`, ["10.244.0.5", "10.244.0.6"]), [
    "10.244.0.5",
  ]);
});
