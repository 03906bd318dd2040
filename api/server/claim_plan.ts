/**
 * What a Service will have, shown to validating admission before it has it. Upstream gives addresses and ports before
 * its validating webhooks and policies look (registry/core/service/storage: beginCreate); here they are given in the
 * write itself, so that none is given twice. In between they are planned: drawn from the state as it stands, shown,
 * and claimed by the write as if they had been asked for. Where another write was faster, new ones are drawn and the
 * judges are asked again. Nothing is planned where nobody looks.
 */
import type { Draft } from "../../kv/contract.ts";
import type { Admission } from "../auth/contract.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { reviewed } from "./admit.ts";
import { type Claims, claimsOf, type Ledger } from "./allocators.ts";
import { type Deps, storeOf } from "./deps.ts";

/** How often claims are planned anew; then the write is refused as if they had been asked for. */
export const PLANS_MAX = 100;

/** Claims that were drawn and shown. */
export class Plan {
  readonly #keys: readonly string[];
  /** Another write was faster. */
  lost = false;

  constructor(keys: readonly string[]) {
    this.#keys = keys;
  }

  /** Whether all of them can still be had, as the write sees it. */
  holds(draft: Draft<KubeObject>): boolean {
    this.lost = this.#keys.some((key) => draft.get(key));
    return !this.lost;
  }
}

/**
 * Runs `attempt`, which asks the judges and writes, with an object that has its claims where judges look at it; again
 * when the write found the plan lost. `old` is what an update replaces.
 */
export function withPlan<T>(
  deps: Deps,
  { admission, old }: { admission: Admission; old?: DeepReadonly<KubeObject> },
  attempt: (plan: Plan | undefined) => Promise<T>,
): Promise<T> {
  const claims = claimsOf(admission.kind);
  if (!claims || admission.form || !reviewed(deps, admission)) return attempt(undefined);
  return planned(deps, { admission, old, claims }, attempt);
}

async function planned<T>(
  deps: Deps,
  { admission, old, claims }: {
    admission: Admission;
    old?: DeepReadonly<KubeObject>;
    claims: Claims;
  },
  attempt: (plan: Plan | undefined) => Promise<T>,
): Promise<T> {
  const object = admission.object!;
  const asked = object.spec;
  for (let plans = 1; plans < PLANS_MAX; plans++) {
    const plan = drawn(deps, claims, { object, old, store: storeOf(deps, admission.kind) });
    const result = await attempt(plan);
    if (!plan.lost) return result;
    object.spec = asked;
  }
  drawn(deps, claims, { object, old, store: storeOf(deps, admission.kind) });
  return await attempt(undefined);
}

/** Fills in the claims that an object would have if it were written now. */
function drawn(
  deps: Deps,
  claims: Claims,
  { object, old, store }: {
    object: KubeObject;
    old?: DeepReadonly<KubeObject>;
    store: ReturnType<typeof storeOf>;
  },
): Plan {
  const view = store.view();
  const keys = new Set<string>();
  const gone = new Set<string>();
  const ledger: Ledger = {
    scan: (prefix) => view.scan(prefix),
    get: (key) => keys.has(key) || (!gone.has(key) && view.get(key)),
    put: (key) => void keys.add(key),
    delete: (key) => void gone.add(key),
  };
  const planned = old
    ? claims.update(deps, ledger, object, old)
    : claims.create(deps, ledger, object);
  object.spec = planned.spec;
  return new Plan([...keys]);
}
