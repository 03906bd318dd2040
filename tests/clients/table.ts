/**
 * Every client as a row: what it needs, how it is made, how it is run against a cluster, and the steps that it must
 * say it took. `deno task clients` runs all of them, the test suite those that are quick.
 */
import { Cluster } from "../../mod.ts";
import { Server } from "../e2e/server.ts";
import { collectorSteps } from "./collector.ts";
import { writeAssets } from "./envtest/assets.ts";
import {
  cargoBuild,
  goBuild,
  goInstall,
  type LACKS,
  mavenClasses,
  must,
  PYTHON,
  run,
} from "./languages.ts";

/** What a row is run with. */
export interface Place {
  kubeconfig: string;
  server: Server | undefined;
  /** A folder of its own. */
  folder: string;
}

/** One client. */
export interface Client {
  name: string;
  needs: readonly (keyof typeof LACKS)[];
  /** Part of the test suite too. */
  quick?: true;
  /** Flags of its cluster (default: two nodes that run what they can); "none": it starts one itself. */
  cluster?: readonly string[] | "none";
  /** Fetches and builds; may take minutes the first time. */
  make?(): Promise<unknown>;
  /** Runs it; answers with what it said. */
  run(place: Place): Promise<string>;
  /** Lines that it must say, in this order, and no others. */
  steps: readonly string[];
}

const HERE = new URL("./", import.meta.url);

function fileOf(path: string): string {
  return decodeURIComponent(new URL(path, HERE).pathname);
}

async function said(
  command: string,
  args: string[],
  env: Record<string, string>,
  cwd?: URL,
): Promise<string> {
  return (await must(command, args, { env, cwd })).text;
}

/** The names of the tests that a Go test binary says have passed; throws where one failed. */
async function goTests(path: string, folder: string, env: Record<string, string>): Promise<string> {
  const cwd = new URL(`${folder}/`, HERE);
  const { text, errors, success } = await run(path, ["-test.v"], { env, cwd });
  if (!success) throw new Error(text + errors);
  return [...text.matchAll(/^--- PASS: (\w+)/gm)].map(([, name]) => name).join("\n");
}

/** A server whose database holds so little that history lasts for a few writes only. */
async function forgetful(folder: string): Promise<Cluster & AsyncDisposable> {
  const cluster = await Cluster.start({ clock: "real", components: ["api"], bytesMax: 8_000_000 });
  await cluster.listen({ port: 0 });
  await Deno.writeTextFile(`${folder}/kubeconfig`, await cluster.kubeconfig());
  return cluster;
}

const OPERATOR = [
  "TestASiteBecomesADeploymentAndAService",
  "TestEventsAreRecorded",
  "TestBuiltInKindsTravelAsProtobuf",
  "TestRulesOfTheSchema",
  "TestValidatingWebhook",
  "TestVersionsAreConverted",
  "TestSecretsAreWatchedByMetadataAlone",
  "TestFieldsThatTheOperatorOwnsComeBack",
  "TestScaleAndSelectableFields",
  "TestAFinalizerHoldsASiteUntilItsLineIsStruck",
  "TestAnotherReplicaTakesOver",
];

/** What each example of `tests/examples` shows. */
const SHOWN = ["settle", "clock", "fork", "faults", "ledger", "reset"];

/** The test kit, from each language. */
const EXAMPLES: readonly Omit<Client, "quick" | "cluster">[] = [
  {
    name: "Example of the test kit: curl",
    needs: ["curl"],
    run: async ({ kubeconfig }) =>
      await said("bash", [fileOf("../examples/curl/example.sh")], { KUBECONFIG: kubeconfig }),
    steps: SHOWN,
  },
  {
    name: "Example of the test kit: TypeScript, over HTTP",
    needs: ["deno"],
    run: async ({ kubeconfig }) =>
      await said(
        Deno.execPath(),
        ["run", "-A", fileOf("../examples/typescript/over_http.ts")],
        { KUBECONFIG: kubeconfig },
      ),
    steps: SHOWN,
  },
  {
    name: "Example of the test kit: Python",
    needs: ["python"],
    run: async ({ kubeconfig }) => {
      const cwd = new URL("../examples/python/", HERE);
      const env = { KUBECONFIG: kubeconfig, PYTHONDONTWRITEBYTECODE: "1" };
      const { errors } = await must(PYTHON, ["-m", "unittest", "-v"], { env, cwd });
      return [...errors.matchAll(/^test_(\w+) .*ok$/gm)].map(([, name]) => name).join("\n");
    },
    steps: SHOWN.toSorted(),
  },
  {
    name: "Example of the test kit: Go",
    needs: ["go"],
    make: () => goBuild("../examples/go", { test: true }),
    run: async ({ kubeconfig }) =>
      await goTests(await goBuild("../examples/go", { test: true }), "../examples/go", {
        KUBECONFIG: kubeconfig,
      }),
    steps: SHOWN.map((name) => `Test${name[0].toUpperCase()}${name.slice(1)}`),
  },
  {
    name: "Example of the test kit: Java",
    needs: ["jdk"],
    run: async ({ kubeconfig }) =>
      await said("java", [fileOf("../examples/java/Example.java")], { KUBECONFIG: kubeconfig }),
    steps: SHOWN,
  },
];

