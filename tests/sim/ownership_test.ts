/**
 * Server-side apply agrees with a plain model of field ownership over random histories. A history that does not is made
 * as short as it can be before it is shown; its seed is in the test's name.
 */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../../mod.ts";
import {
  type Json,
  leavesOf,
  merged,
  Model,
  ownedLeaves,
  ownerName,
  type Shape,
  type Step,
} from "./ownership.ts";

const METADATA: Shape = {
  fields: { labels: { map: "whole" }, annotations: { map: "whole" }, finalizers: { set: true } },
};
const ITEM = { name: "whole", value: "whole", other: "whole" } as const;
const SPEC: Shape = {
  fields: {
    word: "whole",
    set: { set: true },
    list: "whole",
    keyed: { keyed: "name", item: ITEM },
    map: { map: "whole" },
    whole: "whole",
    deep: { fields: { x: "whole", y: { map: { map: "whole" } } } },
  },
};
const STATUS: Shape = {
  fields: {
    phase: "whole",
    conditions: { keyed: "type", item: { type: "whole", status: "whole" } },
  },
};

type Random = (n: number) => number;

/** A kind whose objects the histories are about. */
interface Subject {
  path: string;
  apiVersion: string;
  kind: string;
  shape: Shape;
  /** A random part of an object. */
  draw(random: Random): Json;
  status?: (random: Random) => Json;
}

const some = <T>(random: Random, list: readonly T[], of = 2): T[] =>
  list.filter(() => random(of) === 0);
const word = (random: Random) => ["one", "two", "six"][random(3)];
/** A map with something in it always. */
const mapOf = (random: Random, keys: readonly string[]) => ({
  kept: "always",
  ...Object.fromEntries(some(random, keys).map((key) => [key, word(random)])),
});

/** Items with one among them that is always there. */
const named = (random: Random, names: readonly string[], draw: () => object = () => ({})): Json[] =>
  ["kept", ...some(random, names)].map((name) => ({ name, ...(name === "kept" ? {} : draw()) }));

const SUBJECTS: readonly Subject[] = [
  {
    path: "/api/v1/namespaces/default/configmaps",
    apiVersion: "v1",
    kind: "ConfigMap",
    shape: { fields: { metadata: METADATA, data: { map: "whole" } } },
    draw: (random) => ({ data: mapOf(random, ["a", "b", "c"]) }),
  },
  {
    path: "/api/v1/namespaces/default/serviceaccounts",
    apiVersion: "v1",
    kind: "ServiceAccount",
    shape: {
      fields: {
        metadata: METADATA,
        automountServiceAccountToken: "whole",
        secrets: { keyed: "name", item: {} },
        imagePullSecrets: "whole",
      },
    },
    draw: (random) => ({
      ...(random(3) === 0 && { automountServiceAccountToken: random(2) === 0 }),
      secrets: named(random, ["s", "t"]),
      imagePullSecrets: named(random, ["p", "q"]),
    }),
  },
  {
    path: "/apis/model.example/v1/namespaces/default/things",
    apiVersion: "model.example/v1",
    kind: "Thing",
    shape: { fields: { metadata: METADATA, spec: SPEC, status: STATUS } },
    draw: (random) => ({
      spec: {
        ...(random(2) && { word: word(random) }),
        set: ["kept", ...some(random, ["a", "b", "c"])],
        ...(random(3) === 0 && { list: ["kept", ...some(random, ["a", "b"])] }),
        keyed: named(random, ["k", "l", "m"], () => ({
          ...(random(2) && { value: word(random) }),
          ...(random(3) === 0 && { other: word(random) }),
        })),
        map: mapOf(random, ["m", "n"]),
        ...(random(3) === 0 && { whole: mapOf(random, ["a", "b"]) }),
        deep: {
          ...(random(3) === 0 && { x: word(random) }),
          y: { u: mapOf(random, ["p", "q"]), v: mapOf(random, ["p"]) },
        },
      },
    }),
    status: (random) => ({
      status: {
        ...(random(2) && { phase: word(random) }),
        conditions: ["kept", ...some(random, ["A", "B"])].map((type) => ({
          type,
          status: type === "kept" ? "always" : word(random),
        })),
      },
    }),
  },
];

