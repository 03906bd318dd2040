/**
 * The property that matters most: no sequence of allowed requests gives anybody more than he was granted.
 *
 * An actor with a few random rights tries whatever he can think of (`attempts.ts`), by every identity that he has got
 * hold of; strong roles, accounts, groups and requests for certificates lie about as temptations. A model of rights that
 * shares nothing with the server (`rights.ts`) says beforehand what he can come to at most, and after every request:
 * everything that happened was a right of whoever asked; the server's decisions are the model's; nobody may do more
 * than he could at first and the actor could have lent him.
 *
 * `ESCALATION_SEEDS=from-to` and `ESCALATION_STEPS=n` run others; a failure names its seed and step.
 */
import { assert, assertEquals } from "@std/assert";
import {
  ACCOUNTS,
  type Attempt,
  Chance,
  GROUPS,
  nextAttempt,
  randomRule,
  USERS,
} from "./attempts.ts";
import {
  accountIdentity,
  allows,
  type Any,
  type Atom,
  ATOMS,
  type Identity,
  NAMESPACES,
  type Others,
  type Rbac,
  type Reach,
  reachOf,
  textOf,
} from "./rights.ts";
import { core, type Credential, openWorld, rbacResource, type World } from "./world.ts";

const [FROM, TO] = (Deno.env.get("ESCALATION_SEEDS") ?? "1-8").split("-").map(Number);
const STEPS = Number(Deno.env.get("ESCALATION_STEPS") ?? 300);
/** Identities of the actor that are asked about at every step. */
const CREDENTIALS_MAX = 8;
/** Atoms that are asked about at every step, of each identity. */
const SAMPLE = 20;
/** After requests that were refused it is looked at every so many steps only. */
const QUIET_EVERY = 5;
/** Every so many steps the administrator grants something, or takes a ServiceAccount away. */
const ADMIN_EVERY = 40;

const AUTHENTICATED = ["system:authenticated"];
const person = (name: string, groups: readonly string[] = []): Identity => ({
  name,
  groups: [...groups, ...AUTHENTICATED],
});
const ACTOR = person("actor");
const PEOPLE = [
  person("puppet"),
  person("victim"),
  person("officer", ["on-duty"]),
  person("op", ["ops"]),
];

const ALL_ACCOUNTS = NAMESPACES.flatMap((namespace) =>
  ACCOUNTS.map((name) => ({ namespace, name }))
);

/** Strong things that are nobody's, or somebody else's; and a few rights for the actor. */
async function furnish(world: World, chance: Chance): Promise<void> {
  const { admin } = world;
  const role = (name: string, more: Any) =>
    admin.create({ resource: rbacResource("clusterroles") }, {
      metadata: { name, labels: { into: name === "strong" ? "gather" : "nothing" } },
      ...more,
    });
  await role("strong", {
    rules: [{ verbs: ["*"], apiGroups: [""], resources: ["secrets", "pods"] }],
  });
  await role("gather", {
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { into: "gather" } }] },
    rules: [],
  });
  for (const name of ["r1", "actor", "victim"]) {
    const length = name === "r1" ? 1 : name === "actor" ? 6 : 4;
    const rules = Array.from({ length }, () => randomRule(chance));
    await role(name, { rules });
  }
  const bind = (name: string, roleName: string, subject: Any) =>
    admin.create({ resource: rbacResource("clusterrolebindings") }, {
      metadata: { name },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: roleName },
      subjects: [subject],
    });
  const user = (name: string) => ({ kind: "User", apiGroup: "rbac.authorization.k8s.io", name });
  await bind("actor", "actor", user("actor"));
  await bind("victim", "victim", user("victim"));
  await bind("lent", "strong", { kind: "ServiceAccount", name: "robot", namespace: "blue" });
  // Rights to write roles and bindings, and to ask for certificates, make it interesting
  await role("writer", {
    rules: [
      {
        verbs: ["create", ...chance.some(["update", "patch", "delete", "deletecollection"], 3)],
        apiGroups: ["rbac.authorization.k8s.io"],
        resources: chance.some(["roles", "rolebindings", "clusterroles", "clusterrolebindings"], 4),
      },
      {
        verbs: ["create", "get", "delete"],
        apiGroups: ["certificates.k8s.io"],
        resources: ["certificatesigningrequests"],
      },
      { verbs: ["create", "delete"], apiGroups: [""], resources: ["serviceaccounts"] },
      ...(chance.yes(0.5)
        ? [{
          verbs: ["update"],
          apiGroups: ["certificates.k8s.io"],
          resources: ["certificatesigningrequests/approval", "certificatesigningrequests/status"],
        }]
        : []),
      ...(chance.yes(0.2)
        ? [{
          verbs: ["approve"],
          apiGroups: ["certificates.k8s.io"],
          resources: ["signers"],
          resourceNames: ["example.com/harmless"],
        }, {
          // Who signs does not therefore approve
          verbs: ["sign"],
          apiGroups: ["certificates.k8s.io"],
          resources: ["signers"],
        }]
        : []),
    ],
  });
  await bind("writer", "writer", user("actor"));
  for (const namespace of NAMESPACES) {
    await admin.create({ resource: core("serviceaccounts"), namespace }, {
      metadata: { name: "default" },
    });
    await admin.create({ resource: core("serviceaccounts"), namespace }, {
      metadata: { name: "robot" },
    });
  }
  await admin.create({ resource: core("nodes") }, { metadata: { name: "n1" } });
}

