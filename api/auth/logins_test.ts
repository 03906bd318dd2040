import { assert, assertEquals, assertThrows } from "@std/assert";
import { ManualClock } from "../../kv/clock.ts";
import { limits } from "../../kv/mod.ts";
import { TokenError, TokenKeys } from "./jwt.ts";
import {
  LOGIN_CODE_MS,
  LOGIN_CODES_MAX,
  LOGIN_TOKEN_MS,
  LOGIN_TOKENS_MAX,
  LOGINS,
  Logins,
  LOGINS_BYTES_MAX,
  TICKET_MS,
} from "./logins.ts";
import { settingsInMemory } from "./material.ts";
import { createTokenKey } from "./pki.ts";
import { State } from "./state_fixture.ts";
import { Tokens } from "./tokens.ts";

const START = Date.parse("2026-01-01T00:00:00Z");
const carol = { name: "carol", groups: ["ops"] };

/** Processes over one database, by one clock. */
function setup() {
  const state = new State();
  const clock = new ManualClock({ seed: 1, startMs: START });
  const settings = settingsInMemory();
  const process = () => {
    const keys = new TokenKeys([createTokenKey()]);
    const tokens = new Tokens({ view: () => state.view(), clock, keys });
    const whose = (token: string) => {
      const found = tokens.authenticate(token);
      assert(!(found instanceof Promise));
      return found.user.name;
    };
    return { tokens, logins: new Logins(clock, tokens, settings), whose };
  };
  const kept = async () => new TextDecoder().decode(await settings.get(LOGINS));
  return { clock, process, kept, ...process() };
}

Deno.test("Logins.exchange() gives a token of the code's maker, once", async () => {
  const { logins, whose } = setup();
  const code = await logins.code(carol);
  const given = (await logins.exchange(code))!;
  assertEquals(whose(given.token), "carol");
  assertEquals(given.expires, START + LOGIN_TOKEN_MS);
  assertEquals(await logins.exchange(code), undefined);
  assertEquals(await logins.exchange(""), undefined);
});

Deno.test("Logins.exchange() gives nothing when the code is too old", async () => {
  const { logins, clock } = setup();
  const late = await logins.code(carol);
  await clock.advance(LOGIN_CODE_MS);
  assertEquals(await logins.exchange(late), undefined);
});

Deno.test("A code is good once over all processes that share a database, a token at each, and after a restart", async () => {
  const { logins, process, whose, tokens } = setup();
  const others = [process(), process()];
  const code = await logins.code(carol);
  const all = [logins, ...others.map((one) => one.logins)];
  const given = (await Promise.all(all.map((one) => one.exchange(code)))).filter(Boolean);
  assertEquals(given.length, 1);
  const { token } = given[0]!;
  const later = process();
  await Promise.all([...all, later.logins].map((one) => one.load()));
  for (const one of [...others, later]) assertEquals(one.whose(token), "carol");
  assertEquals(whose(token), "carol");
  // Ended at one, it is over at all
  await later.logins.end(token);
  await logins.load();
  assertThrows(() => tokens.authenticate(token), TokenError);
});

Deno.test("Logins keeps neither codes nor tokens, but their digests", async () => {
  const { logins, kept } = setup();
  const [used, left] = [await logins.code(carol), await logins.code(carol)];
  const { token } = (await logins.exchange(used))!;
  const text = await kept();
  assert(text.includes("carol"));
  for (const secret of [used, left, token]) assert(!text.includes(secret));
});

Deno.test("Who guesses codes makes nobody write", async () => {
  const { logins, kept } = setup();
  await logins.exchange("guess");
  assertEquals(await kept(), "");
  await logins.code(carol);
  const before = await kept();
  await logins.exchange("guess");
  assertEquals(await kept(), before);
});

