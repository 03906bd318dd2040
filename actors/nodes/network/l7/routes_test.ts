import { assertEquals } from "@std/assert";
import type { KubeObject } from "../../../../api/machinery/types.ts";
import { ingressCertificates, ingressRoutes, isOurs, ownClasses } from "./ingress_routes.ts";
import {
  backendOf,
  changedUrl,
  hostMatch,
  inOrder,
  pathMatches,
  redirectTo,
  routeOf,
} from "./routes.ts";

const backend = (name: string) => ({ service: { name, port: { number: 80 } } });

function ingress(spec: object, name = "web"): KubeObject {
  return { metadata: { name, namespace: "default" }, spec } as unknown as KubeObject;
}

const rule = (host: string | undefined, paths: [path: string, type: string, to: string][]) => ({
  host,
  http: { paths: paths.map(([path, pathType, to]) => ({ path, pathType, backend: backend(to) })) },
});

const routes = inOrder([
  ...ingressRoutes(ingress({
    defaultBackend: backend("default"),
    rules: [
      rule("a.test", [["/", "Prefix", "root"], ["/foo", "Prefix", "foo"], [
        "/foo",
        "Exact",
        "exact",
      ], [
        "/foo/bar/",
        "Prefix",
        "bar",
      ], ["/impl", "ImplementationSpecific", "impl"]]),
      rule("*.b.test", [["/", "Prefix", "wild"]]),
      rule("x.b.test", [["/only", "Prefix", "named"]]),
      rule(undefined, [["/anywhere", "Prefix", "anywhere"]]),
    ],
  })),
]);

Deno.test("routeOf() takes the closest host and the longest path, as Ingress says", () => {
  const cases: [url: string, service: string][] = [
    ["a.test/", "root"],
    ["A.TEST:8080/x", "root"],
    ["a.test/foo", "exact"],
    ["a.test/foo/", "foo"],
    ["a.test/foo?x=/foo/bar", "exact"],
    ["a.test/foobar", "root"],
    ["a.test/foo/bar", "bar"],
    ["a.test/foo/bar/baz", "bar"],
    ["a.test/impl/x", "impl"],
    ["y.b.test/", "wild"],
    ["z.y.b.test/", "default"],
    ["b.test/", "default"],
    ["x.b.test/only", "named"],
    ["x.b.test/else", "wild"],
    ["c.test/anywhere/x", "anywhere"],
    ["c.test/", "default"],
  ];
  for (const [text, service] of cases) {
    const at = text.indexOf("/");
    const request = { host: text.slice(0, at), url: text.slice(at), method: "GET", headers: {} };
    assertEquals(routeOf(routes, request)?.backends[0].service, `default/${service}`, text);
  }
});

Deno.test("routeOf() looks at method, headers and query, and who asks for more goes first", () => {
  const base = {
    source: "r",
    host: { type: "Any" as const },
    path: { type: "Prefix" as const, value: "/" },
    created: "",
  };
  const to = (service: string) => [{ service, port: 80, weight: 1 }];
  const exact = (name: string, value: string) => ({ name, value, type: "Exact" as const });
  const some = inOrder([
    { ...base, backends: to("any") },
    { ...base, method: "POST", backends: to("post") },
    { ...base, headers: [exact("Version", "2")], backends: to("two") },
    {
      ...base,
      headers: [exact("version", "2"), { name: "env", value: "c.*", type: "RegularExpression" }],
      backends: to("canary"),
    },
    { ...base, query: [exact("q", "1")], backends: to("query") },
    {
      ...base,
      headers: [{ name: "x", value: "(", type: "RegularExpression" }],
      backends: to("broken"),
    },
  ]);
  const ask = (url: string, method: string, headers: Record<string, string>) =>
    routeOf(some, { host: "h", url, method, headers })?.backends[0].service;
  assertEquals(ask("/", "GET", {}), "any");
  assertEquals(ask("/", "POST", { version: "2" }), "post");
  assertEquals(ask("/", "GET", { version: "2" }), "two");
  assertEquals(ask("/", "GET", { version: "2", env: "canary" }), "canary");
  assertEquals(ask("/?q=1", "GET", {}), "query");
  assertEquals(ask("/", "GET", { x: "(" }), "any");
});

Deno.test("paths are matched and changed by whole elements", () => {
  const prefix = (value: string) => ({ type: "Prefix" as const, value });
  assertEquals(pathMatches(prefix("/"), "/x"), true);
  assertEquals(pathMatches({ type: "RegularExpression", value: "/a/\\d+" }, "/a/12"), true);
  assertEquals(pathMatches({ type: "RegularExpression", value: "/a/\\d+" }, "/a/12/x"), false);
  const replaced = (url: string, from: string, value: string) =>
    changedUrl(url, { type: "ReplacePrefixMatch", value }, prefix(from));
  assertEquals(replaced("/foo/bar?q", "/foo", "/xyz"), "/xyz/bar?q");
  assertEquals(replaced("/foo/bar", "/foo/", "/xyz/"), "/xyz/bar");
  assertEquals(replaced("/foo", "/foo", "/"), "/");
  assertEquals(replaced("/foo/", "/foo", "/"), "/");
  assertEquals(replaced("/foo/bar", "/foo", "/"), "/bar");
  assertEquals(replaced("/bar", "/", "/x"), "/x/bar");
  assertEquals(changedUrl("/a?b", { type: "ReplaceFullPath", value: "/c" }, prefix("/")), "/c?b");
});

Deno.test("redirectTo() keeps what a redirect does not name", () => {
  const request = { scheme: "http", host: "a.test:8080", port: 8080, url: "/x?y" };
  const to = (filter: object) =>
    redirectTo({ type: "Redirect", statusCode: 302, ...filter }, request, {
      type: "Prefix",
      value: "/",
    });
  assertEquals(to({}), "http://a.test:8080/x?y");
  assertEquals(to({ scheme: "https" }), "https://a.test/x?y");
  assertEquals(to({ hostname: "b.test", port: 80 }), "http://b.test/x?y");
  assertEquals(
    to({ scheme: "https", port: 8443, path: { type: "ReplaceFullPath", value: "/z" } }),
    "https://a.test:8443/z?y",
  );
});

Deno.test("backendOf() follows the weights", () => {
  const some = [{ port: 1, weight: 3 }, { port: 2, weight: 0 }, { port: 3, weight: 1 }];
  assertEquals([0, 0.74, 0.75, 0.99].map((chance) => backendOf(some, chance)?.port), [1, 1, 3, 3]);
  assertEquals(backendOf([{ port: 1, weight: 0 }], 0.5), undefined);
});

Deno.test("Ingresses are ours by their class, and name their certificates", () => {
  const classes = ownClasses([
    { metadata: { name: "mine" }, spec: { controller: "plesio.dev/ingress" } },
    { metadata: { name: "other" }, spec: { controller: "k8s.io/ingress-nginx" } },
  ] as unknown as KubeObject[]);
  assertEquals(isOurs(ingress({ ingressClassName: "mine" }), classes), true);
  assertEquals(isOurs(ingress({ ingressClassName: "other" }), classes), false);
  assertEquals(isOurs(ingress({}), classes), false);
  assertEquals(
    ingressCertificates(
      ingress({
        tls: [{ hosts: ["*.a.test"], secretName: "s" }, { secretName: "d" }, { hosts: ["x"] }],
      }),
    ),
    [
      { host: hostMatch("*.a.test", "one"), secret: "default/s" },
      { host: { type: "Any" }, secret: "default/d" },
    ],
  );
});
