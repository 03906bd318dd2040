/** A pod's uid is bound to one node at most, ever, lives under one name, and never comes back. */
import type { Checker, Sight } from "./checker.ts";

/** See the module's text. */
export function bindingChecker({ fail }: Sight): Checker {
  const name = "binding";
  const nodes = new Map<string, string>();
  const keys = new Map<string, string>();
  const gone = new Set<string>();
  return {
    name,
    commit({ steps }) {
      for (const step of steps) {
        if ("term" in step || !step.key.startsWith("/registry/pods/")) continue;
        const object = step.object ?? step.before?.object;
        const uid = object?.metadata.uid;
        if (!uid) continue;
        if (step.type === "delete") {
          gone.add(uid);
          continue;
        }
        if (gone.has(uid)) fail(name, `pod ${step.key} (${uid}) is back`);
        const key = keys.get(uid);
        if (key && key !== step.key) fail(name, `uid ${uid} is of ${key} and of ${step.key}`);
        keys.set(uid, step.key);
        const node = object.spec.nodeName;
        const bound = nodes.get(uid);
        if (bound && node !== bound) fail(name, `pod ${step.key} went from ${bound} to ${node}`);
        if (node) nodes.set(uid, node);
      }
    },
  };
}
