/** What nodes and pods use (metrics.k8s.io), asked for again and again, and remembered as long as the page is open. */
import { useEffect, useRef, useState } from "preact/hooks";
import { keyOf } from "../../client/contract.ts";
import { amount } from "./amounts.ts";
import { every, now } from "./browser.ts";
import { askJson, pathOf } from "./kube.ts";

const EVERY_MS = 5_000;
/** Points of a plot: ten minutes. */
const POINTS_MAX = 120;

/** A value at a time (ms). */
export interface Point {
  at: number;
  value: number;
}

/** A value joined to those before, the oldest left out. */
export function joined(points: readonly Point[], value: number): readonly Point[] {
  return [...points, { at: now(), value }].slice(-POINTS_MAX);
}

/** Calls while a part of the page is there: at once, then again and again. */
export function usePolling(key: string, ask: () => void, everyMs = EVERY_MS): void {
  useEffect(() => {
    ask();
    return every(everyMs, ask);
  }, [key]);
}

/** The newest usage of all nodes or pods or of one, by their keys; empty where there is none or one may not see it. */
export function useMetrics(
  plural: "nodes" | "pods",
  { namespace, name }: { namespace?: string; name?: string } = {},
): ReadonlyMap<string, any> {
  const [items, setItems] = useState<ReadonlyMap<string, any>>(new Map());
  const resource = { group: "metrics.k8s.io", version: "v1beta1", plural };
  const path = pathOf({ resource, namespace, name });
  usePolling(path, () => {
    askJson(path).then((found) => {
      setItems(new Map((found.items ?? [found]).map((item: any) => [keyOf(item), item])));
    }, () => setItems(new Map()));
  });
  return items;
}

/** What a node or a pod uses of a resource. */
export function usageOf(item: any, resource: string): number | undefined {
  if (!item) return undefined;
  if (item.usage) return amount(item.usage[resource]);
  return item.containers.reduce((sum: number, one: any) => sum + amount(one.usage[resource]), 0);
}

/** The same over time. */
export function useHistory(value: number | undefined, key: string): readonly Point[] {
  const [kept, keep] = useState<{ key: string; points: readonly Point[] }>({ key, points: [] });
  const points = kept.key === key ? kept.points : [];
  const newest = useRef(value);
  newest.current = value;
  // By the clock alone: values that change all the time would leave room for a moment only
  usePolling(`${key} ${value === undefined}`, () => {
    const { current } = newest;
    if (current !== undefined) {
      keep((old) => ({ key, points: joined(old.key === key ? old.points : [], current) }));
    }
  });
  return points;
}
