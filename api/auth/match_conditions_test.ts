import { assertEquals } from "@std/assert";
import type { Kind, KubeObject } from "../machinery/types.ts";
import type { Admission, Attributes, Decision } from "./contract.ts";
import {
  admissionValues,
  compiledExpression,
  compileMatchConditions,
  type Judged,
  loadExpressions,
  type MatchCondition,
  type Scope,
  userShown,
} from "./match_conditions.ts";

const pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web", namespace: "shop", labels: { app: "web" } },
  spec: { containers: [{ name: "c", image: "nginx" }] },
} as unknown as KubeObject;

function admission(change: Partial<Admission> = {}): Admission {
  return {
    operation: "CREATE",
    kind: { group: "", version: "v1", kind: "Pod", plural: "pods" } as Kind,
    subresource: "",
    namespace: "shop",
    name: "web",
    user: { name: "eve", groups: ["devs"], extra: { why: ["fun"] } },
    dryRun: false,
    object: pod,
    options: { kind: "CreateOptions", apiVersion: "meta.k8s.io/v1", fieldManager: "kubectl" },
    view: undefined as unknown as Admission["view"],
    now: 0,
    warn: () => {},
    annotate: () => {},
    ...change,
  };
}

function judged(
  decide: (attributes: Attributes) => Decision | Promise<Decision> = () => ({ allowed: false }),
  change: Partial<Admission> = {},
): Judged {
  const authorizer = { authorize: decide, rules: () => ({ rules: [], errors: [] }) };
  return { admission: admission(change), authorizer: authorizer as Judged["authorizer"] };
}

async function match(
  expressions: string[],
  options: { failurePolicy?: string; judged?: Judged } = {},
) {
  const conditions: MatchCondition[] = expressions.map((expression, i) => ({
    name: `c${i}`,
    expression,
  }));
  const made = await compileMatchConditions(conditions, "admission", options);
  return made.match(admissionValues(options.judged ?? judged()));
}

Deno.test("match conditions see what upstream's see", async (t) => {
  const cases = [
    "object.metadata.labels.app == 'web' && oldObject == null",
    "request.operation == 'CREATE' && request.name == 'web' && request.namespace == 'shop'",
    "request.kind.kind == 'Pod' && request.kind.group == '' && request.resource.resource == 'pods'",
    "request.userInfo.username == 'eve' && 'devs' in request.userInfo.groups",
    "request.userInfo.extra['why'] == ['fun'] && !request.dryRun && !has(request.subResource)",
    "request.options.fieldManager == 'kubectl' && namespaceObject == null",
    "object.spec.containers.all(c, c.image.startsWith('ng'))",
  ];
  for (const text of cases) {
    await t.step(text, async () => assertEquals(await match([text]), { matches: true }));
  }
});

Deno.test("one false condition skips, whatever others ran into", async () => {
  assertEquals(await match(["object.none.x == 1", "1 == 2", "true"]), {
    matches: false,
    condition: "c1",
  });
  const error = "expression 'object.none.x == 1' resulted in error: no such key: none";
  assertEquals(await match(["object.none.x == 1", "true"]), { matches: false, error });
  assertEquals(await match(["object.none.x == 1", "object.none.x == 1"]), {
    matches: false,
    error: `[${error}, ${error}]`,
  });
  assertEquals(await match(["object.none.x == 1"], { failurePolicy: "Ignore" }), {
    matches: false,
  });
});

Deno.test("match conditions that do not compile say why", async () => {
  const made = await compileMatchConditions(
    [{ expression: "true" }, { expression: "object.x" }, { expression: "nobody" }],
    "admission",
  );
  assertEquals(made.problems, [
    { index: 1, problem: "must evaluate to bool but got dyn" },
    {
      index: 2,
      problem: "compilation failed: ERROR: <input>:1:1: undeclared reference to 'nobody' " +
        "(in container '')\n | nobody\n | ^",
    },
  ]);
  assertEquals(
    await made.match(admissionValues(judged())),
    {
      matches: false,
      error: `[compilation error: ${made.problems[0].problem}, ` +
        `compilation error: ${made.problems[1].problem}]`,
    },
  );
});

