/** Conversions between versions that differ in name only. */
import { edit } from "../machinery/edit.ts";
import type { DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";

/** A conversion of a kind to and from its storage version. */
export type Storage = NonNullable<Kind["storage"]>;

/** Builds a conversion from two apiVersions and two functions that change private copies. */
export function converted(
  apiVersion: string,
  storedVersion: string,
  to: (object: KubeObject) => void,
  from: (object: KubeObject) => void,
): Storage {
  return {
    version: storedVersion,
    toStorage(object: KubeObject): KubeObject {
      const copy = edit<KubeObject>(object);
      copy.apiVersion = storedVersion;
      to(copy);
      return copy;
    },
    fromStorage(object: DeepReadonly<KubeObject>): KubeObject {
      const copy = edit<KubeObject>(object);
      copy.apiVersion = apiVersion;
      from(copy);
      return copy;
    },
  };
}

/** A conversion that changes nothing but apiVersion. */
export function renamed(group: string, version: string, stored: string): Storage {
  const nothing = () => {};
  return converted(`${group}/${version}`, `${group}/${stored}`, nothing, nothing);
}
