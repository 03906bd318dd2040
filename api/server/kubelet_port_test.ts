import { assertEquals } from "@std/assert";
import type { NodeApi } from "../client/node_api.ts";
import { ADMIN_TOKEN, openApi } from "./fixture_test.ts";

Deno.test("a node's own port answers its pages to whoever has a right to that part of it", async () => {
  const may = new Set(["metrics", "pods"]);
  const asked: string[] = [];
  await using f = await openApi({
    authorizer: {
      authorize({ resource, name, subresource, verb }) {
        if (resource !== "nodes") return { allowed: true };
        asked.push(`${verb} ${name}/${subresource}`);
        return { allowed: may.has(subresource) };
      },
      rules: () => ({ rules: [], errors: [] }),
    },
    dialer: (name) => {
      const page = (request: Request) => {
        const { pathname, search } = new URL(request.url);
        return new Response(`${name} ${pathname}${search} ${request.headers.get("authorization")}`);
      };
      return Promise.resolve({ fetch: (request) => Promise.resolve(page(request)) } as NodeApi);
    },
  });
  const listener = await f.api.listen({ port: 0, node: "n1" });
  const ask = async (path: string, init?: RequestInit) => {
    asked.length = 0;
    const response = await fetch(`http://127.0.0.1:${listener.port}${path}`, init);
    return [response.status, await response.text()];
  };
  const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
  assertEquals(await ask("/metrics/resource"), [401, "Unauthorized"]);
  assertEquals(asked, []);
  // What the node sees has no credentials
  assertEquals(await ask("/metrics/resource?a=b", { headers }), [
    200,
    "n1 /metrics/resource?a=b null",
  ]);
  assertEquals(asked, ["get n1/metrics"]);
  assertEquals((await ask("/pods", { headers }))[0], 200);
  may.delete("pods");
  const [status, text] = await ask("/pods", { headers });
  assertEquals([status, asked], [403, ["get n1/pods", "get n1/proxy"]]);
  assertEquals(
    String(text).replace(/user=[^,]*/, "user=U"),
    "Forbidden (user=U, verb=get, resource=nodes, subresource(s)=[pods proxy])\n",
  );
  may.add("proxy");
  assertEquals((await ask("/pods", { headers }))[0], 200);
  assertEquals((await ask("/run", { headers, method: "POST" }))[0], 200);
  assertEquals(asked, ["create n1/proxy"]);
  // Beside a page is no part of it
  assertEquals((await ask("/metricsx", { headers }))[0], 200);
  assertEquals(asked, ["get n1/proxy"]);
  await listener.close();
});
