/** Makes a module image ready: `deno cache` into the node's own cache, by the pull policy. */
import type { Clock } from "../../../kv/clock.ts";
import { type PulledImage, RuntimeError } from "./runtime.ts";

/** Modules that are being fetched or have been, by cache folder and specifier. */
const fetched = new Set<string>();

/** See the module's text. Rejects with a RuntimeError `ErrImagePull` or `ErrImageNeverPull`. */
export async function pullImage(
  image: string,
  policy: string,
  denoDir: string,
  clock: Clock,
  signal: AbortSignal,
  fetching: () => void,
): Promise<PulledImage> {
  const imageId = `isolate://${image}`;
  if (image.startsWith("data:")) return { imageId, present: true };
  if (image.startsWith("file:")) return { imageId, present: await fileThere(image) };
  const key = `${denoDir} ${image}`;
  if (policy !== "Always" && fetched.has(key)) return { imageId, present: true };
  if (policy !== "Always") {
    const there = await cache(image, denoDir, ["--cached-only"], signal);
    if (there.success) {
      fetched.add(key);
      return { imageId, present: true };
    }
    if (policy === "Never") {
      throw new RuntimeError(
        "ErrImageNeverPull",
        `Container image "${image}" is not present with pull policy of Never`,
      );
    }
  }
  fetching();
  const started = clock.monotonic();
  const { success, text } = await cache(image, denoDir, [], signal);
  if (!success) throw new RuntimeError("ErrImagePull", text || `cannot fetch "${image}"`);
  fetched.add(key);
  return { imageId, present: false, tookMs: Math.round(clock.monotonic() - started) };
}

async function fileThere(image: string): Promise<boolean> {
  try {
    await Deno.stat(new URL(image));
    return true;
  } catch {
    throw new RuntimeError("ErrImagePull", `cannot read "${image}": no such file`);
  }
}

async function cache(image: string, denoDir: string, flags: string[], signal: AbortSignal) {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", "--no-config", "--no-lock", ...flags, image],
    cwd: denoDir,
    env: { DENO_DIR: denoDir, NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    signal,
  });
  const { success, stderr } = await command.output();
  const text = new TextDecoder().decode(stderr).trim().split("\n")[0] ?? "";
  return { success, text: text.replace(/^error: /, "") };
}
