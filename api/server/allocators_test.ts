import { assert, assertEquals, assertRejects } from "@std/assert";
import { ApiError } from "../machinery/types.ts";
import { core, openApi } from "./fixture_test.ts";

const at = { resource: core("services"), namespace: "default" };

function service(name: string, spec: object = {}) {
  return { metadata: { name }, spec: { ports: [{ port: 80 }], ...spec } };
}

Deno.test("services: each gets an address of its own, and gives it back", async () => {
  await using f = await openApi({ serviceRange: "10.0.0.0/28" });
  const all = await Promise.all(
    Array.from({ length: 10 }, (_, i) => f.client.create(at, service(`s${i}`))),
  );
  const addresses = all.map((s) => s.spec.clusterIP as string);
  assertEquals(new Set(addresses).size, 10);
  for (const s of all) assertEquals([...s.spec.clusterIPs], [s.spec.clusterIP]);
  const full = await assertRejects(() => f.client.create(at, service("more")), ApiError);
  assert(full.message.includes("range is full"), full.message);
  await f.client.delete({ ...at, name: "s3" });
  const again = await f.client.create(at, service("again"));
  assertEquals(again.spec.clusterIP, addresses[3]);
});

Deno.test("services: an address that is asked for must be free and in the range", async () => {
  await using f = await openApi();
  await f.client.create(at, service("a", { clusterIP: "10.96.0.10" }));
  const taken = await assertRejects(
    () => f.client.create(at, service("b", { clusterIP: "10.96.0.10" })),
    ApiError,
  );
  assertEquals(
    taken.message,
    `Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: ` +
      `failed to allocate IP 10.96.0.10: provided IP is already allocated`,
  );
  await assertRejects(() => f.client.create(at, service("c", { clusterIP: "1.2.3.4" })), ApiError);
});

Deno.test("services: further ServiceCIDRs are used when the first is full, and when they are asked for", async () => {
  await using f = await openApi({ serviceRange: "10.0.0.0/29" });
  const resource = { group: "networking.k8s.io", version: "v1", plural: "servicecidrs" };
  const outside = () =>
    assertRejects(() => f.client.create(at, service("x", { clusterIP: "10.9.0.5" })), ApiError);
  const text = 'Service "x" is invalid: spec.clusterIPs: Invalid value: ["10.9.0.5"]: ' +
    "failed to allocate IP 10.9.0.5: the provided network does not match the current range";
  assertEquals((await outside()).message, text);
  const dry = () => f.client.create(at, service("x", { clusterIP: "10.9.0.5" }), { dryRun: true });
  assert((await assertRejects(dry, ApiError)).message.endsWith("valid IPs is 10.0.0.0/29"));
  await f.client.create({ resource }, {
    metadata: { name: "more" },
    spec: { cidrs: ["fd00::/112", "10.9.0.0/24"] },
  });
  const condition = (status: string) =>
    f.client.patch({ resource, name: "more", subresource: "status" }, {
      type: "merge",
      body: {
        status: {
          conditions: [{
            type: "Ready",
            status,
            reason: "",
            message: "",
            lastTransitionTime: "2026-01-01T00:00:00Z",
          }],
        },
      },
    });
  const named = await f.client.create(at, service("named", { clusterIP: "10.9.0.7" }));
  assertEquals(named.spec.clusterIP, "10.9.0.7");
  await condition("False");
  assertEquals((await outside()).message, text);
  const free = (name: string) => f.client.create(at, service(name));
  for (let i = 0; i < 4; i++) await free(`s${i}`);
  assert((await assertRejects(() => free("no"), ApiError)).message.includes("range is full"));
  await condition("True");
  assert((await free("yes")).spec.clusterIP.startsWith("10.9.0."));
});

Deno.test("services: node ports follow the type", async () => {
  await using f = await openApi();
  const made = await f.client.create(at, service("n", { type: "NodePort" }));
  const port = made.spec.ports[0].nodePort;
  assert(port >= 30_086 && port <= 32_767);
  const taken = await assertRejects(
    () =>
      f.client.create(
        at,
        service("m", { type: "NodePort", ports: [{ port: 80, nodePort: port }] }),
      ),
    ApiError,
  );
  assertEquals(
    taken.message,
    `Service "m" is invalid: spec.ports[0].nodePort: Invalid value: ${port}: ` +
      `provided port is already allocated`,
  );
  const plain = await f.client.patch({ ...at, name: "n" }, {
    type: "merge",
    body: { spec: { type: "ClusterIP" } },
  });
  assertEquals(plain.spec.ports[0].nodePort, undefined);
  assertEquals(plain.spec.clusterIP, made.spec.clusterIP);
  await f.client.create(
    at,
    service("m", { type: "NodePort", ports: [{ port: 80, nodePort: port }] }),
  );
});

