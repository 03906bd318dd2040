/** What a webhook that refuses is quoted as: client-go's words, code by code. */
import { assertEquals } from "@std/assert";
import { refusalOf } from "./webhook_call.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const NONE = "did not return more information";
const NOT_ACCEPTABLE =
  "the server was unable to respond with a content type that the client supports";
const PREVENTED = "has prevented the request from succeeding";

Deno.test("refusalOf() words every code as client-go does", async (t) => {
  const text = "text/plain; charset=utf-8";
  const cases: [number, string, string, string][] = [
    [400, text, "x", "the server rejected our request for an unknown reason"],
    [401, text, "x", "the server has asked for the client to provide credentials"],
    [403, text, " not you \n", "not you"],
    [403, "application/json", "{}", "unknown"],
    [404, text, "x", "the server could not find the requested resource"],
    [405, text, "x", "the server does not allow this method on the requested resource"],
    [406, text, "only cheese", "only cheese"],
    [406, text, "", NOT_ACCEPTABLE],
    [406, "application/json", "{}", NOT_ACCEPTABLE],
    [409, text, "x", "the server reported a conflict"],
    [415, text, "send cheese", "send cheese"],
    [415, "application/json", "{}", "unknown"],
    [415, text, "", ""],
    [418, text, "x", `the server responded with the status code 418 but ${NONE}`],
    [
      429,
      text,
      "x",
      "the server has received too many requests and has asked us to try again later",
    ],
    [302, "", "x", `the server responded with the status code 302 but ${NONE}`],
    [500, "", 'a "b"\u0001\n', String.raw`an error on the server ("a \"b\"\x01") ${PREVENTED}`],
    [502, "image/png", "x", `an error on the server ("unknown") ${PREVENTED}`],
    [503, text, "x", "the server is currently unable to handle the request"],
  ];
  for (const [status, type, body, message] of cases) {
    await t.step(`${status} ${type} ${JSON.stringify(body)}`, () => {
      const headers: Record<string, string> = type ? { "content-type": type } : {};
      const refused = refusalOf({ status, headers, body: encode(body) });
      assertEquals([refused?.message, refused?.code], [message, status]);
    });
  }
});

Deno.test("refusalOf() quotes no more than 2,048 bytes, and prefers a failed Status", () => {
  const long = refusalOf({ status: 403, headers: {}, body: encode("x".repeat(3000)) });
  assertEquals(long?.message.length, 2048);
  const body = encode(
    JSON.stringify({ kind: "Status", status: "Failure", message: "no cheese", code: 422 }),
  );
  const said = refusalOf({ status: 500, headers: {}, body });
  assertEquals([said?.message, said?.code], ["no cheese", 422]);
  assertEquals(refusalOf({ status: 206, headers: {}, body }), undefined);
});
