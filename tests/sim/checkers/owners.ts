/** No orphan, no leak: at rest every object's owners and its namespace exist, and nothing is still going away. */
import type { Checker, Sight } from "./checker.ts";

/** See the module's text. */
export function ownersChecker({ truth }: Sight): Checker {
  return {
    name: "owners",
    rest() {
      const uids = new Set<string>();
      const namespaces = new Set<string>();
      for (const { metadata } of truth.list("/registry/namespaces/")) namespaces.add(metadata.name);
      for (const { object } of truth.state.values()) if (object) uids.add(object.metadata.uid);
      const wrong: string[] = [];
      for (const { key, object } of truth.state.values()) {
        if (!object) continue;
        const { ownerReferences = [], deletionTimestamp, finalizers, namespace } = object.metadata;
        if (namespace && !namespaces.has(namespace)) {
          wrong.push(`${key} is left of a namespace that is gone`);
        }
        if (deletionTimestamp) {
          wrong.push(`${key} is going away since ${deletionTimestamp} (${finalizers ?? ""})`);
        }
        const missing = ownerReferences.filter(({ uid }: { uid: string }) => !uids.has(uid));
        for (const { kind, name, uid } of missing) {
          wrong.push(`${key}'s owner ${kind} ${name} (${uid}) does not exist`);
        }
      }
      return wrong;
    },
  };
}
