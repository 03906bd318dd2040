/**
 * No two pods of one name are on machines at the same time, whatever the API says of them: of a StatefulSet's pods each
 * is the only one of its identity. Looked at on the machines themselves, as pods begin and end there.
 *
 * People may take that upon themselves: by deleting a pod without grace, or the node that it is on.
 */
import type { Ran } from "../process.ts";
import type { Checker, Sight } from "./checker.ts";

/** See the module's text. */
export function identityChecker({ fail }: Sight): Checker {
  const name = "identity";
  const on = new Map<string, Map<string, Ran>>();
  const forced = new Set<string>();
  /** Of pods that ended: nothing of them runs, though their sandbox may still be there. */
  const ended = new Set<string>();
  return {
    name,
    asked({ verb, what }) {
      const key = verb === "delete" && /^pods (.*) within 0$/.exec(what)?.[1];
      if (key) forced.add(key);
      const node = verb === "delete" && /^nodes (.*)$/.exec(what)?.[1];
      if (!node) return;
      for (const pods of on.values()) {
        for (const [uid, pod] of pods) if (pod.node === node) pods.delete(uid);
      }
    },
    commit({ steps }) {
      for (const step of steps) {
        if ("term" in step || step.type !== "delete") continue;
        const pod = step.key.startsWith("/registry/pods/") && step.before?.object;
        if (pod && /^(Succeeded|Failed)$/.test(pod.status?.phase)) ended.add(pod.metadata.uid);
      }
    },
    ran(what) {
      if (what.machine.gone) return;
      const pods = on.get(what.key) ?? new Map<string, Ran>();
      on.set(what.key, pods);
      pods.delete(what.uid);
      if (!what.on) return;
      for (const [uid, other] of pods) {
        if (other.machine.gone || ended.has(uid) || forced.has(what.key)) pods.delete(uid);
        else fail(name, `${what.key} begins on ${what.node} while ${uid} is on ${other.node}`);
      }
      pods.set(what.uid, what);
    },
  };
}
