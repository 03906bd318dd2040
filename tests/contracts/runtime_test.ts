/** The runtime contract over every runtime. */
import { SimulatedRuntime } from "../../actors/nodes/mod.ts";
import { IsolateRuntime } from "../../actors/nodes/runtimes/isolate.ts";
import { chooseView, type ViewName } from "../../actors/nodes/runtimes/isolate_view.ts";
import { ManualClock, RealClock } from "../../kv/clock.ts";
import { runtimeContract } from "./runtime.ts";

const clock = new ManualClock();

runtimeContract({
  name: "simulated",
  image: "nginx:1.27",
  quits: (code) => ["sh", "-c", `exit ${code}`],
  idles: ["nginx"],
  open: () => Promise.resolve(new SimulatedRuntime({ clock })),
  pass: (ms) => clock.advance(ms),
  says: /^simulated: created container c/,
  skips: { "exec runs beside it": "no process runs in a simulated container" },
});

const folder = await Deno.makeTempDir();
const best = await chooseView(folder, folder);
await Deno.remove(folder, { recursive: true });

for (const view of new Set<ViewName>([best, "preload"])) {
  runtimeContract({
    name: `isolate (${view})`,
    image: "denoland/deno:2.9.6",
    quits: (code) => ["deno", "eval", `console.log("bye"); Deno.exit(${code})`],
    idles: ["deno", "eval", "setInterval(() => {}, 1000)"],
    open: (folder) => Promise.resolve(new IsolateRuntime({ clock: new RealClock(), folder, view })),
    pass: () => Promise.resolve(),
    says: /^bye\n$/,
    skips: { "exec without processes is refused": "an isolate is a process" },
  });
}
