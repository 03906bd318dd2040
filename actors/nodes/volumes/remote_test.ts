import { assertEquals, assertRejects } from "@std/assert";
import { ManualClock } from "../../../kv/clock.ts";
import type { Source } from "./claims.ts";
import { formatAndMount, hostTools, type ToolResult } from "./host_tools.ts";
import { type RemoteTools, setupIscsi, setupNfs, teardownIscsi } from "./remote.ts";
import { inFolder } from "./fixture_test.ts";

/** Tools that answer what they are told, and remember what they were asked. */
function fakes(answers: Record<string, Partial<ToolResult>> = {}) {
  const calls: string[] = [];
  const ports: RemoteTools = {
    clock: new ManualClock(),
    secret: () => Promise.resolve(new Map([["node.session.auth.username", "me"], ["other", "x"]])),
    isMounted: () => false,
    tools: (command, args) => {
      const line = [command, ...args].join(" ");
      calls.push(line);
      const known = Object.keys(answers).find((part) => line.includes(part));
      return Promise.resolve({ code: 0, output: "", ...known && answers[known] });
    },
  };
  return { calls, ports };
}

const source = (kind: string, spec: Source["spec"], more: Partial<Source> = {}): Source => ({
  kind,
  spec,
  name: "v",
  readOnly: false,
  block: false,
  ...more,
});

Deno.test("setupNfs() mounts an export with the volume's options, read-only first", () =>
  inFolder(async (folder) => {
    const { calls, ports } = fakes();
    const volume = { spec: { mountOptions: ["nfsvers=4.1", "hard"] } } as never;
    const nfs = source("nfs", { server: "fd00::1", path: "/x" }, { volume, readOnly: true });
    assertEquals(await setupNfs(nfs, `${folder}/v`, ports), {
      path: `${folder}/v`,
      readOnly: true,
    });
    assertEquals(calls, [`mount -t nfs -o ro,nfsvers=4.1,hard [fd00::1]:/x ${folder}/v`]);
    assertEquals(
      (await setupNfs(nfs, `${folder}/v`, { ...ports, isMounted: () => true })).path,
      `${folder}/v`,
    );
    assertEquals(calls.length, 1);
  }));

Deno.test("a mount that fails says what was tried and what the tool said, and leaves no folder", () =>
  inFolder(async (folder) => {
    const output =
      "mount: /v: bad option; for several filesystems (e.g. nfs, cifs) you might need " +
      "a /sbin/mount.<type> helper program.\n";
    const target = `${folder}/v`;
    const nfs = source("nfs", { server: "10.0.0.1", path: "/x" });
    const text = (why: string, said: string) =>
      `mount failed: ${why}\nMounting command: mount\nMounting arguments: -t nfs 10.0.0.1:/x ${target}\n` +
      `Output: ${said}`;
    for (
      const [answer, message] of [
        [{ code: 32, output }, text("exit status 32", output)],
        [{ code: 127 }, text('exec: "mount": executable file not found in $PATH', "")],
      ] as const
    ) {
      const { ports } = fakes({ mount: answer });
      const error = await assertRejects(() => setupNfs(nfs, target, ports), Error);
      assertEquals(error.message, message);
      assertEquals([...Deno.readDirSync(folder)], []);
    }
  }));

Deno.test("hostTools() runs programs of the host, and says when there is none", async () => {
  if (Deno.build.os === "windows") return;
  assertEquals(await hostTools("no-such-program-here", []), { code: 127, output: "" });
  const { code, output } = await hostTools("sh", ["-c", "echo a; echo b >&2; exit 3"]);
  assertEquals([code, output], [3, "a\nb\n"]);
});

Deno.test("setupIscsi() logs in, and tells the last thing that went wrong", () =>
  inFolder(async (folder) => {
    const spec = {
      targetPortal: "10.0.0.1",
      iqn: "iqn.test",
      lun: 1,
      chapAuthSession: true,
      secretRef: { name: "s" },
    };
    const { calls, ports } = fakes({
      "--login": { code: 8, output: "no" },
      "-m session": { code: 21 },
    });
    const error = await assertRejects(
      () => setupIscsi(source("iscsi", spec), folder, ports),
      Error,
    );
    assertEquals(
      error.message,
      "failed to get any path for iscsi disk, last err seen:\n" +
        "iscsi: failed to attach disk: Error: output: no, err exit status 8",
    );
    const at = "-p 10.0.0.1:3260", node = `iscsiadm -m node ${at} -T iqn.test -I default`;
    const discovery = `iscsiadm -m discoverydb -t sendtargets ${at} -I default`;
    assertEquals(calls, [
      "iscsiadm -m iface -I default -o show",
      "iscsiadm -m session",
      `${discovery} -o new`,
      `${discovery} --discover`,
      `${node} -o update -n node.session.auth.authmethod -v CHAP`,
      `${node} -o update -n node.session.auth.username -v me`,
      `${node} --login`,
      `${node} -o delete`,
    ]);
    const missing = fakes({ iscsiadm: { code: 127 } }).ports;
    await assertRejects(
      () => setupIscsi(source("iscsi", spec), folder, missing),
      Error,
      'exec: "iscsiadm": executable file not found in $PATH',
    );
  }));

Deno.test("teardownIscsi() logs out when nobody else uses the target", () =>
  inFolder(async (folder) => {
    const record = { iqn: "iqn.test", portals: ["10.0.0.1:3260"], iface: "default" };
    const remember = () => Deno.writeTextFile(`${folder}/iscsi.json`, JSON.stringify(record));
    await remember();
    const { calls, ports: { tools } } = fakes();
    await teardownIscsi(folder, { tools, inUse: () => Promise.resolve(true) });
    assertEquals(calls, []);
    await teardownIscsi(folder, { tools, inUse: () => Promise.resolve(false) });
    assertEquals(calls, []);
    await remember();
    await teardownIscsi(folder, { tools, inUse: () => Promise.resolve(false) });
    const node = "iscsiadm -m node -p 10.0.0.1:3260 -T iqn.test -I default";
    assertEquals(calls, [`${node} --logout`, `${node} -o delete`]);
  }));

Deno.test("formatAndMount() formats what is empty, never what is not or is to be read only", async () => {
  const disk = { device: "/dev/x", target: "/t", options: ["rw"] };
  const empty = fakes({ blkid: { code: 2 } });
  await formatAndMount(empty.ports.tools, disk);
  assertEquals(empty.calls.slice(1), [
    "mkfs.ext4 -F -m0 /dev/x",
    "mount -t ext4 -o rw,defaults /dev/x /t",
  ]);
  const full = fakes({ blkid: { output: "PTTYPE=gpt\n" } });
  await formatAndMount(full.ports.tools, { ...disk, fsType: "xfs" });
  assertEquals(full.calls.slice(1), ["mount -t xfs -o rw,defaults /dev/x /t"]);
  await assertRejects(
    () => formatAndMount(fakes({ blkid: { code: 2 } }).ports.tools, { ...disk, options: ["ro"] }),
    Error,
    "cannot mount unformatted disk /dev/x as we are manipulating it in read-only mode",
  );
});
