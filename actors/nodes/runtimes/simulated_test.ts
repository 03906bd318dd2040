import { assertEquals } from "@std/assert";
import { ManualClock } from "../../../kv/clock.ts";
import type { Pod } from "../types.ts";
import { SimulatedRuntime } from "./simulated.ts";

Deno.test("release() forgets what recover() finds again, but nothing of which an end is due", async () => {
  const clock = new ManualClock();
  const runtime = new SimulatedRuntime({ clock });
  const startedAt = clock.now();
  const ended: string[] = [];
  const side = (command: string[]) => ({ name: "s", image: "i", command, restartPolicy: "Always" });
  const recovered = (name: string, command: string[]) => {
    const pod = {
      metadata: { name, uid: name },
      spec: { containers: [{ name: "c", image: "i" }], initContainers: [side(command)] },
    } as unknown as Pod;
    const containers = ["c", "s"].map((container) => {
      const id = `simulated://${name}-${container}`;
      runtime.recover(pod, { name: container, id, startedAt }, () => ended.push(id));
      return { id };
    });
    return { pod, containers };
  };
  const quiet = recovered("quiet", ["serve"]), due = recovered("due", ["sleep", "5"]);
  assertEquals(runtime.release(due.pod, due.containers), false);
  assertEquals(runtime.release(quiet.pod, quiet.containers), true);
  const runs = ({ id }: { id: string }) => runtime.stats(id) !== undefined;
  assertEquals([...due.containers, ...quiet.containers].map(runs), [true, true, false, false]);
  await clock.advance(5_000);
  assertEquals(ended, ["simulated://due-s"]);
});