/** Draws the actor's rights anew until there is something that he cannot come to. */
async function keepBounded(world: World, chance: Chance): Promise<void> {
  for (let i = 0; i < 20 && most(world.rbac()).everything; i++) {
    const rules = Array.from({ length: 6 }, () => randomRule(chance));
    await world.admin.patch({ resource: rbacResource("clusterroles"), name: "actor" }, {
      type: "merge",
      body: { rules },
    });
  }
}

/** Everybody that bindings and the test know. */
function othersIn(rbac: Rbac): Others {
  const users = new Map([ACTOR, ...PEOPLE].map((one) => [one.name, person(one.name)]));
  const groups = new Set([...GROUPS, ...AUTHENTICATED]);
  const accounts = new Map(ALL_ACCOUNTS.map((one) => [`${one.namespace}/${one.name}`, one]));
  for (const binding of [...rbac.roleBindings, ...rbac.clusterRoleBindings]) {
    for (const { kind, name, namespace = binding.metadata.namespace } of binding.subjects ?? []) {
      if (kind === "User") users.set(name, person(name));
      else if (kind === "Group") groups.add(name);
      else accounts.set(`${namespace}/${name}`, { namespace, name });
    }
  }
  users.set("system:node:n1", person("system:node:n1"));
  return { users: [...users.values()], groups: [...groups], accounts: [...accounts.values()] };
}

/** As `reachOf`, and a node's identity counts as everything: what nodes may is not modelled. */
function most(rbac: Rbac): Reach {
  const reach = reachOf(rbac, ACTOR, othersIn(rbac));
  const node = reach.identities.some(({ name, groups }) =>
    name.startsWith("system:node:") && groups.includes("system:nodes")
  );
  return node ? { ...reach, everything: true } : reach;
}

/** Turns of the event loop after which what is not done waits for time to pass. */
const TURNS = 50;

/** Lets time pass as far as a request waits for it. */
async function inTime<T>({ clock }: World, work: Promise<T>): Promise<T> {
  let done = false;
  const end = () => done = true;
  work.then(end, end);
  while (!done) {
    for (let i = 0; i < TURNS && !done; i++) await clock.turn();
    const next = clock.nextWorkAt();
    if (!done && next !== undefined) await clock.advance(Math.max(next - clock.now(), 0));
  }
  return await work;
}

