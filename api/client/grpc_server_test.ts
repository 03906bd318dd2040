/**
 * Programs of tests that serve gRPC at a socket, in the process that also asks them. Their sessions end in a later turn,
 * as clients' do: a client that says farewell would otherwise end this process now and then (`kv/http2_client.ts`).
 */
import { type Server, ServerCredentials } from "@grpc/grpc-js";
import { endLater } from "../../kv/http2_client.ts";

/** Serves at a unix socket until `forceShutdown`. */
export async function listenAt(path: string, server: Server): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const bound = (error: Error | null) => error ? reject(error) : resolve();
    server.bindAsync(`unix://${path}`, ServerCredentials.createInsecure(), bound);
  });
  // The library has no other way to its sessions.
  for (const one of server["http2Servers"].keys()) one.on("session", endLater);
}
