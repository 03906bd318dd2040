/**
 * Extenders: processes that are asked over HTTP, beside the plugins, where a pod may go, where best, whom to evict, and
 * to bind it. Messages, order and errors are kube-scheduler's (extender/v1, v1.36). A pod that an extender is asked
 * about takes a network round trip; all others are decided as if there were none.
 */
import type { Endpoint, Outbound } from "../../api/client/outbound.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import type { ExtenderConfiguration } from "./configuration.ts";
import {
  type Candidate,
  NODE_SCORE_MAX,
  type NodeInfo,
  type Pod,
  type PodInfo,
  type Refusal,
} from "./framework.ts";

/** How long an extender may take, in ms, unless it is said. */
export const TIMEOUT_MS = 5_000;
/** Extenders score from 0 to this. */
export const EXTENDER_SCORE_MAX = 10;

/** Why an extender, and not a plugin, refused. */
export const EXTENDER = "Extender";

/** All extenders of a scheduler, in order. */
export class Extenders {
  readonly #all: readonly Extender[];
  readonly #warn: (text: string, fields: Record<string, unknown>) => void;

  constructor(
    configurations: readonly ExtenderConfiguration[],
    outbound: Outbound,
    warn: (text: string, fields: Record<string, unknown>) => void,
  ) {
    this.#all = configurations.map((configuration) => new Extender(configuration, outbound));
    this.#warn = warn;
  }

  get some(): boolean {
    return this.#all.length > 0;
  }

  /** Whether any of them wants to be asked about a pod. */
  concern(pod: PodInfo): boolean {
    return this.#all.some((extender) => extender.concerns(pod.pod));
  }

  /** Of the nodes, those that no extender refuses; the others' refusals are noted. Throws when one fails. */
  async filter(
    pod: PodInfo,
    nodes: readonly NodeInfo[],
    refusals: Map<string, Refusal>,
  ): Promise<readonly NodeInfo[]> {
    let left = nodes;
    for (const extender of this.#all) {
      if (left.length === 0) break;
      if (!extender.filters || !extender.concerns(pod.pod)) continue;
      const answer = await this.#tried(extender, () => extender.filter(pod, left));
      if (!answer) continue;
      for (const [node, reason] of Object.entries(answer.failed)) {
        refusals.set(node, { plugin: EXTENDER, reasons: [reason] });
      }
      for (const [node, reason] of Object.entries(answer.unresolvable)) {
        refusals.set(node, { plugin: EXTENDER, reasons: [reason], unresolvable: true });
      }
      left = answer.nodes;
    }
    return left;
  }

  /** What they add to nodes' scores. One that fails adds nothing. */
  async prioritize(pod: PodInfo, nodes: readonly NodeInfo[]): Promise<ReadonlyMap<string, number>> {
    const scores = new Map<string, number>();
    const asked = this.#all.filter((one) => one.prioritizes && one.concerns(pod.pod));
    await Promise.all(asked.map(async (extender) => {
      try {
        for (const { Host, Score } of await extender.prioritize(pod, nodes)) {
          const added = Score * extender.weight * (NODE_SCORE_MAX / EXTENDER_SCORE_MAX);
          scores.set(Host, (scores.get(Host) ?? 0) + added);
        }
      } catch (error) {
        this.#warn("an extender could not prioritize", {
          extender: extender.name,
          error: String(error),
        });
      }
    }));
    return scores;
  }

  /** Of where eviction could help, what they leave. Throws when one fails. */
  async preempt(pod: PodInfo, candidates: readonly Candidate[]): Promise<readonly Candidate[]> {
    let left = candidates;
    for (const extender of this.#all) {
      if (left.length === 0) break;
      if (!extender.preempts || !extender.concerns(pod.pod)) continue;
      left = await this.#tried(extender, () => extender.preempt(pod, left)) ?? left;
    }
    return left;
  }

  /** Binds by the one that does. False: none does for this pod. */
  async bind(pod: PodInfo, node: string): Promise<boolean> {
    for (const extender of this.#all) {
      if (!extender.binds || !extender.concerns(pod.pod)) continue;
      const done = await this.#tried(extender, () => extender.bind(pod.pod, node));
      if (done) return true;
    }
    return false;
  }

  /** An ignorable extender's failure counts as no answer. */
  async #tried<T>(extender: Extender, ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await ask();
    } catch (error) {
      if (!extender.ignorable) throw error;
      this.#warn("skipping an extender, as it returned an error and has the ignorable flag set", {
        extender: extender.name,
        error: String(error),
      });
      return undefined;
    }
  }
}

type FailedNodes = Record<string, string>;

/** One of them. */
class Extender {
  readonly name: string;
  readonly weight: number;
  readonly ignorable: boolean;
  readonly #configuration: ExtenderConfiguration;
  readonly #outbound: Outbound;
  readonly #managed: ReadonlySet<string>;

  constructor(configuration: ExtenderConfiguration, outbound: Outbound) {
    this.#configuration = configuration;
    this.#outbound = outbound;
    this.name = configuration.urlPrefix;
    this.weight = configuration.weight ?? 0;
    this.ignorable = configuration.ignorable ?? false;
    this.#managed = new Set((configuration.managedResources ?? []).map(({ name }) => name));
  }

