/** Checks of file paths and modes that volumes, mounts and projections share. */

import { type Path, type Report } from "./report.ts";

/** The text of a file mode out of range. */
const MODE_TEXT = "must be a number between 0 and 0777 (octal), both inclusive";

/** A mode of files: 0 to 0777. */
export function validateMode(
  mode: number | undefined | null,
  path: Path,
  name: string,
  r: Report,
): void {
  if (mode === undefined || mode === null || (mode >= 0 && mode <= 0o777)) return;
  r.invalid(path.child(name), mode, MODE_TEXT);
}

/** No element of the path is `..`. */
export function validateNoBacksteps(target: string, path: Path, r: Report): void {
  if (hasBackstep(target)) r.invalid(path, target, "must not contain '..'");
}

function hasBackstep(target: string): boolean {
  return target.includes("..") && target.split("/").includes("..");
}

/** A relative path that stays below where it starts. */
export function validateDescendingPath(target: string, path: Path, r: Report): void {
  if (target.startsWith("/")) r.invalid(path, target, "must be a relative path");
  validateNoBacksteps(target, path, r);
}

/** A relative path that stays below, and does not begin with `..`, which atomic writers use. */
export function validateLocalPath(target: string, path: Path, r: Report): void {
  validateDescendingPath(target, path, r);
  if (target.startsWith("..") && !target.startsWith("../") && target !== "..") {
    r.invalid(path, target, "must not start with '..'");
  }
}
