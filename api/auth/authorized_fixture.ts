/** An authorizer over a state, and a quick way to grant rights in it: for tests. */
import { inOrder } from "./authorize.ts";
import { NodeAuthorizer } from "./node.ts";
import { RbacAuthorizer } from "./rbac.ts";
import { State } from "./state_fixture.ts";

/** A state with Node and RBAC authorizers; `grant` gives a user rules in the whole cluster. */
export function authorized() {
  const state = new State();
  const view = () => state.view();
  const authorizer = inOrder([new NodeAuthorizer(view), new RbacAuthorizer(view)]);
  const grant = (user: string, ...rules: unknown[]) => {
    state.put(`/registry/clusterroles/${user}`, { metadata: { name: user }, rules });
    state.put(`/registry/clusterrolebindings/${user}`, {
      metadata: { name: user },
      roleRef: { kind: "ClusterRole", name: user },
      subjects: [{ kind: "User", name: user }],
    });
  };
  return { state, authorizer, grant };
}
