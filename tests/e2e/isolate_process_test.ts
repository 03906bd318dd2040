/** Terminals, attach, copies, limits and deaths of real processes. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { RemoteProcess } from "../../api/client/node_api.ts";
import { podGroup, ROOT, unified } from "../../actors/nodes/runtimes/cgroup.ts";
import { PODS } from "../../actors/nodes/types.ts";
import { startOf } from "../../actors/nodes/runtimes/process_records.ts";
import { DENO, withNode, type World } from "./node_fixture.ts";

const IDLE = ["eval", "console.log('up'); setInterval(() => {}, 1000)"];

async function idle(w: World, name = "idle", container: object = {}) {
  await w.box.pod(name, "n0", {
    terminationGracePeriodSeconds: 1,
    containers: [{ name: "c", image: DENO, args: IDLE, ...container }],
  });
  const pod = await w.phase(name, "Running");
  return { namespace: "default", name, uid: pod.metadata.uid };
}

/** Reads until the text matches. */
async function expect(process: RemoteProcess, pattern: RegExp): Promise<string> {
  const reader = process.stdout!.getReader();
  const decoder = new TextDecoder();
  let text = "";
  const timer = setTimeout(() => process.close(), 5000);
  while (!pattern.test(text)) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  clearTimeout(timer);
  reader.releaseLock();
  assertMatch(text, pattern);
  return text;
}

async function type(process: RemoteProcess, text: string): Promise<void> {
  const writer = process.stdin!.getWriter();
  await writer.write(new TextEncoder().encode(text));
  writer.releaseLock();
}

Deno.test("exec with a terminal: size, resize, Ctrl-C, exit code", () =>
  withNode(async (w) => {
    const pod = await idle(w);
    const options = { pod, container: "c", stdin: true, stdout: true, stderr: false, tty: true };
    const code = `
      const show = () => console.log("size", JSON.stringify(Deno.consoleSize()), Deno.stdin.isTerminal());
      Deno.addSignalListener("SIGWINCH", show);
      Deno.addSignalListener("SIGINT", () => { console.log("interrupted"); Deno.exit(5); });
      console.log("ready"); setInterval(() => {}, 1000);`;
    const process = await w.node.api.exec({ ...options, command: ["deno", "eval", code] });
    await expect(process, /ready/);
    process.resize({ width: 111, height: 33 });
    await expect(process, /size \{"columns":111,"rows":33\} \S*true/);
    await type(process, "\x03");
    await expect(process, /interrupted/);
    assertEquals((await process.ended).exitCode, 5);
    const shell = await w.node.api.exec({ ...options, command: ["sh"] });
    await expect(shell, /\$ /);
    await type(shell, "echo hi $HOSTNAME; cat /etc/hostname\n");
    await expect(shell, /hi idle\r\nidle\r\n\$ /);
    await type(shell, "exit 4\n");
    assertEquals((await shell.ended).exitCode, 4);
  }));

Deno.test("attach: output from now on, input to the container", () =>
  withNode(async (w) => {
    const echo = "for await (const c of Deno.stdin.readable) await Deno.stdout.write(c);" +
      "console.log('end')";
    const pod = await idle(w, "echo", { args: ["eval", echo], stdin: true, stdinOnce: true });
    const streams = { stdin: true, stdout: true, stderr: true, tty: false };
    const process = await w.node.api.attach({ pod, container: "c", ...streams });
    await type(process, "hello\n");
    await expect(process, /hello\n/);
    await process.stdin!.close();
    await expect(process, /end\n/);
    assertEquals((await process.ended).exitCode, 0);
  }));

Deno.test("cp: tar in and out", () =>
  withNode(async (w) => {
    await idle(w);
    const make = await w.exec("idle", [
      "sh",
      "-c",
      "mkdir -p /tmp/a/b && echo deep > /tmp/a/b/c.txt",
    ]);
    assertEquals(make, { code: 0, out: "", error: undefined });
    const listed = await w.exec("idle", ["sh", "-c", "tar cf - /tmp/a | tar tf -"]);
    assertEquals(listed.out, "tmp/a/\ntmp/a/b/\ntmp/a/b/c.txt\n");
    const again = "mkdir /tmp/x; tar cf - -C /tmp a | tar xmf - -C /tmp/x; cat /tmp/x/a/b/c.txt";
    assertEquals((await w.exec("idle", ["sh", "-c", again])).out, "deep\n");
    assertEquals((await w.exec("idle", ["test", "-d", "/tmp/x"])).code, 0);
    assertEquals((await w.exec("idle", ["test", "-d", "/tmp/y"])).code, 1);
  }));

Deno.test(
  {
    name: "a pod's group of processes is there as long as the pod, and goes with its node",
    ignore: Deno.build.os !== "linux" || Deno.uid() !== 0 || unified() === undefined,
  },
  async () => {
    let uid = "";
    await withNode(async (w) => {
      const gone = await idle(w, "gone");
      ({ uid } = await idle(w));
      const group = podGroup(gone.uid)!;
      const processes = Deno.readTextFileSync(`${ROOT}/${group}/c/cgroup.procs`).trim();
      // A shell at first, and what it makes ready
      assertMatch(processes, /^\d+(\n\d+)*$/);
      await w.box.client.delete({ resource: PODS, namespace: "default", name: "gone" });
      await w.box.until("its group has gone", () => podGroup(gone.uid) === undefined);
      assert(podGroup(uid));
    });
    assertEquals(podGroup(uid), undefined);
  },
);

Deno.test("no-leftovers: a process of a former life ends before the node starts anything", () =>
  withNode(async (w) => {
    await idle(w);
    const records = `${w.folder}/nodes/n0/processes`;
    const [entry] = [...Deno.readDirSync(records)];
    const pid = Number(entry.name);
    assert(startOf(pid), "it runs");
    const stranger = new Deno.Command("sleep", { args: ["100"] }).spawn();
    // A stranger that got a recorded pid has another start time: it is left alone.
    Deno.writeTextFileSync(`${records}/${stranger.pid}`, "some other time");
    const { ProcessRecords } = await import("../../actors/nodes/runtimes/process_records.ts");
    assertEquals(await new ProcessRecords(records).endLeftovers(), 1);
    assertEquals(startOf(pid), undefined);
    assert(startOf(stranger.pid));
    stranger.kill("SIGKILL");
    await stranger.status;
    await w.box.until(
      "a restart",
      async () => (await w.box.get("idle")).status?.containerStatuses?.[0].restartCount === 1,
    );
  }));

Deno.test("isolates end when their node is killed", async () => {
  const folder = await Deno.makeTempDir();
  const script = `
    import { withNode, DENO } from ${
    JSON.stringify(new URL("./node_fixture.ts", import.meta.url).href)
  };
    await withNode(async (w) => {
      await w.box.pod("idle", "n0", { containers: [{ name: "c", image: DENO, args: ${
    JSON.stringify(IDLE)
  } }] });
      await w.phase("idle", "Running");
      const [entry] = [...Deno.readDirSync(w.folder + "/nodes/n0/processes")];
      console.log(entry.name);
      await new Promise(() => setInterval(() => {}, 1000));
    });`;
  await Deno.writeTextFile(`${folder}/node.ts`, script);
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--config", config, `${folder}/node.ts`],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const pid = Number(new TextDecoder().decode((await reader.read()).value));
  assert(startOf(pid), "it runs");
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  const end = performance.now() + 5000;
  while (startOf(pid) && performance.now() < end) await new Promise((r) => setTimeout(r, 20));
  assertEquals(startOf(pid), undefined);
  await Deno.remove(folder, { recursive: true });
});
