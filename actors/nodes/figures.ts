/** What is measured of a machine and its pods: plain numbers, as whoever measures hands them in. */

/** What something takes of a file system. */
export interface SpaceUsed {
  usedBytes: number;
  inodesUsed: number;
}

/** A file system and what something takes of it. */
export interface FileSystem extends SpaceUsed {
  capacityBytes: number;
  availableBytes: number;
  inodes: number;
  inodesFree: number;
}

/** The file system of images and containers. */
export interface ImageFileSystem extends FileSystem {
  /** It is another than the node's. */
  own: boolean;
}

/** A volume of a pod. */
export interface VolumeFigures extends FileSystem {
  name: string;
  /** The claim that it belongs to. */
  claim?: string;
  /** It lies on the node's own disk and goes with the pod: it counts as ephemeral storage. */
  ephemeral: boolean;
}

/** A network interface since it was made. */
export interface InterfaceFigures {
  name: string;
  rxBytes: number;
  rxErrors: number;
  txBytes: number;
  txErrors: number;
}

/** What a pod's sandbox knows of all its containers together. */
export interface SandboxFigures {
  /** The pod's own first; none where it has its node's network. */
  interfaces: InterfaceFigures[];
  processes?: number;
}

/** A machine as a whole. */
export interface MachineFigures {
  /** Since it was started. */
  cpuNanoseconds: number;
  cpuNanoCores: number;
  memory: {
    capacityBytes: number;
    /** All that is not free, caches included. */
    usageBytes: number;
    /** What cannot be taken back without harm. */
    workingSetBytes: number;
    rssBytes: number;
    pageFaults: number;
    majorPageFaults: number;
  };
  swap: { capacityBytes: number; usageBytes: number };
  interfaces: InterfaceFigures[];
  processes: number;
  processesMax: number;
}

/** Measures a node's machine. */
export interface Meter {
  machine(): Promise<MachineFigures>;
  /** The file system of the node's folder. */
  nodeFs(): Promise<FileSystem>;
  /** That of images and containers; undefined where nobody says. */
  imageFs?(): Promise<ImageFileSystem | undefined>;
}