Deno.test("services: a dry run claims nothing", async () => {
  await using f = await openApi();
  const dry = await f.client.create(at, service("d"), { dryRun: true });
  await f.client.create(at, service("e", { clusterIP: dry.spec.clusterIP }));
});

Deno.test("services: of a cluster of two families each has an address of every family that it asks for", async () => {
  await using f = await openApi({ serviceRange: "10.0.0.0/28,fd00:10:96::/112" });
  const seen = async (name: string, spec: object = {}) => {
    const { spec: made } = await f.client.create(at, service(name, spec));
    assertEquals(made.clusterIP, made.clusterIPs[0]);
    return {
      policy: made.ipFamilyPolicy,
      families: [...made.ipFamilies],
      ips: made.clusterIPs.map((ip: string) =>
        ip.startsWith("fd00:10:96::") ? 6 : ip.startsWith("10.0.0.") ? 4 : ip
      ),
    };
  };
  const both = ["IPv4", "IPv6"];
  assertEquals(await seen("plain"), { policy: "SingleStack", families: ["IPv4"], ips: [4] });
  assertEquals(await seen("six", { ipFamilies: ["IPv6"] }), {
    policy: "SingleStack",
    families: ["IPv6"],
    ips: [6],
  });
  assertEquals(await seen("prefers", { ipFamilyPolicy: "PreferDualStack" }), {
    policy: "PreferDualStack",
    families: both,
    ips: [4, 6],
  });
  assertEquals(
    await seen("requires", { ipFamilyPolicy: "RequireDualStack", ipFamilies: ["IPv6", "IPv4"] }),
    { policy: "RequireDualStack", families: ["IPv6", "IPv4"], ips: [6, 4] },
  );
  assertEquals(
    await seen("headless", {
      ipFamilyPolicy: "PreferDualStack",
      clusterIP: "None",
      selector: { a: "b" },
    }),
    { policy: "PreferDualStack", families: both, ips: ["None"] },
  );
  const asked = await f.client.create(at, service("asked", { clusterIP: "fd00:10:96::a" }));
  assertEquals([...asked.spec.ipFamilies], ["IPv6"]);
  const text = async (spec: object) =>
    (await assertRejects(() => f.client.create(at, service("x", spec)), ApiError)).message;
  assertEquals(
    await text({ clusterIP: "fd00:10:96::a" }),
    'Service "x" is invalid: spec.clusterIPs: Invalid value: ["fd00:10:96::a"]: ' +
      "failed to allocate IP fd00:10:96::a: provided IP is already allocated",
  );
  assertEquals(
    await text({ clusterIP: "fd00:11::a" }),
    'Service "x" is invalid: spec.clusterIPs: Invalid value: ["fd00:11::a"]: ' +
      "failed to allocate IP fd00:11::a: the provided network does not match the current range",
  );
  const addresses = { group: "networking.k8s.io", version: "v1", plural: "ipaddresses" };
  const [, second] = (await f.client.get({ ...at, name: "prefers" })).spec.clusterIPs;
  const held = await f.client.get({ resource: addresses, name: second });
  assertEquals(held.metadata.labels?.["ipaddress.kubernetes.io/ip-family"], "IPv6");
});

Deno.test("services: a second family is taken on and given back by an update", async () => {
  await using f = await openApi({ serviceRange: "10.0.0.0/28,fd00:10:96::/112" });
  await f.client.create(at, service("s"));
  const patch = (spec: Record<string, string>) =>
    f.client.patch({ ...at, name: "s" }, { type: "merge", body: { spec } });
  const two = await patch({ ipFamilyPolicy: "PreferDualStack" });
  assertEquals([...two.spec.ipFamilies], ["IPv4", "IPv6"]);
  const [first, second] = two.spec.clusterIPs;
  const one = await patch({ ipFamilyPolicy: "SingleStack" });
  assertEquals([one.spec.clusterIPs, one.spec.ipFamilies], [[first], ["IPv4"]]);
  await f.client.create(at, service("again", { clusterIP: second }));
});

Deno.test("services: a cluster of one family says so", async () => {
  await using f = await openApi();
  const create = (spec: object) => f.client.create(at, service("x", spec));
  const refused = async (spec: object) =>
    (await assertRejects(() => create(spec), ApiError)).message;
  assertEquals(
    await refused({ ipFamilyPolicy: "RequireDualStack" }),
    'Service "x" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": ' +
      "this cluster is not configured for dual-stack services",
  );
  assertEquals(
    await refused({ ipFamilies: ["IPv6"] }),
    'Service "x" is invalid: spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
  );
  const made = await create({ ipFamilyPolicy: "PreferDualStack" });
  assertEquals([...made.spec.ipFamilies], ["IPv4"]);
});
