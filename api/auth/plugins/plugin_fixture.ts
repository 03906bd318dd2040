/**
 * What the tests of the plugins share: all plugins over one state, and a pod to admit.
 */
import { fakeOutbound } from "../../client/outbound_fixture.ts";
import { inOrder } from "../authorize.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { RbacAuthorizer } from "../rbac.ts";
import { admission, admit, messageOf, namespace, State, stillClock } from "../state_fixture.ts";
import { createPlugins, type PluginOptions } from "./mod.ts";

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;

/** The plugins that are on, and those in `enable`, with an active namespace `ns`. */
export function setup(enable: string[] = [], options: PluginOptions = {}) {
  const state = new State();
  const { clock } = stillClock();
  const authorizer = inOrder([new RbacAuthorizer(() => state.view())]);
  const outbound = fakeOutbound(() => ({ json: { status: { allowed: true } } }));
  const plugins = createPlugins(
    {
      view: () => state.view(),
      clock,
      authorizer,
      outbound: () => outbound,
      createNamespace: (name) => {
        state.put(`/registry/namespaces/${name}`, namespace(name));
        return Promise.resolve();
      },
    },
    { ...options, enable, imagePolicy: { endpoint: { url: "https://images.example.com/" } } },
  );
  const plugin = (name: string) => plugins.find((p) => p.name === name)!;
  state.put("/registry/namespaces/ns", namespace("ns"));
  return { state, clock, authorizer, plugins, plugin };
}

/** A pod named `web` in `ns` with one container. */
export function pod(
  spec: Record<string, unknown> = {},
  metadata: Record<string, unknown> = {},
): Any {
  return {
    kind: "Pod",
    metadata: { name: "web", namespace: "ns", ...metadata },
    spec: { containers: [{ name: "c" }], ...spec },
  };
}

/** Runs one write in `ns` through one plugin; the message of its refusal, or nothing. */
export function run(
  state: State,
  plugin: AdmissionPlugin,
  given: Partial<Admission> & { resource: string; group?: string },
): Promise<string> {
  const a = admission(state, { namespace: "ns", ...given });
  return messageOf(() => admit(plugin, a, state));
}
