import { assertEquals, assertThrows } from "@std/assert";
import { schedulerConfiguration } from "./scheduler.ts";

const HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";

Deno.test("a scheduler's configuration is read with its plugins' arguments, modules from its folder", () => {
  const read = schedulerConfiguration(
    `${HEAD}leaderElection: {leaderElect: false}
profiles:
- schedulerName: packer
  plugins: {score: {disabled: [{name: "*"}], enabled: [{name: NodeResourcesFit, weight: 5}]}}
  pluginConfig:
  - name: NodeResourcesFit
    args: {kind: NodeResourcesFitArgs, apiVersion: kubescheduler.config.k8s.io/v1, scoringStrategy: {type: MostAllocated}}
  - {name: Colour, args: {module: ./colour.ts, label: hue}}
  - {name: Far, args: {module: "https://x/far.ts"}}
extenders: [{urlPrefix: "http://x", filterVerb: filter, httpTimeout: 2s}]
`,
    "/etc/scheduler/config.yaml",
  );
  assertEquals(
    read.profiles[0].pluginConfig.map((config: { args: unknown }) => config.args),
    [
      { scoringStrategy: { type: "MostAllocated" } },
      { module: "/etc/scheduler/./colour.ts", label: "hue" },
      { module: "https://x/far.ts" },
    ],
  );
  assertEquals(read.extenders[0].httpTimeout, 2000);
});

Deno.test("a scheduler's configuration is refused in upstream's words", async (t) => {
  const config = (name: string, args: string) =>
    `${HEAD}profiles: [{pluginConfig: [{name: ${name}, args: ${args}}]}]`;
  const cases: [string, string, string][] = [
    ["an unknown field", `${HEAD}foo: 1`, 'strict decoding error: unknown field "foo"'],
    [
      "another version",
      HEAD.replace("/v1", "/v1beta3"),
      'no kind "KubeSchedulerConfiguration" is registered for version "kubescheduler.config.k8s.io/v1beta3"',
    ],
    [
      "an unknown argument",
      config("NodeResourcesFit", "{foo: 1}"),
      "strict decoding error: decoding .profiles[0].pluginConfig[0]: strict decoding error: " +
      'decoding args for plugin NodeResourcesFit: strict decoding error: unknown field "foo"',
    ],
    [
      "arguments of another plugin",
      config("NodeResourcesFit", "{kind: InterPodAffinityArgs}"),
      "decoding .profiles[0].pluginConfig[0]: args for plugin NodeResourcesFit were not of type " +
      "NodeResourcesFitArgs.kubescheduler.config.k8s.io, got InterPodAffinityArgs.kubescheduler.config.k8s.io",
    ],
  ];
  for (const [name, text, error] of cases) {
    await t.step(name, () => {
      assertThrows(() => schedulerConfiguration(text, "c.yaml"), Error, error);
    });
  }
});
