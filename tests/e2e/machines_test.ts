/**
 * Three machines with addresses of their own: one runs the API server, two join it with the command it prints. Their
 * pods reach each other, one of them is cut off and comes back, and what a StatefulSet promises holds at the processes.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Machines, type PodSeen, site, testWithMachines } from "./machines.ts";

const DENO = "denoland/deno:2.9.6";
const SITE = `
console.log("up");
Deno.serve({ port: 8080 }, () => new Response(Deno.env.get("HOSTNAME")));
`;

/** Evicted from a machine that is away after a few seconds, not the usual five minutes. */
const HASTY = ["unreachable", "not-ready"].map((what) => ({
  key: `node.kubernetes.io/${what}`,
  operator: "Exists",
  effect: "NoExecute",
  tolerationSeconds: 5,
}));

function podOf(app: string, more: object) {
  return {
    metadata: { labels: { app } },
    spec: {
      terminationGracePeriodSeconds: 1,
      tolerations: HASTY,
      containers: [{
        name: "c",
        image: DENO,
        args: ["run", "-A", "/app/main.ts"],
        volumeMounts: [{ name: "app", mountPath: "/app" }],
      }],
      volumes: [{ name: "app", configMap: { name: "site" } }],
      ...more,
    },
  };
}

const spread = {
  topologySpreadConstraints: [{
    maxSkew: 1,
    topologyKey: "kubernetes.io/hostname",
    whenUnsatisfiable: "ScheduleAnyway",
    labelSelector: { matchLabels: { app: "site" } },
  }],
};

const hostnames = (...values: string[]) => ({
  matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values }],
});

/** On the machines that can be cut off; rather on b. */
const onB = {
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [hostnames("b", "c")],
      },
      preferredDuringSchedulingIgnoredDuringExecution: [{
        weight: 100,
        preference: hostnames("b"),
      }],
    },
  },
};

const OBJECTS = [
  ...site(SITE, {
    replicas: 3,
    template: podOf("site", spread),
  }),
  {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: "db" },
    spec: {
      serviceName: "db",
      replicas: 1,
      selector: { matchLabels: { app: "db" } },
      template: podOf("db", onB),
    },
  },
];

const isReady = (pod: PodSeen) =>
  !pod.metadata.deletionTimestamp &&
  pod.status.conditions?.some((c) => c.type === "Ready" && c.status === "True");

