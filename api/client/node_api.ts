/**
 * What the API server needs of a node: the kubelet's API as calls. `mod.ts` hands the server a dialer;
 * in one process it answers with the node's own handler, across processes with a connection to it.
 */

/** Where kubelets listen. */
export const KUBELET_PORT = 10250;

/** Bytes both ways. */
export interface Duplex {
  readable: ReadableStream<Uint8Array>;
  writable: WritableStream<Uint8Array>;
  close(): void;
}

export interface PodRef {
  namespace: string;
  name: string;
  uid: string;
}

export interface LogQuery {
  pod: PodRef;
  container: string;
  follow?: boolean;
  previous?: boolean;
  timestamps?: boolean;
  sinceSeconds?: number;
  sinceTime?: string;
  tailLines?: number;
  limitBytes?: number;
  /** `All`, `Stdout` or `Stderr`. */
  stream?: string;
}

export interface ExecQuery {
  pod: PodRef;
  container: string;
  command: readonly string[];
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** How a process ended: an exit code, or why it could not be run. */
export interface ProcessEnd {
  exitCode?: number;
  error?: string;
}

/** A process whose streams are attached. */
export interface RemoteProcess {
  stdin?: WritableStream<Uint8Array>;
  stdout?: ReadableStream<Uint8Array>;
  stderr?: ReadableStream<Uint8Array>;
  resize(size: { width: number; height: number }): void;
  ended: Promise<ProcessEnd>;
  /** Detaches; an exec's process is killed. */
  close(): void;
}

/** A node's API. Every call rejects with ApiError: 400 for what the container cannot do, 404, 500. */
export interface NodeApi {
  logs(query: LogQuery): Promise<ReadableStream<Uint8Array>>;
  exec(query: ExecQuery): Promise<RemoteProcess>;
  attach(query: Omit<ExecQuery, "command">): Promise<RemoteProcess>;
  portForward(pod: PodRef, port: number): Promise<Duplex>;
  /** The kubelet's plain HTTP paths: `/metrics`, `/metrics/resource`, `/stats/summary`, `/pods`, `/healthz`. */
  fetch(request: Request): Promise<Response>;
}

/** Finds a node's API by the node's name; rejects with ApiError 503 when it cannot be reached. */
export type NodeDialer = (node: string) => Promise<NodeApi>;
