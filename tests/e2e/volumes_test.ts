/** What an isolate sees of its pod's volumes when they are real mounts. */
import { assertEquals, assertMatch } from "@std/assert";
import { hostMounts } from "../../actors/nodes/volumes/kernel.ts";
import { inOwnNamespace } from "../../actors/nodes/volumes/own_namespace_test.ts";
import { runKubectl } from "./kubectl.ts";
import { DENO, withNode } from "./node_fixture.ts";
import { Server } from "./server.ts";
import { waiting } from "./until.ts";

const STAY = { image: DENO, args: ["eval", "setInterval(() => {}, 1000)"] };
const LOOK = `
  const read = (path) => { try { return Deno.readTextFileSync(path) } catch { return "none" } };
  setInterval(() => console.log(read("/in/late/f"), read("/not/late/f")), 50);`;
const SECRETS = { resource: { group: "", version: "v1", plural: "secrets" }, namespace: "default" };

async function run(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(args[0], { args: args.slice(1) }).output();
  if (!success) throw new Error(`${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

inOwnNamespace(import.meta.url, () => {
  Deno.test("a pod's group reads its secret and shares its folder; nothing stays mounted", async () => {
    let mounted: string[] = [];
    let place = "";
    await withNode(async ({ box, phase, exec, folder }) => {
      place = folder;
      await box.client.create(SECRETS, { metadata: { name: "s" }, data: { pw: btoa("geheim") } });
      await box.pod("p", "n0", {
        securityContext: { runAsUser: 1000, runAsGroup: 1000, fsGroup: 4321 },
        containers: [{
          ...STAY,
          name: "c",
          volumeMounts: [
            { name: "s", mountPath: "/s" },
            { name: "m", mountPath: "/m" },
            { name: "m", mountPath: "/one", subPathExpr: "$(NAME)/x" },
          ],
          env: [{ name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
        }],
        volumes: [
          { name: "s", secret: { secretName: "s", defaultMode: 0o400 } },
          { name: "m", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
        ],
      });
      await phase("p", "Running");
      assertEquals((await exec("p", ["cat", "/s/pw"])).out, "geheim");
      const script = `
        Deno.writeTextFileSync("/one/f", "1");
        const { uid, gid } = Deno.statSync("/m/p/x/f");
        try { Deno.writeFileSync("/m/big", new Uint8Array(2 ** 21)); } catch (e) { console.log(e.message); }
        console.log(uid, gid);`;
      const { out } = await exec("p", ["deno", "eval", script]);
      assertMatch(out, /No space left on device.*\n1000 4321\n$/);
      mounted = hostMounts()!.under(folder).map(({ type }) => type);
      assertEquals(mounted.filter((type) => type === "tmpfs").length, 3);
    });
    assertEquals(hostMounts()!.under(place), []);
  });

  Deno.test("mounts of the host come in where they are asked for; read-only reaches all of them", async () => {
    const host = await Deno.makeTempDir();
    await run("mount", "--bind", host, host);
    await run("mount", "--make-shared", host);
    await Deno.mkdir(`${host}/early`);
    await Deno.mkdir(`${host}/late`);
    await run("mount", "-t", "tmpfs", "early", `${host}/early`);
    await withNode(async ({ box, phase, exec, logs }) => {
      const at = (mountPath: string, more = {}) => ({ name: "h", mountPath, ...more });
      await box.pod("p", "n0", {
        containers: [{
          name: "c",
          image: DENO,
          args: ["eval", LOOK],
          volumeMounts: [
            at("/in", { mountPropagation: "HostToContainer" }),
            at("/not"),
            at("/ro", { readOnly: true }),
            at("/rro", { readOnly: true, recursiveReadOnly: "Enabled" }),
          ],
        }],
        volumes: [{ name: "h", hostPath: { path: host } }],
      });
      await phase("p", "Running");
      await box.until("its first look", async () => (await logs("p")).length > 0);
      await run("mount", "-t", "tmpfs", "late", `${host}/late`);
      await Deno.writeTextFile(`${host}/late/f`, "later");
      // What an exec sees is what the host has when it begins: only the container itself can tell.
      const seen = await box.until("what the container sees", async () => {
        const text = await logs("p");
        return text.includes("later") && text;
      });
      assertMatch(seen, /^(none none\n)*later none\n/);
      const ro = await exec("p", ["sh", "-c", "ls /ro/early && echo x > /ro/early/f"]);
      assertEquals(ro.code, 0, ro.out);
      const rro = await exec("p", ["sh", "-c", "echo x > /rro/early/f"]);
      assertMatch(rro.out + rro.error, /[Rr]ead-only|not permitted|denied|requires write/);
    });
    await run("umount", "-R", "-l", host);
    await Deno.remove(host, { recursive: true });
  });

  Deno.test("kill -9: the next life finds the mounts of the last one, and leaves none", async () => {
    const folder = await Deno.makeTempDir();
    const tmpfs = () =>
      hostMounts()!.under(folder).filter(({ type }) => type === "tmpfs").map(({ path }) => path);
    const flags = ["--nodes", "1", "--runtime", "isolate"];
    const kubectl = async (server: Server, ...args: string[]) => {
      const { out, err } = await runKubectl(server.kubeconfig, args);
      return out + err;
    };
    const until = waiting({ withinMs: 60_000, everyMs: 100 });
    let server = await Server.start({ folder, flags });
    const manifest = `${folder}/pod.json`;
    const pod = (name: string) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [{ ...STAY, name: "c", volumeMounts: [{ name: "m", mountPath: "/m" }] }],
        volumes: [{ name: "m", emptyDir: { medium: "Memory" } }],
      },
    });
    const items = ["a", "b"].map(pod);
    await Deno.writeTextFile(manifest, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
    const runs = async (name: string) =>
      (await kubectl(server, "get", "pod", name)).includes("Running");
    await until(
      "an account",
      async () => (await kubectl(server, "get", "sa", "default")).includes("default "),
    );
    await kubectl(server, "apply", "-f", manifest);
    await until("both pods", async () => await runs("a") && await runs("b"));
    // Each has a folder in memory and its token.
    assertEquals(tmpfs().length, 4);
    for (const pid of (await server.pids()).reverse()) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch {
        // It went with another.
      }
    }
    await server.stop("SIGKILL");
    assertEquals(tmpfs().length, 4, "what is killed cleans nothing up");
    server = await Server.start({ folder, flags });
    await until("both pods again", async () => await runs("a") && await runs("b"));
    await kubectl(server, "delete", "pod", "a", "--wait=false");
    await until("the first's end", () => tmpfs().length === 2);
    await server.stop();
    assertEquals(hostMounts()!.under(folder), []);
    await Deno.remove(folder, { recursive: true });
  });
});