  get filters(): boolean {
    return !!this.#configuration.filterVerb;
  }
  get prioritizes(): boolean {
    return !!this.#configuration.prioritizeVerb;
  }
  get preempts(): boolean {
    return !!this.#configuration.preemptVerb;
  }
  get binds(): boolean {
    return !!this.#configuration.bindVerb;
  }

  /** Whether a pod wants what the extender manages. */
  concerns({ spec }: Pod): boolean {
    if (this.#managed.size === 0) return true;
    return [...spec.containers, ...spec.initContainers ?? []].some(({ resources }) =>
      [resources?.requests, resources?.limits].some((list) =>
        Object.keys(list ?? {}).some((name) => this.#managed.has(name))
      )
    );
  }

  async filter(pod: PodInfo, nodes: readonly NodeInfo[]) {
    const result = await this.#send(this.#configuration.filterVerb!, {
      Pod: pod.pod,
      ...this.#nodesArgs(nodes),
    });
    if (result.Error) throw new Error(result.Error);
    const byName = new Map(nodes.map((node) => [node.name, node]));
    const names: string[] | undefined = this.#configuration.nodeCacheCapable && result.NodeNames ||
      result.Nodes?.items?.map((node: KubeObject) => node.metadata.name);
    const left = (names ?? []).map((name) => {
      const node = byName.get(name);
      if (node) return node;
      throw new Error(
        `extender "${this.name}" claims a filtered node "${name}" which is not found in the input node list`,
      );
    });
    return {
      nodes: left,
      failed: (result.FailedNodes ?? {}) as FailedNodes,
      unresolvable: (result.FailedAndUnresolvableNodes ?? {}) as FailedNodes,
    };
  }

  async prioritize(
    pod: PodInfo,
    nodes: readonly NodeInfo[],
  ): Promise<{ Host: string; Score: number }[]> {
    const args = { Pod: pod.pod, ...this.#nodesArgs(nodes) };
    return await this.#send(this.#configuration.prioritizeVerb!, args) ?? [];
  }

  async preempt(pod: PodInfo, candidates: readonly Candidate[]): Promise<Candidate[]> {
    const known = this.#configuration.nodeCacheCapable;
    const victims = Object.fromEntries(candidates.map(({ node, victims, violations }) => [
      node.name,
      {
        Pods: victims.map((victim) => known ? { UID: victim.uid } : victim.pod),
        NumPDBViolations: violations,
      },
    ]));
    const result = await this.#send(this.#configuration.preemptVerb!, {
      Pod: pod.pod,
      [known ? "NodeNameToMetaVictims" : "NodeNameToVictims"]: victims,
    });
    type Meta = { Pods?: { UID: string }[]; NumPDBViolations?: number };
    return Object.entries((result.NodeNameToMetaVictims ?? {}) as Record<string, Meta>)
      .map(([name, { Pods = [], NumPDBViolations = 0 }]) => {
        const node = candidates.find((candidate) => candidate.node.name === name)?.node;
        if (!node) throw new Error(`nodeinfo not found for node name "${name}"`);
        const chosen = Pods.map(({ UID }) => {
          const victim = node.pods.get(UID);
          if (victim) return victim;
          throw new Error(
            `extender: ${this.name} claims to preempt pod (UID: ${UID}) on node: ${name}, ` +
              "but the pod is not found on that node",
          );
        });
        return { node, victims: chosen, violations: NumPDBViolations };
      });
  }

  async bind({ metadata }: Pod, node: string): Promise<true> {
    const result = await this.#send(this.#configuration.bindVerb!, {
      PodName: metadata.name,
      PodNamespace: metadata.namespace,
      PodUID: metadata.uid,
      Node: node,
    });
    if (result?.Error) throw new Error(result.Error);
    return true;
  }

  #nodesArgs(nodes: readonly NodeInfo[]) {
    if (this.#configuration.nodeCacheCapable) return { NodeNames: nodes.map(({ name }) => name) };
    return { Nodes: { metadata: {}, items: nodes.map(({ node }) => node) } };
  }

  // deno-lint-ignore no-explicit-any -- an answer from elsewhere, read field by field
  async #send(verb: string, args: object): Promise<any> {
    const url = `${this.name.replace(/\/+$/, "")}/${verb}`;
    const answer = await this.#outbound.send(this.#endpoint(url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: new TextEncoder().encode(JSON.stringify(args)),
      timeoutMs: this.#configuration.httpTimeout || TIMEOUT_MS,
    });
    if (answer.status !== 200) {
      throw new Error(`failed ${verb} with extender at URL ${url}, code ${answer.status}`);
    }
    return JSON.parse(new TextDecoder().decode(answer.body));
  }

  #endpoint(url: string): Endpoint {
    const { tlsConfig: tls, enableHTTPS } = this.#configuration;
    const insecure = tls?.insecure || (enableHTTPS && !tls?.caData);
    return {
      url,
      ...(insecure && { insecureSkipTlsVerify: true }),
      ...(tls?.serverName && { serverName: tls.serverName }),
      ...(tls?.caData && { caBundle: atob(tls.caData) }),
      ...(tls?.certData && tls.keyData && {
        certificate: { cert: atob(tls.certData), key: atob(tls.keyData) },
      }),
    };
  }
}
