import { assertEquals, assertRejects } from "@std/assert";
import { admissionOfFlags, admissionOptions } from "./admission.ts";
import { readFlags, UsageError } from "./flags.ts";

const KUBECONFIG = `
clusters: [{name: c, cluster: {server: "https://images.example.com/policy", certificate-authority: ca.pem}}]
users:
- {name: u, user: {client-certificate: cert.pem, client-key: key.pem}}
- {name: "*.example.com", user: {token: t}}
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`;
const FILES: Record<string, string> = {
  "/etc/a/kubeconfig": KUBECONFIG,
  "/etc/a/ca.pem": "CA",
  "/etc/a/cert.pem": "CERT",
  "/etc/a/key.pem": "KEY",
  "/etc/a/pods.yaml": `{apiVersion: pod-security.admission.config.k8s.io/v1,
    kind: PodSecurityConfiguration, defaults: {enforce: baseline, enforce-version: v1.30},
    exemptions: {namespaces: [kube-system], usernames: [bob]}}`,
};

function read(path: string): Promise<string> {
  return path in FILES ? Promise.resolve(FILES[path]) : Promise.reject(new Error(`no ${path}`));
}

function document(plugins: unknown[]): string {
  return JSON.stringify({
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AdmissionConfiguration",
    plugins,
  });
}

const options = (plugins: unknown[]) => admissionOptions(document(plugins), "/etc/a/x.yaml", read);

Deno.test("admissionOptions() reads what plugins are told, in place or by another file", async () => {
  const found = await options([
    { name: "PodSecurity", path: "pods.yaml" },
    { name: "NamespaceLifecycle", configuration: { any: "thing" } },
    {
      name: "EventRateLimit",
      configuration: {
        apiVersion: "eventratelimit.admission.k8s.io/v1alpha1",
        kind: "Configuration",
        limits: [{ type: "User", qps: 5, burst: 10 }],
      },
    },
    {
      name: "ResourceQuota",
      configuration: {
        apiVersion: "apiserver.config.k8s.io/v1",
        kind: "ResourceQuotaConfiguration",
        limitedResources: [{ resource: "pods", matchContains: ["cpu"] }],
      },
    },
    {
      name: "ImagePolicyWebhook",
      configuration: {
        imagePolicy: {
          kubeConfigFile: "kubeconfig",
          allowTTL: 60,
          denyTTL: -1,
          defaultAllow: true,
        },
      },
    },
    {
      name: "ValidatingAdmissionWebhook",
      configuration: {
        apiVersion: "apiserver.config.k8s.io/v1",
        kind: "WebhookAdmissionConfiguration",
        kubeConfigFile: "/etc/a/kubeconfig",
      },
    },
  ]);
  const certificate = { cert: "CERT", key: "KEY" };
  assertEquals(found, {
    podSecurity: {
      defaults: {
        enforce: { level: "baseline", version: "v1.30" },
        warn: { level: "privileged", version: "latest" },
        audit: { level: "privileged", version: "latest" },
      },
      exemptions: { namespaces: ["kube-system"], usernames: ["bob"] },
    },
    eventLimits: [{ type: "User", qps: 5, burst: 10, cacheSize: 4096 }],
    limitedResources: [{ resource: "pods", matchContains: ["cpu"] }],
    imagePolicy: {
      endpoint: { url: "https://images.example.com/policy", caBundle: "CA", certificate },
      allowMs: 60_000,
      denyMs: 0,
      retryMs: undefined,
      defaultAllow: true,
    },
    validatingUsers: {
      "u": { certificate },
      "*.example.com": { bearerToken: "t" },
      "*": { certificate },
    },
  });
});

Deno.test("admissionOptions() takes ImagePolicyWebhook's own file, as it once was", async () => {
  const text = "imagePolicy: {kubeConfigFile: kubeconfig}";
  const { imagePolicy } = await admissionOptions(
    text,
    "/etc/a/x.yaml",
    (path) => path === "/etc/a/x.yaml" ? Promise.resolve(text) : read(path),
  );
  assertEquals(imagePolicy?.endpoint.url, "https://images.example.com/policy");
});

