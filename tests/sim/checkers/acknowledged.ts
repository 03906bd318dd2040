/**
 * No acknowledged write is lost: what was answered lies in the log, under the revision that was answered,
 * when it is answered; and at rest every process shows what lies there, by its store and by its caches.
 */
import type { Obj } from "../truth.ts";
import type { Answer, Checker, Sight } from "./checker.ts";

const CACHES = [
  ["", "v1", "pods", "/registry/pods/"],
  ["", "v1", "services", "/registry/services/"],
  ["apps", "v1", "deployments", "/registry/deployments/"],
  ["apps", "v1", "replicasets", "/registry/replicasets/"],
  ["apps", "v1", "statefulsets", "/registry/statefulsets/"],
] as const;

/** See the module's text. */
export function acknowledgedChecker(sight: Sight): Checker {
  const { truth, fail } = sight;
  const name = "acknowledged";
  return {
    name,
    answer(answer) {
      const wrong = lost(answer, sight);
      if (wrong) fail(name, `${answer.verb} ${answer.what} was answered, but ${wrong}`);
    },
    rest() {
      const wrong: string[] = [];
      for (const process of sight.processes()) {
        const view = process.running.database.objects.view();
        const seen = new Map([...view.scan("/")].map((item) => [item.key, item.revision]));
        for (const { key, revision } of truth.state.values()) {
          if (seen.get(key) !== revision) {
            wrong.push(`${process.name} has ${key}@${seen.get(key)}, in the log it is ${revision}`);
          }
          seen.delete(key);
        }
        for (const key of seen.keys()) wrong.push(`${process.name} still has ${key}`);
        wrong.push(...staleCaches(sight, process));
      }
      return wrong.slice(0, 20);
    },
  };
}

function lost({ result, verb }: Answer, { truth }: Sight): string | undefined {
  const { metadata } = result as Obj;
  if (result.kind === "Status") {
    const uid = result.details?.uid;
    if (verb !== "delete" || !uid) return undefined;
    for (const { object, key } of truth.state.values()) {
      if (object?.metadata.uid === uid) return `${key} is still there`;
    }
    return undefined;
  }
  if (!metadata?.resourceVersion) return undefined;
  const revision = Number(metadata.resourceVersion);
  if (revision > truth.revision) return `revision ${revision} is not in the log`;
  const change = truth.changes.get(revision);
  if (!change) return `revision ${revision} is of nothing that clients see`;
  const there = change.object?.metadata;
  if (there && metadata.uid && there.uid !== metadata.uid) {
    return `revision ${revision} is of ${change.key}`;
  }
  return undefined;
}

function staleCaches({ truth }: Sight, process: Parameters<NonNullable<Checker["opened"]>>[0]) {
  const wrong: string[] = [];
  for (const [group, version, plural, prefix] of CACHES) {
    const cache = process.running.informers.for<Obj>({ group, version, plural });
    let count = 0;
    for (const [key, { revision }] of truth.state) {
      if (!key.startsWith(prefix)) continue;
      // Endpoints live below services.
      if (plural === "services" && !key.startsWith("/registry/services/specs/")) continue;
      count++;
      const cached = cache.get(key.split("/").slice(-2).join("/"));
      if (Number(cached?.metadata.resourceVersion) === revision) continue;
      wrong.push(
        `${process.name}'s cache has ${key}@${cached?.metadata.resourceVersion}, ` +
          `in the log it is ${revision}`,
      );
    }
    if (cache.size !== count) {
      wrong.push(`${process.name} caches ${cache.size} of ${count} ${plural}`);
    }
  }
  return wrong;
}
