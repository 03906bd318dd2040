/** Moments of a cluster's history, as people name them: a revision, or a time. */
import type { Store } from "../../kv/contract.ts";
import type { Dated } from "../client/plesio.ts";
import { badRequest } from "../machinery/errors.ts";
import type { KubeObject } from "../machinery/types.ts";

/** A revision, or a time: as such, or in RFC 3339. */
export type Moment = number | string | Date;

const REVISION = /^[0-9]{1,15}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/;

/** When a revision was committed. */
export async function dated(store: Store<KubeObject>, revision: number): Promise<Dated> {
  return { revision, time: new Date(await store.timeOf(revision)).toISOString() };
}

/** When a store's history begins (ms); undefined where nothing of it was cut away. */
export async function keptSince(store: Store<KubeObject>): Promise<number | undefined> {
  const oldest = store.oldest();
  return oldest === 0 ? undefined : await store.timeOf(oldest);
}

/** The revision that a moment names. Throws ApiError 400 for what is neither a revision nor a time. */
export async function momentOf(
  store: Store<KubeObject>,
  moment: Moment,
): Promise<number> {
  const text = textOf(moment);
  // Another process may have gone on
  await store.fresh();
  if (REVISION.test(text)) return Number(text);
  const time = timeNamed(moment);
  if (time !== undefined) return await store.revisionBy(time);
  throw badRequest(
    `${
      JSON.stringify(text)
    } is neither a revision nor an RFC 3339 time such as 2026-01-31T12:00:00Z`,
  );
}

/** The time that a moment names (ms); undefined where it is no time. */
export function timeNamed(moment: Moment): number | undefined {
  const text = textOf(moment);
  const time = TIME.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(time) ? undefined : time;
}

function textOf(moment: Moment): string {
  return typeof moment === "object" ? moment.toISOString() : String(moment);
}
