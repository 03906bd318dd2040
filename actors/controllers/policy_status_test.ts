/** Tests of the controller of ValidatingAdmissionPolicies' status. */
import { assertEquals } from "@std/assert";
import { createKinds } from "../../api/kinds/mod.ts";
import type { Obj } from "./objects.ts";
import { POLICIES, policyStatusController } from "./policy_status.ts";
import { openWorld } from "./world_test.ts";

function policy(name: string, spec: Record<string, unknown>): Obj {
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicy",
    metadata: { name },
    spec: {
      matchConstraints: {
        resourceRules: [{
          apiGroups: ["apps", ""],
          apiVersions: ["v1"],
          operations: ["CREATE"],
          resources: ["deployments", "pods", "pods/status", "nonsense"],
        }],
      },
      ...spec,
    },
  } as unknown as Obj;
}

Deno.test("a policy's status says which of its expressions do not check, and for which kinds", async () => {
  const kinds = createKinds();
  await using world = await openWorld([policyStatusController({ kinds })]);
  await world.create(
    POLICIES,
    policy("good", { validations: [{ expression: "has(object.spec)" }] }),
  );
  await world.create(
    POLICIES,
    policy("confused", {
      variables: [{ name: "n", expression: "object.spec.replicas" }],
      validations: [
        { expression: "object.metadata.name > 'a'" },
        {
          expression: "object.spec.replicas > '1'",
          messageExpression: "'wants more, got ' + variables.n",
        },
      ],
    }),
  );
  await world.settle();
  assertEquals((await world.get(POLICIES, "good")).status, {
    observedGeneration: 1,
    typeChecking: {},
  });
  const { status } = await world.get(POLICIES, "confused");
  assertEquals(status, {
    observedGeneration: 1,
    typeChecking: {
      expressionWarnings: [
        {
          fieldRef: "spec.validations[1].expression",
          warning: "/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'replicas'\n" +
            " | object.spec.replicas > '1'\n | ...........^\n\n" +
            "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied " +
            "to '(int, string)'\n | object.spec.replicas > '1'\n | .....................^\n",
        },
        {
          fieldRef: "spec.validations[1].messageExpression",
          warning:
            "apps/v1, Kind=Deployment: ERROR: <input>:1:20: found no matching overload for " +
            "'_+_' applied to '(string, int)'\n | 'wants more, got ' + variables.n\n" +
            " | ...................^\n",
        },
      ],
    },
  });
  const good = await world.get(POLICIES, "good");
  const entry = good.metadata.managedFields!.find((one) => one.subresource === "status");
  assertEquals([entry?.manager, entry?.operation], ["validatingadmissionpolicy-status", "Apply"]);
});
