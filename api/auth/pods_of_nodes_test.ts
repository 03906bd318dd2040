import { assertEquals } from "@std/assert";
import type { Batch, Event, Watch } from "../../kv/contract.ts";
import type { KubeObject } from "../machinery/types.ts";
import { PodsOfNodes } from "./pods_of_nodes.ts";
import { State, stored } from "./state_fixture.ts";

type Batches = Batch<KubeObject>[];

/** A watch that shows what it is handed. */
function handed() {
  let next = Promise.withResolvers<Batches | Error | undefined>();
  const hand = async (what: Batches | Error | undefined) => {
    next.resolve(what);
    next = Promise.withResolvers();
    for (let i = 0; i < 10; i++) await Promise.resolve();
  };
  async function* batches(): AsyncGenerator<Batch<KubeObject>> {
    while (true) {
      const what = await next.promise;
      if (what === undefined) return;
      if (what instanceof Error) throw what;
      yield* what;
    }
  }
  const started: number[] = [];
  const follow = ({ after }: { after: number }): Watch<KubeObject> => {
    started.push(after);
    return Object.assign(batches(), { revision: 0, close() {} });
  };
  return { hand, follow, started };
}

Deno.test("PodsOfNodes() knows the pods of nodes from when it was started until it cannot follow", async () => {
  const state = new State();
  const put = (name: string, nodeName?: string) =>
    state.put(
      `/registry/pods/ns/${name}`,
      stored({ metadata: { name, namespace: "ns" }, spec: { nodeName } }),
    );
  const event = (
    type: "put" | "delete",
    name: string,
    previous?: Event<KubeObject>["previous"],
  ) => {
    const item = state.view().get(`/registry/pods/ns/${name}`)!;
    return [{ events: [{ type, key: item.key, revision: 0, item, previous }], revision: 0 }];
  };
  const { hand, follow, started } = handed();
  const pods = new PodsOfNodes(follow);
  const names = (node: string, namespace = "ns") =>
    [...pods.of(namespace, node)].map((key) => key.slice(key.lastIndexOf("/") + 1));
  put("a", "n1");
  put("b");
  assertEquals(names("n1"), []);
  pods.start(state.view());
  pods.start(state.view());
  assertEquals([names("n1"), names("n2"), names("n1", "other")], [["a"], [], []]);
  assertEquals(started, [state.revision]);
  const unbound = state.view().get("/registry/pods/ns/b");
  put("b", "n1");
  await hand(event("put", "b", unbound));
  assertEquals(names("n1"), ["a", "b"]);
  await hand(event("delete", "a"));
  assertEquals(names("n1"), ["b"]);
  await hand(new Error("fell behind"));
  assertEquals(names("n1"), []);
  pods.start(state.view());
  assertEquals([names("n1"), started.length], [["a", "b"], 2]);
  await hand(undefined);
  assertEquals(names("n1"), []);
});