Deno.test("match conditions ask the authorizer, which may take time", async () => {
  const asked: Attributes[] = [];
  const decide = async (attributes: Attributes) => {
    asked.push(attributes);
    await Promise.resolve();
    if (attributes.verb === "fail") throw new Error("no answer");
    return { allowed: attributes.verb === "use", reason: "because" };
  };
  const check = "authorizer.group('apps').resource('things').subresource('s').namespace('n')" +
    ".name('x').fieldSelector('a=b').labelSelector('!!').check('use')";
  assertEquals(
    await match([
      `${check}.allowed() && ${check}.reason() == 'because'`,
      "!authorizer.path('/healthz').check('get').allowed()",
      "authorizer.requestResource.check('fail').error() == 'no answer'",
      "!authorizer.serviceAccount('ns', 'sa').group('').resource('pods').check('get').errored()",
    ], { judged: judged(decide) }),
    { matches: true },
  );
  assertEquals(
    asked.map(({ user, verb, resource, path, version, namespace, name }) => [
      user.name,
      verb,
      resource,
      path,
      version,
      namespace,
      name,
    ]),
    [
      ["eve", "use", "things", "", "*", "n", "x"],
      ["eve", "get", "", "/healthz", "", "", ""],
      ["eve", "fail", "pods", "", "*", "shop", "web"],
      ["system:serviceaccount:ns:sa", "get", "pods", "", "*", "", ""],
    ],
  );
  assertEquals([asked[0].fieldSelector, asked[0].labelSelector], ["a=b", undefined]);
  assertEquals(await match(["authorizer.path(' ').check('get').allowed()"]), {
    matches: false,
    error: "expression 'authorizer.path(' ').check('get').allowed()' resulted in error: " +
      "path must not be empty",
  });
});

Deno.test("match conditions stop at upstream's budgets", async () => {
  const object = { ...pod, list: new Array(1000).fill(1) } as unknown as KubeObject;
  const costly = "object.list.all(x, object.list.all(y, object.list.all(z, x == z)))";
  const asked = judged(undefined, { object });
  assertEquals(await match([costly], { judged: asked }), {
    matches: false,
    error: `expression '${costly}' resulted in error: ` +
      "operation cancelled: actual cost limit exceeded",
  });
  assertEquals(await match([costly, costly, costly], { judged: asked }), {
    matches: false,
    error:
      "validation failed due to running out of cost budget, no further validation rules will be run",
  });
});

Deno.test("match conditions of authorizers see the review's spec", async () => {
  const spec = {
    user: "eve",
    groups: ["devs"],
    extra: {},
    resourceAttributes: { namespace: "shop", verb: "get", resource: "pods" },
  };
  const run = async (...expressions: string[]) => {
    const conditions = expressions.map((expression) => ({ expression }));
    const made = await compileMatchConditions(conditions, "authorization");
    return made.match({ request: spec });
  };
  assertEquals(await run("has(request.resourceAttributes)", "request.user == 'eve'"), {
    matches: true,
  });
  assertEquals(await run("request.resourceAttributes.group == ''", "true"), {
    matches: false,
    error:
      "cel evaluation error: expression 'request.resourceAttributes.group == ''' resulted in " +
      "error: no such key: group",
  });
});

Deno.test("claims and users are mapped", async () => {
  await loadExpressions();
  const value = (
    text: string,
    scope: Scope,
    results: string[],
    values: Record<string, unknown>,
  ) => {
    const { program, problem } = compiledExpression(text, scope, results);
    return problem ?? program!.evaluate(values);
  };
  const claims = { sub: "u1", roles: ["a", "b"], deep: { "x/y": true } };
  assertEquals(value("claims.sub + '!'", "claims", ["string"], { claims }), "u1!");
  assertEquals(value("claims.roles", "claims", [], { claims }), ["a", "b"]);
  assertEquals(value("claims.deep['x/y']", "claims", [], { claims }), true);
  assertEquals(value("1", "claims", ["bool"], { claims }), "must evaluate to bool");
  const user = userShown({ name: "eve", groups: ["g"] });
  assertEquals(value("!user.username.startsWith('system:')", "user", ["bool"], { user }), true);
});