const text = { type: "string" };
const texts = { type: "object", additionalProperties: text };
const DEFINITION = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "things.model.example" },
  spec: {
    group: "model.example",
    scope: "Namespaced",
    names: { plural: "things", singular: "thing", kind: "Thing", listKind: "ThingList" },
    versions: [{
      name: "v1",
      served: true,
      storage: true,
      subresources: { status: {} },
      schema: {
        openAPIV3Schema: {
          type: "object",
          properties: {
            spec: {
              type: "object",
              properties: {
                word: text,
                set: { type: "array", "x-kubernetes-list-type": "set", items: text },
                list: { type: "array", "x-kubernetes-list-type": "atomic", items: text },
                keyed: {
                  type: "array",
                  "x-kubernetes-list-type": "map",
                  "x-kubernetes-list-map-keys": ["name"],
                  items: {
                    type: "object",
                    required: ["name"],
                    properties: { name: text, value: text, other: text },
                  },
                },
                map: texts,
                whole: { ...texts, "x-kubernetes-map-type": "atomic" },
                deep: {
                  type: "object",
                  properties: { x: text, y: { type: "object", additionalProperties: texts } },
                },
              },
            },
            status: {
              type: "object",
              properties: {
                phase: text,
                conditions: {
                  type: "array",
                  "x-kubernetes-list-type": "map",
                  "x-kubernetes-list-map-keys": ["type"],
                  items: {
                    type: "object",
                    required: ["type"],
                    properties: { type: text, status: text },
                  },
                },
              },
            },
          },
        },
      },
    }],
  },
};

/** Draws a history. */
function historyOf(subject: Subject, random: Random): Step[] {
  const steps: Step[] = [];
  for (let i = 0; i < 14; i++) {
    const manager = `m${random(4)}`;
    const dice = random(subject.status ? 12 : 9);
    const metadata = {
      labels: mapOf(random, ["a", "b"]),
      annotations: mapOf(random, ["x"]),
      finalizers: ["f.example/kept", ...some(random, ["f.example/a", "f.example/b"], 4)],
    };
    const whole = () => ({ metadata, ...subject.draw(random) });
    if (dice < 5 || i === 0) {
      steps.push({ verb: "apply", manager, force: random(3) === 0, body: whole() });
    } else if (dice < 7) steps.push({ verb: "update", manager, body: whole() });
    else if (dice < 9) {
      const body = whole();
      if (random(3) === 0) body.metadata = { ...body.metadata, labels: { a: null } };
      steps.push({ verb: "patch", manager, body });
    } else {
      const verb = dice < 11 ? "apply status" : "update status";
      steps.push({ verb, manager, force: random(2) === 0, body: subject.status!(random) });
    }
  }
  return steps;
}

let objects = 0;

/** Runs a history on a new object; tells what is wrong, if anything is. */
async function runHistory(
  cluster: Cluster,
  subject: Subject,
  steps: readonly Step[],
): Promise<string | undefined> {
  const name = `o${objects++}`;
  const model = new Model();
  const url = `${subject.path}/${name}`;
  const ask = async (method: string, at: string, body?: Json, type = "application/json") => {
    const headers = { "content-type": type };
    const answer = await cluster.fetch(at, { method, headers, body: body && JSON.stringify(body) });
    return { status: answer.status, body: JSON.parse(await answer.text()) };
  };
  for (const [at, step] of steps.entries()) {
    const live = await ask("GET", url);
    if (live.status === 404 && step.verb !== "apply") continue;
    const problem = await runStep({ ask, url, name, subject, model, live: live.body, step });
    const end = await ask("GET", url);
    const wrong = problem ?? (end.status === 200 ? compare(subject, model, end.body) : undefined);
    if (wrong) return `step ${at}: ${wrong}`;
  }
}

interface Run {
  ask(
    method: string,
    at: string,
    body?: Json,
    type?: string,
  ): Promise<{ status: number; body: Json }>;
  url: string;
  name: string;
  subject: Subject;
  model: Model;
  live: Json;
  step: Step;
}

const APPLY = "application/apply-patch+yaml";

async function runStep(run: Run): Promise<string | undefined> {
  const { ask, url, name, subject, model, live, step } = run;
  const { shape, apiVersion, kind } = subject;
  const { verb, manager, force, body } = step;
  const isStatus = verb.endsWith("status");
  const at = `${url}${isStatus ? "/status" : ""}?fieldManager=${manager}`;
  const sub = isStatus ? "status" : "";
  if (verb.startsWith("apply")) {
    const config = { apiVersion, kind, ...body, metadata: { ...body.metadata, name } };
    const wanted = leavesOf(body, shape);
    const owner = ownerName("Apply", manager, sub);
    const conflicts = model.conflicts(owner, wanted);
    const { status, body: said } = await ask(
      "PATCH",
      `${at}&force=${force === true}`,
      config,
      APPLY,
    );
    if (conflicts.length && !force) {
      const causes: { message: string; field: string }[] = said.details?.causes ?? [];
      const told = causes.map(({ message, field }) => causeText(message, field)).sort();
      return status === 409 && sameList(told, conflicts)
        ? undefined
        : `${status}: conflicts ${told}, the model says ${conflicts}`;
    }
    if (status >= 300) return `${status} ${said.message}, the model says it is well`;
    model.apply(owner, wanted);
    return;
  }
  const content = verb === "patch"
    ? merged(live, body)
    : isStatus
    ? { ...live, status: body.status }
    : {
      apiVersion,
      kind,
      ...body,
      metadata: { ...body.metadata, name, resourceVersion: live.metadata.resourceVersion },
    };
  if (!isStatus && live.status) content.status = live.status;
  const { status, body: said } = verb === "patch"
    ? await ask("PATCH", at, body, "application/merge-patch+json")
    : await ask("PUT", at, content);
  if (status >= 300) return `${status} ${said.message}`;
  model.update(ownerName("Update", manager, sub), leavesOf(content, shape));
}