/** All of them. */
export const CLIENTS: readonly Client[] = [
  ...EXAMPLES.map((one): Client => ({ ...one, quick: true, cluster: ["--test-kit"] })),
  {
    name: "Go: client-go",
    needs: ["go"],
    quick: true,
    make: () => goBuild("go"),
    run: async ({ kubeconfig }) => await said(await goBuild("go"), [], { KUBECONFIG: kubeconfig }),
    steps: [
      "informer by WatchList",
      "informer by LIST and WATCH",
      "dynamic and metadata informers",
      "retry watcher",
      "a Deployment becomes ready",
      "protobuf bodies both ways",
      "patch types",
      "server-side apply, typed",
      "dynamic client with a custom resource",
      "pages, and a continue token that is no token",
      "retry on conflict",
      "bookmarks and initial events",
      "leader election",
      "dry run, field validation, preconditions",
      "discovery, aggregated and legacy, says the same",
      "RESTMapper and short names",
      "OpenAPI v2 and v3",
      "scale client",
      "TokenRequest, and what its token may do",
      "impersonation",
      "reviews",
      "exec by WebSocket and by SPDY",
      "port-forward by WebSocket and by SPDY",
      "logs, followed",
      "proxy to a pod, eviction",
      "done",
    ],
  },
  {
    name: "Go: client-go, away for longer than history lasts",
    needs: ["go"],
    quick: true,
    cluster: "none",
    make: () => goBuild("go"),
    async run({ folder }) {
      await using _ = await forgetful(folder);
      return await said(await goBuild("go"), ["--expiry"], { KUBECONFIG: `${folder}/kubeconfig` });
    },
    steps: [
      "an informer by LIST and WATCH lists again after 410",
      "an informer by WatchList streams again after 410",
      "a retry watcher ends with 410",
      "a pager whose token has expired reads the whole list",
      "done",
    ],
  },
  {
    name: "Go: operator on controller-runtime, existing cluster",
    needs: ["go"],
    quick: true,
    make: () => goBuild("operator", { test: true }),
    run: async ({ kubeconfig }) =>
      await goTests(await goBuild("operator", { test: true }), "operator", {
        KUBECONFIG: kubeconfig,
        USE_EXISTING_CLUSTER: "true",
      }),
    steps: OPERATOR,
  },
  {
    name: "Go: operator on controller-runtime, envtest",
    needs: ["go"],
    quick: true,
    cluster: "none",
    make: () => goBuild("operator", { test: true }),
    async run({ folder }) {
      await writeAssets(folder);
      const env = { KUBEBUILDER_ASSETS: folder };
      return await goTests(await goBuild("operator", { test: true }), "operator", env);
    },
    steps: OPERATOR,
  },
  {
    name: "Python: kubernetes",
    needs: ["python"],
    quick: true,
    run: async ({ kubeconfig }) =>
      await said(PYTHON, [fileOf("python_client.py")], { KUBECONFIG: kubeconfig }),
    steps: [
      "lists, strictly read",
      "watch",
      "errors",
      "dynamic client, server-side apply",
      "leader election",
      "exec",
      "port-forward",
    ],
  },
  {
    name: "JavaScript: @kubernetes/client-node",
    needs: ["deno"],
    quick: true,
    run: async ({ kubeconfig }) =>
      await said(Deno.execPath(), ["run", "-A", fileOf("client_node.ts")], {
        KUBECONFIG: kubeconfig,
      }),
    steps: [
      "typed create, read, patch, conflict",
      "informer, with its connection broken in between",
      "log, followed",
      "exec, with its exit code",
      "port-forward",
    ],
  },
  {
    name: "WebSocket, as browsers and curl use it",
    needs: ["deno"],
    quick: true,
    run: async ({ kubeconfig }) =>
      await said(Deno.execPath(), ["run", "-A", fileOf("websocket_client.ts")], {
        KUBECONFIG: kubeconfig,
      }),
    steps: [
      "watch with a token among the subprotocols",
      "watch without a subprotocol, one event a text message",
      "exec by no subprotocol",
      "exec by channel.k8s.io",
      "exec by base64.channel.k8s.io",
      "exec by v4.channel.k8s.io",
      "exec by v4.base64.channel.k8s.io",
      "exec by v5.channel.k8s.io",
    ],
  },
  {
    name: "Ruby: kubeclient",
    needs: ["ruby"],
    quick: true,
    run: async ({ kubeconfig }) =>
      await said("ruby", [fileOf("ruby_client.rb")], { KUBECONFIG: kubeconfig }),
    steps: ["objects, patches, errors", "lists and pages", "watch", "a Deployment becomes ready"],
  },
  {
    name: "Java: fabric8, by both of its HTTP clients",
    needs: ["java"],
    make: () => mavenClasses("java"),
    run: async ({ kubeconfig }) =>
      await said("java", ["-cp", await mavenClasses("java"), fileOf("java/Client.java")], {
        KUBECONFIG: kubeconfig,
      }),
    steps: [
      ...["jdk", "vertx"].flatMap((http) =>
        [
          "objects, conflicts, patches",
          "watch and informer",
          "server-side apply",
          "custom resources",
          "a Deployment becomes ready",
          "exec, logs, port-forward",
        ].map((step) => `${http}: ${step}`)
      ),
      "done",
    ],
  },
  {
    name: "Rust: kube",
    needs: ["cargo"],
    make: () => cargoBuild("rust", "plesio-client"),
    run: async ({ kubeconfig }) =>
      await said(await cargoBuild("rust", "plesio-client"), [], { KUBECONFIG: kubeconfig }),
    steps: [
      "watcher by streaming lists",
      "watcher by LIST and WATCH",
      "server-side apply, conflict and force",
      "metadata and dynamic objects",
      "exec and port-forward",
      "done",
    ],
  },
  {
    name: "OpenTelemetry's collector",
    needs: ["go"],
    cluster: "none",
    make: () => goBuild("collector"),
    run: async () => await collectorSteps(await goBuild("collector")),
    steps: [
      "http/protobuf: spans by verb, resource and status",
      "http/protobuf: metrics",
      "http/json: spans by verb, resource and status",
      "http/json: metrics",
      "grpc is refused at the start",
    ],
  },
  ...[["3", "v3.22.0"], ["4", "v4.3.0"]].map(([major, version]): Client => ({
    name: `Helm ${major}`,
    needs: ["go", "kubectl"],
    quick: true,
    make: () => goInstall(`helm.sh/helm/v${major}/cmd/helm`, version),
    run: async ({ kubeconfig }) => {
      const helm = await goInstall(`helm.sh/helm/v${major}/cmd/helm`, version);
      return await said(Deno.execPath(), ["run", "-A", fileOf("helm.ts"), helm, major], {
        KUBECONFIG: kubeconfig,
      });
    },
    steps: [
      "install with hooks, a CRD and a subchart, and wait",
      "capabilities, lookup, dry run on the server",
      "upgrade keeps what others wrote",
      "rollback and history",
      "an upgrade that fails is taken back",
      "test, good and bad",
      "a release of nearly 1 MiB, and one too large",
      "uninstall",
    ],
  })),
  {
    name: "kustomize",
    needs: ["go", "kubectl"],
    quick: true,
    make: () => goInstall("sigs.k8s.io/kustomize/kustomize/v5", "v5.8.1"),
    run: async ({ kubeconfig }) => {
      const kustomize = await goInstall("sigs.k8s.io/kustomize/kustomize/v5", "v5.8.1");
      return await said(Deno.execPath(), ["run", "-A", fileOf("kustomize.ts"), kustomize], {
        KUBECONFIG: kubeconfig,
      });
    },
    steps: [
      "kustomize build, applied",
      "kubectl apply -k changes nothing",
      "a generated ConfigMap has a new name, by server-side apply",
      "kubectl delete -k",
    ],
  },
];

/** Runs a client against a cluster of its own; throws when it fails or took other steps than it must. */
export async function runClient(client: Client): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "plesio-client-" });
  const own = client.cluster === "none";
  const server = own ? undefined : await Server.start({ flags: client.cluster as string[] });
  try {
    const place = { folder, server, kubeconfig: server?.kubeconfig ?? "" };
    const text = await client.run(place);
    const steps = text.split("\n").filter((line) => line.trim() !== "");
    const [got, wanted] = [steps.join("\n"), client.steps.join("\n")];
    if (got !== wanted) throw new Error(`wanted the steps\n${wanted}\nbut got\n${got}`);
  } finally {
    await server?.stop();
    await Deno.remove(folder, { recursive: true });
  }
}
