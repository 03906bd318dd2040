import { assert, assertEquals, assertThrows } from "@std/assert";
import { ManualClock } from "../../kv/clock.ts";
import { TokenError, TokenKeys } from "./jwt.ts";
import {
  LOGIN_CODE_MS,
  LOGIN_CODES_MAX,
  LOGIN_TOKEN_MS,
  Logins,
  TICKET_MS,
  TICKETS_MAX,
} from "./logins.ts";
import { createTokenKey } from "./pki.ts";
import { State, stillClock } from "./state_fixture.ts";
import { Tokens } from "./tokens.ts";

const START = Date.parse("2026-01-01T00:00:00Z");
const carol = { name: "carol", groups: ["ops"] };

function setup() {
  const state = new State();
  const { clock, set } = stillClock(START);
  const keys = new TokenKeys([createTokenKey()]);
  const tokens = new Tokens({ view: () => state.view(), clock, keys });
  const whose = (token: string) => {
    const found = tokens.authenticate(token);
    assert(!(found instanceof Promise));
    return found.user.name;
  };
  return { set, tokens, logins: new Logins(clock, tokens), whose };
}

Deno.test("Logins.exchange() gives a token of the code's maker, once", () => {
  const { logins, whose } = setup();
  const code = logins.code(carol);
  const given = logins.exchange(code)!;
  assertEquals(whose(given.token), "carol");
  assertEquals(given.expires, START + LOGIN_TOKEN_MS);
  assertEquals(logins.exchange(code), undefined);
  assertEquals(logins.exchange(""), undefined);
});

Deno.test("Logins.exchange() gives nothing when the code is too old", () => {
  const { logins, set } = setup();
  const late = logins.code(carol);
  set(START + LOGIN_CODE_MS);
  assertEquals(logins.exchange(late), undefined);
});

Deno.test("Logins.code() forgets the oldest code when there are too many", () => {
  const logins = new Logins(new ManualClock({ seed: 1 }), setup().tokens);
  const codes = Array.from({ length: LOGIN_CODES_MAX + 1 }, () => logins.code(carol));
  assertEquals(logins.exchange(codes[0]), undefined);
  assert(logins.exchange(codes[1]));
});

Deno.test("A token given for a code ends with its time, or when it is ended", () => {
  const { logins, set, whose, tokens } = setup();
  const kept = logins.exchange(logins.code(carol))!.token;
  const left = logins.exchange(logins.code(carol))!.token;
  assertEquals(whose(left), "carol");
  logins.end(left);
  assertThrows(() => tokens.authenticate(left), TokenError);
  set(START + LOGIN_TOKEN_MS - 1);
  assertEquals(whose(kept), "carol");
  set(START + LOGIN_TOKEN_MS);
  assertThrows(() => tokens.authenticate(kept), TokenError);
});

Deno.test("Logins.end() leaves tokens alone that it did not give", () => {
  const { logins, tokens, whose } = setup();
  tokens.addStatic("fixed", carol);
  logins.end("fixed");
  assertEquals(whose("fixed"), "carol");
});

Deno.test("Logins.ticket() is good for a while; of too many the longest unused goes", async () => {
  const clock = new ManualClock({ seed: 1 });
  const logins = new Logins(clock, setup().tokens);
  const good = { place: "/api/v1/namespaces/default/pods/web/proxy", token: "t" };
  const first = logins.ticket(good);
  const second = logins.ticket(good);
  assertEquals(logins.ticketed(first), good);
  assertEquals(logins.ticketed("guess"), undefined);
  for (let i = 1; i < TICKETS_MAX; i++) logins.ticket(good);
  assertEquals(logins.ticketed(second), undefined);
  assertEquals(logins.ticketed(first), good);
  await clock.advance(TICKET_MS);
  assertEquals(logins.ticketed(first), undefined);
});
