import { assertEquals, assertThrows } from "@std/assert";
import { loadCrdEngine } from "../../../api/machinery/crd/mod.ts";
import { DeviceSelectors } from "../../../api/machinery/device_selectors.ts";
import { CapacityBook } from "./capacity.ts";
import { allocate, AllocationError, type Ground } from "./allocator.ts";
import { type Obj, poolsOf } from "./pools.ts";
import type { NodeInfo } from "../framework.ts";

await loadCrdEngine();

const NODE = { name: "a", labels: { zone: "1" } } as unknown as NodeInfo;
const DRIVER = "gpu.example.com";

function slice(
  name: string,
  spec: Record<string, unknown>,
  pool: Record<string, unknown> = {},
): Obj {
  return {
    metadata: { name },
    spec: {
      driver: DRIVER,
      nodeName: "a",
      pool: { name: "a", generation: 1, resourceSliceCount: 1, ...pool },
      ...spec,
    },
  } as unknown as Obj;
}

function gpu(name: string, model: string, memory = "8Gi", more: Record<string, unknown> = {}) {
  return {
    name,
    attributes: {
      model: { string: model },
      driverVersion: { version: "1.2.3" },
      index: { int: 3 },
    },
    capacity: { memory: { value: memory } },
    ...more,
  };
}

function claim(requests: unknown[], more: Record<string, unknown> = {}): Obj {
  return {
    metadata: { name: "c", namespace: "ns", uid: "u" },
    spec: { devices: { requests, ...more } },
  } as unknown as Obj;
}

const exactly = (rest: Record<string, unknown> = {}, name = "r") => ({
  name,
  exactly: { deviceClassName: "gpu", allocationMode: "ExactCount", count: 1, ...rest },
});
const cel = (expression: string) => ({ selectors: [{ cel: { expression } }] });

function ground(slices: Obj[], taken: string[] = []): Ground {
  const selectors = new DeviceSelectors();
  const gpuClass = {
    metadata: { name: "gpu" },
    spec: {
      ...cel(`device.driver == "${DRIVER}"`),
      config: [{ opaque: { driver: DRIVER, parameters: { speed: 1 } } }],
    },
  } as unknown as Obj;
  return {
    pools: poolsOf(slices),
    classOf: (name) => (name === "gpu" ? gpuClass : undefined),
    capacity: new CapacityBook(),
    shareId: () => "share",
    taken: new Set(taken.map((device) => `${DRIVER}/a/${device}`)),
    matches: (expression, device) => selectors.matches(expression, device.driver, device.spec),
  };
}

function devices(found: ReturnType<typeof allocate>): string[] | undefined {
  return found?.flatMap(({ devices }) => devices.results.map((r) => `${r.request}:${r.device}`));
}

const THREE = [slice("s", { devices: [gpu("g1", "x"), gpu("g2", "y", "16Gi"), gpu("g3", "y")] })];

