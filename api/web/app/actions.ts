/** What can be done with an object: a row each, for the objects that have it. A new action is a row. */
import type { Patch } from "../../client/contract.ts";
import type { Json } from "../../machinery/types.ts";
import { now } from "./browser.ts";
import type { KindInfo } from "./discovery.ts";
import { client, FIELD_MANAGER } from "./kube.ts";
import type { TextKey } from "./words.ts";

/** An object and its kind. */
export interface Subject {
  kind: KindInfo;
  object: any;
}

/** One action. */
export interface Action {
  id: string;
  title: TextKey;
  when(subject: Subject): boolean;
  /** Asked before it is done; a number is asked for where `amount` gives the present one. */
  confirm?: TextKey;
  amount?(subject: Subject): number;
  danger?: boolean;
  run(subject: Subject, amount: number): Promise<unknown>;
}

function targetOf({ kind, object: { metadata } }: Subject, subresource?: string) {
  return { resource: kind, namespace: metadata.namespace, name: metadata.name, subresource };
}

function patched(subject: Subject, type: "merge" | "strategic", body: { [key: string]: Json }) {
  const patch: Patch = { type, body };
  return client.patch(targetOf(subject), patch, { fieldManager: FIELD_MANAGER });
}

const has = (verb: string) => ({ kind }: Subject) => kind.verbs.includes(verb);
const isKind = (...keys: string[]) => ({ kind }: Subject) =>
  keys.includes(`${kind.group}/${kind.plural}`);
const rolled = isKind("apps/deployments", "apps/statefulsets", "apps/daemonsets");
const deployment = isKind("apps/deployments");
const node = isKind("/nodes");
const cronJob = isKind("batch/cronjobs");

/** In the order in which they are offered. */
export const ACTIONS: readonly Action[] = [
  {
    id: "scale",
    title: "action.scale",
    when: ({ kind }) => kind.subresources.includes("scale"),
    amount: ({ object }) => object.spec?.replicas ?? 1,
    run: (subject, replicas) =>
      client.patch(targetOf(subject, "scale"), { type: "merge", body: { spec: { replicas } } }, {
        fieldManager: FIELD_MANAGER,
      }),
  },
  {
    id: "restart",
    title: "action.restart",
    when: rolled,
    confirm: "action.restart.sure",
    run: (subject) => {
      // As `kubectl rollout restart` does it
      const restartedAt = new Date(now()).toISOString().replace(/\.\d+Z$/, "Z");
      const annotations = { "kubectl.kubernetes.io/restartedAt": restartedAt };
      return patched(subject, "strategic", { spec: { template: { metadata: { annotations } } } });
    },
  },
  {
    id: "pause",
    title: "action.pause",
    when: (subject) => deployment(subject) && !subject.object.spec.paused,
    run: (subject) => patched(subject, "strategic", { spec: { paused: true } }),
  },
  {
    id: "resume",
    title: "action.resume",
    when: (subject) => deployment(subject) && !!subject.object.spec.paused,
    run: (subject) => patched(subject, "strategic", { spec: { paused: null } }),
  },
  {
    id: "cordon",
    title: "action.cordon",
    when: (subject) => node(subject) && !subject.object.spec.unschedulable,
    run: (subject) => patched(subject, "strategic", { spec: { unschedulable: true } }),
  },
  {
    id: "uncordon",
    title: "action.uncordon",
    when: (subject) => node(subject) && !!subject.object.spec.unschedulable,
    run: (subject) => patched(subject, "strategic", { spec: { unschedulable: null } }),
  },
  {
    id: "suspend",
    title: "action.suspend",
    when: (subject) => cronJob(subject) && !subject.object.spec.suspend,
    run: (subject) => patched(subject, "merge", { spec: { suspend: true } }),
  },
  {
    id: "unsuspend",
    title: "action.unsuspend",
    when: (subject) => cronJob(subject) && !!subject.object.spec.suspend,
    run: (subject) => patched(subject, "merge", { spec: { suspend: false } }),
  },
  {
    id: "delete",
    title: "action.delete",
    when: has("delete"),
    confirm: "action.delete.sure",
    danger: true,
    run: (subject) => {
      const preconditions = { uid: subject.object.metadata.uid };
      return client.delete(targetOf(subject), { propagationPolicy: "Background", preconditions });
    },
  },
];
