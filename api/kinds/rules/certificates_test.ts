import { assertEquals } from "@std/assert";
import { edit } from "../../machinery/edit.ts";
import { decode } from "../../machinery/schema.ts";
import type { KindContext, KubeObject } from "../../machinery/types.ts";
import { createKinds } from "../registry.ts";
import { contextOf } from "./fixture.ts";

const kind = createKinds().byKind("certificates.k8s.io", "v1", "CertificateSigningRequest")!;
const context = (subresource = ""): KindContext => ({
  ...contextOf(subresource),
  now: Date.UTC(2026, 0, 2),
  user: "jane",
  requester: { groups: ["devs"], extra: { team: ["a"] } },
});

/** A certificate for nobody. */
const CERTIFICATE = [
  "MIIBLDCB36ADAgECAhRnZittEXA9+O024Vp15jNRRgv8pDAFBgMrZXAwDDEKMAgG",
  "A1UEAwwBYTAeFw0yNjExMjcxOTA3MTlaFw0zNjExMjQxOTA3MTlaMAwxCjAIBgNV",
  "BAMMAWEwKjAFBgMrZXADIQBTHvAHCxQj2FNnlBEeJmqWNnmN1zeeu9XuqV0LtvWZ",
  "3KNTMFEwHQYDVR0OBBYEFKT7Xa2u19FYHwgrbdLznn2dzq0CMB8GA1UdIwQYMBaA",
  "FKT7Xa2u19FYHwgrbdLznn2dzq0CMA8GA1UdEwEB/wQFMAMBAf8wBQYDK2VwA0EA",
  "8UKKae7nXatyR+XA2Nj/Y2yj6sWrFdZqZfV62xCnIwciLy9wweHrIO+XXiboi0l4",
  "W/BQHnFbJD/Dr7MkHA5dDQ==",
].join("\n");

function pem(label: string, body = "AAAA"): string {
  const text = `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
  return new TextEncoder().encode(text).toBase64();
}

function request(spec: object = {}): KubeObject {
  const value = {
    metadata: { name: "jane" },
    spec: {
      request: pem("CERTIFICATE REQUEST"),
      signerName: "kubernetes.io/kube-apiserver-client",
      usages: ["client auth"],
      username: "somebody else",
      ...spec,
    },
  };
  return decode(kind, value, "Strict").object;
}

function texts(object: KubeObject, old?: KubeObject, subresource = ""): string[] {
  const causes = old
    ? kind.hooks.validateUpdate!(object, old, context(subresource))
    : kind.hooks.validate!(object, context(subresource));
  return causes.map((c) => `${c.field}: ${c.message}`);
}

Deno.test("a signing request records who asks", () => {
  const csr = request();
  kind.hooks.prepareCreate!(csr, context());
  assertEquals(csr.spec.username, "jane");
  assertEquals(csr.spec.groups, ["devs"]);
  assertEquals(csr.spec.extra, { team: ["a"] });
  assertEquals(texts(csr), []);
});

Deno.test("signing requests are checked", () => {
  assertEquals(texts(request({ request: pem("CERTIFICATE"), usages: [], expirationSeconds: 1 })), [
    `spec.request: Invalid value: "${
      pem("CERTIFICATE")
    }": PEM block type must be CERTIFICATE REQUEST`,
    "spec.usages: Required value",
    "spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 600 seconds " +
    "(10 minutes)",
  ]);
  assertEquals(texts(request({ usages: ["client auth", "client auth"], signerName: "x" })), [
    'spec.usages[1]: Duplicate value: "client auth"',
    'spec.signerName: Invalid value: "x": must be a fully qualified domain and path of the form ' +
    "'example.com/signer-name'",
  ]);
});

Deno.test("approval is the approval subresource's, the certificate the status's", () => {
  const old = request();
  const approved = edit(old);
  approved.status.conditions = [{ type: "Approved", status: "True", reason: "r", message: "m" }];
  const approval = edit(approved);
  kind.hooks.prepareUpdate!(approval, old, context("approval"));
  assertEquals(texts(approval, old, "approval"), []);
  assertEquals(approval.status.conditions[0].lastUpdateTime, "2026-01-02T00:00:00Z");
  assertEquals(approval.status.conditions[0].lastTransitionTime, "2026-01-02T00:00:00Z");

  const byStatus = edit(approved);
  kind.hooks.prepareUpdate!(byStatus, old, context("status"));
  assertEquals(texts(byStatus, old, "status"), [
    'status.conditions: Forbidden: updates may not add a condition of type "Approved"',
  ]);
  const byUpdate = edit(approved);
  kind.hooks.prepareUpdate!(byUpdate, old, context());
  assertEquals(byUpdate.status, {});

  const signed = edit(approval);
  signed.status.certificate = pem("CERTIFICATE", CERTIFICATE);
  assertEquals(texts(signed, approval, "status"), []);
  const again = edit(signed);
  again.status.certificate = pem("CERTIFICATE ");
  assertEquals(
    texts(again, signed, "status").at(-1),
    "status.certificate: Forbidden: updates may not modify existing certificate content",
  );
  const both = edit(approval);
  both.status.conditions.push({ type: "Denied", status: "True" });
  assertEquals(texts(both, approval, "approval"), [
    'status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive',
  ]);
});

Deno.test("the condition column", () => {
  const cell = kind.columns.find((c) => c.name === "Condition")!.cell!;
  const csr = request();
  assertEquals(cell(csr, 0), "Pending");
  csr.status = { conditions: [{ type: "Approved" }], certificate: "x" };
  assertEquals(cell(csr, 0), "Approved,Issued");
});
