/** The contract of a node's API over every way to it. */
import WebSocket from "ws";
import type { NodeApi } from "../../api/client/node_api.ts";
import { Tunnel } from "../../api/client/tunnel.ts";
import { answerFor, nodeThrough } from "../../api/client/tunnel_node.ts";
import { RealClock } from "../../kv/clock.ts";
import { Cluster } from "../../mod.ts";
import { socketed } from "../../api/client/socketed.ts";
import { nodeApiContract } from "./node_api.ts";
import { carrierPair } from "../../api/client/tunnel_fixture.ts";

nodeApiContract({
  name: "in process",
  open: (node) => Promise.resolve({ api: node, close: () => Promise.resolve() }),
});

nodeApiContract({
  name: "through a tunnel",
  open: (node) => {
    const clock = new RealClock();
    const [here, there] = carrierPair();
    const asking = new Tunnel(here, { clock });
    new Tunnel(there, { clock, answer: answerFor(node) });
    const close = () => Promise.resolve(asking.close("done"));
    return Promise.resolve({ api: nodeThrough(asking), close });
  },
});

/** A server that knows a node by its token. */
async function dialled(node: NodeApi) {
  const user = { name: "system:node:far", groups: ["system:nodes", "system:authenticated"] };
  const cluster = await Cluster.start({
    components: ["api"],
    clock: "real",
    tokens: new Map([["far-token", user]]),
  });
  const { url } = await cluster.listen({ port: 0 });
  const socket = new WebSocket(
    `${url.replace("https", "wss")}/api/v1/nodes/far/tunnel`,
    ["v1.tunnel.plesio.dev"],
    { headers: { authorization: "Bearer far-token" }, rejectUnauthorized: false },
  );
  const carrier = socketed(socket, "");
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  const tunnel = new Tunnel(carrier, { clock: new RealClock(), answer: answerFor(node) });
  const api = cluster.api.tunnels.find("far")!;
  const close = async () => {
    tunnel.close("done");
    await carrier.closed;
    await cluster.stop();
  };
  return { api, close };
}

nodeApiContract({ name: "dialled in over TLS", open: dialled });
