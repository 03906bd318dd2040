import { assertEquals } from "@std/assert";
import { callOfRequest } from "./app.ts";
import { type Upgraded, upgradeHead } from "./forwarding.ts";

const CONNECTION = { connection: "Upgrade", upgrade: "websocket" };

const headOf = (headers: Record<string, string>, more?: Upgraded["more"]) =>
  upgradeHead(callOfRequest(new Request("http://x/way/in?a=b", { headers })), {
    host: "10.0.0.1:80",
    path: "/out",
    withheld: (name) => name === "authorization",
    more,
  }).split("\r\n");

Deno.test("a call for another protocol is passed on without what was for this server alone", () => {
  const said = ["GET /out?a=b HTTP/1.1", "host: 10.0.0.1:80", "connection: Upgrade"];
  assertEquals(
    headOf({
      ...CONNECTION,
      authorization: "Bearer x",
      cookie: "a=b",
      host: "x",
      "sec-websocket-protocol": "base64url.bearer.authorization.k8s.io.eA, chat, talk",
    }),
    [...said, "cookie: a=b", "sec-websocket-protocol: chat, talk", "upgrade: websocket", "", ""],
  );
  // Nobody offers nothing
  const token = { "sec-websocket-protocol": "base64url.bearer.authorization.k8s.io.eA" };
  assertEquals(headOf({ ...CONNECTION, ...token }), [...said, "upgrade: websocket", "", ""]);
});

Deno.test("a page's call for another protocol takes no cookies along: they are of everything on this host", () => {
  const page = { ...CONNECTION, cookie: "of=all", origin: "https://x" };
  assertEquals(headOf(page, { "x-remote-user": "ann", "x-remote-group": ["a", "b"] }), [
    "GET /out?a=b HTTP/1.1",
    "host: 10.0.0.1:80",
    "connection: Upgrade",
    "origin: https://x",
    "upgrade: websocket",
    "x-remote-user: ann",
    "x-remote-group: a",
    "x-remote-group: b",
    "",
    "",
  ]);
  // By a ticket the origin is not told
  const { origin: _, ...untold } = page;
  const head = headOf({ ...untold, "sec-fetch-mode": "websocket" });
  assertEquals(head.filter((line) => line.startsWith("cookie")), []);
});
