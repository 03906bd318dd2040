/** A machine that joins with a container runtime, beside simulated nodes: chosen by label, reached through its tunnel. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Containerd, IMAGES, run, withContainerd } from "./containerd.ts";
import { Server } from "./server.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const plesio = (...args: string[]) => ["run", "-A", "--no-check", `${ROOT}mod.ts`, ...args];

/** What a program prints, or an error with it. */
async function said(program: string, ...args: string[]): Promise<string> {
  const { success, text } = await run(program, ...args);
  if (!success) throw new Error(`${program} ${args.join(" ")}: ${text}`);
  return text;
}

/** Runs what was printed to join a machine, until it has dialled in. */
async function join(command: string, more: string[]): Promise<Deno.ChildProcess> {
  const [, printed] = /^(deno task node .*)$/m.exec(command)!;
  const args = printed.split(" ").slice(2);
  const process = new Deno.Command(Deno.execPath(), {
    args: plesio(...args, ...more, "--log-level", "info"),
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const dialled = Promise.withResolvers<void>();
  void (async () => {
    let log = "";
    for await (const piece of process.stderr) {
      log += new TextDecoder().decode(piece);
      if (log.includes("dialled in")) dialled.resolve();
    }
    dialled.reject(new Error(log));
  })();
  await dialled.promise;
  return process;
}

await withContainerd(import.meta.url, () => {
  Deno.test(
    "a joined containerd machine runs containers beside simulated nodes",
    { sanitizeOps: false, sanitizeResources: false },
    async () => {
      await using containerd = await Containerd.start(["busybox"]);
      await using server = await Server.start({
        flags: ["--runtime", "simulated", "--nodes", "1"],
      });
      const config = ["--kubeconfig", server.kubeconfig];
      const k = (args: string) => said("kubectl", ...config, ...args.split(" "));
      const command = await said(
        Deno.execPath(),
        ...plesio("token", "create", "--print-join-command", ...config),
      );
      const far = await join(
        command,
        [
          "--node-name",
          "far",
          "--data",
          `${server.folder}/far`,
          "--root-dir",
          `${server.folder}/kubelet`,
          ...containerd.flags,
        ],
      );
      try {
        await k("wait --for=condition=Ready node/far node/plesio-0 --timeout=60s");
        const nodes = await k("get nodes -o wide");
        assertMatch(nodes, /far .* containerd:\/\/\d.*\nplesio-0 .* simulated:\/\//);
        for (;;) if (await k("get sa default").catch(() => "")) break;
        for (const runtime of ["cri", "simulated"]) {
          const spec = {
            nodeSelector: { "plesio.dev/runtime": runtime },
            terminationGracePeriodSeconds: 1,
            containers: [{
              name: "c",
              image: IMAGES.busybox,
              args: ["sh", "-c", "echo up; sleep 99"],
            }],
          };
          const metadata = { name: runtime };
          const file = `${server.folder}/${runtime}.json`;
          await Deno.writeTextFile(
            file,
            JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata, spec }),
          );
          await k(`apply -f ${file}`);
        }
        await k("wait --for=condition=Ready pod/cri pod/simulated --timeout=60s");
        assertEquals(await k("get pod cri -o jsonpath={.spec.nodeName}"), "far");
        assertEquals(await k("get pod simulated -o jsonpath={.spec.nodeName}"), "plesio-0");
        assertEquals(await k("logs cri"), "up");
        // Where a driver's manifest mounts a kubelet's folders
        const uid = await k("get pod cri -o jsonpath={.metadata.uid}");
        assert((await Deno.stat(`${server.folder}/kubelet/pods/${uid}/volumes`)).isDirectory);
        assertMatch(await k("logs simulated"), /^simulated: /);
        assertMatch(await k("exec cri -- ls /bin/busybox"), /busybox/);
        await k("delete pod cri --wait=true");
      } finally {
        far.kill();
        await far.status;
      }
    },
  );
});
