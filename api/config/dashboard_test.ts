import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { RealClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";
import { urlOutbound } from "../mod.ts";
import { loginLink } from "../plesio/mod.ts";
import { runDashboardCommand } from "./dashboard.ts";
import { UsageError } from "./flags.ts";

Deno.test("runDashboardCommand() prints a link that is good once, as whoever the kubeconfig is", async () => {
  await using cluster = await Cluster.start({ clock: "real", nodes: 0, components: ["api"] });
  const { url } = await cluster.listen({ port: 0 });
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, await cluster.kubeconfig());
    const printed: string[] = [];
    const ports = {
      outbound: urlOutbound(new RealClock()),
      print: (line: string) => void printed.push(line),
      link: loginLink,
    };
    await runDashboardCommand(["--kubeconfig", file], ports);
    assertMatch(printed[0], /^https:\/\/127\.0\.0\.1:\d+\/dashboard\/#login=[\w-]{43}$/);
    assertEquals(printed[0].startsWith(url), true);
    const code = printed[0].split("=")[1];
    const exchange = async () => {
      const body = JSON.stringify({ code });
      const path = "https://plesio/dashboard/login";
      return (await cluster.api.fetch(new Request(path, { method: "POST", body }))).status;
    };
    assertEquals([await exchange(), await exchange()], [201, 401]);
    await assertRejects(() => runDashboardCommand(["x"], ports), UsageError);
  } finally {
    await Deno.remove(file);
  }
});
