/** What validation of a pod spec needs to know about where the spec stands. */
export interface PodOptions {
  /** A pod itself, not a template: some things may be left open in templates. */
  isPod: boolean;
  /** The pod's name, where it is known. */
  podName?: string;
  /** The stored pod had selectors with invalid label values; they stay allowed. */
  allowInvalidLabelValues?: boolean;
}

/** Of templates. */
export const TEMPLATE: PodOptions = { isPod: false };