Deno.test("allocate() finds devices by selectors, counts, alternatives and constraints", async (t) => {
  const same = { constraints: [{ matchAttribute: `${DRIVER}/model` }] };
  const cases: {
    name: string;
    claims: Obj[];
    slices?: Obj[];
    taken?: string[];
    want?: string[];
  }[] = [
    { name: "the first free one", claims: [claim([exactly()])], taken: ["g1"], want: ["r:g2"] },
    {
      name: "by attribute and capacity",
      claims: [claim([exactly(cel(
        `device.attributes["${DRIVER}"].model == "y" && ` +
          `device.capacity["${DRIVER}"].memory.compareTo(quantity("16Gi")) >= 0 && ` +
          `device.attributes["${DRIVER}"].driverVersion.isGreaterThan(semver("1.0.0")) && ` +
          `device.attributes["${DRIVER}"].index == 3`,
      ))])],
      want: ["r:g2"],
    },
    {
      name: "a domain that no device has is empty",
      claims: [claim([exactly(cel(`!has(device.attributes["other.example.com"].model)`))])],
      want: ["r:g1"],
    },
    { name: "several", claims: [claim([exactly({ count: 3 })])], want: ["r:g1", "r:g2", "r:g3"] },
    { name: "too many", claims: [claim([exactly({ count: 4 })])] },
    {
      name: "all of them",
      claims: [claim([exactly({
        allocationMode: "All",
        ...cel(`device.attributes["${DRIVER}"].model == "y"`),
      })])],
      want: ["r:g2", "r:g3"],
    },
    {
      name: "all of them, one taken",
      claims: [claim([exactly({ allocationMode: "All" })])],
      taken: ["g3"],
    },
    {
      name: "all of none",
      claims: [claim([exactly({ allocationMode: "All", ...cel("false") })])],
    },
    {
      name: "of one model",
      claims: [claim([exactly({ count: 2 })], same)],
      want: ["r:g2", "r:g3"],
    },
    {
      name: "of one model over two requests, which makes the first go back",
      claims: [
        claim([
          exactly({}, "a"),
          exactly(cel(`device.capacity["${DRIVER}"].memory.isGreaterThan(quantity("10Gi"))`), "b"),
        ], same),
      ],
      want: ["a:g3", "b:g2"],
    },
    {
      name: "distinct models",
      claims: [claim([exactly({ count: 2 })], {
        constraints: [{ distinctAttribute: `${DRIVER}/model` }],
      })],
      want: ["r:g1", "r:g2"],
    },
    {
      name: "the first alternative that there is",
      claims: [claim([{
        name: "r",
        firstAvailable: [
          { name: "four", deviceClassName: "gpu", count: 4 },
          { name: "two", deviceClassName: "gpu", count: 2 },
        ],
      }])],
      want: ["r/two:g1", "r/two:g2"],
    },
    {
      name: "two claims share no device",
      claims: [claim([exactly()]), claim([exactly({ count: 2 })])],
      want: ["r:g1", "r:g2", "r:g3"],
    },
    {
      name: "admin access takes what is taken",
      claims: [claim([exactly({ adminAccess: true, allocationMode: "All" })])],
      taken: ["g1", "g2"],
      want: ["r:g1", "r:g2", "r:g3"],
    },
    {
      name: "taints want tolerations",
      slices: [slice("s", {
        devices: [gpu("g1", "x", "8Gi", { taints: [{ key: "broken", effect: "NoExecute" }] })],
      })],
      claims: [claim([exactly()])],
    },
    {
      name: "a toleration",
      slices: [slice("s", {
        devices: [gpu("g1", "x", "8Gi", { taints: [{ key: "broken", effect: "NoExecute" }] })],
      })],
      claims: [claim([exactly({ tolerations: [{ key: "broken", operator: "Exists" }] })])],
      want: ["r:g1"],
    },
    {
      name: "another node's devices are out of reach",
      slices: [slice("s", { nodeName: "b", devices: [gpu("g1", "x")] })],
      claims: [claim([exactly()])],
    },
    {
      name: "a pool that is being written is not touched",
      slices: [slice("s", { devices: [gpu("g1", "x")] }, { resourceSliceCount: 2 })],
      claims: [claim([exactly()])],
    },
    {
      name: "older generations count for nothing",
      slices: [
        slice("s", { devices: [gpu("old", "x")] }),
        slice("t", { devices: [gpu("new", "x")] }, { generation: 2 }),
      ],
      claims: [claim([exactly()])],
      want: ["r:new"],
    },
  ];
  for (const c of cases) {
    await t.step(c.name, () => {
      assertEquals(devices(allocate(NODE, c.claims, ground(c.slices ?? THREE, c.taken))), c.want);
    });
  }
});

Deno.test("allocate() keeps to counters that devices share", () => {
  const counters = (value: string) => ({
    consumesCounters: [{ counterSet: "card", counters: { memory: { value } } }],
  });
  const slices = [
    slice("counters", {
      nodeName: undefined,
      sharedCounters: [{ name: "card", counters: { memory: { value: "10Gi" } } }],
    }, { resourceSliceCount: 2 }),
    slice("devices", {
      devices: [
        gpu("whole", "x", "10Gi", counters("10Gi")),
        gpu("half-1", "x", "5Gi", counters("5Gi")),
        gpu("half-2", "x", "5Gi", counters("5Gi")),
      ],
    }, { resourceSliceCount: 2 }),
  ];
  const two = [claim([exactly({ count: 2 })])];
  assertEquals(devices(allocate(NODE, two, ground(slices))), ["r:half-1", "r:half-2"]);
  const one = [claim([exactly()])];
  assertEquals(devices(allocate(NODE, one, ground(slices, ["half-2"]))), ["r:half-1"]);
  assertEquals(allocate(NODE, one, ground(slices, ["whole"])), undefined);
});

