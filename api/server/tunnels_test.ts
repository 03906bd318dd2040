import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ManualClock } from "../../kv/clock.ts";
import { NodeAuthorizer } from "../auth/node.ts";
import { ApiError } from "../machinery/types.ts";
import { Tunnel } from "../client/tunnel.ts";
import { answerFor } from "../client/tunnel_node.ts";
import { carrierPair } from "../client/tunnel_fixture.ts";
import { ADMIN, openApi } from "./fixture_test.ts";
import { dialerThrough, Tunnels } from "./tunnels.ts";

const nodeUser = (name: string) => ({
  name: `system:node:${name}`,
  groups: ["system:nodes", "system:authenticated"],
});

/** A node whose only word is its name. */
function named(name: string) {
  const no = () => Promise.reject(new Error("not asked"));
  return answerFor({
    logs: no,
    exec: no,
    attach: no,
    portForward: no,
    fetch: () => Promise.resolve(new Response(name)),
  });
}

Deno.test("Tunnels lets in a node under its own name only", () => {
  const tunnels = new Tunnels(new ManualClock());
  tunnels.admit(nodeUser("a"), "a");
  for (const user of [nodeUser("b"), ADMIN, { name: "system:node:a", groups: [] }]) {
    const error = assertThrows(() => tunnels.admit(user, "a"), ApiError, "by the node itself");
    assertEquals(error.code, 403);
  }
});

Deno.test("Tunnels: a newer connection of a node takes the place of the older one", async () => {
  const clock = new ManualClock();
  const tunnels = new Tunnels(clock);
  const dial = dialerThrough(tunnels);
  await assertRejects(() => dial("a"), ApiError, 'node "a" has not dialled in');
  const connect = (says: string) => {
    const [here, there] = carrierPair();
    new Tunnel(there, { clock, answer: named(says) });
    return tunnels.serve("a", here);
  };
  const ask = async () => await (await (await dial("a")).fetch(new Request("http://a/"))).text();
  const first = connect("old address");
  assertEquals(await ask(), "old address");
  const second = connect("new address");
  assertEquals(await first, "superseded by a newer connection of the same node");
  assertEquals(await ask(), "new address");
  assertEquals(tunnels.names(), ["a"]);
  tunnels.close();
  assertEquals(await second, "the server is going");
  assertEquals(tunnels.names(), []);
});

Deno.test("the Node authorizer lets a node open its own tunnel and nothing else of that name", async () => {
  const f = await openApi();
  const authorizer = new NodeAuthorizer(() => f.database.objects.view());
  const may = (verb: string, name: string) =>
    authorizer.authorize({
      user: nodeUser("a"),
      verb,
      resourceRequest: true,
      group: "",
      version: "v1",
      resource: "nodes",
      subresource: "tunnel",
      namespace: "",
      name,
      path: "",
    }).allowed;
  assertEquals([may("create", "a"), may("create", "b"), may("get", "a")], [true, false, false]);
  await f[Symbol.asyncDispose]();
});

Deno.test("a tunnel wants an upgrade, its subprotocol and the node's own credentials", async () => {
  const f = await openApi();
  const path = "https://x/api/v1/nodes/a/tunnel";
  const asked = async (user?: typeof ADMIN) =>
    (await f.api.fetch(new Request(path), { user })).status;
  assertEquals([await asked(), await asked(nodeUser("a"))], [401, 403]);
  await f[Symbol.asyncDispose]();
});
