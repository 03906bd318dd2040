/**
 * Tests that mount run in a mount namespace of their own: what they leave behind goes with their process, and
 * nothing of the machine's is touched. Their file starts itself again there and shows what came of it.
 */
import { hostMounts } from "./kernel.ts";

const INSIDE = "PLESIO_TEST_MOUNTS";

/** Registers a file's tests where they may mount. Elsewhere one test says why they are left out, never in CI. */
export function inOwnNamespace(file: string, register: () => void): void {
  if (Deno.env.has(INSIDE)) return register();
  const path = new URL(file).pathname;
  const name = path.slice(path.lastIndexOf("/") + 1);
  const reason = Deno.build.os !== "linux"
    ? "only Linux has mount namespaces"
    : hostMounts()
    ? undefined
    : "only root with CAP_SYS_ADMIN may mount";
  const ignore = reason !== undefined && !Deno.env.get("CI");
  Deno.test({
    name: `${name} in a mount namespace of its own${reason ? ` (left out: ${reason})` : ""}`,
    ignore,
    fn: async () => {
      if (reason) throw new Error(reason);
      const { code, signal, stdout, stderr } = await new Deno.Command("unshare", {
        args: ["-m", "--propagation", "private", "--", Deno.execPath(), "test", "-A", "-q"]
          .concat(["--no-check", path]),
        env: { [INSIDE]: "1", NO_COLOR: "1" },
      }).output();
      const text = new TextDecoder();
      if (code === 0) return;
      throw new Error(`${text.decode(stdout)}${text.decode(stderr)}\nended by ${signal ?? code}`);
    },
  });
}
