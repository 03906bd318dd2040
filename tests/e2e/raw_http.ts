/**
 * A lean HTTP/1.1 client over TLS for load: one connection, one request at a time, no parsing beyond status
 * and length. It costs a few microseconds a request, so that a benchmark measures the server.
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** How to reach the server and who is asking. */
export interface Access {
  hostname: string;
  port: number;
  caPem: string;
  certificatePem: string;
  keyPem: string;
  /** A bearer token, in the place of the certificate. */
  token?: string;
}

/** An answer: its body's bytes are only valid until the next request. */
export interface RawAnswer {
  status: number;
  body: Uint8Array;
}

/** See the module's text. */
export class RawConnection {
  readonly #connection: Deno.TlsConn;
  /** Lines of every request's head. */
  readonly #lines: string;
  #buffer = new Uint8Array(1 << 16);
  #from = 0;
  #to = 0;

  private constructor(connection: Deno.TlsConn, token: string | undefined) {
    this.#connection = connection;
    const credentials = token ? `Authorization: Bearer ${token}\r\n` : "";
    this.#lines = `Host: bench\r\nAccept: application/json\r\n${credentials}`;
  }

  static async open(access: Access): Promise<RawConnection> {
    const connection = await Deno.connectTls({
      hostname: access.hostname,
      port: access.port,
      caCerts: [access.caPem],
      ...!access.token && { cert: access.certificatePem, key: access.keyPem },
      alpnProtocols: ["http/1.1"],
    });
    return new RawConnection(connection, access.token);
  }

  /** Sends a request and reads the whole answer. */
  async request(
    method: string,
    path: string,
    body?: Uint8Array,
    type = "application/json",
  ): Promise<RawAnswer> {
    await this.#send(method, path, body, type);
    const { status, length, chunked } = await this.#head();
    return { status, body: chunked ? await this.#chunks() : await this.#take(length) };
  }

  /** Sends a GET and yields the pieces of a streamed answer as they come. */
  async *stream(path: string): AsyncGenerator<Uint8Array> {
    await this.#send("GET", path, undefined, "");
    const { status } = await this.#head();
    if (status !== 200) {
      throw new Error(`GET ${path}: ${status} ${decoder.decode(await this.#chunks())}`);
    }
    for (;;) {
      const size = parseInt(await this.#line(), 16);
      if (size === 0) return;
      yield await this.#take(size);
      await this.#take(2);
    }
  }

  close(): void {
    this.#connection.close();
  }

  async #send(
    method: string,
    path: string,
    body: Uint8Array | undefined,
    type: string,
  ): Promise<void> {
    const head = encoder.encode(
      `${method} ${path} HTTP/1.1\r\n${this.#lines}` +
        (body ? `Content-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n` : "\r\n"),
    );
    const whole = body ? new Uint8Array(head.length + body.length) : head;
    if (body) {
      whole.set(head);
      whole.set(body, head.length);
    }
    for (let sent = 0; sent < whole.length;) {
      sent += await this.#connection.write(whole.subarray(sent));
    }
  }

  async #head(): Promise<{ status: number; length: number; chunked: boolean }> {
    const status = Number((await this.#line()).slice(9, 12));
    let length = 0;
    let chunked = false;
    for (;;) {
      const line = await this.#line();
      if (line === "") return { status, length, chunked };
      const lower = line.toLowerCase();
      if (lower.startsWith("content-length:")) length = Number(line.slice(15));
      else if (lower.startsWith("transfer-encoding:")) chunked = true;
    }
  }

  async #chunks(): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let total = 0;
    for (;;) {
      const size = parseInt(await this.#line(), 16);
      const part = (await this.#take(size)).slice();
      await this.#take(2);
      if (size === 0) break;
      parts.push(part);
      total += size;
    }
    const whole = new Uint8Array(total);
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  async #line(): Promise<string> {
    for (let searched = this.#from;;) {
      const end = this.#buffer.subarray(0, this.#to).indexOf(10, searched);
      if (end >= 0) {
        const line = decoder.decode(this.#buffer.subarray(this.#from, end - 1));
        this.#from = end + 1;
        return line;
      }
      const held = this.#to - this.#from;
      await this.#fill();
      searched = this.#from + held;
    }
  }

  async #take(length: number): Promise<Uint8Array> {
    while (this.#to - this.#from < length) await this.#fill();
    const taken = this.#buffer.subarray(this.#from, this.#from + length);
    this.#from += length;
    return taken;
  }

  async #fill(): Promise<void> {
    if (this.#from > 0) {
      this.#buffer.copyWithin(0, this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
    }
    if (this.#to === this.#buffer.length) {
      const larger = new Uint8Array(this.#buffer.length * 2);
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    const read = await this.#connection.read(this.#buffer.subarray(this.#to));
    if (read === null) throw new Error("the server closed the connection");
    this.#to += read;
  }
}
