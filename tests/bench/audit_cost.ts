/** What auditing costs. */
import { Server } from "../e2e/server.ts";
import { createPods, post } from "./load.ts";

const POLICY = `apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: Metadata
`;

/** Rounds that are measured each way, in turn. */
const ROUNDS = 3;

async function withAccount(server: Server): Promise<void> {
  await post(server.access, "/api/v1/namespaces/default/serviceaccounts", {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default" },
  });
  await createPods(server.access, 16, 1500, "warm");
}

/** Creates per second without audit, and with it at Metadata to a file: the best of the rounds, taken in turn. */
export async function auditCost(): Promise<{ off: number; on: number }> {
  const folder = await Deno.makeTempDir({ prefix: "plesio-audit-" });
  await Deno.writeTextFile(`${folder}/policy.yaml`, POLICY);
  await using off = await Server.start({ flags: ["--components", "api"] });
  await using on = await Server.start({
    flags: [
      "--components",
      "api",
      "--audit-policy-file",
      `${folder}/policy.yaml`,
      "--audit-log-path",
      `${folder}/audit.log`,
    ],
  });
  const best = { off: 0, on: 0 };
  await withAccount(off);
  await withAccount(on);
  for (let round = 0; round < ROUNDS; round++) {
    best.off = Math.max(best.off, await createPods(off.access, 16, 3000, `off-${round}`));
    best.on = Math.max(best.on, await createPods(on.access, 16, 3000, `on-${round}`));
  }
  await Deno.remove(folder, { recursive: true });
  return best;
}
