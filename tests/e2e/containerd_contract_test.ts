/** The contract of container runtimes (`tests/contracts/runtime.ts`), over CRI on a containerd of the tests' own. */
import { RealClock } from "../../kv/clock.ts";
import { CriRuntime } from "../../actors/nodes/runtimes/cri.ts";
import { confList } from "../../actors/nodes/network/cni.ts";
import { runtimeContract } from "../contracts/runtime.ts";
import { Containerd, IMAGES, withContainerd } from "./containerd.ts";

await withContainerd(import.meta.url, () => {
  let containerd: Containerd | undefined;
  runtimeContract({
    name: "cri",
    image: IMAGES.busybox,
    quits: (code) => ["sh", "-c", `echo bye; exit ${code}`],
    idles: ["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 1000 & wait $!; done"],
    hears: "up\n",
    says: /^bye\n$/,
    open: async (folder) => {
      containerd ??= await Containerd.start(["busybox"]);
      const state = `${folder}/cni`;
      const conf = confList({ bridge: "cni0", podCIDRs: ["10.244.1.0/24"], state });
      await Deno.writeTextFile(`${containerd.cniFolder}/10-test.conflist`, JSON.stringify(conf));
      const runtime = await CriRuntime.connect({
        endpoint: containerd.endpoint,
        clock: new RealClock(),
        folder,
        logs: `${folder}/logs`,
        machineBytes: 2 ** 33,
        secret: () => Promise.resolve(undefined),
        handler: () => Promise.resolve(""),
        log: () => {},
      });
      while (await runtime.problem()) await new Promise((resolve) => setTimeout(resolve, 50));
      await runtime.load();
      await runtime.sweep(new Set());
      return runtime;
    },
    pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    skips: {
      "an image it runs is pulled, another it refuses to run":
        "whether it can run an image only a registry knows",
      "exec without processes is refused": "its containers are processes",
      "closing ends everything": "what it runs outlives this process, on purpose",
    },
  });
});
