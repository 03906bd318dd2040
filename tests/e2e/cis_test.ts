/** The self-check sees what is right in a running cluster, and notices what is made wrong on purpose. */
import { assert, assertEquals } from "@std/assert";
import { CHECKS, type Finding, selfCheck, type Sources, tableOf } from "../../api/cis/mod.ts";
import { sourcesOf } from "../../api/cis/program.ts";
import { serverOptions } from "../../api/config/server.ts";
import { type Flags, readFlags } from "../../api/config/flags.ts";
import { ADMIN, Cluster, type ClusterOptions } from "../../mod.ts";

/** What can be looked at in a cluster of this process. */
function sources(cluster: Cluster, more: Partial<Sources> = {}): Sources {
  return {
    async ask(path, { method, body, type = "application/json", accept, as, anonymous } = {}) {
      const headers = new Headers({ "content-type": type, accept: accept ?? "application/json" });
      if (as) headers.set("impersonate-user", as.user);
      for (const group of as?.groups ?? []) headers.append("impersonate-group", group);
      const request = new Request(new URL(path, "https://plesio"), {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      const answer = await cluster.api.fetch(request, anonymous ? {} : { user: ADMIN });
      const text = await answer.text();
      return { status: answer.status, body: text.startsWith("{") ? JSON.parse(text) : {} };
    },
    ...more,
  };
}

async function check(
  options: ClusterOptions,
  { prepare, more, only }: {
    prepare?: (cluster: Cluster) => Promise<unknown>;
    more?: Partial<Sources>;
    only?: string;
  } = {},
): Promise<Map<string, Finding>> {
  await using cluster = await Cluster.start({ nodes: 1, ...options });
  await cluster.settle();
  await prepare?.(cluster);
  const findings = await selfCheck(sources(cluster, more), only);
  return new Map(findings.map((one) => [one.id, one]));
}

const verdicts = (findings: Map<string, Finding>, ids: readonly string[]) =>
  ids.map((id) => `${id} ${findings.get(id)?.verdict}`);

/** The options of a command line. */
async function commandLine(...args: string[]): Promise<ClusterOptions> {
  const flags: Flags = readFlags(args);
  const read = (_flag: string, path: string | undefined) =>
    Promise.resolve(
      path && "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]",
    );
  const { front, admission, authorization } = await serverOptions(flags, read);
  return { admission, front, ...(authorization && { authorization }) };
}

Deno.test("every item has a number of its own, in order, and a title", () => {
  const ids = CHECKS.map(({ id }) => id);
  assertEquals(new Set(ids).size, ids.length);
  assert(ids.length > 120, `${ids.length} items`);
  assertEquals(ids.indexOf("1.2.9") + 1, ids.indexOf("1.2.10"));
  assert(CHECKS.every(({ title }) => title.length > 5));
});

Deno.test("a cluster as it comes: what must not fail does not", async () => {
  const findings = await check(await commandLine());
  const good =
    "1.2.1 1.2.2 1.2.6 1.2.7 1.2.8 1.2.10 1.2.12 1.2.13 1.2.14 1.2.15 1.2.20 1.2.22 1.2.27 1.3.3 1.3.5";
  for (const id of good.split(" ")) assertEquals(findings.get(id)?.verdict, "PASS", id);
  assertEquals(verdicts(findings, ["1.2.16", "3.2.1"]), ["1.2.16 FAIL", "3.2.1 FAIL"]);
  for (const { id, reason } of findings.values()) {
    assert(!reason.startsWith("could not be looked at"), `${id}: ${reason}`);
  }
  const table = tableOf([...findings.values()]);
  assert(
    table.startsWith("ITEM ") && /\d+ PASS, \d+ FAIL, \d+ WARN, \d+ NOT APPLICABLE$/.test(table),
  );
});

Deno.test("flags that mend an item are seen", async () => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-cis-" });
  try {
    const options = await commandLine(
      "--audit-policy-file=policy.yaml",
      `--audit-log-path=${folder}/audit.log`,
      "--enable-admission-plugins=AlwaysPullImages,DenyServiceExternalIPs,EventRateLimit",
    );
    const findings = await check(options, { only: "" });
    const ids = "1.2.3 1.2.9 1.2.11 1.2.16 1.2.17 1.2.18 1.2.19 3.2.1".split(" ");
    assertEquals(verdicts(findings, ids), ids.map((id) => `${id} PASS`));
    const short = await commandLine(
      "--audit-policy-file=policy.yaml",
      `--audit-log-path=${folder}/audit.log`,
      "--audit-log-maxage=7",
    );
    assertEquals((await check(short, { only: "1.2.17" })).get("1.2.17")?.verdict, "FAIL");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("bad configurations are noticed: authorizers, roles, bindings", async () => {
  const open = await check(await commandLine("--authorization-mode=AlwaysAllow"), { only: "1.2" });
  assertEquals(verdicts(open, ["1.2.6", "1.2.7", "1.2.8"]), [
    "1.2.6 FAIL",
    "1.2.7 FAIL",
    "1.2.8 FAIL",
  ]);
  const RBAC = (plural: string) => ({ group: "rbac.authorization.k8s.io", version: "v1", plural });
  const findings = await check({}, {
    only: "5.1",
    prepare: async ({ client }) => {
      const rules = [
        [["*"], ["*"], ["*"]],
        [[""], ["serviceaccounts/token"], ["create"]],
      ].map(([apiGroups, resources, verbs]) => ({ apiGroups, resources, verbs }));
      const role = { metadata: { name: "everything" }, rules };
      await client.create({ resource: RBAC("clusterroles") }, role);
      const subject = (kind: string, name: string, namespace?: string) => ({
        kind,
        name,
        ...(namespace ? { namespace } : { apiGroup: "rbac.authorization.k8s.io" }),
      });
      const bind = (name: string, to: string, ...subjects: object[]) =>
        client.create({ resource: RBAC("clusterrolebindings") }, {
          metadata: { name },
          roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: to },
          subjects,
        });
      await bind("all-to-ann", "cluster-admin", subject("User", "ann"));
      await bind("masters", "view", subject("Group", "system:masters"));
      await bind("everybody", "view", subject("ServiceAccount", "default", "default"));
    },
  });
  for (const id of ["5.1.1", "5.1.3", "5.1.5", "5.1.7"]) {
    assertEquals(findings.get(id)?.verdict, "FAIL", id);
  }
  assert(findings.get("5.1.1")!.reason.includes("all-to-ann"));
  for (const id of ["5.1.2", "5.1.4", "5.1.8", "5.1.9", "5.1.11", "5.1.12", "5.1.13"]) {
    assertEquals(findings.get(id)?.verdict, "WARN", id);
  }
});

Deno.test("bad pods are noticed, good ones are not", async () => {
  const CORE = (plural: string) => ({ group: "", version: "v1", plural });
  const make = (spec: object) => ({ client }: Cluster) =>
    client.create({ resource: CORE("pods"), namespace: "default" }, {
      metadata: { name: "p" },
      spec,
    });
  const bad = await check({}, {
    only: "5",
    prepare: make({
      hostPID: true,
      hostIPC: true,
      hostNetwork: true,
      containers: [{
        name: "c",
        image: "i",
        securityContext: { privileged: true, capabilities: { add: ["SYS_ADMIN"] } },
        ports: [{ containerPort: 80, hostPort: 80 }],
        env: [{ name: "A", valueFrom: { secretKeyRef: { name: "s", key: "k" } } }],
      }],
      volumes: [{ name: "v", hostPath: { path: "/" } }],
    }),
  });
  const wrong = "5.2.1 5.2.2 5.2.3 5.2.4 5.2.5 5.2.6 5.2.9 5.2.12 5.2.13 5.3.2 5.7.4".split(" ");
  assertEquals(verdicts(bad, wrong), wrong.map((id) => `${id} FAIL`));
  const judged = "5.1.6 5.2.7 5.2.8 5.2.10 5.4.1 5.7.2".split(" ");
  assertEquals(verdicts(bad, judged), judged.map((id) => `${id} WARN`));
  const good = await check({}, {
    only: "5.2",
    prepare: make({
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
      containers: [{
        name: "c",
        image: "i",
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
      }],
    }),
  });
  for (const { id, verdict, reason } of good.values()) {
    if (id !== "5.2.1") assertEquals(verdict, "PASS", `${id} ${reason}`);
  }
});

Deno.test("files, ciphers and ports that are open are noticed", async () => {
  const modes: Record<string, number> = {
    "": 0o40755,
    "cluster.db": 0o100644,
    "cluster.db.key": 0o100640,
    kubeconfig: 0o100600,
  };
  const findings = await check({}, {
    more: {
      modeOf: (name) => Promise.resolve(modes[name]),
      greets: () => Promise.resolve(true),
      reaches: (_host, port) => Promise.resolve(port === 10_255),
    },
  });
  const ids = "1.1.11 1.1.12 1.1.13 1.1.21 1.2.24 1.2.29 4.2.4".split(" ");
  assertEquals(verdicts(findings, ids), [
    "1.1.11 FAIL",
    "1.1.12 FAIL",
    "1.1.13 PASS",
    "1.1.21 FAIL",
    "1.2.24 PASS",
    "1.2.29 FAIL",
    "4.2.4 WARN",
  ]);
});

Deno.test("the program's own way in: kubeconfig, TLS greetings, modes of files", async () => {
  const data = await Deno.makeTempDir({ prefix: "plesio-cis-" });
  try {
    if (Deno.build.os !== "windows") await Deno.chmod(data, 0o700);
    await using cluster = await Cluster.start({
      clock: "real",
      components: ["api"],
      data,
      nodes: 0,
    });
    await cluster.listen({ port: 0 });
    const findings = await selfCheck(sourcesOf(await cluster.kubeconfig(), data), "1");
    const found = new Map(findings.map((one) => [one.id, one]));
    const ids = "1.2.1 1.2.24 1.2.25 1.2.27 1.2.29".split(" ");
    assertEquals(verdicts(found, ids), ids.map((id) => `${id} PASS`));
    if (Deno.build.os === "windows") return;
    const files = "1.1.11 1.1.12 1.1.21".split(" ");
    assertEquals(verdicts(found, files), files.map((id) => `${id} PASS`));
  } finally {
    await Deno.remove(data, { recursive: true });
  }
});
