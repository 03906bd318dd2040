/** Kubernetes' functions on URLs, which are read as Go's net/url reads a request's. */
import { goQuote } from "../go_format.ts";
import { define, method } from "./registry.ts";
import { work } from "./lane.ts";
import { CelError, Opaque, type Value } from "./values.ts";

interface Url {
  scheme: string;
  /** With its port. */
  host: string;
  path: string;
  query: string;
}

/** Why a text is no URL. */
class UrlProblem extends Error {}

const ESCAPE = /%(?![0-9a-fA-F]{2})/;

function unescaped(text: string, plus = false): string {
  const bad = ESCAPE.exec(text);
  if (bad) {
    throw new UrlProblem(`invalid URL escape ${goQuote(text.slice(bad.index, bad.index + 3))}`);
  }
  const spaced = plus ? text.replaceAll("+", " ") : text;
  if (!spaced.includes("%")) return spaced;
  const bytes: number[] = [];
  for (const part of spaced.split(/(%[0-9a-fA-F]{2})/)) {
    if (part[0] === "%") bytes.push(parseInt(part.slice(1), 16));
    else bytes.push(...new TextEncoder().encode(part));
  }
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

function schemeOf(text: string): [string, string] {
  const found = /^([a-zA-Z][a-zA-Z0-9+.-]*):/.exec(text);
  if (found) return [found[1].toLowerCase(), text.slice(found[0].length)];
  if (text[0] === ":") throw new UrlProblem("missing protocol scheme");
  return ["", text];
}

function hostOf(authority: string): string {
  const host = authority.slice(authority.lastIndexOf("@") + 1);
  const port = (text: string) => {
    if (text !== "" && !/^:\d*$/.test(text)) {
      throw new UrlProblem(`invalid port ${goQuote(text)} after host`);
    }
  };
  if (host[0] === "[") {
    const end = host.lastIndexOf("]");
    if (end < 0) throw new UrlProblem("missing ']' in host");
    port(host.slice(end + 1));
    return host;
  }
  const colon = host.lastIndexOf(":");
  if (colon >= 0) port(host.slice(colon));
  const bad = /[^A-Za-z0-9\-._~!$&'()*+,;=:[\]<>"%\u0080-\uffff]/.exec(host);
  if (bad) throw new UrlProblem(`invalid character ${goQuote(bad[0])} in host name`);
  return unescaped(host);
}

function parse(text: string): Url {
  // deno-lint-ignore no-control-regex -- they are what is refused
  if (/[\x00-\x1f\x7f]/.test(text)) {
    throw new UrlProblem("net/url: invalid control character in URL");
  }
  work(100 + text.length);
  if (text === "") throw new UrlProblem("empty url");
  const [scheme, rest] = schemeOf(text);
  const mark = rest.indexOf("?");
  const query = mark < 0 ? "" : rest.slice(mark + 1);
  let path = mark < 0 ? rest : rest.slice(0, mark);
  if (path[0] !== "/") {
    if (scheme) return { scheme, host: "", path: "", query };
    throw new UrlProblem("invalid URI for request");
  }
  let host = "";
  if (path.startsWith("//") && !(scheme === "" && path.startsWith("///"))) {
    const end = path.indexOf("/", 2);
    host = hostOf(end < 0 ? path.slice(2) : path.slice(2, end));
    path = end < 0 ? "" : path.slice(end);
  }
  unescaped(path);
  return { scheme, host, path, query };
}

/** Why a text is no URL, as Go says it; undefined when it is one. */
export function urlProblem(text: string): string | undefined {
  try {
    parse(text);
    return undefined;
  } catch (error) {
    if (error instanceof UrlProblem) return `parse ${goQuote(text)}: ${error.message}`;
    throw error;
  }
}

function escapedPath(path: string): string {
  return path.replace(/[^A-Za-z0-9\-_.~!$&'()*+,;=:@/[\]%]/gu, (c) => encodeURIComponent(c));
}

function queryOf(query: string): Map<Value, Value> {
  const found = new Map<Value, Value[]>();
  for (const pair of query.split("&")) {
    if (pair === "" || pair.includes(";") || ESCAPE.test(pair)) continue;
    const equals = pair.indexOf("=");
    const name = unescaped(equals < 0 ? pair : pair.slice(0, equals), true);
    const value = equals < 0 ? "" : unescaped(pair.slice(equals + 1), true);
    const list = found.get(name);
    if (list) list.push(value);
    else found.set(name, [value]);
  }
  return found;
}

/** Defines everything here. */
export function defineUrls(): void {
  define("isURL", ["string"], "bool", (text: string) => urlProblem(text) === undefined);
  define("url", ["string"], "url", (text: string) => {
    const problem = urlProblem(text);
    if (problem) throw new CelError(`URL parse error during conversion from string: ${problem}`);
    return new Opaque("kubernetes.URL", parse(text), text);
  });
  const part = (name: string, run: (url: Url) => Value, type = "string") =>
    method("url", name, [], type, (url: Opaque) => run(url.value as Url));
  part("getScheme", ({ scheme }) => scheme);
  part("getHost", ({ host }) => host);
  part("getHostname", ({ host }) => host.replace(/:\d*$/, "").replace(/^\[|\]$/g, ""));
  part("getPort", ({ host }) => /:(\d*)$/.exec(host)?.[1] ?? "");
  part("getEscapedPath", ({ path }) => escapedPath(path));
  part("getQuery", ({ query }) => queryOf(query), "map<string,list<string>>");
}
