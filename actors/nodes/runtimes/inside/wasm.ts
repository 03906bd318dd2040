/**
 * `wasm FILE ARGS…`: runs a program of WebAssembly for WASI (preview 1), such as Go (`GOOS=wasip1`), Rust
 * (`wasm32-wasip1`), C or Zig compile, under the container's own permissions. It sees the container's files, environment,
 * standard streams and clock. It has no network: that version of WASI has calls for none.
 */
import process from "node:process";
import { inside } from "./preload.ts";

/** Runs it; its exit code, or 126 where it cannot be run. */
export async function wasm(
  [file = "", ...args]: string[],
  reason: (error: unknown) => string,
): Promise<number> {
  // That the library calls itself experimental is no word of the container's
  process.emitWarning = () => {};
  const { WASI } = await import("node:wasi");
  let module: WebAssembly.Module;
  try {
    module = await WebAssembly.compile(Deno.readFileSync(file));
  } catch (error) {
    console.error(`wasm: ${file}: ${reason(error)}`);
    return 126;
  }
  if (!WebAssembly.Module.exports(module).some(({ name }) => name === "_start")) {
    console.error(`wasm: ${file}: no program for WASI: it exports no _start`);
    return 126;
  }
  const wasi = new WASI({
    version: "preview1",
    args: [file.slice(file.lastIndexOf("/") + 1), ...args],
    env: { PWD: Deno.cwd(), ...environment() },
    preopens: folders(),
    returnOnExit: true,
  });
  const instance = await WebAssembly.instantiate(
    module,
    wasi.getImportObject() as WebAssembly.Imports,
  );
  return wasi.start(instance) ?? 0;
}

function environment(): Record<string, string> {
  const { PLESIO_ISOLATE: _, ...own } = Deno.env.toObject();
  return own;
}

/** The container's folders: its root, and where it has none of its own, those that are mounted into it. */
function folders(): Record<string, string> {
  if (!inside.root) return { "/": "/" };
  const mounted = (inside.paths ?? []).filter(([path]) => Deno.statSync(path).isDirectory);
  return { "/": inside.root, ...Object.fromEntries(mounted) };
}