Deno.test("allocate() gives a device that several may share to as many as its capacity holds", () => {
  const shared = (requestPolicy?: object) => [slice("s", {
    devices: [{
      name: "nic",
      allowMultipleAllocations: true,
      capacity: { bandwidth: { value: "10G", ...(requestPolicy && { requestPolicy }) } },
    }],
  })];
  const asks = (bandwidth?: string) =>
    claim([exactly(bandwidth === undefined ? {} : { capacity: { requests: { bandwidth } } })]);
  const taken = (claims: Obj[], slices: Obj[], before?: string) => {
    const there = ground(slices);
    if (before) there.capacity.note(`${DRIVER}/a/nic`, { bandwidth: before });
    const found = allocate(NODE, claims, there);
    // What was tried is given back: asked again, the answer is the same
    assertEquals(allocate(NODE, claims, there), found);
    return found?.map(({ devices: { results: [result] } }) => [
      result.shareID,
      result.consumedCapacity!.bandwidth,
    ]);
  };
  assertEquals(taken([asks("4G"), asks("6G")], shared()), [["share", "4G"], ["share", "6G"]]);
  assertEquals(taken([asks("4G"), asks("7G")], shared()), undefined);
  assertEquals(taken([asks("4G")], shared(), "7G"), undefined);
  assertEquals(taken([asks()], shared()), [["share", "10G"]]);
  assertEquals(taken([asks()], shared({ default: "1G", validValues: ["1G", "5G"] })), [
    ["share", "1G"],
  ]);
  assertEquals(taken([asks("2G")], shared({ default: "1G", validValues: ["1G", "5G"] })), [
    ["share", "5G"],
  ]);
  const range = shared({ default: "1G", validRange: { min: "1G", step: "2G", max: "8G" } });
  assertEquals(taken([asks("500M")], range), [["share", "1G"]]);
  assertEquals(taken([asks("2G")], range), [["share", "3G"]]);
  assertEquals(taken([asks("8G")], range), undefined);
  assertEquals(
    taken([claim([exactly({ capacity: { requests: { lanes: "1" } } })])], range),
    undefined,
  );
});

Deno.test("allocate() says what drivers are told and where the devices are", () => {
  const config = [{ requests: ["r"], opaque: { driver: DRIVER, parameters: { mode: "a" } } }];
  const [found] = allocate(NODE, [claim([exactly()], { config })], ground(THREE))!;
  assertEquals(found, {
    devices: {
      results: [{ request: "r", driver: DRIVER, pool: "a", device: "g1" }],
      config: [
        {
          source: "FromClass",
          requests: ["r"],
          opaque: { driver: DRIVER, parameters: { speed: 1 } },
        },
        {
          source: "FromClaim",
          requests: ["r"],
          opaque: { driver: DRIVER, parameters: { mode: "a" } },
        },
      ],
    },
    nodeSelector: {
      nodeSelectorTerms: [{
        matchFields: [{ key: "metadata.name", operator: "In", values: ["a"] }],
      }],
    },
  });
  const zone = { matchExpressions: [{ key: "zone", operator: "In", values: ["1"] }] };
  const shared = [slice("s", {
    nodeName: undefined,
    nodeSelector: { nodeSelectorTerms: [zone] },
    devices: [gpu("g1", "x")],
  })];
  assertEquals(allocate(NODE, [claim([exactly()])], ground(shared))![0].nodeSelector, {
    nodeSelectorTerms: [zone],
  } as never);
});

Deno.test("allocate() refuses in upstream's words what cannot be", async (t) => {
  const incomplete = [slice("s", { devices: [gpu("g1", "x")] }, { resourceSliceCount: 2 })];
  const twins = [slice("s", { devices: [gpu("g1", "x"), gpu("g1", "y")] })];
  const all = claim([exactly({ allocationMode: "All" })]);
  const cases: [string, Obj, Obj[], string][] = [
    [
      "more than a claim may have",
      claim([exactly({ count: 33 })]),
      THREE,
      "claim ns/c: number of requested devices 33 exceeds the claim limit of 32",
    ],
    [
      "all of a pool that is being written",
      all,
      incomplete,
      `claim ns/c, request r: asks for all devices, but resource pool ${DRIVER}/a is currently being updated`,
    ],
    ["a pool with twins", claim([exactly()]), twins, "invalid resource pools were encountered"],
    [
      "a selector that runs into an error",
      claim([exactly(cel(`device.attributes["${DRIVER}"].missing`))]),
      THREE,
      "claim ns/c: selector #0: CEL runtime error: no such key: missing",
    ],
    [
      "a selector that is none",
      claim([exactly(cel("device."))]),
      THREE,
      "claim ns/c: selector #0: CEL compile error: ",
    ],
    [
      "an empty constraint",
      claim([exactly()], { constraints: [{}] }),
      THREE,
      "claim ns/c, constraint #0: empty constraint (unsupported constraint type?)",
    ],
  ];
  for (const [name, asked, slices, text] of cases) {
    await t.step(name, () => {
      assertThrows(() => allocate(NODE, [asked], ground(slices)), AllocationError, text);
    });
  }
  // A search that finds no end is ended
  const many = [
    slice("s", { devices: Array.from({ length: 40 }, (_, i) => gpu(`g${i}`, `${i}`)) }),
  ];
  const apart = claim([exactly({ count: 20 }), exactly({ count: 12, ...cel("true") }, "s")], {
    constraints: [{ requests: ["s"], matchAttribute: `${DRIVER}/model` }],
  });
  assertThrows(() => allocate(NODE, [apart], ground(many)), AllocationError, "timed out");
});
