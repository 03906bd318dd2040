/** What a node is told by whoever starts it, beyond what it is and what it runs: as the kubelet's flags say it. */
export type {
  Amount,
  EvictionOptions,
  KubeletOptions,
  ShutdownPeriod,
  Signal,
  Threshold,
} from "../../api/config/kubelet.ts";