/** A conflict's cause in the model's words. */
function causeText(message: string, field: string): string {
  const [, manager, sub = "", using] = message.match(
    /^conflict with "([^"]+)"(?: with subresource "([^"]+)")?( using .*)?$/,
  )!;
  const leaf = field.replace(/\[\w+="([^"]+)"\]/g, "[$1]").replace(/\[="([^"]+)"\]/g, "[=$1]");
  return `${ownerName(using ? "Update" : "Apply", manager, sub)} ${leaf}`;
}

const sameList = (a: readonly string[], b: readonly string[]) =>
  a.length === b.length && a.every((one, i) => one === b[i]);

/** What of an object is not as the model has it. */
function compare({ shape }: Subject, model: Model, object: Json): string | undefined {
  const lines = (leaves: Map<string, string>) => [...leaves].map((one) => one.join(" = ")).sort();
  const real = lines(leavesOf(object, shape));
  const wanted = lines(model.leaves);
  if (!sameList(real, wanted)) {
    const [more, less] = [
      real.filter((one) => !wanted.includes(one)),
      wanted.filter((one) => !real.includes(one)),
    ];
    return `the object has ${more} and lacks ${less}`;
  }
  const owners = new Map<string, Set<string>>();
  for (const { operation, manager, subresource, fieldsV1 } of object.metadata.managedFields ?? []) {
    const set = ownedLeaves(fieldsV1, shape);
    if (set.size) owners.set(ownerName(operation, manager, subresource), set);
  }
  for (const name of new Set([...owners.keys(), ...model.owners.keys()])) {
    const real = [...owners.get(name) ?? []].sort();
    const wanted = [...model.owners.get(name) ?? []].sort();
    if (!sameList(real, wanted)) return `${name} owns ${real}, the model says ${wanted}`;
  }
}

/** The shortest part of a history, found by leaving out step after step, that is still wrong. */
async function shrunk(cluster: Cluster, subject: Subject, steps: readonly Step[]): Promise<Step[]> {
  let best = [...steps];
  for (let i = 0; i < best.length;) {
    const fewer = best.filter((_, at) => at !== i);
    if (await runHistory(cluster, subject, fewer)) best = fewer;
    else i++;
  }
  return best;
}

const HISTORIES = 40;

for (const subject of SUBJECTS) {
  for (const seed of [1, 2]) {
    Deno.test(`${HISTORIES} histories of ${subject.kind} agree with the model: seed ${seed}`, async () => {
      let state = (seed * 2_654_435_761) >>> 0;
      const random = (n: number) => {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        return (state >>> 0) % n;
      };
      await using cluster = await Cluster.start({ components: ["api"] });
      const body = JSON.stringify(DEFINITION);
      const headers = { "content-type": "application/json" };
      const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
      await (await cluster.fetch(path, { method: "POST", headers, body })).body?.cancel();
      await cluster.settle();
      for (let i = 0; i < HISTORIES; i++) {
        const steps = historyOf(subject, random);
        const wrong = await runHistory(cluster, subject, steps);
        if (!wrong) continue;
        const short = await shrunk(cluster, subject, steps);
        const why = await runHistory(cluster, subject, short);
        throw new Error(
          `history ${i}: ${why}\n${short.map((one) => JSON.stringify(one)).join("\n")}`,
        );
      }
    });
  }
}

Deno.test("the model itself: equal wishes are owned together, and the last to let go removes", () => {
  const model = new Model();
  const wish = new Map([[".a", "1"]]);
  model.apply("Apply one", wish);
  model.apply("Apply two", wish);
  assertEquals(model.conflicts("Apply two", new Map([[".a", "2"]])), ["Apply one .a"]);
  model.apply("Apply one", new Map());
  assert(model.leaves.has(".a"));
  model.apply("Apply two", new Map());
  assertEquals(model.leaves.size, 0);
});
