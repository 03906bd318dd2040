/**
 * What introductory texts teach, on a containerd node: the acceptance script that lies beside this repository
 * drives a cluster as a person starts it, with images made here. Without the script there is nothing to run.
 */
import { assertMatch } from "@std/assert";
import { Containerd, IMAGES, withContainerd } from "./containerd.ts";
import { Server } from "./server.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const PLACES = ["../shared", "../../shared"].map((folder) =>
  `${ROOT}${folder}/acceptance/walkthrough.sh`
);
const script = PLACES.find((path) => {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
});

const reason = !script
  ? "its script is not beside this repository"
  : !Deno.env.get("CI")
  ? "it takes five minutes; CI=1 runs it"
  : undefined;

if (reason) {
  const name = `walkthrough on containerd (left out: ${reason})`;
  Deno.test({ name, ignore: true, fn: () => {} });
} else {
  await withContainerd(import.meta.url, () => {
    Deno.test("the walkthrough passes on a containerd node beside one of isolates", async () => {
      await using containerd = await Containerd.start(["web", "newer", "deno"]);
      await using server = await Server.start({ flags: containerd.flags });
      const { stdout, stderr } = await new Deno.Command("bash", {
        args: [script!],
        env: {
          KUBECONFIG: server.kubeconfig,
          IMAGE: IMAGES.web,
          IMAGE2: IMAGES.newer,
          JS_IMAGE: IMAGES.deno,
          REAL: "1",
        },
      }).output();
      const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      const told = said.split("\n").filter((line) => !line.startsWith("ok ")).join("\n");
      assertMatch(said, /^\d+ passed, 0 failed$/m, told);
    });
  });
}
