/**
 * What a real kube-apiserver 1.36.0 says of objects, and that ours says the same: code, causes in their order,
 * texts, defaults, warnings, generation. `validation/<group>_<version>_<kind>.jsonl` holds facts, one a line:
 *
 * - `{base, made?, warnings?}` begins a section: an object, and what becomes of it when it is created;
 * - `{do, set, code, causes | message | made, warnings?}` changes it in the places of `set` (a path alone
 *   removes) and sends it: `create` as a new object, any other word as an update of the stored one, through the
 *   subresource of that name. `made` is where the answer differs from the section's own.
 *
 * Everything is a dry run but the section's object itself. uids, times and addresses are masked.
 */
import { assertEquals } from "@std/assert";
import { createKinds } from "../../api/kinds/mod.ts";
import type { Kind } from "../../api/machinery/types.ts";
import { changed, mask, maskText, type Path, sorted, UNSTABLE, warningsOf } from "./recorded_facts.ts";
import { openApi, type Fixture } from "../../api/server/fixture_test.ts";

// deno-lint-ignore no-explicit-any -- objects of any kind
type Obj = any;

interface Section {
  base: Obj;
  made?: Obj;
  warnings?: string[];
}

interface Case {
  do: string;
  set: [Path, Obj?][];
  code: number;
  causes?: string[];
  message?: string;
  made?: [Path, Obj?][];
  warnings?: string[];
}

const FOLDER = new URL("./validation/", import.meta.url);
const NAMESPACE = "fz";
const kinds = createKinds({ beta: true });
const USER = { name: "kubernetes-admin", uid: "1", groups: ["system:masters", "system:authenticated"] };

function pathOf(kind: Kind, ...more: (string | undefined)[]): string {
  const root = kind.group ? `/apis/${kind.group}/${kind.version}` : "/api/v1";
  const space = kind.namespaced ? `/namespaces/${NAMESPACE}` : "";
  return [root + space, kind.plural, ...more].filter(Boolean).join("/");
}

interface Answer {
  code: number;
  body: Obj;
  warnings: string[];
}

async function send(
  fixture: Fixture,
  method: string,
  path: string,
  body?: Obj,
  type = "application/json",
): Promise<Answer> {
  const response = await fixture.api.fetch(
    new Request(`https://golden${path}`, {
      method,
      headers: { "content-type": type },
      ...(body && { body: JSON.stringify(body) }),
    }),
    { user: USER },
  );
  const warnings = warningsOf(response);
  return { code: response.status, body: await response.json(), warnings };
}

/** Removes an object whatever its finalizers. */
async function remove(fixture: Fixture, kind: Kind, name: string): Promise<void> {
  const path = pathOf(kind, name);
  const none = { metadata: { finalizers: null } };
  await send(fixture, "PATCH", path, none, "application/merge-patch+json");
  await send(fixture, "DELETE", `${path}?gracePeriodSeconds=0&propagationPolicy=Background`);
}

/** A client would send what it read: with this server's own uid, addresses and resourceVersion. */
async function stored(fixture: Fixture, kind: Kind, base: Obj): Promise<Obj> {
  const made = await send(fixture, "POST", pathOf(kind), base);
  assertEquals(made.code, 201, made.body.message);
  return made.body;
}

/** An answer in the form of a case. */
function told({ code, body, warnings }: Answer, from: Obj): Obj {
  const out: Obj = { code };
  if (code >= 400) {
    if (code === 422 && body.details?.causes) {
      out.causes = body.details.causes.map((c: Obj) => maskText(`${c.field}: ${c.message}`));
    } else out.message = maskText(body.message);
  } else out.made = from === undefined ? mask(body) : sorted(mask(body));
  if (warnings.length) out.warnings = warnings;
  return out;
}

async function check(fixture: Fixture, kind: Kind, section: Section, one: Case): Promise<void> {
  const create = one.do === "create" || one.do === "pairs";
  const old = create ? undefined : await keptBase(fixture, kind, section);
  const from = create ? section.made : mask(old);
  const body = changed(old ? withoutUnstable(old) : section.base, one.set);
  if (old && body.metadata) body.metadata.resourceVersion = old.metadata.resourceVersion;
  const subresource = create || one.do === "update" ? undefined : one.do;
  const path = create ? pathOf(kind) : pathOf(kind, section.base.metadata.name, subresource);
  const answer = await send(fixture, create ? "POST" : "PUT", `${path}?dryRun=All`, body);
  const wanted: Obj = { code: one.code };
  if (one.causes) wanted.causes = one.causes;
  else if (one.message !== undefined) wanted.message = one.message;
  else wanted.made = sorted(changed(from, one.made ?? []));
  if (one.warnings) wanted.warnings = one.warnings;
  assertEquals(told(answer, from), wanted, `${one.do} ${JSON.stringify(one.set)}`);
}

const bases = new WeakMap<Section, Obj>();

async function keptBase(fixture: Fixture, kind: Kind, section: Section): Promise<Obj> {
  let object = bases.get(section);
  if (!object) bases.set(section, object = await stored(fixture, kind, section.base));
  return object;
}

function withoutUnstable(object: Obj): Obj {
  const copy = structuredClone(object);
  for (const field of [...UNSTABLE, "generation"]) delete copy.metadata?.[field];
  return copy;
}

async function walk(fixture: Fixture, name: string): Promise<number> {
  let section: Section = { base: {} };
  let kind: Kind | undefined;
  let count = 0;
  for (const line of Deno.readTextFileSync(new URL(name, FOLDER)).split("\n")) {
    if (!line) continue;
    const data = JSON.parse(line);
    count++;
    if (!data.base) {
      await check(fixture, kind!, section, data);
      continue;
    }
    if (bases.has(section)) await remove(fixture, kind!, section.base.metadata.name);
    section = data;
    const [version, group = ""] = section.base.apiVersion.split("/").reverse();
    kind = kinds.byKind(group, version, section.base.kind)!;
    if (!section.made) continue;
    const answer = await send(fixture, "POST", `${pathOf(kind)}?dryRun=All`, section.base);
    const wanted = { code: 201, made: section.made, ...(section.warnings && { warnings: section.warnings }) };
    assertEquals(told(answer, undefined), wanted, `base ${line}`);
  }
  return count;
}

async function open(): Promise<Fixture> {
  const fixture = await openApi({ kinds });
  await send(fixture, "POST", "/api/v1/namespaces", { metadata: { name: NAMESPACE } });
  await send(fixture, "POST", `/api/v1/namespaces/${NAMESPACE}/serviceaccounts`, {
    metadata: { name: "default" },
  });
  await send(fixture, "POST", "/apis/storage.k8s.io/v1/storageclasses", {
    metadata: { name: "sc" },
    provisioner: "a.b/c",
    allowVolumeExpansion: true,
  });
  return fixture;
}

for (const { name } of [...Deno.readDirSync(FOLDER)].sort((a, b) => a.name < b.name ? -1 : 1)) {
  if (!name.endsWith(".jsonl")) continue;
  Deno.test(`validation of ${name.slice(0, -6).replaceAll("_", " ")}`, async () => {
    await using fixture = await open();
    await walk(fixture, name);
  });
}
