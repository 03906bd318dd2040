/**
 * Every scenario beside this file under the virtual clock; those that say so also with kubectl.
 */
import { openKubectl } from "./kubectl.ts";
import { difference, milliseconds, play, readScenario } from "./scenario.ts";
import { openVirtual } from "./virtual.ts";
import { assertEquals, assertThrows } from "@std/assert";

const FOLDER = new URL("./", import.meta.url);
const hasKubectl = await new Deno.Command("kubectl", { args: ["version", "--client"] }).output()
  .then(({ success }) => success, () => false);

const names = [...Deno.readDirSync(FOLDER)].map(({ name }) => name)
  .filter((name) => name.endsWith(".yaml")).sort();
for (const file of names) {
  const name = file.slice(0, -".yaml".length);
  const scenario = readScenario(name, Deno.readTextFileSync(new URL(file, FOLDER)));
  Deno.test(`scenario: ${name}`, async () => {
    await using stage = await openVirtual(scenario);
    await play(scenario, stage);
  });
  if (!scenario.kubectl) continue;
  Deno.test({
    name: `scenario, with kubectl: ${name}`,
    // CI installs it; elsewhere there may be none.
    ignore: !hasKubectl,
    async fn() {
      await using stage = await openKubectl(scenario);
      await play(scenario, stage);
    },
  });
}

Deno.test("difference() compares by what is named", () => {
  const pod = { spec: { containers: [{ name: "a", image: "x:1" }] }, status: { phase: "Running" } };
  assertEquals(difference(pod, { status: { phase: "Running", reason: null } }, "pod"), undefined);
  assertEquals(
    difference(pod, { spec: { containers: [{ image: "~^y" }] } }, "pod"),
    'pod.spec.containers.0.image is "x:1", not like ^y',
  );
  assertEquals(difference(pod, { status: { reason: "$any" } }, ""), ".status.reason is absent");
  const list = { a: [{ n: 1 }, { n: 2, m: 3 }] };
  assertEquals(difference(list, { a: { $has: [{ n: 2 }] } }, ""), undefined);
  assertEquals(
    difference(list, { a: { $has: [{ n: 1, m: 3 }] } }, ""),
    '.a is [{"n":1},{"n":2,"m":3}], without {"n":1,"m":3}',
  );
});

Deno.test("a scenario that nobody understands is refused", () => {
  assertThrows(
    () => readScenario("x", "source: y\nsteps: [{expects: []}]"),
    TypeError,
    'unknown key "expects"',
  );
  assertEquals(milliseconds("1h30m"), 5_400_000);
  assertThrows(() => milliseconds("soon"), TypeError);
});