Deno.test("Logins forgets the oldest codes and tokens when there are too many, and what is over", async () => {
  const { logins, clock, whose, tokens, kept } = setup();
  const codes: string[] = [];
  for (let i = 0; i <= LOGIN_CODES_MAX; i++) codes.push(await logins.code(carol));
  assertEquals(await logins.exchange(codes[0]), undefined);
  const first = (await logins.exchange(codes[1]))!.token;
  for (let i = 0; i < LOGIN_TOKENS_MAX - 1; i++) await logins.exchange(await logins.code(carol));
  assertEquals(whose(first), "carol");
  await logins.exchange(await logins.code(carol));
  assertThrows(() => tokens.authenticate(first), TokenError);
  await clock.advance(LOGIN_TOKEN_MS);
  await logins.code(carol);
  const { codes: left, tokens: good } = JSON.parse(await kept());
  assertEquals([left.length, good.length], [1, 0]);
});

Deno.test("Logins of users in many groups are fewer, and fit into a setting", async () => {
  const { logins, whose, tokens, kept } = setup();
  assert(LOGINS_BYTES_MAX <= limits.SETTING_BYTES_MAX);
  const groups = Array.from({ length: 600 }, (_, i) => `group-${i}-é`);
  const given: string[] = [];
  for (let i = 0; i < 10; i++) {
    given.push((await logins.exchange(await logins.code({ name: `u${i}`, groups })))!.token);
    assert(new TextEncoder().encode(await kept()).length <= LOGINS_BYTES_MAX);
  }
  assertEquals(whose(given.at(-1)!), "u9");
  assertThrows(() => tokens.authenticate(given[0]), TokenError);
});

Deno.test("A token given for a code ends with its time, or when it is ended", async () => {
  const { logins, clock, whose, tokens } = setup();
  const kept = (await logins.exchange(await logins.code(carol)))!.token;
  const left = (await logins.exchange(await logins.code(carol)))!.token;
  assertEquals(whose(left), "carol");
  await logins.end(left);
  assertThrows(() => tokens.authenticate(left), TokenError);
  await clock.advance(LOGIN_TOKEN_MS - 1);
  assertEquals(whose(kept), "carol");
  await clock.advance(1);
  assertThrows(() => tokens.authenticate(kept), TokenError);
});

Deno.test("Logins.end() leaves tokens alone that it did not give", async () => {
  const { logins, tokens, whose } = setup();
  tokens.addStatic("fixed", carol);
  await logins.end("fixed");
  assertEquals(whose("fixed"), "carol");
});

Deno.test("Logins.ticket() is good for a while, at every process, and for what it was made; nobody makes one up", async () => {
  const { clock, logins, process, kept } = setup();
  const good = { place: "/api/v1/namespaces/default/pods/web/proxy", token: "t" };
  const other = process().logins;
  assertEquals(other.ticketed("A".repeat(80)), undefined);
  await logins.exchange(await logins.code(carol));
  await other.load();
  const ticket = await logins.ticket(good);
  assertEquals(logins.ticketed(ticket), good);
  // It has read nothing since: the key came with the first code
  assertEquals(other.ticketed(ticket), good);
  assertEquals(logins.ticketed(await other.ticket({ ...good, token: "u" }))?.token, "u");
  for (let at = 0; at < ticket.length; at++) {
    const changed = ticket.slice(0, at) + (ticket[at] === "A" ? "B" : "A") + ticket.slice(at + 1);
    assertEquals(logins.ticketed(changed), undefined);
  }
  for (const guess of ["", "guess", ticket.slice(2), `${ticket}x`]) {
    assertEquals(logins.ticketed(guess), undefined);
  }
  assert(!(await kept()).includes("proxy"));
  await clock.advance(TICKET_MS);
  assertEquals(logins.ticketed(ticket), undefined);
  // Where nobody has logged in by a code, the first ticket makes the key
  const fixed = setup();
  assertEquals(fixed.logins.ticketed(await fixed.logins.ticket(good)), good);
});
