/** Addresses and ports that are claimed in the write of the object that holds them. */
import type { Draft } from "../../kv/contract.ts";
import type { DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";
import type { Deps } from "./deps.ts";

/** What a kind's objects claim, exactly, in the write that stores them. */
export interface Claims {
  /** Returns the object with its claims filled in: a private copy wherever it differs. */
  create(deps: Deps, draft: Draft<KubeObject>, object: KubeObject): KubeObject;
  update(
    deps: Deps,
    draft: Draft<KubeObject>,
    object: KubeObject,
    old: DeepReadonly<KubeObject>,
  ): KubeObject;
  release(draft: Draft<KubeObject>, object: DeepReadonly<KubeObject>): void;
}

/** The claims of a kind's objects, if they have any. */
export function claimsOf(_kind: Kind): Claims | undefined {
  return undefined;
}
