/**
 * How the API server reaches what lies outside it and was named by configuration: webhooks of every sort, aggregated
 * API servers, identity providers. One port, so that who calls out needs no sockets and tests hand in a fake.
 *
 * What every implementation promises: redirects are never followed; time and bytes are bounded; a certificate is
 * checked against the endpoint's own authorities and name; a Service is reached at one of its ready endpoints, and only
 * where the cluster's own addresses lie. What fails rejects with `OutboundError`.
 */
import { StacklessError } from "../machinery/stackless_error.ts";
import type { Socket } from "../server/listen.ts";

/** Where something outside is reached: exactly one of `url` and `service`. */
export interface Endpoint {
  url?: string;
  service?: { namespace: string; name: string; /** Default 443. */ port?: number; path?: string };
  /** Authorities in PEM; absent: those of this machine. */
  caBundle?: string;
  /** Any certificate will do. */
  insecureSkipTlsVerify?: boolean;
  /** The name that the certificate must carry; default: the URL's host, or `<name>.<namespace>.svc`. */
  serverName?: string;
  /** Who we are, in PEM. */
  certificate?: { cert: string; key: string };
  bearerToken?: string;
}

/** What is sent. */
export interface OutboundRequest {
  method: string;
  /** Appended to the endpoint's path. */
  path?: string;
  /** Without the question mark. */
  query?: string;
  /** Several values become several headers. */
  headers?: Readonly<Record<string, string | string[]>>;
  body?: Uint8Array;
  /** Until the answer's head is there; for `send` until all of it is. Default 30,000. */
  timeoutMs?: number;
  /** Most bytes of an answer; more is an error. Default 16 MiB for `send`, none for `open`. */
  bytesMax?: number;
  signal?: AbortSignal;
}

/** Headers of an answer, by lower-case name. */
export type OutboundHeaders = Readonly<Record<string, string | readonly string[]>>;

/** An answer whose body is still coming. Whoever does not read it to its end returns the iterator. */
export interface OutboundReply {
  status: number;
  headers: OutboundHeaders;
  body: AsyncIterable<Uint8Array>;
}

/** A whole answer. */
export interface OutboundAnswer {
  status: number;
  headers: OutboundHeaders;
  body: Uint8Array;
}

/** The way out. */
export interface Outbound {
  open(endpoint: Endpoint, request: OutboundRequest): Promise<OutboundReply>;
  /** Collects the answer. */
  send(endpoint: Endpoint, request: OutboundRequest): Promise<OutboundAnswer>;
  /** A raw connection (TLS for https), for protocols that are not HTTP. */
  connect(endpoint: Endpoint): Promise<Socket>;
}

/** What went wrong on the way. */
export type OutboundFailure =
  /** Took too long, or the asker went away. */
  | "timeout"
  /** No such Service, port or ready endpoint; its address is not the cluster's. */
  | "unresolved"
  /** The certificate is not good. */
  | "certificate"
  /** Could not be connected to, or the connection broke. */
  | "connection"
  /** Sent more than was asked for. */
  | "tooLarge";

/**
 * Why there is no answer, in Go's words: `Post "https://…": dial tcp 127.0.0.1:1: connect: connection refused`.
 * Clients of upstream match on them.
 */
export class OutboundError extends StacklessError {
  readonly failure: OutboundFailure;

  constructor(message: string, failure: OutboundFailure) {
    super(message);
    this.name = "OutboundError";
    this.failure = failure;
  }
}
