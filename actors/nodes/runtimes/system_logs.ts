/**
 * `/logs/` of a kubelet: the machine's log folder, to be walked and read by those who may proxy to the node. What lies
 * outside the folder is not there, whatever a path or a symbolic link says: pods that mount the folder may write links.
 * Every file is plain text, so that no log is a page that runs in the reader's browser.
 */
import { basename } from "node:path";
import { holdIn } from "./host.ts";

/** Answers what lies at a path below `/logs/`; a folder's path is empty or ends with a slash. */
export type SystemLogs = (path: string) => Promise<Response>;

/** Those of a machine. */
export function systemLogs(folder: string): SystemLogs {
  return async (path) => {
    try {
      return await entryOf(folder, decodeURIComponent(path));
    } catch (error) {
      if (error instanceof Deno.errors.PermissionDenied) return plainText("403 Forbidden\n", 403);
      const absent = error instanceof Deno.errors.NotFound || error instanceof URIError ||
        error instanceof Deno.errors.NotADirectory || error instanceof Deno.errors.FilesystemLoop;
      if (absent) return nothing();
      throw error;
    }
  };
}

/** Those of a node that is no machine: an empty folder. */
export const noSystemLogs: SystemLogs = (path) =>
  Promise.resolve(path === "" ? pageOf([]) : nothing());

async function entryOf(folder: string, path: string): Promise<Response> {
  if (path.includes("\0")) return nothing();
  await using held = await holdIn(folder, path.replace(/\/+$/, ""));
  if (!held) return nothing();
  const { isDirectory, isFile } = await Deno.stat(held.path);
  // A pipe would keep its reader waiting
  if (!isDirectory && !isFile) return nothing();
  const asFolder = path === "" || path.endsWith("/");
  if (isDirectory !== asFolder) {
    const name = encodeURIComponent(basename(path));
    const location = isDirectory ? `${name}/` : `../${name}`;
    return new Response(null, { status: 301, headers: { location } });
  }
  if (isFile) return plainText((await Deno.open(held.path)).readable);
  const names: string[] = [];
  for await (const entry of Deno.readDir(held.path)) {
    names.push(entry.isDirectory ? `${entry.name}/` : entry.name);
  }
  return pageOf(names.sort());
}

/** A folder as Go's file server shows one: a line with a link for each name. */
function pageOf(names: readonly string[]): Response {
  const lines = names.map((name) => `<a href="${linkOf(name)}">${escaped(name)}</a>\n`);
  const page = `<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n${
    lines.join("")
  }</pre>\n`;
  return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
}

/** A colon in a name would make its beginning a scheme. */
const linkOf = (name: string): string => name.split("/").map(encodeURIComponent).join("/");

const ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&#34;",
  "'": "&#39;",
};
const escaped = (text: string): string => text.replace(/[&<>"']/g, (sign) => ENTITIES[sign]);

function plainText(body: BodyInit, status = 200): Response {
  const headers = {
    "content-type": "text/plain; charset=utf-8",
    "x-content-type-options": "nosniff",
  };
  return new Response(body, { status, headers });
}

const nothing = () => plainText("404 page not found\n", 404);
