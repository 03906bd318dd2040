import { assertEquals } from "@std/assert";
import { edit } from "../../machinery/edit.ts";
import { loadExpressions } from "../../machinery/expressions.ts";
import { decode } from "../../machinery/schema.ts";
import type { Kind, KindContext, KubeObject } from "../../machinery/types.ts";
import { createKinds } from "../registry.ts";
import { contextOf } from "./fixture.ts";

const kinds = createKinds().all();
/** Some are served where they are asked for only. */
const betas = createKinds({ beta: true }).all();
await loadExpressions();
const context: KindContext = { ...contextOf(), now: 0 };

function kindOf(name: string): Kind {
  return [...kinds, ...betas].find((kind) => kind.kind === name)!;
}

/** Decodes, defaults and prepares an object as a create does. */
function make(name: string, value: object): KubeObject {
  const kind = kindOf(name);
  const { object } = decode(kind, value, "Strict");
  kind.hooks.defaults?.(object);
  kind.hooks.prepareCreate?.(object, context);
  return object;
}

function problems(object: KubeObject): string[] {
  const causes = kindOf(object.kind).hooks.validate!(object, context);
  return causes.map((c) => `${c.field}: ${c.message}`);
}

function cells(object: KubeObject): Record<string, unknown> {
  return Object.fromEntries(
    kindOf(object.kind).columns.map((c) => [c.name, c.cell!(object, 0)]),
  );
}

/** What slices of devices have to say. */
const OF_ONE_NODE = {
  driver: "gpu.example.com",
  pool: { name: "p", generation: 0, resourceSliceCount: 1 },
  nodeName: "n",
};

Deno.test("APIServices: names, priorities, and local ones are there at once", () => {
  const good = make("APIService", {
    metadata: { name: "v1.example.com" },
    spec: { group: "example.com", version: "v1", groupPriorityMinimum: 100, versionPriority: 10 },
  });
  assertEquals(problems(good), []);
  assertEquals(cells(good).Service, "Local");
  assertEquals(cells(good).Available, "True");
  const bad = make("APIService", {
    metadata: { name: "x" },
    spec: { version: "v2", service: { name: "s" }, caBundle: "AAAA", insecureSkipTLSVerify: true },
  });
  assertEquals(problems(bad), [
    'metadata.name: Invalid value: "x": must be `spec.version+"."+spec.group`: "v2."',
    "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
    "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
    "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
    "spec.service.namespace: Required value",
    "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
  ]);
  assertEquals(bad.spec.service.port, 443);
});

Deno.test("flow schemas and priority levels", () => {
  const schema = make("FlowSchema", {
    metadata: { name: "a" },
    spec: {
      priorityLevelConfiguration: { name: "b" },
      distinguisherMethod: { type: "ByUser" },
      rules: [{
        subjects: [{ kind: "User", user: { name: "*" } }, { kind: "Group" }, { kind: "x" }],
        resourceRules: [{ verbs: ["*", "get"], apiGroups: ["*"], resources: ["*"] }],
        nonResourceRules: [{ verbs: ["get"], nonResourceURLs: ["/a", "b", "/c*"] }],
      }],
    },
  });
  assertEquals(problems(schema), [
    "spec.rules[0].subjects[1].group: Required value: group is required when subject kind is 'Group'",
    'spec.rules[0].subjects[2].kind: Unsupported value: "x": supported values: "Group", ' +
    '"ServiceAccount", "User"',
    'spec.rules[0].resourceRules[0].verbs: Invalid value: ["*","get"]: if \'*\' is present, must not ' +
    "specify other verbs",
    "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster " +
    "scoped must supply at least one namespace",
    'spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "b": must start with slash',
    'spec.rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/c*": wildcard can only ' +
    "do suffix matching",
  ]);
  assertEquals(cells(schema).MatchingPrecedence, 1000);
  const level = make("PriorityLevelConfiguration", {
    metadata: { name: "b" },
    spec: { type: "Limited", limited: { limitResponse: { type: "Queue", queuing: {} } } },
  });
  assertEquals(problems(level), []);
  assertEquals(cells(level), {
    Name: "b",
    Type: "Limited",
    NominalConcurrencyShares: 30,
    Queues: 64,
    HandSize: 8,
    QueueLengthLimit: 50,
    Age: "<unknown>",
  });
  const wrong = edit(level);
  wrong.spec.limited.limitResponse.queuing.handSize = 11;
  wrong.spec.exempt = {};
  assertEquals(problems(wrong), [
    "spec.exempt: Forbidden: must be nil if the type is Limited",
    "spec.limited.limitResponse.queuing.handSize: Invalid value: 11: required entropy bits of " +
    "deckSize 64 and handSize 11 should not be greater than 60",
  ]);
});