async function ask(
  world: World,
  credential: Credential,
  attempt: Attempt,
): Promise<{ code: number; answer: Any }> {
  const headers = new Headers();
  if (attempt.body !== undefined) headers.set("content-type", attempt.type ?? "application/json");
  if (credential.token) headers.set("authorization", `Bearer ${credential.token}`);
  if (attempt.as) {
    headers.set("impersonate-user", attempt.as.user);
    for (const group of attempt.as.groups) headers.append("impersonate-group", group);
  }
  const request = new Request(`http://x${attempt.path}`, {
    method: attempt.method,
    headers,
    body: attempt.body === undefined ? undefined : JSON.stringify(attempt.body),
  });
  const { user, certificate } = credential;
  const response = await inTime(world, world.api.fetch(request, { user, certificate }));
  return { code: response.status, answer: await response.json() };
}

/** Who the request was made as. */
function acting(credential: Credential, { as }: Attempt): Identity {
  if (!as) return credential.identity;
  const parts = as.user.split(":");
  const account = as.user.startsWith("system:serviceaccount:")
    ? accountIdentity({ namespace: parts[2], name: parts[3] })
    : undefined;
  if (account && as.groups.length === 0) return account;
  return { name: as.user, groups: [...as.groups, ...AUTHENTICATED] };
}

/** Whether the model lets the holder act so. */
function mayAct(rbac: Rbac, credential: Credential, { as }: Attempt): boolean {
  if (!as) return true;
  const can = (resource: string, name: string, namespace = "") =>
    allows(rbac, credential.identity, {
      verb: "impersonate",
      group: "",
      resource,
      namespace,
      name,
    });
  const parts = as.user.split(":");
  const named = as.user.startsWith("system:serviceaccount:")
    ? can("serviceaccounts", parts[3], parts[2])
    : can("users", as.user);
  return named && as.groups.every((group) => can("groups", group));
}

const WATCHED = [
  "roles",
  "clusterroles",
  "rolebindings",
  "clusterrolebindings",
  "serviceaccounts",
  "secrets",
  "pods",
  "configmaps",
  "certificatesigningrequests",
];

function snapshot(world: World): Map<string, { revision: number; value: Any }> {
  const view = world.database.objects.view();
  const found = new Map<string, { revision: number; value: Any }>();
  for (const plural of WATCHED) {
    for (const { key, revision, value } of view.scan(`/registry/${plural}/`)) {
      found.set(key, { revision, value });
    }
  }
  return found;
}

/** What a request did to the state, as the rights that it took: one of each list. */
function rightsTaken(
  before: ReturnType<typeof snapshot>,
  after: ReturnType<typeof snapshot>,
): Atom[][] {
  const taken: Atom[][] = [];
  const need = (key: string, verbs: readonly string[]) => {
    const [, , resource, ...rest] = key.split("/");
    const [name, namespace = ""] = rest.reverse();
    const group = resource === "certificatesigningrequests"
      ? "certificates.k8s.io"
      : resource.includes("role")
      ? "rbac.authorization.k8s.io"
      : "";
    const at = { group, resource, namespace };
    taken.push(verbs.flatMap((verb): Atom[] => {
      // A create has no name yet, a deletecollection none at all
      if (verb === "create" || verb === "deletecollection") return [{ ...at, verb }];
      const subresources = resource === "certificatesigningrequests"
        ? ["approval", "status"]
        : resource === "pods"
        ? ["binding", "status"]
        : [];
      return [
        { ...at, verb, name },
        ...subresources.map((subresource) => ({ ...at, verb, name, subresource })),
        ...(resource === "pods" ? [{ ...at, verb: "create", name, subresource: "binding" }] : []),
      ];
    }));
  };
  for (const [key, { revision, value }] of after) {
    const old = before.get(key);
    if (!old) need(key, ["create"]);
    // Roles that gather others follow them by themselves
    else if (old.revision !== revision && !value.aggregationRule) {
      need(
        key,
        value.metadata.deletionTimestamp
          ? ["update", "patch", "delete", "deletecollection"]
          : ["update", "patch"],
      );
    }
  }
  for (const key of before.keys()) if (!after.has(key)) need(key, ["delete", "deletecollection"]);
  return taken;
}

