/**
 * A machine joins a cluster that lies behind a platform: two instances of `deno serve` over one database, behind what ends
 * TLS, so that no client certificate gets through. The machine, on a network of its own, only dials out; its pods are
 * reached through whichever instance answers.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { signNodeToken } from "../../api/auth/node_tokens.ts";
import { createAuthority, issueServer } from "../../api/auth/mod.ts";
import { currentAccess } from "../../api/auth/kubeconfig.ts";
import { RealClock } from "../../kv/mod.ts";
import { TOKEN } from "../kv_server.ts";
import { type Machines, testWithMachines } from "./machines.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const ADMIN_TOKEN = "a-long-text-that-nobody-guesses";
const clock = new RealClock();
/** Where instances listen inside, and where the platform leads to both, and to each. */
const INSTANCES = [8001, 8002];
const [BOTH, ...EACH] = [8443, 8441, 8442];

/** Starts one of the instances. */
async function instance(m: Machines, i: number): Promise<void> {
  const args = ["serve", "-A", "--no-check", "--config", `${ROOT}deno.json`]
    .concat(["--host", "127.0.0.1", "--port", `${INSTANCES[i]}`, `${ROOT}mod.ts`]);
  const env = {
    DENO_KV_ACCESS_TOKEN: TOKEN,
    PLESIO_KV: "http://127.0.0.1:8000/",
    PLESIO_ADMIN_TOKEN: ADMIN_TOKEN,
    PLESIO_FLAGS: "--nodes 0",
  };
  await m.deno(1, `instance ${i}`, { args, env }, /Listening on/);
}

/** A database, two instances over it, and the platform's end of TLS; kubectl knows the administrator's token. */
async function platform(m: Machines): Promise<void> {
  const kv = `${ROOT}kv/connect_server.ts`;
  const run = ["run", "-A", "--no-check", "--unstable-kv"];
  const served = { args: [...run, kv, "--data", `${m.folder}/shared.db`, "--port", "8000"] };
  await m.deno(1, "kv", { ...served, env: { DENO_KV_ACCESS_TOKEN: TOKEN } }, /is served at/);
  for (const i of [0, 1]) await instance(m, i);
  const authority = await createAuthority(clock);
  const own = await issueServer(authority, clock, { names: [m.address(1)] });
  const files = { ca: authority.certificatePem, cert: own.certificatePem, key: own.keyPem };
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${m.folder}/${name}`, text);
  }
  const ways = [`${BOTH}=${INSTANCES}`, ...EACH.map((port, i) => `${port}=${INSTANCES[i]}`)];
  const proxy = [...run, `${ROOT}tests/e2e/tls_proxy.ts`, `${m.folder}/cert`, `${m.folder}/key`];
  await m.deno(1, "proxy", { args: [...proxy, m.address(1), ...ways] }, /TLS ends here/);
  const kubeconfig = ["kubeconfig", "--server", `https://${m.address(1)}:${BOTH}`]
    .concat(["--token", ADMIN_TOKEN, "--certificate-authority", `${m.folder}/ca`])
    .concat(["--kubeconfig", m.kubeconfig]);
  await m.on(1, Deno.execPath(), "run", "-A", "--no-check", "mod.ts", ...kubeconfig);
  await m.until("an instance answers", () => m.kubectl("get", "--raw", "/readyz"));
}

/** kubectl by one instance alone. */
const at = (m: Machines, i: number, ...args: string[]) =>
  m.kubectl("--server", `https://${m.address(1)}:${EACH[i]}`, ...args);

/** What a request says that comes with the machine's own token. */
async function asMachine(m: Machines, folder: string, path: string, host = m.address(1)) {
  const text = await Deno.readTextFile(`${m.folder}/${folder}/kubelet.conf`);
  const { certificatePem, keyPem } = currentAccess(text, () => "");
  const own = { certificatePem: certificatePem!, keyPem: keyPem! };
  const token = signNodeToken(own, { host: `${host}:${BOTH}`, now: Date.now() });
  const url = `https://${m.address(1)}:${BOTH}${path}`;
  const header = `authorization: Bearer ${token}`;
  return JSON.parse(await m.on(2, "curl", "-s", "--cacert", `${m.folder}/ca`, "-H", header, url));
}

await testWithMachines(
  "a machine joins through a platform that ends TLS, and its pods are reached through each instance",
  2,
  async (m) => {
    await platform(m);
    let command = "";
    await m.until("machines may join", async () => command = await m.joinCommand());
    assertMatch(command, / --ca-hash sha256:[0-9a-f]{64} --certificate-authority FILE\n$/);
    command = command.replace(/FILE\n$/, `${m.folder}/ca`);
    await m.join(command, 2, "shed", "--runtime", "isolate");
    await m.accountIsThere();
    await m.apply({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "far" },
      spec: {
        containers: [{
          name: "c",
          image: "denoland/deno:2.9.6",
          args: ["eval", "console.log('up'); setInterval(() => {}, 1000)"],
        }],
      },
    });
    for (const i of [0, 1]) {
      await m.until(
        `logs through instance ${i}`,
        async () => (await at(m, i, "logs", "far")) === "up\n",
      );
      assertEquals(await at(m, i, "exec", "far", "--", "echo", "from", "there"), "from there\n");
    }
    assertEquals(await m.whereRuns("far"), [2]);

    // The identity is the node's, and its rights are
    const me = await asMachine(m, "shed", "/api/v1/nodes/shed");
    assertEquals(me.metadata.name, "shed");
    const secrets = await asMachine(m, "shed", "/api/v1/secrets");
    assertEquals(secrets.code, 403);
    assert(secrets.message.includes('User "system:node:shed" cannot list resource "secrets"'));
    assertEquals((await asMachine(m, "shed", "/api/v1/nodes/shed", "192.0.2.1")).code, 401);

    // Wherever it has dialled in: that instance goes, and the other one is dialled
    for (const i of [0, 1]) {
      await m.end(`instance ${i}`);
      await m.until(
        "logs through the one that is left",
        async () => (await at(m, 1 - i, "logs", "far")) === "up\n",
      );
      await instance(m, i);
    }
    // A later start needs no token, and finds out by itself that TLS is another's
    await m.end("shed");
    const again = ["node", "--node-name", "shed", "--data", `${m.folder}/shed`]
      .concat(["--runtime", "isolate", "--log-level", "info"]);
    await m.start(2, "shed", again, /dialled in/);
  },
);