Deno.test("resource claims and slices", () => {
  const claim = make("ResourceClaim", {
    metadata: { name: "c" },
    spec: {
      devices: {
        requests: [
          { name: "a", exactly: { deviceClassName: "gpu" } },
          {
            name: "a",
            firstAvailable: [{ name: "x", deviceClassName: "", allocationMode: "All" }],
          },
          { name: "b" },
        ],
        constraints: [{ requests: ["a/x", "zz"], matchAttribute: "example.com/numa" }],
      },
    },
  });
  assertEquals(claim.spec.devices.requests[0].exactly.count, 1);
  assertEquals(problems(claim), [
    "spec.devices.requests[1].firstAvailable[0].deviceClassName: Required value",
    "spec.devices.requests[2]: Required value: exactly one of `exactly` or `firstAvailable` is required",
    'spec.devices.requests[1]: Duplicate value: "a"',
    'spec.devices.constraints[0].requests[1]: Invalid value: "zz": must be the name of a request in ' +
    "the claim or the name of a request and a subrequest separated by '/'",
  ]);
  assertEquals(cells(claim).State, "pending");
  const slice = make("ResourceSlice", {
    metadata: { name: "s" },
    spec: {
      ...OF_ONE_NODE,
      allNodes: true,
      devices: [{ name: "d" }, { name: "d" }],
    },
  });
  assertEquals(problems(slice), [
    'spec: Invalid value: "{`nodeName`, `allNodes`}": exactly one of `nodeName`, `nodeSelector`, ' +
    "`allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
    'spec.devices[1]: Duplicate value: "d"',
  ]);
});

Deno.test("taints of devices say since when they are there, of a rule's since when their effect is", () => {
  const effect = "NoExecute";
  const slice = make("ResourceSlice", {
    metadata: { name: "s" },
    spec: {
      ...OF_ONE_NODE,
      devices: [{ name: "d", taints: [{ key: "a", effect }] }, { name: "e" }],
    },
  });
  const said = { timeAdded: "1970-01-01T00:00:00Z" };
  assertEquals(slice.spec.devices[0].taints, [{ key: "a", effect, ...said }]);
  const rule = make("DeviceTaintRule", {
    metadata: { name: "r" },
    spec: { taint: { key: "a", effect } },
  });
  assertEquals(rule.spec.taint.timeAdded, said.timeAdded);
  const { prepareUpdate } = kindOf("DeviceTaintRule").hooks;
  const changed = (taint: object) => {
    const next = { ...rule, spec: { taint: { ...rule.spec.taint, ...taint } } };
    prepareUpdate!(next, rule, { ...context, now: 60_000 });
    return next.spec.taint.timeAdded;
  };
  assertEquals(changed({ value: "b" }), said.timeAdded);
  assertEquals(changed({ effect: "NoSchedule" }), "1970-01-01T00:01:00Z");
  const own = "1970-01-01T00:00:30Z";
  assertEquals(changed({ effect: "NoSchedule", timeAdded: own }), own);
});