/** What the server says. */
async function serverAllows(world: World, who: Identity, a: Atom): Promise<boolean> {
  const { allowed } = await world.auth.authorizer.authorize({
    user: who,
    resourceRequest: true,
    version: "v1",
    subresource: "",
    name: "",
    path: "",
    ...a,
  });
  return allowed;
}

interface Episode {
  world: World;
  chance: Chance;
  credentials: Credential[];
  reach: Reach;
  /** What others could do at first, and what the administrator gave since. */
  owned: Map<string, Set<string>>;
  where: string;
}

function ownedNow(rbac: Rbac): Map<string, Set<string>> {
  return new Map(PEOPLE.map((one) => [
    one.name,
    new Set(ATOMS.filter((a) => allows(rbac, one, a)).map(textOf)),
  ]));
}

async function check(episode: Episode): Promise<void> {
  const { world, chance, credentials, reach, owned, where } = episode;
  const rbac = world.rbac();
  const nodes = ({ name, groups }: Identity) =>
    name.startsWith("system:node:") && groups.includes("system:nodes");
  for (const credential of credentials.slice(-CREDENTIALS_MAX)) {
    const who = credential.identity;
    for (const a of chance.some(ATOMS, SAMPLE)) {
      const allowed = await serverAllows(world, who, a);
      const said = `${where}: ${who.name} [${who.groups}]: ${textOf(a)}`;
      if (!nodes(who)) {
        assertEquals(allowed, allows(rbac, who, a), `${said} (server against model)`);
      }
      assert(
        !allowed || reach.everything || reach.atoms.has(textOf(a)),
        `${said} was never granted`,
      );
    }
  }
  for (const who of PEOPLE) {
    for (const a of chance.some(ATOMS, SAMPLE)) {
      const allowed = await serverAllows(world, who, a);
      const text = textOf(a);
      const fine = !allowed || reach.everything || reach.atoms.has(text) ||
        owned.get(who.name)!.has(text);
      assert(fine, `${where}: ${who.name} was given ${text}, which nobody could`);
    }
  }
}

/** Tokens of ServiceAccounts that are gone are nobody's any more. */
async function dropDead(episode: Episode): Promise<void> {
  const alive: Credential[] = [];
  for (const credential of episode.credentials) {
    if (!credential.token) {
      alive.push(credential);
      continue;
    }
    const good = await Promise.resolve()
      .then(() => episode.world.auth.tokens.authenticate(credential.token!)).then(
        () => true,
        () => false,
      );
    const [, , namespace, name] = credential.identity.name.split(":");
    const [account] = episode.world.objects(`/registry/serviceaccounts/${namespace}/${name}`);
    const uid = (credential.identity as { uid?: string }).uid;
    const stands = account?.metadata.name === name && account.metadata.uid === uid;
    assert(!good || stands, `${episode.where}: a token of ${credential.identity.name} outlived it`);
    if (good) alive.push(credential);
  }
  episode.credentials = alive;
}

/** One request: tried, judged, and its gain put away. True when it was let through. */
async function step(episode: Episode): Promise<boolean> {
  const { world, chance, credentials } = episode;
  const credential = chance.pick(credentials);
  const attempt = await nextAttempt(chance, world);
  const before = snapshot(world);
  const rbac = world.rbac();
  const { code, answer } = await ask(world, credential, attempt);
  const after = snapshot(world);
  const shown =
    `${episode.where}: ${credential.identity.name} ${attempt.method} ${attempt.path} as ${
      JSON.stringify(attempt.as)
    } ${JSON.stringify(attempt.body)}: ${code}`;
  assert(code < 500, `${shown}: ${answer.message}`);
  const node = acting(credential, attempt).groups.includes("system:nodes");
  const taken = rightsTaken(before, after);
  if (code < 300) assert(mayAct(rbac, credential, attempt), `${shown}: nobody let him act so`);
  const who = acting(credential, attempt);
  for (const either of taken) {
    assert(code < 300, `${shown}: refused, and done all the same`);
    const may = node || either.some((a) => allows(rbac, who, a));
    assert(may, `${shown}: done without the right to ${either.map(textOf).join(" or ")}`);
  }
  if (code >= 300) return false;
  for (const gained of await attempt.gain?.(answer, world) ?? []) credentials.push(gained);
  return true;
}

