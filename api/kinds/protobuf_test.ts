import { assertEquals, assertThrows } from "@std/assert";
import {
  fromProtobuf,
  listEnvelope,
  ProtobufError,
  toEnvelope,
  toProtobuf,
  unwrapUnknown,
  watchFrame,
  wrapUnknown,
} from "../machinery/protobuf.ts";
import { schemas } from "./schemas.ts";

const CORE = "io.k8s.api.core.v1";
const META = "io.k8s.apimachinery.pkg.apis.meta.v1";

function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}

function bytes(text: string): Uint8Array {
  return Uint8Array.fromHex(text.replaceAll(" ", ""));
}

Deno.test("a message is written as upstream's generated code writes it", () => {
  // name "a", generateName, namespace, selfLink, uid, resourceVersion "", generation 0, creationTimestamp none
  const meta = "0a0161 1200 1a00 2200 2a00 3200 3800 4200".replaceAll(" ", "");
  const object = { metadata: { name: "a" }, data: { b: "2", a: "1" } };
  const made = toProtobuf(schemas, `${CORE}.ConfigMap`, object);
  assertEquals(
    hex(made),
    `0a${(meta.length / 2).toString(16).padStart(2, "0")}${meta}` +
      "1206 0a0161 120131 1206 0a0162 120132".replaceAll(" ", ""),
  );
  assertEquals(fromProtobuf(schemas, `${CORE}.ConfigMap`, made), object);
});

Deno.test("numbers, times, quantities and unions survive both ways", () => {
  const container = {
    name: "c",
    ports: [{ containerPort: 2147483647, hostPort: -2147483648 }],
    resources: { limits: { cpu: "1500m", memory: "1Gi" } },
    livenessProbe: {
      httpGet: { port: "http" },
      terminationGracePeriodSeconds: -9007199254740991,
    },
    readinessProbe: { tcpSocket: { port: 65535 } },
  };
  const pod = {
    metadata: {
      name: "hellö",
      generation: 9007199254740991,
      creationTimestamp: "1969-12-31T23:59:59Z",
      deletionGracePeriodSeconds: 0,
      managedFields: [{ manager: "m", fieldsV1: { "f:spec": {} } }],
    },
    spec: { containers: [container], hostNetwork: true, priority: 0 },
    status: {},
  };
  const made = fromProtobuf(schemas, `${CORE}.Pod`, toProtobuf(schemas, `${CORE}.Pod`, pod));
  assertEquals(made, pod);
  const lease = {
    metadata: {},
    spec: { renewTime: "2026-01-02T03:04:05.000001Z", leaseTransitions: 0 },
  };
  const LEASE = "io.k8s.api.coordination.v1.Lease";
  assertEquals(fromProtobuf(schemas, LEASE, toProtobuf(schemas, LEASE, lease)), lease);
  const JSON_SCHEMA = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
  const schema = {
    type: "object",
    minimum: -1.5,
    default: { a: [1] },
    items: [{ type: "x" }],
    additionalProperties: false,
    dependencies: { a: ["b"], c: { type: "y" } },
    properties: { p: { items: { type: "z" }, additionalProperties: { type: "w" } } },
  };
  assertEquals(
    fromProtobuf(schemas, JSON_SCHEMA, toProtobuf(schemas, JSON_SCHEMA, schema)),
    schema,
  );
  const REVIEW = "io.k8s.api.authentication.v1.UserInfo";
  const user = { username: "u", extra: { k: ["a", "b"], none: [] } };
  assertEquals(fromProtobuf(schemas, REVIEW, toProtobuf(schemas, REVIEW, user)), user);
});

Deno.test("unknown fields are skipped and the last of a scalar counts", () => {
  const name = `${META}.Preconditions`;
  // uid "a"; field 99 of each wire type; uid "b"
  const made = fromProtobuf(
    schemas,
    name,
    bytes("0a0161 980601 990600000000000000009a0602ffff9d0600000000 0a0162"),
  );
  assertEquals(made, { uid: "b" });
});

Deno.test("broken bytes are refused", () => {
  const cases: [string, string][] = [
    ["0a05 61", "unexpected EOF"],
    ["0aff", "unexpected EOF"],
    ["0affffffffffffffffff01", "negative length"],
    ["0affffffffffffffffffff01", "integer overflow"],
    ["08 01", "wrong wireType = 0 for field metadata"],
    ["0b", "wrong wireType = 3 for field metadata"],
    ["9b06", "illegal wireType 3"],
    ["00", "illegal tag 0"],
  ];
  for (const [text, expected] of cases) {
    const fail = () => fromProtobuf(schemas, `${CORE}.Pod`, bytes(text));
    assertThrows(fail, ProtobufError, expected, text);
  }
  let nested = new Uint8Array(0);
  for (let i = 0; i < 1200; i++) {
    // JSONSchemaProps.not (25) in JSONSchemaProps.not …
    const head = [0xca, 0x01, (nested.length & 127) | 128, nested.length >> 7];
    nested = new Uint8Array([...head, ...nested]);
  }
  const name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
  assertThrows(() => fromProtobuf(schemas, name, nested), ProtobufError);
});

Deno.test("random bytes never crash the reader", () => {
  let seed = 42;
  const next = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) >>> 24;
  for (let round = 0; round < 3000; round++) {
    const random = Uint8Array.from({ length: next() % 40 }, next);
    try {
      fromProtobuf(schemas, `${CORE}.Pod`, random);
    } catch (error) {
      assertEquals(error instanceof ProtobufError, true, `${hex(random)}: ${error}`);
    }
  }
});

Deno.test("the envelope", () => {
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" } };
  const made = toEnvelope(schemas, `${CORE}.ConfigMap`, object);
  const { apiVersion, kind, raw, contentType } = unwrapUnknown(made);
  assertEquals([apiVersion, kind, contentType], ["v1", "ConfigMap", ""]);
  assertEquals(hex(wrapUnknown("v1", "ConfigMap", raw)), hex(made));
  assertEquals(hex(made).slice(0, 8), "6b387300");
  assertThrows(() => unwrapUnknown(bytes("7b7d")), ProtobufError, "expected prefix [107 56 115 0]");
});

Deno.test("a watch's frame", () => {
  const made = watchFrame("ADDED", bytes("6b387300"));
  assertEquals(hex(made), "0000000f" + "0a054144444544" + "1206" + "0a046b387300");
});

Deno.test("a list of encoded items is the list", () => {
  const items = [{ metadata: { name: "a" } }, { metadata: { name: "b" }, data: { k: "v" } }];
  const list = {
    apiVersion: "v1",
    kind: "ConfigMapList",
    metadata: { resourceVersion: "7" },
    items,
  };
  const whole = toEnvelope(schemas, `${CORE}.ConfigMapList`, list);
  const parts = listEnvelope(
    "v1",
    "ConfigMapList",
    toProtobuf(schemas, `${META}.ListMeta`, list.metadata),
    items.map((item) => toProtobuf(schemas, `${CORE}.ConfigMap`, item)),
  );
  assertEquals(hex(parts), hex(whole));
});