/** Looks at the processes of a pod all the time; tells on how many machines they were at once. */
function watchTwins(m: Machines, pod: string) {
  const most = { machines: [] as number[] };
  let over = false;
  const done = (async () => {
    while (!over) {
      const where = await m.whereRuns(pod);
      if (where.length > most.machines.length) most.machines = where;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  const end = async () => {
    over = true;
    await done;
    return most.machines;
  };
  return { end };
}

await testWithMachines("three machines", 3, async (m, t) => {
  await t.step("two join the third by the command that it prints", () => join(m));
  await m.apply(...OBJECTS);
  await t.step(
    "pods of all machines reach each other, by address, Service and name",
    () => reach(m),
  );
  await t.step("logs, exec and port-forward go through the tunnel", () => tunnel(m));
  await t.step(
    "a machine that is cut off keeps its pod, and nobody runs it twice",
    () => cut(m),
  );
  await t.step(
    "what was deleted by force while it was away ends at its return",
    () => forced(m),
  );
  await t.step("a machine that was killed comes back without a token", () => killed(m));
  await t.step("a machine that gets another address is reached at it", () => moved(m));
  await t.step(
    "when the API server was killed, all machines come back to it",
    () => restarted(m),
  );
});

async function join(m: Machines): Promise<void> {
  await m.serve();
  const printed = await m.joinCommand();
  assertMatch(printed, /^deno task node --server https:\/\/172\.30\.0\.1:6443 --token /);
  for (const [i, name] of [[2, "b"], [3, "c"]] as const) await m.join(printed, i, name);
  await m.until("plesio-0 is ready", async () => await m.nodeReady("plesio-0") === "True");
  // All that a machine runs may do what it needs to
  for (const name of ["b", "c"]) {
    assertEquals(/.*(actor fell|forbidden).*/.exec(m.said(name)), null);
  }
}

async function reach(m: Machines): Promise<void> {
  await m.until("the site is up on all machines", async () => {
    const ready = (await m.pods("site")).filter(isReady);
    return new Set(ready.map((pod) => pod.spec.nodeName)).size === 3;
  });
  const ip = await m.kubectl("get", "service", "site", "-o", "jsonpath={.spec.clusterIP}");
  for (const i of [1, 2, 3]) {
    for (const pod of await m.pods("site")) {
      const { metadata: { name }, status: { podIP } } = pod;
      // A machine takes a moment to hear of another's pods and to make a route to them.
      await m.until(
        `${name} answers machine ${i}`,
        async () => await m.on(i, "curl", "-s", "-m", "10", `http://${podIP}:8080/`) === name,
        20_000,
      );
    }
    await m.until(
      `the service answers on machine ${i}`,
      async () => (await m.on(i, "curl", "-s", "-m", "10", `http://${ip}/`)).startsWith("site-"),
      20_000,
    );
  }
  const [{ metadata: { name } }] = (await m.pods("site")).filter((p) => p.spec.nodeName === "b");
  const ask = 'console.log(await (await fetch("http://site.default.svc.cluster.local")).text())';
  assertMatch(await m.kubectl("exec", name, "--", "deno", "eval", ask), /^site-/);
}

async function tunnel(m: Machines): Promise<void> {
  const [{ metadata: { name } }] = (await m.pods("site")).filter((p) => p.spec.nodeName === "c");
  assertMatch(await m.kubectl("logs", name), /up/);
  assertEquals((await m.kubectl("exec", name, "--", "cat", "/app/main.ts")).trim(), SITE.trim());
  const file = `${m.folder}/copied`;
  await Deno.writeTextFile(file, "there and back");
  await m.kubectl("cp", file, `${name}:/tmp/copied`);
  await m.kubectl("cp", `${name}:/tmp/copied`, `${file}-again`);
  assertEquals(await Deno.readTextFile(`${file}-again`), "there and back");
  const forward = new Deno.Command("ip", {
    args: ["netns", "exec", m.namespace(1), "kubectl", "--kubeconfig", m.kubeconfig]
      .concat(["port-forward", name, "18080:8080"]),
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    await m.until(
      "the forwarded port answers",
      async () => await m.on(1, "curl", "-s", "-m", "5", "http://127.0.0.1:18080/") === name,
      30_000,
    );
  } finally {
    forward.kill();
    await forward.status;
  }
  assertMatch(await m.kubectl("top", "nodes"), /^c .*^plesio-0 /ms);
}

async function cut(m: Machines): Promise<void> {
  await m.until("db-0 runs on b", async () => {
    const [db] = await m.pods("db");
    return isReady(db) && db.spec.nodeName === "b";
  });
  assertEquals(await m.whereRuns("db-0"), [2]);
  const twins = watchTwins(m, "db-0");
  const [{ metadata: { uid } }] = await m.pods("db");
  await m.cable(2, "down");
  await m.until("b is unreachable", async () => await m.nodeReady("b") === "Unknown");
  await m.until("db-0 is to go", async () => (await m.pods("db"))[0].metadata.deletionTimestamp);
  await m.until(
    "the site is whole again without b",
    async () =>
      (await m.pods("site")).filter((p) => isReady(p) && p.spec.nodeName !== "b").length === 3,
  );
  // Who asks a machine that is away is told at once
  const [pod] = (await m.pods("site")).filter((p) => p.spec.nodeName === "b");
  if (pod) await m.kubectl("logs", pod.metadata.name).then(() => assert(false), () => {});
  assertEquals((await m.pods("db")).map((p) => p.metadata.uid), [uid]);
  assertEquals(await m.whereRuns("db-0"), [2]);
  await m.cable(2, "up");
  await m.until("b is back", async () => await m.nodeReady("b") === "True");
  await m.until("another db-0 runs", async () => {
    const [db] = await m.pods("db");
    return isReady(db) && db.metadata.uid !== uid;
  });
  assertEquals((await twins.end()).length, 1, "db-0 ran on two machines at once");
}

async function forced(m: Machines): Promise<void> {
  await m.until("db-0 has a place", async () => isReady((await m.pods("db"))[0]));
  const [before] = await m.pods("db");
  const machine = { b: 2, c: 3 }[before.spec.nodeName]!;
  await m.kubectl("cordon", before.spec.nodeName);
  await m.cable(machine, "down");
  await m.kubectl("delete", "pod", "db-0", "--force", "--grace-period=0");
  await m.until("db-0 runs elsewhere", async () => {
    const [db] = await m.pods("db");
    return isReady(db) && db.spec.nodeName !== before.spec.nodeName;
  });
  // By force means: whoever asked for it has seen to it that the old one does no harm. It still runs there.
  assert((await m.whereRuns("db-0")).includes(machine));
  await m.cable(machine, "up");
  // A look at the processes may come while the new one still becomes what it is to be, and miss it.
  await m.until("only the new one is left", async () => {
    const places = await m.whereRuns("db-0");
    return places.length === 1 && places[0] !== machine;
  });
  assert(!(await m.whereRuns("db-0")).includes(machine));
  await m.kubectl("uncordon", before.spec.nodeName);
}

async function killed(m: Machines): Promise<void> {
  await m.end("c", "SIGKILL");
  const args = ["node", "--node-name", "c", "--data", `${m.folder}/c`, "--log-level", "info"];
  await m.start(3, "c", args, /dialled in/);
  await m.until("c is ready", async () => await m.nodeReady("c") === "True");
  await m.until("its pods answer", async () => {
    const [pod] = (await m.pods("site")).filter((p) => isReady(p) && p.spec.nodeName === "c");
    if (!pod) return false;
    const said = await m.on(1, "curl", "-s", "-m", "5", `http://${pod.status.podIP}:8080/`);
    return said === pod.metadata.name;
  });
}

async function moved(m: Machines): Promise<void> {
  const [old, now] = [m.address(3), m.address(33)];
  await m.on(3, "ip", "addr", "del", `${old}/24`, "dev", "eth0");
  await m.on(3, "ip", "addr", "add", `${now}/24`, "dev", "eth0");
  const path = 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}';
  await m.until(
    "the new address is known",
    async () => await m.kubectl("get", "node", "c", "-o", path) === now,
  );
  await m.until("c is ready", async () => await m.nodeReady("c") === "True");
  await m.until("pods there are reached", async () => {
    const [pod] = (await m.pods("site")).filter((p) => isReady(p) && p.spec.nodeName === "c");
    const { metadata: { name }, status: { podIP } } = pod;
    for (const i of [1, 2]) {
      if (await m.on(i, "curl", "-s", "-m", "5", `http://${podIP}:8080/`) !== name) return false;
    }
    return (await m.kubectl("logs", name)).includes("up");
  });
}

async function restarted(m: Machines): Promise<void> {
  const before = (await m.pods("site")).filter((p) => isReady(p) && p.spec.nodeName !== "plesio-0");
  await m.end("server", "SIGKILL");
  await m.serve();
  for (const { metadata: { name } } of before) {
    await m.until(
      `${name} is reached`,
      async () => /./.test(await m.kubectl("exec", name, "--", "hostname")),
    );
  }
  // Their processes have gone on: nobody has restarted them
  const now = await m.pods("site");
  for (const { metadata: { uid } } of before) assert(now.some((p) => p.metadata.uid === uid));
}
