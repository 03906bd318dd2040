import { assert, assertEquals } from "@std/assert";
import { REDACTED, Redaction } from "./redact.ts";
import type { KubeObject } from "./types.ts";

const base64 = (text: string) => btoa(text);
const object = (kind: string, rest: object, apiVersion = "v1") =>
  ({ apiVersion, kind, metadata: { name: "o", namespace: "team-space" }, ...rest }) as KubeObject;

function redacted(...objects: KubeObject[]): KubeObject[] {
  const redaction = new Redaction();
  for (const one of objects) redaction.know(one);
  return objects.map((one) => redaction.of(one));
}

Deno.test("a Secret keeps its keys and loses its values, in what kubectl keeps too", () => {
  const secret = object("Secret", { type: "Opaque", data: { user: base64("me"), n: base64("x") } });
  const applied = JSON.stringify({ ...secret, stringData: { user: "hunter2hunter2" } });
  secret.metadata.annotations = { "kubectl.kubernetes.io/last-applied-configuration": applied };
  const [shown] = redacted(secret);
  assertEquals(shown.data, { user: base64(REDACTED), n: base64(REDACTED) });
  assert(!JSON.stringify(shown).includes("hunter2"));
  assertEquals(shown.metadata.name, "o");
});

Deno.test("a ServiceAccount's token loses its token, and not its namespace", () => {
  const data = {
    namespace: base64("team-space"),
    "ca.crt": base64("PEM"),
    token: base64("secret"),
  };
  const [shown] = redacted(object("Secret", { type: "kubernetes.io/service-account-token", data }));
  assertEquals(shown.data, { ...data, token: base64(REDACTED) });
  assertEquals(shown.metadata.namespace, "team-space");
});

Deno.test("environments and ConfigMaps lose what is beside a name that says secret", () => {
  const env = [
    { name: "DB_PASSWORD", value: "p" },
    { name: "API_KEY", value: "k" },
    { name: "MODE", value: "dev" },
    { name: "TOKEN", valueFrom: { secretKeyRef: { name: "s", key: "token" } } },
  ];
  const [pod, map] = redacted(
    object("Pod", { spec: { containers: [{ name: "c", env }] } }),
    object("ConfigMap", { data: { "db.password": "p", mode: "dev" } }),
  );
  assertEquals(pod.spec.containers[0].env, [
    { name: "DB_PASSWORD", value: REDACTED },
    { name: "API_KEY", value: REDACTED },
    ...env.slice(2),
  ]);
  assertEquals(map.data, { "db.password": REDACTED, mode: "dev" });
});

Deno.test("a Secret's value is replaced wherever it stands, unless it is an object's name", () => {
  const [, pod] = redacted(
    object("Secret", { data: { a: base64("correct horse"), b: base64("team-space") } }),
    object("Pod", {
      spec: { args: ["--with=correct horse", base64("correct horse"), "in team-space"] },
    }),
  );
  assertEquals(pod.spec.args, [`--with=${REDACTED}`, REDACTED, "in team-space"]);
  assertEquals(pod.metadata.namespace, "team-space");
});

Deno.test("what looks like a key or a token is replaced wherever it stands", () => {
  const key = "-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----";
  const jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2lnbmF0dXJl";
  const texts = [
    `a ${key} b`,
    `x=${jwt}`,
    "Authorization: Bearer abcdefgh12",
    "abcdef.0123456789abcdef",
  ];
  const [shown] = redacted(object("ConfigMap", { data: { a: texts.join("|") } }));
  assertEquals(
    shown.data!.a,
    `a ${REDACTED} b|x=${REDACTED}|Authorization: Bearer ${REDACTED}|${REDACTED}`,
  );
});
