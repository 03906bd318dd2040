/**
 * What ends TLS before instances of a cluster, as a platform does: it asks nobody for a certificate, and passes on what is
 * inside. `deno run -A tls_proxy.ts CERT KEY HOST PORT=BACKEND[,BACKEND…] …`: each port leads to its backends in turn.
 */
import { connect } from "node:net";
import { createServer } from "node:tls";

const [certFile, keyFile, host, ...ways] = Deno.args;
const [cert, key] = [certFile, keyFile].map((file) => Deno.readTextFileSync(file));

for (const way of ways) {
  const [port, backends] = way.split("=");
  const all = backends.split(",").map(Number);
  let next = 0;
  const server = createServer({ cert, key }, (client) => {
    const backend = connect({ host: "127.0.0.1", port: all[next++ % all.length] });
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
