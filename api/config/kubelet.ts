/**
 * The kubelet's flags: what nodes of this machine are told. Names, values and meaning are upstream's (v1.36,
 * `cmd/kubelet/app/options`); fields that upstream has in its configuration file alone have their names in kebab case.
 */
import { type Flag, text, UsageError } from "./flag_types.ts";

/** All of them. */
export const KUBELET_FLAGS = {
  "pod-manifest-path": text(
    "folder of static pods (or one file): what is in it runs on the first node, whatever the API says",
    "DIR",
  ),
} as const satisfies Record<string, Flag<unknown>>;

type Values = { [Name in keyof typeof KUBELET_FLAGS]: (typeof KUBELET_FLAGS)[Name]["default"] };

/** What nodes are told. */
export interface KubeletOptions {
  /** Where manifests of static pods are. */
  manifests?: string;
}

/** What flags tell nodes. Throws UsageError. */
export function kubeletOptions(flags: Values): KubeletOptions {
  const manifests = flags["pod-manifest-path"];
  if (manifests !== undefined && !manifests.startsWith("/")) {
    throw new UsageError(
      `--pod-manifest-path must be an absolute path such as /etc/kubernetes/manifests, not "${manifests}"`,
    );
  }
  return { manifests };
}
