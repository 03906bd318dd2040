/**
 * What a joined machine asks of its host: the connection to the API server, which of its addresses leads there, and
 * routes. The only file of this folder that touches the network and runs programs.
 */
import WebSocket from "ws";
import type { Endpoint } from "../../../api/client/outbound.ts";
import { socketed } from "../../../api/client/socketed.ts";
import type { Carrier } from "../../../api/client/tunnel.ts";
import type { MachineHost } from "./machine.ts";
import type { Routes } from "./routes.ts";

/** How long the server may take to answer a dial. */
const DIAL_MS_MAX = 10_000;
/** The subprotocol of a tunnel. */
const PROTOCOL = "v1.tunnel.plesio.dev";
/** Whose routes are ours: a number of rtnetlink's protocols that nobody has. */
const ROUTE_PROTOCOL = "240";

/** Opens the connection by which a node is reached. Rejects with the server's or the system's refusal. */
export async function dialTunnel(
  { url, caBundle, certificate, bearerToken }: Endpoint,
  node: string,
  way: "tunnel" | "relay" = "tunnel",
): Promise<Carrier> {
  const server = url!.replace(/^http/, "ws").replace(/\/$/, "");
  const address = `${server}/api/v1/nodes/${node}/${way}`;
  const socket = new WebSocket(address, [PROTOCOL], {
    ca: caBundle,
    ...certificate,
    ...(bearerToken && { headers: { authorization: `Bearer ${bearerToken}` } }),
    handshakeTimeout: DIAL_MS_MAX,
    perMessageDeflate: false,
  });
  const carrier = socketed(socket, PROTOCOL);
  await new Promise<void>((resolve, reject) => {
    socket.once("open", () => resolve());
    socket.once("error", reject);
    socket.once("unexpected-response", (_request, response) => {
      socket.terminate();
      reject(new Error(`the API server answered ${response.statusCode} to a tunnel`));
    });
  });
  return carrier;
}

/** Opens the connection by which a node of another process is asked. */
export function dialRelay(process: Endpoint, node: string): Promise<Carrier> {
  return dialTunnel(process, node, "relay");
}

/** This machine. */
export function machineHost(): MachineHost {
  return { dialTunnel, wayTo, ...(mayRoute() && { routes: hostRoutes() }) };
}

/** The two ends of the way to the API server. */
interface WayToServer {
  /** This machine's address. */
  local: string;
  /** The server's. */
  remote: string;
}

/** Which address of this machine leads to a server. Rejects while none does. */
export async function wayTo(url: string): Promise<WayToServer> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  const connection = await Deno.connect({ hostname: host, port: Number(port) || 443 });
  const { localAddr, remoteAddr } = connection;
  connection.close();
  return {
    local: (localAddr as Deno.NetAddr).hostname,
    remote: (remoteAddr as Deno.NetAddr).hostname,
  };
}

/** Whether this process may write routes. */
function mayRoute(): boolean {
  return Deno.build.os === "linux" && Deno.uid() === 0;
}

/**
 * The routes to other machines' pods. They lie in the table `local`, where the whole pod range is this machine's: the
 * longer prefix wins there.
 */
export function hostRoutes(): Routes {
  return {
    async list() {
      const found = new Map<string, string>();
      for (const family of ["-4", "-6"]) {
        const shown = ["-o", family, "route", "show", "table", "local", "proto", ROUTE_PROTOCOL];
        const { stdout } = await ip(shown);
        for (const [, range, gateway] of stdout.matchAll(/^(?:unicast )?(\S+) via (\S+)/gm)) {
          found.set(
            range.includes("/") ? range : `${range}/${family === "-4" ? 32 : 128}`,
            gateway,
          );
        }
      }
      return found;
    },
    async set(range, gateway) {
      const to = ["route", "replace", "unicast", range, "via", gateway, "table", "local"];
      const { success, stderr } = await ip([familyOf(range), ...to, "proto", ROUTE_PROTOCOL]);
      if (!success) throw new Error(stderr.trim());
    },
    async remove(range) {
      const from = ["route", "del", range, "table", "local", "proto", ROUTE_PROTOCOL];
      await ip([familyOf(range), ...from]);
    },
  };
}

function familyOf(range: string): string {
  return range.includes(":") ? "-6" : "-4";
}

async function ip(args: string[]) {
  const command = new Deno.Command("ip", { args, stdout: "piped", stderr: "piped" });
  const { success, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { success, stdout: text(stdout), stderr: text(stderr) };
}