Deno.test("admissionOptions() says what is wrong in upstream's words", async (t) => {
  const pods = (fields: object) => [{
    name: "PodSecurity",
    configuration: {
      apiVersion: "pod-security.admission.config.k8s.io/v1",
      kind: "PodSecurityConfiguration",
      ...fields,
    },
  }];
  const image = (fields: object) => [{
    name: "ImagePolicyWebhook",
    configuration: { imagePolicy: { kubeConfigFile: "kubeconfig", ...fields } },
  }];
  const init = (name: string) => `couldn't init admission plugin "${name}": `;
  const cases: [unknown[], string][] = [
    [
      pods({ defaults: { enforce: "none", "warn-version": "1.30" } }),
      init("PodSecurity") +
      `[defaults.enforce: Invalid value: "none": must be one of privileged, baseline, restricted, ` +
      `defaults.warn-version: Invalid value: "1.30": must be "latest" or "v1.x"]`,
    ],
    [
      pods({ exemptions: { namespaces: ["a", "a"], usernames: [""] } }),
      init("PodSecurity") +
      `[exemptions.namespaces[1]: Duplicate value: "a", exemptions.usernames[0]: Invalid value: ` +
      `"": username must not be empty]`,
    ],
    [
      pods({ levels: {} }),
      init("PodSecurity") + `strict decoding error: unknown field "levels"`,
    ],
    [
      image({ allowTTL: 3600 }),
      init("ImagePolicyWebhook") + "valid value is between 1s and 30m0s, got 1h0m0s",
    ],
    [image({ kubeConfigFile: "other" }), init("ImagePolicyWebhook") + "no /etc/a/other"],
    [
      [{
        name: "MutatingAdmissionWebhook",
        configuration: {
          apiVersion: "apiserver.config.k8s.io/v1",
          kind: "WebhookAdmissionConfiguration",
          kubeConfigFile: "kubeconfig",
        },
      }],
      init("MutatingAdmissionWebhook") +
      `kubeConfigFile: Invalid value: "kubeconfig": must be an absolute file path`,
    ],
    [
      [{
        name: "EventRateLimit",
        configuration: {
          apiVersion: "eventratelimit.admission.k8s.io/v1alpha1",
          kind: "Configuration",
          limits: [{ type: "Pod", qps: 1 }],
        },
      }],
      init("EventRateLimit") +
      `[limits[0].type: Unsupported value: "Pod": supported values: "Namespace", "Server", ` +
      `"SourceAndObject", "User", limits[0].burst: Invalid value: 0: must be positive]`,
    ],
    [
      [{
        name: "ResourceQuota",
        configuration: {
          apiVersion: "apiserver.config.k8s.io/v1",
          kind: "ResourceQuotaConfiguration",
          limitedResources: [{}],
        },
      }],
      init("ResourceQuota") + "limitedResources[0].resource: Required value",
    ],
  ];
  for (const [plugins, message] of cases) {
    await t.step(message.slice(0, 60), async () => {
      assertEquals((await assertRejects(() => options(plugins), Error)).message, message);
    });
  }
});

Deno.test("admissionOfFlags() refuses ImagePolicyWebhook without a configuration", async () => {
  const flags = readFlags(["--enable-admission-plugins", "ImagePolicyWebhook"]);
  await assertRejects(
    () => admissionOfFlags(flags, () => Promise.resolve(undefined)),
    UsageError,
    `couldn't init admission plugin "ImagePolicyWebhook": no config specified`,
  );
});

Deno.test("admissionOptions() reads node selectors and tolerations", async () => {
  const group = "podtolerationrestriction.admission.k8s.io";
  const tolerations = (configuration: object) =>
    options([{
      name: "PodTolerationRestriction",
      configuration: { apiVersion: `${group}/v1alpha1`, kind: "Configuration", ...configuration },
    }]);
  const selectors = (configuration: object) =>
    options([{ name: "PodNodeSelector", configuration }]);
  assertEquals(await tolerations({ default: [{ key: "a", operator: "Exists" }] }), {
    tolerations: { default: [{ key: "a", operator: "Exists" }], whitelist: undefined },
  });
  const bad = await assertRejects(
    () => tolerations({ default: [{ key: "a b", operator: "Exists" }], whitelist: [{ key: "" }] }),
    Error,
  );
  assertEquals(
    bad.message.replaceAll(/: name part must .*?'\)/g, ": …"),
    `couldn't init admission plugin "PodTolerationRestriction": invalid config: ` +
      '[podtolerationrestriction.default[0].key: Invalid value: "a b": … ' +
      'podtolerationrestriction.whitelist[0].operator: Invalid value: "": operator must be Exists ' +
      'when `key` is empty, which means "match all values and all keys"]',
  );
  const podNodeSelectorPluginConfig = { clusterDefaultNodeSelector: "a=b", ns: "c=d" };
  assertEquals(await selectors({ podNodeSelectorPluginConfig }), {
    nodeSelectors: podNodeSelectorPluginConfig,
  });
  assertEquals(await selectors({}), { nodeSelectors: {} });
  await assertRejects(
    () => selectors({ podNodeSelectorPluginConfig: { a: 1 } }),
    Error,
    "a map of",
  );
});
