/** What a node is told by whoever starts it, beyond what it is and what it runs. All of it may be left out. */

/** See the module's text. */
export interface KubeletOptions {
  /** Where the manifests of its static pods are: a folder, or one file (none). */
  manifests?: string;
}
