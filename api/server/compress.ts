/** Long answers made shorter for clients that take gzip, as upstream does it: above a size, fast rather than small. */
import { constants, createGzip, gzip } from "node:zlib";
import { joinedBytes } from "../machinery/joined_bytes.ts";
import { type Call, isStream, type Reply } from "./http.ts";

/** Answers up to this size are sent as they are (upstream's). */
export const GZIP_BYTES_MIN = 128 * 1024;
const LEVEL = constants.Z_BEST_SPEED;

/** Whether a client takes gzip. */
export function takesGzip(call: Call): boolean {
  const accepted = call.header("accept-encoding");
  return !!accepted?.includes("gzip") &&
    accepted.split(",").some((token) => token.trim() === "gzip");
}

/** A reply, compressed if it is long. */
export async function compressed(reply: Reply): Promise<Reply> {
  const { body } = reply;
  if (!body || reply.headers["content-encoding"]) return reply;
  if (!isStream(body)) {
    if (body.length <= GZIP_BYTES_MIN) return reply;
    return zipped(reply, await gzipped(body));
  }
  // How long it is shows when its first pieces are there
  const pieces = body[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let bytes = 0;
  while (bytes <= GZIP_BYTES_MIN) {
    const { done, value } = await pieces.next();
    if (done) return { ...reply, body: joinedBytes(first) };
    first.push(value);
    bytes += value.length;
  }
  return zipped(reply, zipping(first, pieces));
}

function zipped(reply: Reply, body: Reply["body"]): Reply {
  const { vary } = reply.headers;
  const headers = {
    ...reply.headers,
    "content-encoding": "gzip",
    vary: vary ? `${vary}, Accept-Encoding` : "Accept-Encoding",
  };
  return { ...reply, headers, body };
}

function gzipped(bytes: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) =>
    gzip(bytes, { level: LEVEL }, (error, out) => error ? reject(error) : resolve(out))
  );
}

/** The pieces, compressed as they come. */
async function* zipping(
  first: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const stream = createGzip({ level: LEVEL });
  const ready: Uint8Array[] = [];
  stream.on("data", (data: Uint8Array) => ready.push(data));
  const write = (piece: Uint8Array) =>
    new Promise<void>((resolve, reject) =>
      stream.write(piece, (error) => error ? reject(error) : resolve())
    );
  try {
    for (const piece of first) await write(piece);
    for (;;) {
      while (ready.length > 0) yield ready.shift()!;
      const { done, value } = await rest.next();
      if (done) break;
      await write(value);
    }
    await new Promise<void>((resolve) => {
      stream.on("end", resolve);
      stream.end();
    });
    while (ready.length > 0) yield ready.shift()!;
  } finally {
    stream.destroy();
    await rest.return?.();
  }
}
