import { assertEquals, assertRejects } from "@std/assert";
import { type FakeAnswer, fakeOutbound } from "../client/outbound_fixture.ts";
import { TokenError } from "./jwt.ts";
import { createAuth, createTokenKey } from "./mod.ts";
import { State, stillClock } from "./state_fixture.ts";

const key = createTokenKey();
const OWN = "https://kubernetes.default.svc.cluster.local";

function setup(
  answer: (spec: Record<string, unknown>) => FakeAnswer | Promise<FakeAnswer>,
  { version = "v1" as "v1" | "v1beta1", cacheMs = 120_000 } = {},
) {
  const { clock, set } = stillClock();
  const outbound = fakeOutbound(({ body }) => answer(body.spec));
  const state = new State();
  const auth = createAuth({
    view: () => state.view(),
    clock,
    tokenKeys: [key],
    tokens: new Map([["fixed", { name: "fixed", groups: [] }]]),
    outbound: () => outbound,
    authentication: {
      webhook: { endpoint: { url: "https://authn.example/" }, version, cacheMs },
    },
  });
  const why = async (token: string, audiences?: string[]) =>
    (await assertRejects(async () => await auth.tokens.authenticate(token, audiences), TokenError))
      .message;
  return { auth, outbound, clock, set, why };
}

const review = (status: Record<string, unknown>, version = "v1"): FakeAnswer => ({
  json: { apiVersion: `authentication.k8s.io/${version}`, kind: "TokenReview", status },
});

Deno.test("TokenWebhook asks for tokens that nobody here knows", async (t) => {
  for (const version of ["v1", "v1beta1"] as const) {
    await t.step(version, async () => {
      const user = {
        username: "dave",
        uid: "7",
        groups: ["ops"],
        extra: { "example.com/a": ["1", "2"] },
      };
      const { auth, outbound } = setup(() => review({ authenticated: true, user }, version), {
        version,
      });
      assertEquals((await auth.tokens.authenticate("secret")).user, {
        name: "dave",
        uid: "7",
        groups: ["ops", "system:authenticated"],
        extra: { "example.com/a": ["1", "2"] },
      });
      assertEquals(outbound.calls[0].body, {
        kind: "TokenReview",
        apiVersion: `authentication.k8s.io/${version}`,
        metadata: {},
        spec: { token: "secret", audiences: [OWN] },
        status: { user: {} },
      });
      assertEquals((await auth.tokens.authenticate("fixed")).user.name, "fixed");
      assertEquals(outbound.calls.length, 1, "who is known here is not asked about");
    });
  }
});

Deno.test("TokenWebhook heeds audiences", async () => {
  const { auth, why } = setup(({ token }) =>
    review({
      authenticated: true,
      user: { username: "dave" },
      ...(token === "for vault" ? { audiences: ["vault"] } : {}),
    })
  );
  assertEquals((await auth.tokens.authenticate("for vault", ["vault", "x"])).audiences, ["vault"]);
  assertEquals(await why("for vault"), "invalid bearer token");
  assertEquals(await why("unaware", ["vault"]), "invalid bearer token");
  assertEquals((await auth.tokens.authenticate("unaware")).audiences, [OWN]);
  assertEquals(await why("fixed", ["vault"]).then((s) => s.length > 0), true);
});

Deno.test("TokenWebhook remembers who is who for a while, refusals too, and failures never", async () => {
  let status: Record<string, unknown> = { authenticated: false };
  let broken = false;
  const { auth, outbound, clock, set, why } = setup(() =>
    broken ? { status: 503 } : review(status)
  );
  assertEquals(await why("t"), "invalid bearer token");
  status = { authenticated: true, user: { username: "dave" } };
  assertEquals(await why("t"), "invalid bearer token");
  assertEquals(outbound.calls.length, 1);
  set(clock.now() + 120_000);
  assertEquals((await auth.tokens.authenticate("t")).user.name, "dave");
  await Promise.all([auth.tokens.authenticate("u"), auth.tokens.authenticate("u")]);
  assertEquals(outbound.calls.length, 3, "equal questions are asked once");
  broken = true;
  assertEquals(await why("v"), "the server is currently unable to handle the request");
  broken = false;
  assertEquals((await auth.tokens.authenticate("v")).user.name, "dave");
  status = { authenticated: false, error: "revoked" };
  assertEquals(await why("w"), "revoked");
});