/** The administrator does something of his own: what follows from it is granted. */
async function administer(episode: Episode): Promise<void> {
  const { world, chance } = episode;
  const { admin } = world;
  if (chance.yes(0.5)) {
    const namespace = chance.pick(NAMESPACES);
    const name = chance.pick(ACCOUNTS);
    await admin.delete({ resource: core("serviceaccounts"), namespace, name }).catch(() =>
      undefined
    );
    if (chance.yes(0.7)) {
      await admin.create({ resource: core("serviceaccounts"), namespace }, { metadata: { name } })
        .catch(() => undefined);
    }
    return;
  }
  const name = `extra-${chance.pick([1, 2])}`;
  await admin.delete({ resource: rbacResource("clusterroles"), name }).catch(() => undefined);
  await admin.create({ resource: rbacResource("clusterroles") }, {
    metadata: { name },
    rules: [randomRule(chance)],
  });
  await admin.create({ resource: rbacResource("clusterrolebindings") }, {
    metadata: { name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
    subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: chance.pick(USERS) }],
  }).catch(() => undefined);
  widen(episode);
}

/** What the actor can come to from here counts as granted, beside what he could before. */
function widen(episode: Episode): void {
  const rbac = episode.world.rbac();
  const reach = most(rbac);
  episode.reach = {
    everything: reach.everything || episode.reach.everything,
    atoms: new Set([...episode.reach.atoms, ...reach.atoms]),
    identities: [...episode.reach.identities, ...reach.identities],
  };
  for (const [name, now] of ownedNow(rbac)) {
    for (const text of now) episode.owned.get(name)!.add(text);
  }
}

async function run(seed: number) {
  const chance = new Chance(seed * 2654435761);
  const world = await openWorld(seed);
  try {
    await furnish(world, chance);
    if (chance.yes(0.85)) await keepBounded(world, chance);
    const rbac = world.rbac();
    const user = { name: ACTOR.name, groups: ACTOR.groups };
    const episode: Episode = {
      world,
      chance,
      credentials: [{ identity: ACTOR, user }],
      reach: most(rbac),
      owned: ownedNow(rbac),
      where: "",
    };
    const bounded = !episode.reach.everything;
    let done = 0;
    for (let i = 0; i < STEPS; i++) {
      episode.where = `seed ${seed}, step ${i}`;
      if (i % ADMIN_EVERY === ADMIN_EVERY - 1) await administer(episode);
      const through = await step(episode);
      if (through) done++;
      if (!through && i % QUIET_EVERY) continue;
      await world.control();
      await world.clock.advance(500);
      await dropDead(episode);
      await check(episode);
    }
    return { done, bounded, credentials: episode.credentials.length };
  } finally {
    await world.close();
  }
}

Deno.test("no sequence of allowed requests gives anybody more than he was granted", async () => {
  let bounded = 0;
  let done = 0;
  let identities = 0;
  for (let seed = FROM; seed <= TO; seed++) {
    const result = await run(seed);
    done += result.done;
    if (result.bounded) bounded++;
    identities += result.credentials - 1;
  }
  const seeds = TO - FROM + 1;
  if (Deno.env.has("ESCALATION_SEEDS")) {
    console.log(
      `${seeds} seeds, ${seeds * STEPS} requests, ${done} let through, ` +
        `${bounded} actors with a bound, ${identities} identities gained`,
    );
  }
  if (seeds < 8) return;
  assert(bounded * 2 >= seeds, "most actors could come to everything: nothing was shown");
  assert(done > seeds * STEPS / 20, "hardly anything was let through: nothing was shown");
});