Deno.test("a slice loses what devices bind by where either gate is off, unless it has had such", () => {
  const binding = {
    bindingConditions: ["there"],
    bindingFailureConditions: ["broken"],
    bindsToNode: true,
  };
  const sliceOf = (device: object) =>
    make("ResourceSlice", {
      metadata: { name: "s" },
      spec: { ...OF_ONE_NODE, devices: [{ name: "d", ...device }] },
    });
  const { prepareCreate, prepareUpdate } = kindOf("ResourceSlice").hooks;
  for (const gate of ["DRADeviceBindingConditions", "DRAResourceClaimDeviceStatus"]) {
    const off = { ...context, features: new Map([[gate, false]]) };
    const made = sliceOf(binding), changed = sliceOf(binding), kept = sliceOf(binding);
    prepareCreate!(made, off);
    prepareUpdate!(changed, sliceOf({}), off);
    prepareUpdate!(kept, sliceOf({ bindsToNode: true }), off);
    assertEquals(made.spec.devices, [{ name: "d" }]);
    assertEquals(changed.spec.devices, [{ name: "d" }]);
    assertEquals(kept.spec.devices, [{ name: "d", ...binding }]);
  }
});

Deno.test("webhook configurations are defaulted and checked", () => {
  const hook = {
    name: "a.example.com",
    clientConfig: { service: { name: "s", namespace: "n", path: "/a//b" } },
    rules: [{
      operations: ["CREATE"],
      apiGroups: [""],
      apiVersions: ["v1"],
      resources: ["pods", "pods/*", "pods/status"],
    }],
    sideEffects: "None",
    admissionReviewVersions: ["v1"],
  };
  const made = make("MutatingWebhookConfiguration", { metadata: { name: "m" }, webhooks: [hook] });
  const { rules, clientConfig, ...rest } = made.webhooks[0];
  assertEquals(rules[0].scope, "*");
  assertEquals(clientConfig.service.port, 443);
  assertEquals(rest.failurePolicy, "Fail");
  assertEquals(rest.matchPolicy, "Equivalent");
  assertEquals(rest.namespaceSelector, {});
  assertEquals(rest.timeoutSeconds, 10);
  assertEquals(rest.reinvocationPolicy, "Never");
  assertEquals(made.metadata.generation, 1);
  assertEquals(problems(made), [
    "webhooks[0].rules[0].resources[2]: Invalid value: \"pods/status\": if 'pods/*' is present, must " +
    "not specify pods/status",
    'webhooks[0].clientConfig.service.path: Invalid value: "/a//b": segment[1] may not be empty',
  ]);
  const bad = make("ValidatingWebhookConfiguration", {
    metadata: { name: "v" },
    webhooks: [{ name: "x", clientConfig: { url: "http://u@h/p?q#f" }, timeoutSeconds: 31 }],
  });
  assertEquals(problems(bad), [
    'webhooks[0].name: Invalid value: "x": should be a domain with at least three segments separated ' +
    "by dots",
    "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
    "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
    "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; " +
    "desired format: https://host[/path]",
    'webhooks[0].clientConfig.url: Invalid value: "u": user information is not permitted in the URL',
    'webhooks[0].clientConfig.url: Invalid value: "f": fragments are not permitted in the URL',
    'webhooks[0].clientConfig.url: Invalid value: "q": query parameters are not permitted in the URL',
    "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
  ]);
});

Deno.test("admission policies and their bindings", () => {
  const policy = make("ValidatingAdmissionPolicy", {
    metadata: { name: "p" },
    spec: {
      matchConstraints: {
        resourceRules: [{
          apiGroups: ["apps"],
          apiVersions: ["v1"],
          operations: ["CREATE"],
          resources: ["deployments"],
        }],
      },
      validations: [{ expression: "object.spec.replicas <= 5" }],
    },
  });
  assertEquals(problems(policy), []);
  assertEquals(policy.spec.failurePolicy, "Fail");
  assertEquals(policy.spec.matchConstraints.resourceRules[0].scope, "*");
  assertEquals(cells(policy).Validations, 1);
  const binding = make("ValidatingAdmissionPolicyBinding", {
    metadata: { name: "b" },
    spec: { policyName: "p", validationActions: ["Deny", "Warn"], paramRef: {} },
  });
  assertEquals(problems(binding), [
    "spec.paramRef: Required value: one of name or selector must be specified",
    "spec.paramRef.parameterNotFoundAction: Required value",
    'spec.validationActions: Invalid value: ["Deny","Warn"]: must not contain both Deny and Warn ' +
    "(repeating the same validation failure information in the API response and headers serves no " +
    "purpose)",
  ]);
});
