/**
 * The kinds of the Gateway API (standard channel, v1) that the L7 proxy knows, as data: their fields, what is required,
 * what is presumed. Who has the project's own definitions in a cluster keeps those.
 */

/** A schema, as far as these kinds need one. */
type Schema = Record<string, unknown>;

const text = (rest: Schema = {}): Schema => ({ type: "string", ...rest });
const name = (max = 253): Schema => text({ minLength: 1, maxLength: max });
const word = (...values: string[]): Schema => text({ enum: values });
const whole = (minimum: number, maximum: number, rest: Schema = {}): Schema => ({
  type: "integer",
  format: "int32",
  minimum,
  maximum,
  ...rest,
});
const port = whole(1, 65_535);
const list = (items: Schema, rest: Schema = {}): Schema => ({ type: "array", items, ...rest });
const byKey = (items: Schema, ...keys: string[]): Schema =>
  list(items, { "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys });
const fields = (properties: Record<string, Schema>, ...required: string[]): Schema => ({
  type: "object",
  properties,
  ...(required.length > 0 && { required }),
});
const presumed = (schema: Schema, value: unknown): Schema => ({ ...schema, default: value });
const names = (max: number): Schema => ({
  type: "object",
  additionalProperties: text({ maxLength: max }),
});

const hostname = text({
  minLength: 1,
  maxLength: 253,
  pattern: "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
});

const conditions = byKey(
  fields(
    {
      type: text({ maxLength: 316 }),
      status: word("True", "False", "Unknown"),
      reason: text({ minLength: 1, maxLength: 1024 }),
      message: text({ maxLength: 32_768 }),
      lastTransitionTime: text({ format: "date-time" }),
      observedGeneration: { type: "integer", format: "int64", minimum: 0 },
    },
    "lastTransitionTime",
    "message",
    "reason",
    "status",
    "type",
  ),
  "type",
);

const selector = fields({
  matchLabels: names(63),
  matchExpressions: list(
    fields({ key: text(), operator: text(), values: list(text()) }, "key", "operator"),
  ),
});

const GROUP = "gateway.networking.k8s.io";

const parentRef = {
  group: presumed(text({ maxLength: 253 }), GROUP),
  kind: presumed(name(63), "Gateway"),
  namespace: name(63),
  name: name(),
  sectionName: name(),
  port,
};

const listener = fields(
  {
    name: name(),
    hostname,
    port,
    protocol: name(255),
    tls: fields({
      mode: presumed(word("Terminate", "Passthrough"), "Terminate"),
      certificateRefs: list(
        fields(
          {
            group: presumed(text({ maxLength: 253 }), ""),
            kind: presumed(name(63), "Secret"),
            name: name(),
            namespace: name(63),
          },
          "name",
        ),
        { maxItems: 64 },
      ),
      options: names(4096),
    }),
    allowedRoutes: presumed(
      fields({
        namespaces: presumed(
          fields({ from: presumed(word("All", "Selector", "Same"), "Same"), selector }),
          { from: "Same" },
        ),
        kinds: list(fields({ group: presumed(text(), GROUP), kind: name(63) }, "kind"), {
          maxItems: 8,
        }),
      }),
      { namespaces: { from: "Same" } },
    ),
  },
  "name",
  "port",
  "protocol",
);

const headers = byKey(fields({ name: name(256), value: name(4096) }, "name", "value"), "name");
const headerChange = fields({
  set: headers,
  add: headers,
  remove: list(text(), { "x-kubernetes-list-type": "set" }),
});
const pathChange = fields(
  {
    type: word("ReplaceFullPath", "ReplacePrefixMatch"),
    replaceFullPath: text({ maxLength: 1024 }),
    replacePrefixMatch: text({ maxLength: 1024 }),
  },
  "type",
);

const filters = list(
  fields(
    {
      type: word(
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
      ),
      requestHeaderModifier: headerChange,
      responseHeaderModifier: headerChange,
      requestRedirect: fields({
        scheme: word("http", "https"),
        hostname,
        path: pathChange,
        port,
        statusCode: presumed({ type: "integer", enum: [301, 302] }, 302),
      }),
      urlRewrite: fields({ hostname, path: pathChange }),
      requestMirror: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
      extensionRef: fields(
        { group: text(), kind: name(63), name: name() },
        "group",
        "kind",
        "name",
      ),
    },
    "type",
  ),
  { maxItems: 16 },
);

const valueMatch = (max: number) =>
  byKey(
    fields(
      {
        type: presumed(word("Exact", "RegularExpression"), "Exact"),
        name: name(256),
        value: name(max),
      },
      "name",
      "value",
    ),
    "name",
  );

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
const ANY_PATH = { type: "PathPrefix", value: "/" };

const matches = presumed(
  list(
    fields({
      path: presumed(
        fields({
          type: presumed(word("Exact", "PathPrefix", "RegularExpression"), "PathPrefix"),
          value: presumed(text({ maxLength: 1024 }), "/"),
        }),
        ANY_PATH,
      ),
      headers: valueMatch(4096),
      queryParams: valueMatch(1024),
      method: word(...METHODS),
    }),
    { maxItems: 64 },
  ),
  [{ path: ANY_PATH }],
);

const backendRef = fields(
  {
    group: presumed(text({ maxLength: 253 }), ""),
    kind: presumed(name(63), "Service"),
    name: name(),
    namespace: name(63),
    port,
    weight: presumed(whole(0, 1_000_000), 1),
    filters,
  },
  "name",
);

const span = text({ pattern: "^([0-9]{1,5}(h|m|s|ms)){1,4}$" });

const rule = fields({
  name: name(),
  matches,
  filters,
  backendRefs: list(backendRef, { maxItems: 16 }),
  timeouts: fields({ request: span, backendRequest: span }),
});

interface Kind {
  kind: string;
  plural: string;
  short?: string[];
  cluster?: boolean;
  version?: string;
  spec: Schema;
  status?: Schema;
  columns?: [name: string, path: string][];
}

const address = fields({ type: presumed(name(), "IPAddress"), value: text({ maxLength: 253 }) });

const KINDS: readonly Kind[] = [
  {
    kind: "GatewayClass",
    plural: "gatewayclasses",
    short: ["gc"],
    cluster: true,
    spec: fields(
      {
        controllerName: text({
          minLength: 1,
          maxLength: 253,
          pattern:
            "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\\/[A-Za-z0-9\\/\\-._~%!$&'()*+,;=:]+$",
        }),
        description: text({ maxLength: 64 }),
        parametersRef: fields(
          { group: text(), kind: name(63), name: name(), namespace: name(63) },
          "group",
          "kind",
          "name",
        ),
      },
      "controllerName",
    ),
    status: fields({
      conditions,
      supportedFeatures: byKey(fields({ name: text() }, "name"), "name"),
    }),
    columns: [
      ["Controller", ".spec.controllerName"],
      ["Accepted", '.status.conditions[?(@.type=="Accepted")].status'],
    ],
  },
  {
    kind: "Gateway",
    plural: "gateways",
    short: ["gtw"],
    spec: fields(
      {
        gatewayClassName: name(),
        listeners: byKey(listener, "name"),
        addresses: list(address, { maxItems: 16 }),
        infrastructure: fields({ labels: names(63), annotations: names(4096) }),
      },
      "gatewayClassName",
      "listeners",
    ),
    status: fields({
      addresses: list(address),
      conditions,
      listeners: byKey(
        fields(
          {
            name: name(),
            attachedRoutes: { type: "integer", format: "int32" },
            supportedKinds: list(fields({ group: text(), kind: text() }, "kind")),
            conditions,
          },
          "name",
          "attachedRoutes",
          "conditions",
        ),
        "name",
      ),
    }),
    columns: [
      ["Class", ".spec.gatewayClassName"],
      ["Address", ".status.addresses[*].value"],
      ["Programmed", '.status.conditions[?(@.type=="Programmed")].status'],
    ],
  },
  {
    kind: "HTTPRoute",
    plural: "httproutes",
    spec: fields({
      parentRefs: list(fields(parentRef, "name"), { maxItems: 32 }),
      hostnames: list(hostname, { maxItems: 16 }),
      rules: presumed(list(rule, { maxItems: 16 }), [{ matches: [{ path: ANY_PATH }] }]),
    }),
    status: fields(
      {
        parents: list(
          fields(
            { parentRef: fields(parentRef, "name"), controllerName: name(), conditions },
            "controllerName",
            "parentRef",
          ),
        ),
      },
      "parents",
    ),
    columns: [["Hostnames", ".spec.hostnames"]],
  },
  {
    kind: "ReferenceGrant",
    plural: "referencegrants",
    short: ["refgrant"],
    version: "v1beta1",
    spec: fields(
      {
        from: list(
          fields(
            { group: text(), kind: name(63), namespace: name(63) },
            "group",
            "kind",
            "namespace",
          ),
        ),
        to: list(fields({ group: text(), kind: name(63), name: name() }, "group", "kind")),
      },
      "from",
      "to",
    ),
  },
];

/** The API's approval: a group of kubernetes.io's must name it. */
const APPROVAL = "https://github.com/kubernetes-sigs/gateway-api/pull/3328";

/** The definitions, to be created. */
export function gatewayDefinitions(): object[] {
  return KINDS.map((
    { kind, plural, short, cluster, version = "v1", spec, status, columns = [] },
  ) => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.${GROUP}`,
      annotations: { "api-approved.kubernetes.io": APPROVAL },
    },
    spec: {
      group: GROUP,
      names: {
        kind,
        plural,
        singular: kind.toLowerCase(),
        listKind: `${kind}List`,
        shortNames: short,
        categories: ["gateway-api"],
      },
      scope: cluster ? "Cluster" : "Namespaced",
      versions: [{
        name: version,
        served: true,
        storage: true,
        ...(status && { subresources: { status: {} } }),
        additionalPrinterColumns: [
          ...columns.map(([name, jsonPath]) => ({ name, type: "string", jsonPath })),
          { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
        ],
        schema: {
          openAPIV3Schema: fields({
            apiVersion: text(),
            kind: text(),
            metadata: { type: "object" },
            spec,
            ...(status && { status }),
          }, "spec"),
        },
      }],
    },
  }));
}
