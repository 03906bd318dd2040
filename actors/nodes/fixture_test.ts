/** An API in memory with actors on it, for the tests of this folder. */
import type { Clock } from "../../kv/clock.ts";
import { ManualClock } from "../../kv/clock.ts";
import type { Client, Informers } from "../../api/client/contract.ts";
import { createInformers } from "../../api/mod.ts";
import { openApi } from "../../api/server/fixture_test.ts";
import { createSystem, type System } from "../runtime/mod.ts";
import { type Pod, PODS } from "./types.ts";

/** What was looked for, once it is there. */
export type Found<T> = Exclude<T, undefined | null | false | 0 | "">;

/** What tests drive. */
export interface Box {
  client: Client;
  informers: Informers;
  system: System;
  clock: Clock;
  manual: ManualClock;
  /** Creates a pod in `default`, bound to a node. */
  pod(name: string, node: string, spec: object, metadata?: object): Promise<Pod>;
  get(name: string): Promise<Pod>;
  /** Resolves with what `look` returns once that is truthy; rejects after `ms` of real time. */
  until<T>(what: string, look: () => Promise<T> | T, ms?: number): Promise<Found<T>>;
  /** Moves a manual clock until `look` is truthy, in steps. */
  pass<T>(what: string, stepMs: number, look: () => Promise<T> | T): Promise<Found<T>>;
  events(): Promise<string[]>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Opens one. */
export async function openBox(options: { clock?: Clock } = {}): Promise<Box> {
  const clock = options.clock ?? new ManualClock();
  const api = await openApi({ clock, admission: [] });
  const { client } = api;
  const log = Deno.env.get("LOG")
    ? (...all: unknown[]) => console.error(...all.map((a) => JSON.stringify(a)))
    : () => {};
  await client.create({ resource: { group: "", version: "v1", plural: "namespaces" } }, {
    metadata: { name: "kube-node-lease" },
  });
  const informers = createInformers(client, clock);
  const system = createSystem({ client, informers, clock, log });
  const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 1));
  const until = async <T>(what: string, look: () => Promise<T> | T, ms = 5000) => {
    const end = performance.now() + ms;
    for (;;) {
      const found = await look();
      if (found) return found as Found<T>;
      if (performance.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
      await turn();
    }
  };
  return {
    client,
    informers,
    system,
    clock,
    manual: clock as ManualClock,
    pod: async (name, node, spec, metadata = {}) =>
      await client.create<Pod>({ resource: PODS, namespace: "default" }, {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name, ...metadata },
        spec: { nodeName: node, ...spec },
      }) as Pod,
    get: async (name) =>
      await client.get<Pod>({ resource: PODS, namespace: "default", name }) as Pod,
    until,
    pass: async <T>(what: string, stepMs: number, look: () => Promise<T> | T) => {
      for (let i = 0; i < 500; i++) {
        for (let n = 0; n < 3; n++) {
          const found = await look();
          if (found) return found as Found<T>;
          await turn();
        }
        await (clock as ManualClock).advance(stepMs);
      }
      throw new Error(`no ${what} after 500 steps of ${stepMs} ms`);
    },
    events: async () => {
      const events = { group: "", version: "v1", plural: "events" };
      const list = await client.list({ resource: events, namespace: "default" });
      return list.items.map((e) => `${e.type} ${e.reason} ${e.message}`);
    },
    [Symbol.asyncDispose]: async () => {
      await system.stop();
      await informers.stop();
      await api[Symbol.asyncDispose]();
    },
  };
}
