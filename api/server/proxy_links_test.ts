import { assertEquals } from "@std/assert";
import { gzipSync } from "node:zlib";
import { isPage, moved, movedPage } from "./proxy_links.ts";

const proxied = {
  prefix: "/api/v1/namespaces/n/pods/p/proxy",
  host: "10.0.0.1:80",
  asked: "kubernetes:6443",
};
const P = proxied.prefix;

Deno.test("moved() puts what begins at the pod's root below the proxy", () => {
  const cases: [string, string][] = [
    ["/a/b?c#d", `${P}/a/b?c#d`],
    ["/", `${P}/`],
    ["http://10.0.0.1:80/a", `${P}/a`],
    ["https://kubernetes:6443/a", `https://kubernetes:6443${P}/a`],
    [`${P}/a`, `${P}/a`],
    ["a/b", "a/b"],
    ["#here", "#here"],
    ["", ""],
    ["mailto:a@b", "mailto:a@b"],
    ["http://elsewhere/a", "http://elsewhere/a"],
    ["//elsewhere/a", "//elsewhere/a"],
  ];
  for (const [url, want] of cases) assertEquals(moved(url, proxied), want, url);
});

async function page(html: string, encoding = "", size = 7): Promise<string> {
  const plain = new TextEncoder().encode(html);
  const bytes = encoding === "gzip" ? gzipSync(plain) : plain;
  const pieces = (async function* () {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  })();
  let text = "";
  const decoder = new TextDecoder();
  for await (const piece of movedPage(pieces, encoding, proxied)) {
    text += decoder.decode(piece, { stream: true });
  }
  return text;
}

Deno.test("movedPage() moves links and leaves the rest of a page as it was, however it comes", async () => {
  const html =
    `<!DOCTYPE html>\n<p class=x>안녕 <A HREF="/a">a</A> <img src=b.png alt="/c"><script>x("/d")</script>`;
  const want =
    `<!DOCTYPE html>\n<p class=x>안녕 <a href="${P}/a">a</A> <img src=b.png alt="/c"><script>x("/d")</script>`;
  assertEquals(await page(html), want);
  assertEquals(await page(html, "gzip", 5), want);
  assertEquals(await page(""), "");
});

Deno.test("isPage() knows HTML that it can unpack", () => {
  assertEquals(isPage({ "content-type": "text/html; charset=utf-8" }), true);
  assertEquals(isPage({ "content-type": "text/html", "content-encoding": "gzip" }), true);
  assertEquals(isPage({ "content-type": "text/html", "content-encoding": "br" }), false);
  assertEquals(isPage({ "content-type": "application/json" }), false);
});
