/**
 * What custom resources need and nothing else does: RE2 and CEL, loaded when the first definition is
 * written or found. `loadCrdEngine` must have been awaited before definitions or custom objects are
 * validated; rows of custom kinds can only be made after it (`customKinds` awaits it itself).
 */
import { loadRegexp } from "./regexp.ts";

type Cel = typeof import("../cel/mod.ts");
let cel: Cel | undefined;

/** Loads everything; returns at once when it is there. */
export async function loadCrdEngine(): Promise<void> {
  await loadRegexp();
  cel ??= await import("../cel/mod.ts");
}

/** CEL. Throws when it is not loaded: our own bug. */
export function celEngine(): Cel {
  if (!cel) throw new Error("the rule engine is not loaded: await loadCrdEngine() first");
  return cel;
}
