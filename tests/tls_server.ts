/** An HTTPS server on the loopback with a certificate of its own authority, for tests of what the server calls. */
import { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { createServer } from "node:https";
import { createAuthority, issueClient, issueServer } from "../api/auth/mod.ts";
import { RealClock } from "../kv/mod.ts";

/** A request as it came in. */
export interface Heard {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: string;
  /** The common name of the client's certificate, if it was good. */
  client?: string;
}

/** What is answered. */
export interface Said {
  status?: number;
  headers?: Record<string, string>;
  body: string | Uint8Array;
  /** The answer ends no earlier than this. */
  until?: Promise<unknown>;
}

/** A running server; `await using` closes it. */
export interface TlsServer extends AsyncDisposable {
  port: number;
  /** Its authority, PEM. */
  ca: string;
  /** Its own certificate, PEM. */
  certificate: string;
  /** A certificate and key that it accepts of a client. */
  client: { cert: string; key: string };
  heard: Heard[];
}

const clock = new RealClock();
const material = (async () => {
  const authority = await createAuthority(clock);
  const client = await issueClient(authority, clock, { commonName: "apiserver" });
  return { authority, client };
})();

/** Serves `answer` under `names` on any free port of `host` (default 127.0.0.1). */
export async function tlsServer(
  names: string[],
  answer: (heard: Heard) => Said | Promise<Said>,
  options: { host?: string; port?: number } = {},
): Promise<TlsServer> {
  const { authority, client } = await material;
  const own = await issueServer(authority, clock, { names });
  const heard: Heard[] = [];
  const server = createServer({
    cert: own.certificatePem,
    key: own.keyPem,
    ca: authority.certificatePem,
    requestCert: true,
    rejectUnauthorized: false,
  }, (req, res) => {
    const parts: Uint8Array[] = [];
    req.on("data", (part: Uint8Array) => parts.push(part));
    req.on("end", async () => {
      const one: Heard = {
        method: req.method ?? "",
        url: req.url ?? "",
        headers: req.headers,
        body: Buffer.concat(parts).toString(),
        // deno-lint-ignore no-explicit-any
        client: (req.socket as any).getPeerCertificate?.()?.subject?.CN,
      };
      heard.push(one);
      const { status = 200, headers = {}, body, until } = await answer(one);
      res.writeHead(status, { "content-type": "application/json", ...headers });
      res.write(body);
      await until;
      res.end();
    });
  });
  const { host = "127.0.0.1", port = 0 } = options;
  await new Promise<void>((resolve) => server.listen(port, host, () => resolve()));
  return {
    port: (server.address() as { port: number }).port,
    ca: authority.certificatePem,
    certificate: own.certificatePem,
    client: { cert: client.certificatePem, key: client.keyPem },
    heard,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}
