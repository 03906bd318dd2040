/**
 * AlwaysPullImages: every image is pulled anew, so that only who may pull it can run it. Off by default, as
 * upstream.
 */
import { isPod, refusal } from "../admission.ts";
import { causeText, notSupported } from "../../machinery/field_errors.ts";
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import type { AdmissionPlugin } from "../contract.ts";

// deno-lint-ignore no-explicit-any -- parts of a pod's spec
type Any = any;

const PARTS = ["initContainers", "containers", "ephemeralContainers"];

/** Upstream's AlwaysPullImages. */
export const alwaysPullImages: AdmissionPlugin = {
  name: "AlwaysPullImages",
  handles(a) {
    if (!isPod(a)) return false;
    if (a.operation === "CREATE") return true;
    return a.operation === "UPDATE" && bringsImages(a.object!, a.old!);
  },
  mutate(a) {
    for (const holder of holdersOf(a.object!)) holder.object[holder.field] = "Always";
  },
  validate(a) {
    const texts = holdersOf(a.object!)
      .filter(({ object, field }) => object[field] !== "Always")
      .map(({ object, field, path }) =>
        causeText(notSupported(`${path}.${field}`, object[field] ?? "", ["Always"]))
      );
    if (texts.length) throw refusal(a, texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`);
  },
};

interface Holder {
  object: Any;
  field: string;
  path: string;
}

/** Everything in a pod that says when to pull. */
function holdersOf(pod: KubeObject): Holder[] {
  const holders: Holder[] = [];
  for (const part of PARTS) {
    for (const [i, object] of (pod.spec?.[part] ?? []).entries()) {
      holders.push({ object, field: "imagePullPolicy", path: `spec.${part}[${i}]` });
    }
  }
  for (const [i, volume] of (pod.spec?.volumes ?? []).entries()) {
    if (!volume.image) continue;
    holders.push({ object: volume.image, field: "pullPolicy", path: `spec.volumes[${i}].image` });
  }
  return holders;
}

function imagesOf(pod: DeepReadonly<KubeObject>): Set<string> {
  return new Set(PARTS.flatMap((part) => (pod.spec?.[part] ?? []).map((c: Any) => c.image)));
}

function bringsImages(pod: KubeObject, old: DeepReadonly<KubeObject>): boolean {
  const known = imagesOf(old);
  return [...imagesOf(pod)].some((image) => !known.has(image));
}
