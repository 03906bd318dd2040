/** What the controllers of CertificateSigningRequests read in them. */
import type { Obj } from "./objects.ts";

/** One condition of a request. */
export interface Condition {
  readonly type: string;
  readonly status?: string;
  readonly lastUpdateTime?: string;
}

/** A request's conditions. */
export function conditionsOf(csr: Obj): readonly Condition[] {
  return csr.status?.conditions ?? [];
}

/** Whether somebody has decided on a request already. */
export function isSettled(csr: Obj): boolean {
  return csr.status?.certificate !== undefined ||
    conditionsOf(csr).some(({ type }) => type === "Approved" || type === "Denied");
}
