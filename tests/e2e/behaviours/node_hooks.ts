/** Node: what runs at a container's begin and before its end. */
import { assert } from "@std/assert";
import type { Behaviour, Manifest } from "./behaviour.ts";
import { get, type Program, STAY } from "./programs.ts";
import { eventually, type Scene, statusOf } from "./scene.ts";

/** Writes each path that is asked for into its log. */
const LISTENER: Program = {
  sh: "mkdir /tmp/w; cd /tmp/w; touch post pre begin end; exec httpd -f -vv -p 8080 -h /tmp/w",
  ts:
    `Deno.serve({ port: 8080 }, ({ url }) => { say("url:" + new URL(url).pathname); return new Response() })`,
};

/** A listener, and a pod with a hook that speaks to it at an address. */
async function withListener(scene: Scene, hookOf: (ip: string) => Manifest): Promise<void> {
  const readinessProbe = { tcpSocket: { port: 8080 }, periodSeconds: 1 };
  await scene.pod("ear", { run: LISTENER, container: { readinessProbe } });
  const { podIP } = (await scene.ready("ear")).status;
  const lifecycle = hookOf(podIP);
  await scene.pod("p", { run: STAY, container: { lifecycle } });
  await scene.ready("p");
}

const heard = (scene: Scene, path: string) =>
  eventually(`word of ${path}`, async () => (await scene.logs("ear")).includes(`url:${path}`));

const asks = (ip: string, path: string) => ({ httpGet: { host: ip, port: 8080, path } });

/** It is gone soon after the wish (`gracePeriodSeconds` with it), but not before its hook may be over. */
async function endsSoon(scene: Scene, least = 0, gracePeriodSeconds?: number): Promise<void> {
  const since = performance.now();
  await scene.gone("Pod", "p", gracePeriodSeconds);
  const seconds = (performance.now() - since) / 1000;
  assert(seconds >= least && seconds < 15, `${seconds} s`);
}

/** How long a hook before the end may hold a pod up: at `least` so many seconds. */
const ends = (
  name: string,
  { preStop, grace, least }: { preStop: Manifest; grace: number; least?: number },
): Behaviour => ({
  name,
  pod: {
    run: STAY,
    container: { lifecycle: { preStop } },
    spec: { terminationGracePeriodSeconds: grace },
  },
  then: async (scene) => {
    await scene.ready("p");
    await endsSoon(scene, least);
  },
});

export const HOOKS: readonly Behaviour[] = [
  {
    name: "Container Lifecycle Hook should execute poststart exec hook properly",
    then: async (scene) => {
      await withListener(scene, (ip) => ({
        postStart: { exec: { run: get(`http://${ip}:8080/post`) } },
      }));
      await heard(scene, "/post");
    },
  },
  {
    name: "Container Lifecycle Hook should execute prestop exec hook properly",
    then: async (scene) => {
      await withListener(scene, (ip) => ({
        preStop: { exec: { run: get(`http://${ip}:8080/pre`) } },
      }));
      await scene.gone("Pod", "p");
      await heard(scene, "/pre");
    },
  },
  {
    name: "Container Lifecycle Hook should execute poststart and prestop http hook properly",
    then: async (scene) => {
      await withListener(scene, (ip) => ({
        postStart: asks(ip, "/begin"),
        preStop: asks(ip, "/end"),
      }));
      await heard(scene, "/begin");
      assert(!(await scene.logs("ear")).includes("/end"));
      await scene.gone("Pod", "p");
      await heard(scene, "/end");
    },
  },
  {
    name: "Container Lifecycle Hook should restart a container whose poststart hook fails",
    pod: {
      run: STAY,
      container: { lifecycle: { postStart: { exec: { run: "echo not so >&2; exit 5" } } } },
    },
    then: async (scene) => {
      await scene.event(/Warning FailedPostStartHook PostStartHook failed/);
      await scene.is("Pod", "p", (pod) => statusOf(pod)?.restartCount > 0);
    },
  },
  ends("PreStop should wait until preStop hook completes the process", {
    preStop: { exec: { run: "sleep 2" } },
    grace: 20,
    least: 2,
  }),
  ends("PreStop should be cut short at the end of the grace period", {
    preStop: { exec: { run: "sleep 100" } },
    grace: 1,
  }),
  ends("Lifecycle sleep action valid prestop hook using sleep action", {
    preStop: { sleep: { seconds: 2 } },
    grace: 20,
    least: 2,
  }),
  ends("Lifecycle sleep action prestop hook using sleep action with zero duration", {
    preStop: { sleep: { seconds: 0 } },
    grace: 30,
  }),
  {
    name: "Lifecycle sleep action reduce GracePeriodSeconds during runtime",
    pod: {
      run: STAY,
      container: { lifecycle: { preStop: { sleep: { seconds: 100 } } } },
      spec: { terminationGracePeriodSeconds: 300 },
    },
    then: async (scene) => {
      await scene.ready("p");
      await scene.delete("Pod", "p");
      await endsSoon(scene, 0, 1);
    },
  },
  {
    name: "Lifecycle sleep action ignore terminated container",
    pod: {
      run: "exit 0",
      container: { lifecycle: { preStop: { sleep: { seconds: 100 } } } },
      spec: { terminationGracePeriodSeconds: 300 },
    },
    ends: "Succeeded",
    then: async (scene) => {
      await endsSoon(scene);
    },
  },
];
