/** Modules of WebAssembly as images: programs for WASI, run by the isolate runtime on a real node. */
import { assertEquals, assertMatch } from "@std/assert";
import { withNode } from "./node_fixture.ts";

/** Says `hello from wasm` by WASI's `fd_write`, and ends with 3 by `proc_exit`. */
const HELLO = Uint8Array.from(
  atob(
    "AGFzbQEAAAABEANgBH9/f38Bf2ABfwBgAAACRgIWd2FzaV9zbmFwc2hvdF9wcmV2aWV3MQhmZF93cml0ZQAAFndhc2lfc25hcHNob3Rf" +
      "cHJldmlldzEJcHJvY19leGl0AAEDAgECBQMBAAEHEwIGbWVtb3J5AgAGX3N0YXJ0AAIKEwERAEEBQQBBAUEIEAAaQQMQAQsLIwIAQRALEGhl" +
      "bGxvIGZyb20gd2FzbQoAQQALCBAAAAAQAAAA",
  ),
  (c) => c.charCodeAt(0),
);
/** A module without a program: its head alone. */
const EMPTY = HELLO.slice(0, 8);

for (const view of [undefined, "preload"] as const) {
  Deno.test(`a module of WebAssembly is an image, with ${view ?? "a root of its own"}`, () =>
    withNode(async ({ box, phase, logs, folder }) => {
      const files: Record<string, Uint8Array> = { "/a.wasm": HELLO, "/empty.wasm": EMPTY };
      const server = Deno.serve({ port: 0, onListen() {} }, (request) => {
        const file = files[new URL(request.url).pathname] as Uint8Array<ArrayBuffer> | undefined;
        return new Response(file ?? "not here", { status: file ? 200 : 404 });
      });
      const url = `http://127.0.0.1:${server.addr.port}`;
      await Deno.mkdir(`${folder}/programs`);
      await Deno.writeFile(`${folder}/programs/hello.wasm`, HELLO);
      const images = { far: `${url}/a.wasm`, near: `file://${folder}/programs/hello.wasm` };
      for (const [name, image] of Object.entries(images)) {
        await box.pod(name, "n0", { restartPolicy: "Never", containers: [{ name: "c", image }] });
        const pod = await phase(name, "Failed");
        assertEquals(pod.status!.containerStatuses![0].state.terminated?.exitCode, 3);
        assertEquals(await logs(name), "hello from wasm\n");
      }
      await box.pod("none", "n0", {
        restartPolicy: "Never",
        containers: [{ name: "c", image: `${url}/empty.wasm` }],
      });
      assertEquals(
        (await phase("none", "Failed")).status!.containerStatuses![0].state.terminated?.exitCode,
        126,
      );
      assertMatch(await logs("none"), /no program for WASI: it exports no _start/);
      await box.pod("away", "n0", { containers: [{ name: "c", image: `${url}/b.wasm` }] });
      await box.until("the pull has failed", async () => {
        const waiting = (await box.get("away")).status?.containerStatuses?.[0]?.state.waiting;
        return /cannot fetch .* 404 Not Found/.test(waiting?.message ?? "");
      });
      await server.shutdown();
    }, view));
}
