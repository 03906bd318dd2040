/** Files of this machine that the API server itself writes (its audit log), and what its process takes. */
import {
  appendFileSync,
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import process from "node:process";
import type { LogFile, LogFiles } from "./audit_log.ts";
import type { Usage } from "./zpages.ts";

/** What this process takes of its machine. */
export function hostUsage(): Usage {
  const { user, system } = process.cpuUsage();
  const usage = { residentBytes: process.memoryUsage().rss, cpuSeconds: (user + system) / 1e6 };
  try {
    return { ...usage, openFiles: readdirSync("/proc/self/fd").length };
  } catch {
    // Not Linux
    return usage;
  }
}

const STANDARD_OUTPUT = 1;

function folderOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("/"), 0)) || (path.startsWith("/") ? "/" : ".");
}

/** The files of this machine, as the audit log writes them. */
export const hostLogFiles: LogFiles = {
  open(path): LogFile {
    if (path === "-") {
      return {
        size: 0,
        write: (bytes) => appendFileSync(STANDARD_OUTPUT, bytes),
        close: () => undefined,
      };
    }
    mkdirSync(folderOf(path), { recursive: true, mode: 0o700 });
    const file = openSync(path, "a", 0o600);
    let size = fstatSync(file).size;
    return {
      get size() {
        return size;
      },
      write(bytes) {
        for (let at = 0; at < bytes.length;) {
          const written = writeSync(file, bytes, at);
          at += written;
          size += written;
        }
      },
      close: () => closeSync(file),
    };
  },
  beside: (path) => readdirSync(folderOf(path)),
  read: (path) => new Uint8Array(readFileSync(path)),
  rename: renameSync,
  remove: (path) => rmSync(path, { force: true }),
};
