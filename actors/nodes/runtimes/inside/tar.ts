/**
 * `tar`, as far as `kubectl cp` needs it: create from paths to standard output or a file, extract from
 * standard input or a file, ustar with GNU long names; folders, files and symbolic links.
 */
import type { Streams } from "./commands.ts";

const BLOCK = 512;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

interface Options {
  mode: "c" | "x" | "t";
  file: string;
  folder: string;
  verbose: boolean;
  paths: string[];
}

/** The command. */
export async function tar(args: string[], io: Streams): Promise<number> {
  const options = parse(args);
  if (!options) {
    io.err("tar: use one of c, x, t, with f FILE and C FOLDER\n");
    return 2;
  }
  try {
    if (options.mode === "c") {
      if (options.file === "-") create(options, io, (bytes) => io.out(bytes));
      else {
        const file = Deno.openSync(options.file, { write: true, create: true, truncate: true });
        create(options, io, (bytes) => void file.writeSync(bytes));
        file.close();
      }
    } else {
      const archive = options.file === "-" ? await io.input() : Deno.readFileSync(options.file);
      extract(archive, options, io);
    }
    return 0;
  } catch (error) {
    io.err(`tar: ${(error as Error).message}\n`);
    return 2;
  }
}

function parse(args: string[]): Options | undefined {
  let mode: Options["mode"] | undefined, file = "-", folder = ".", verbose = false;
  const paths: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const word = args[i];
    if (word.startsWith("--")) continue; // owners and permissions are kept simple anyway
    if (i > 0 && !word.startsWith("-")) {
      paths.push(word);
      continue;
    }
    for (const letter of word.replace(/^-/, "")) {
      if (letter === "c" || letter === "x" || letter === "t") mode = letter;
      else if (letter === "f") file = args[++i] ?? "-";
      else if (letter === "C") folder = args[++i] ?? ".";
      else if (letter === "v") verbose = true;
      else if (letter === "z" || letter === "j") return undefined;
    }
  }
  return mode && { mode, file, folder, verbose, paths };
}

// --- create -------------------------------------------------------------------------------------------

function create(options: Options, io: Streams, write: (bytes: Uint8Array) => void): void {
  const add = (path: string) => {
    const full = path.startsWith("/") ? path : `${options.folder}/${path}`;
    const info = Deno.lstatSync(full);
    const name = path.replace(/^\/+/, "");
    if (options.verbose) io.err(`${name}\n`);
    if (info.isDirectory) {
      write(header(name.endsWith("/") ? name : `${name}/`, info, "5", 0));
      for (const entry of Deno.readDirSync(full)) add(`${path.replace(/\/$/, "")}/${entry.name}`);
    } else if (info.isSymlink) {
      write(header(name, info, "2", 0, Deno.readLinkSync(full)));
    } else if (info.isFile) {
      const content = Deno.readFileSync(full);
      write(header(name, info, "0", content.length));
      write(content);
      const rest = content.length % BLOCK;
      if (rest) write(new Uint8Array(BLOCK - rest));
    }
  };
  for (const path of options.paths) add(path);
  write(new Uint8Array(BLOCK * 2));
}

function header(
  name: string,
  info: Deno.FileInfo,
  type: string,
  size: number,
  link = "",
): Uint8Array {
  const bytes = encoder.encode(name);
  const long = bytes.length > 100 ? longName(bytes) : new Uint8Array();
  const block = new Uint8Array(BLOCK);
  const put = (at: number, text: string) => block.set(encoder.encode(text), at);
  const octal = (value: number, width: number) => value.toString(8).padStart(width - 1, "0") + "\0";
  block.set(bytes.subarray(0, 100), 0);
  put(100, octal((info.mode ?? 0o644) & 0o7777, 8));
  put(108, octal(0, 8));
  put(116, octal(0, 8));
  put(124, octal(size, 12));
  put(136, octal(Math.floor((info.mtime?.getTime() ?? 0) / 1000), 12));
  put(156, type);
  put(157, link.slice(0, 100));
  put(257, "ustar\0" + "00");
  seal(block);
  const all = new Uint8Array(long.length + BLOCK);
  all.set(long);
  all.set(block, long.length);
  return all;
}

/** GNU's way to give a long name: an entry of type L before the one it names. */
function longName(name: Uint8Array): Uint8Array {
  const size = Math.ceil((name.length + 1) / BLOCK) * BLOCK;
  const all = new Uint8Array(BLOCK + size);
  const block = all.subarray(0, BLOCK);
  block.set(encoder.encode("././@LongLink"), 0);
  block.set(encoder.encode((name.length + 1).toString(8).padStart(11, "0") + "\0"), 124);
  block.set(encoder.encode("L"), 156);
  block.set(encoder.encode("ustar\0" + "00"), 257);
  seal(block);
  all.set(name, BLOCK);
  return all;
}

function seal(block: Uint8Array): void {
  block.fill(32, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.set(encoder.encode(sum.toString(8).padStart(6, "0") + "\0 "), 148);
}

// --- extract ------------------------------------------------------------------------------------------

function extract(archive: Uint8Array, options: Options, io: Streams): void {
  const text = (from: number, length: number) => {
    const bytes = archive.subarray(from, from + length);
    const end = bytes.indexOf(0);
    return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
  };
  let long: string | undefined;
  for (let at = 0; at + BLOCK <= archive.length;) {
    if (archive[at] === 0) break;
    const size = parseInt(text(at + 124, 12).trim() || "0", 8);
    const type = String.fromCharCode(archive[at + 156] || 48);
    const body = archive.subarray(at + BLOCK, at + BLOCK + size);
    const prefix = text(at + 257, 5) === "ustar" ? text(at + 345, 155) : "";
    let name = long ?? (prefix ? `${prefix}/${text(at, 100)}` : text(at, 100));
    long = undefined;
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    if (type === "L") {
      long = decoder.decode(body).replace(/\0.*$/s, "");
      continue;
    }
    if (type === "x") {
      long = /\d+ path=([^\n]*)\n/.exec(decoder.decode(body))?.[1];
      continue;
    }
    if (type === "g") continue;
    name = name.replace(/^\/+/, "");
    if (name.split("/").includes("..")) {
      throw new Error(`${name}: refused: it leads out of the folder`);
    }
    if (options.mode === "t" || options.verbose) io.out(`${name}\n`);
    if (options.mode === "t") continue;
    const header = at - BLOCK - Math.ceil(size / BLOCK) * BLOCK;
    const mode = parseInt(text(header + 100, 8).trim() || "644", 8) & 0o777;
    place(`${options.folder}/${name}`, type, body, mode, text(header + 157, 100));
  }
}

function place(path: string, type: string, body: Uint8Array, mode: number, link: string): void {
  const folder = path.replace(/\/+$/, "").replace(/\/[^/]*$/, "");
  if (type === "5") return Deno.mkdirSync(path, { recursive: true });
  Deno.mkdirSync(folder, { recursive: true });
  if (type === "2") {
    try {
      Deno.removeSync(path);
    } catch {
      // There was none.
    }
    return Deno.symlinkSync(link, path);
  }
  if (type === "0" || type === "7") Deno.writeFileSync(path, body, { mode });
}
