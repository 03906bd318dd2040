/**
 * What the pages behind a proxy say of themselves: links of HTML, and where redirects lead, begin at the pod's own root.
 * They are moved below the proxy's path, so that a browser that follows one stays behind the proxy. The rules are
 * upstream's (apimachinery/pkg/util/proxy/transport.go): only what begins with a slash and names no other host moves.
 */
import type { Buffer } from "node:buffer";

/** How a page was reached. */
export interface Proxied {
  /** The proxy's path: everything of the request's path before what the pod was asked. */
  prefix: string;
  /** The pod's own authority. */
  host: string;
  /** Whom the client believes it talks to: its Host header. */
  asked: string;
}

/** The attributes that hold a URL, by tag. */
const LINKS: Readonly<Record<string, readonly string[]>> = {
  a: ["href"],
  applet: ["codebase"],
  area: ["href"],
  audio: ["src"],
  base: ["href"],
  blockquote: ["cite"],
  body: ["background"],
  button: ["formaction"],
  command: ["icon"],
  del: ["cite"],
  embed: ["src"],
  form: ["action"],
  frame: ["longdesc", "src"],
  head: ["profile"],
  html: ["manifest"],
  iframe: ["longdesc", "src"],
  img: ["longdesc", "src", "usemap"],
  input: ["src", "usemap", "formaction"],
  ins: ["cite"],
  link: ["href"],
  object: ["classid", "codebase", "data", "usemap"],
  q: ["cite"],
  script: ["src"],
  source: ["src"],
  video: ["poster", "src"],
};

const URL_PARTS = /^(?:[a-z][a-z0-9+.-]*:)?(?:\/\/([^/?#]*))?(\/[^?#]*)(.*)$/is;

/** A URL as it reads on this side of the proxy. */
export function moved(url: string, { prefix, host, asked }: Proxied): string {
  const [, authority = "", path, rest] = URL_PARTS.exec(url) ?? [];
  if (path === undefined || path.startsWith(prefix)) return url;
  if (authority && authority !== host && authority !== asked) return url;
  const front = authority === asked ? url.slice(0, url.length - path.length - rest.length) : "";
  return `${front}${prefix}${path}${rest}`;
}

/** Whether an answer is a page whose links can be moved: HTML, packed in a way we know. */
export function isPage(headers: Readonly<Record<string, string | readonly string[]>>): boolean {
  const type = String(headers["content-type"] ?? "").split(";")[0].trim();
  const packed = headers["content-encoding"] ?? "";
  return type === "text/html" && (packed === "" || packed === "gzip" || packed === "deflate");
}

/** A page with its links moved, unpacked. */
export async function* movedPage(
  pieces: AsyncIterable<Uint8Array>,
  encoding: string,
  proxied: Proxied,
): AsyncGenerator<Uint8Array> {
  const { RewritingStream } = await import("parse5-html-rewriting-stream");
  const { Readable } = await import("node:stream");
  const rewriter = new RewritingStream();
  rewriter.on("startTag", (tag, raw) => {
    const names = LINKS[tag.tagName];
    let changed = false;
    for (const attribute of tag.attrs) {
      if (!names?.includes(attribute.name)) continue;
      const value = moved(attribute.value, proxied);
      changed ||= value !== attribute.value;
      attribute.value = value;
    }
    if (changed) rewriter.emitStartTag(tag);
    else rewriter.emitRaw(raw);
  });
  const source = Readable.from(await unpacked(pieces, encoding), { objectMode: false });
  source.setEncoding("utf8");
  source.on("error", (error: Error) => rewriter.destroy(error));
  const encoder = new TextEncoder();
  try {
    for await (const text of source.pipe(rewriter) as AsyncIterable<string | Buffer>) {
      yield typeof text === "string" ? encoder.encode(text) : text;
    }
  } finally {
    source.destroy();
  }
}

async function unpacked(
  pieces: AsyncIterable<Uint8Array>,
  encoding: string,
): Promise<AsyncIterable<Uint8Array>> {
  if (!encoding) return pieces;
  const { createGunzip, createInflate } = await import("node:zlib");
  const { Readable } = await import("node:stream");
  const source = Readable.from(pieces, { objectMode: false });
  const opened = encoding === "gzip" ? createGunzip() : createInflate();
  source.on("error", (error: Error) => opened.destroy(error));
  return source.pipe(opened) as AsyncIterable<Uint8Array>;
}
