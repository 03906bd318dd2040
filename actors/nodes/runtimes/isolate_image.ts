/**
 * Makes a module image ready: `deno cache` into the node's own cache, by the pull policy. A module of WebAssembly that is
 * a program, and nothing that another module imports, is kept beside it as it is.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../../../kv/clock.ts";
import { isWasm } from "./isolate_program.ts";
import { neverPulled, type PulledImage, RuntimeError } from "./runtime.ts";

/** Largest module of WebAssembly that is fetched. */
const WASM_BYTES_MAX = 512 * 1024 * 1024;

/** Where a module of WebAssembly that was fetched lies in the container. */
const WASM_INSIDE = "/.image.wasm";

/** Where a container's module of WebAssembly lies on the host, and as it sees it; undefined for other images. */
export function wasmOf(
  image: string,
  denoDir: string,
): { hostPath: string; containerPath: string } | undefined {
  if (!isWasm(image)) return undefined;
  if (image.startsWith("file:")) {
    const path = decodeURIComponent(new URL(image).pathname);
    return { hostPath: path, containerPath: path };
  }
  const name = createHash("sha256").update(image).digest("hex");
  return { hostPath: `${denoDir}/wasm/${name}.wasm`, containerPath: WASM_INSIDE };
}

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
  const wasm = wasmOf(image, denoDir);
  const cache = wasm ? cacheWasm(wasm.hostPath) : cacheModule;
  const key = `${denoDir} ${image}`;
  if (policy !== "Always" && fetched.has(key)) return { imageId, present: true };
  if (policy !== "Always") {
    const there = await cache(image, denoDir, { cachedOnly: true, signal });
    if (there.success) {
      fetched.add(key);
      return { imageId, present: true };
    }
    if (policy === "Never") throw neverPulled(image);
  }
  fetching();
  const started = clock.monotonic();
  const { success, text } = await cache(image, denoDir, { signal });
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

type Cache = (
  image: string,
  denoDir: string,
  options: { cachedOnly?: boolean; signal: AbortSignal },
) => Promise<{ success: boolean; text: string }>;

/** Fetches a module of WebAssembly into a file, in one step. */
function cacheWasm(path: string): Cache {
  return async (image, denoDir, { cachedOnly, signal }) => {
    if (cachedOnly) {
      const there = await Deno.stat(path).then(({ isFile }) => isFile, () => false);
      return { success: there, text: "" };
    }
    try {
      const response = await fetch(image, { signal });
      if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
      if (Number(response.headers.get("content-length")) > WASM_BYTES_MAX) {
        throw new Error(`more than ${WASM_BYTES_MAX} bytes`);
      }
      const bytes = new Uint8Array(await response.arrayBuffer());
      if (new DataView(bytes.buffer).getUint32(0) !== WASM_MAGIC) throw new Error("no WebAssembly");
      await Deno.mkdir(`${denoDir}/wasm`, { recursive: true });
      await Deno.writeFile(`${path}.new`, bytes);
      await Deno.rename(`${path}.new`, path);
      return { success: true, text: "" };
    } catch (error) {
      return { success: false, text: `cannot fetch "${image}": ${(error as Error).message}` };
    }
  };
}

/** How every module of WebAssembly begins. */
const WASM_MAGIC = 0x00_61_73_6d;

const cacheModule: Cache = async (image, denoDir, { cachedOnly, signal }) => {
  const flags = cachedOnly ? ["--cached-only"] : [];
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
};
