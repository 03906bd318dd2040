import { assertEquals } from "@std/assert";
import { Cluster } from "../../../mod.ts";

Deno.test("pods get their namespace's node selector, and keep others away from nodes only", async () => {
  const enable = ["PodNodeSelector", "LimitPodHardAntiAffinityTopology"];
  await using cluster = await Cluster.start({ components: ["api"], admission: { enable } });
  const post = async (path: string, body: object) => {
    const response = await cluster.fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    return response.status < 400 ? answer.spec?.nodeSelector : answer.message;
  };
  const namespace = async (name: string, selector: string) => {
    const annotations = { "scheduler.alpha.kubernetes.io/node-selector": selector };
    await post("/api/v1/namespaces", { metadata: { name, annotations } });
    const account = { metadata: { name: "default" } };
    await post(`/api/v1/namespaces/${name}/serviceaccounts`, account);
    return `/api/v1/namespaces/${name}/pods?dryRun=All`;
  };
  const pod = (spec: object) => ({
    metadata: { name: "p" },
    spec: { containers: [{ name: "c", image: "x" }], ...spec },
  });
  const pods = await namespace("sel", "env=test,zone=a");
  assertEquals(await post(pods, pod({})), { env: "test", zone: "a" });
  assertEquals(await post(pods, pod({ nodeSelector: { other: "x" } })), {
    env: "test",
    zone: "a",
    other: "x",
  });
  assertEquals(
    await post(pods, pod({ nodeSelector: { env: "prod" } })),
    'pods "p" is forbidden: pod node label selector conflicts with its namespace node label selector',
  );
  assertEquals(
    await post(await namespace("bad", "env in (x"), pod({})),
    "invalid selector: [env in (x]",
  );
  const away = (topologyKey: string) =>
    pod({
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey, labelSelector: {} }],
        },
      },
    });
  assertEquals(await post(pods, away("kubernetes.io/hostname")), { env: "test", zone: "a" });
  assertEquals(
    await post(pods, away("zone")),
    'pods "p" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone ' +
      "but only key kubernetes.io/hostname is allowed",
  );
});
