/**
 * What ends TLS before instances of a cluster, as a platform does: it asks nobody for a certificate, and passes on what is
 * inside. `deno run -A tls_proxy.ts CERT KEY HOST PORT=BACKEND[,BACKEND…] …`: each port leads to its backends in turn, past
 * those that are not there: whoever comes every other time would meet none but the one that has gone.
 */
import { connect, type Socket } from "node:net";
import { createServer } from "node:tls";

const [certFile, keyFile, host, ...ways] = Deno.args;
const [cert, key] = [certFile, keyFile].map((file) => Deno.readTextFileSync(file));

/** A connection to the first backend that takes one. */
async function present(ports: readonly number[]): Promise<Socket | undefined> {
  for (const port of ports) {
    const socket = connect({ host: "127.0.0.1", port });
    const isThere = await new Promise<boolean>((resolve) =>
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false))
    );
    if (isThere) return socket;
  }
}

for (const way of ways) {
  const [port, backends] = way.split("=");
  const all = backends.split(",").map(Number);
  let next = 0;
  const server = createServer({ cert, key }, async (client) => {
    client.on("error", () => client.destroy());
    const first = next++;
    const backend = await present(all.map((_, i) => all[(first + i) % all.length]));
    if (!backend || client.destroyed) {
      backend?.destroy();
      return void client.destroy();
    }
    client.pipe(backend).pipe(client);
    const end = () => {
      client.destroy();
      backend.destroy();
    };
    for (const side of [client, backend]) side.on("error", end).on("close", end);
  });
  await new Promise<void>((resolve) => server.listen(Number(port), host, resolve));
}
console.log("TLS ends here");
