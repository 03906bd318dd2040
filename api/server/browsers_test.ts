import { assertEquals } from "@std/assert";
import { RealClock } from "../../kv/mod.ts";
import { createAuthority, fromPem, issueClient } from "../auth/pki.ts";
import { ADMIN_TOKEN, openApi } from "./fixture_test.ts";

const CONFIG_MAPS = "http://x/api/v1/namespaces/default/configmaps";

async function certificate() {
  const clock = new RealClock();
  const subject = { commonName: "admin", organizations: ["system:masters"] };
  const issued = await issueClient(await createAuthority(clock), clock, subject);
  return { subject, raw: fromPem(issued.certificatePem) };
}

Deno.test("a certificate that a browser adds by itself does not count for pages of others", async () => {
  await using f = await openApi();
  const shown = { certificate: await certificate() };
  const crossSite = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors" };
  const cases: [string, Record<string, string>, number][] = [
    ["no browser", {}, 200],
    ["a client that names an origin, as Go's WebSockets do", { origin: "http://localhost" }, 200],
    ["our own page", { origin: "http://x", "sec-fetch-site": "same-origin" }, 200],
    ["an address that was typed", { "sec-fetch-site": "none", "sec-fetch-mode": "navigate" }, 200],
    ["a link to here", { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" }, 200],
    ["a page without an origin", { origin: "null" }, 401],
    ["a page without an origin that says more", { ...crossSite, origin: "null" }, 401],
    ["another site", { ...crossSite, origin: "https://evil.example" }, 401],
    ["another port", { origin: "http://x:1", "sec-fetch-site": "same-site" }, 401],
    ["a token says that it is meant", {
      ...crossSite,
      origin: "null",
      authorization: `Bearer ${ADMIN_TOKEN}`,
    }, 200],
  ];
  for (const [name, headers, status] of cases) {
    const answer = await f.api.fetch(new Request(CONFIG_MAPS, { headers }), shown);
    await answer.body?.cancel();
    assertEquals([name, answer.status], [name, status]);
  }
});

Deno.test("pages that may use the API by --cors-allowed-origins may show a certificate", async () => {
  await using f = await openApi({ front: { browsers: { corsOrigins: [/^https:\/\/friend$/] } } });
  const shown = { certificate: await certificate() };
  const statusFor = async (origin: string) => {
    const headers = { origin, "sec-fetch-site": "cross-site" };
    const answer = await f.api.fetch(new Request(CONFIG_MAPS, { headers }), shown);
    await answer.body?.cancel();
    return answer.status;
  };
  assertEquals(await statusFor("https://friend"), 200);
  assertEquals(await statusFor("https://foe"), 401);
});
