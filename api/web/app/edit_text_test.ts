import { assertEquals } from "@std/assert";
import { editable, ofRevision, revisionIn } from "./edit_text.ts";
import { workload } from "./workload.ts";

const SERVED = `apiVersion: v1
kind: ConfigMap
metadata:
  name: a
  uid: x
  resourceVersion: '7'
  managedFields: []
data:
  on: 'yes'
status: {}
`;

Deno.test("editable() leaves out what the server keeps for itself", () => {
  const text = editable(SERVED);
  assertEquals(text.includes("uid"), false);
  assertEquals(text.includes("status"), false);
  assertEquals(text.includes("name: a"), true);
  assertEquals(revisionIn(SERVED), "7");
  assertEquals(revisionIn(ofRevision(text, "7")), "7");
});

Deno.test("workload() makes a Service only where there is a port", () => {
  const form = { name: "a", namespace: "b", image: "c", replicas: 1 };
  assertEquals(workload(form).length, 1);
  assertEquals((workload({ ...form, port: 80 })[1] as any).spec, {
    selector: { app: "a" },
    ports: [{ port: 80, targetPort: 80 }],
  });
});
