import { assertEquals, assertThrows } from "@std/assert";
import { ManualClock } from "../../../kv/clock.ts";
import type { ContainerSpec } from "./runtime.ts";
import { defaultStages, parseStages } from "./stages.ts";

function spec(command: string[] = [], kind = "app", metadata: object = {}): ContainerSpec {
  const pod = { metadata, spec: { containers: [] } };
  return {
    sandbox: { pod },
    container: { name: "c", image: "i" },
    kind,
    command,
    attempt: 0,
  } as never;
}

Deno.test("the default stages read commands, kinds, owners and annotations", () => {
  const clock = new ManualClock();
  const next = (s: ContainerSpec) => {
    const t = defaultStages().next("running", s, clock);
    return t && [t.stage.name, t.afterMs, t.exitCode];
  };
  assertEquals(next(spec()), undefined);
  assertEquals(next(spec(["sleep", "90"])), ["sleeps", 90_000, 0]);
  assertEquals(next(spec(["/bin/sh", "-c", "sleep 1.5"])), ["sleeps", 1500, 0]);
  assertEquals(next(spec(["/bin/true"])), ["succeeds", 100, 0]);
  assertEquals(next(spec(["false"])), ["fails", 100, 1]);
  assertEquals(next(spec(["sh", "-c", "exit 42"])), ["exits", 100, 42]);
  const stopped = (command: string[]) =>
    defaultStages().next("stopping", spec(command), clock)?.exitCode;
  assertEquals([["/bin/false"], ["sh", "-c", "exit 3"], ["x"]].map(stopped), [1, 3, 0]);
  assertEquals(next(spec([], "init")), ["init-completes", 0, 0]);
  const ownerReferences = [{ controller: true, kind: "Job" }];
  assertEquals(next(spec([], "app", { ownerReferences })), ["job-completes", 1000, 0]);
  const pause = spec([], "app", { ownerReferences });
  Object.assign(pause.container, { image: "registry.k8s.io/pause:3.10" });
  assertEquals(next(pause), undefined);
  const annotations = {
    "simulated.plesio.dev/exit-after": "3",
    "simulated.plesio.dev/exit-code": "9",
  };
  assertEquals(next(spec([], "app", { annotations })), ["exits-when-told", 3000, 9]);
  annotations["simulated.plesio.dev/exit-code"] = "1,7,0";
  const codes = [0, 1, 2, 3].map((attempt) =>
    next({ ...spec([], "app", { annotations }), attempt } as ContainerSpec)?.[2]
  );
  assertEquals(codes, [1, 7, 0, 0]);
});

Deno.test("parseStages() refuses what cannot be used, by name", () => {
  const bad = "stages: [{ name: odd, from: dancing, to: exited }]";
  assertThrows(() => parseStages(bad), TypeError, 'stage "odd": unknown state "dancing"');
  assertThrows(() => parseStages("a: 1"), TypeError, 'there is no list "stages"');
});
