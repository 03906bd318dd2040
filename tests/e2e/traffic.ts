/**
 * Steady traffic to a service, as a process of its own: so many requests a second, each on a connection of its own,
 * and a few streams that stay open. Whatever fails is told with the moment it began and ended, so that a test can say
 * who may be the reason. It runs where a pod runs, if it is told a network namespace.
 *
 * The server behind it says its name on its first line, and echoes lines on its second port.
 */

/** Something that was not answered as it must be. Times are of the wall clock, in ms. */
export interface Failure {
  what: "request" | "stream";
  began: number;
  ended: number;
  why: string;
  /** Of a stream: whom it was connected to. */
  to?: string;
}

interface Counts {
  sent: number;
  answered: number;
  /** Answered, but only after `SLOW_MS`: the kernel had to send again. */
  slow: number;
}

export interface TrafficOptions {
  address: string;
  port: number;
  perSecond: number;
  /** The port that echoes; none: no streams. */
  echo?: number;
  /** Whose network it has: that of a process. */
  pid?: number;
}

/** A request that takes longer is lost. */
const LOST_MS = 5_000;
const SLOW_MS = 900;
const STREAMS = 6;
const ECHO_MS = 100;
const TOLD_MS = 100;

/** The process as a test sees it. */
export class Traffic {
  readonly failures: Failure[] = [];
  counts: Counts = { sent: 0, answered: 0, slow: 0 };
  readonly #process: Deno.ChildProcess;
  readonly #read: Promise<void>;

  private constructor(process: Deno.ChildProcess) {
    this.#process = process;
    this.#read = this.#listen();
  }

  /** Starts it and waits for its first answer. */
  static async start(options: TrafficOptions): Promise<Traffic> {
    const { pid } = options;
    const program = new URL(import.meta.url).pathname;
    const run = [Deno.execPath(), "run", "-A", "--no-check", program, JSON.stringify(options)];
    const [first, ...args] = pid ? ["nsenter", `--net=/proc/${pid}/ns/net`, ...run] : run;
    const process = new Deno.Command(first, { args, stdin: "piped", stdout: "piped" }).spawn();
    const traffic = new Traffic(process);
    const end = performance.now() + 10_000;
    while (traffic.counts.answered === 0) {
      if (performance.now() > end) {
        throw new Error(`no answer: ${JSON.stringify(traffic.failures)}`);
      }
      await delay(20);
    }
    return traffic;
  }

  async #listen(): Promise<void> {
    let rest = "";
    for await (const text of this.#process.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const said = JSON.parse(line) as Failure | Counts;
        if ("why" in said) this.failures.push(said);
        else this.counts = said;
      }
    }
  }

  /** Ends it once what is under way has been answered. */
  async stop(): Promise<void> {
    await this.#process.stdin.close().catch(() => undefined);
    await this.#process.status;
    await this.#read;
  }

  /** What failed of all that was under way since a moment. */
  since(at: number): Failure[] {
    return this.failures.filter(({ ended }) => ended >= at);
  }
}

const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** The next bytes of a connection; rejects when they do not come in time. */
async function next(connection: Deno.Conn, ms: number): Promise<string> {
  const buffer = new Uint8Array(4096);
  const timer = setTimeout(() => connection.close(), ms);
  try {
    const read = await connection.read(buffer);
    return read === null ? "" : decoder.decode(buffer.subarray(0, read));
  } finally {
    clearTimeout(timer);
  }
}

async function connectTo(hostname: string, port: number): Promise<Deno.TcpConn> {
  return await Deno.connect({ hostname, port, signal: AbortSignal.timeout(LOST_MS) });
}

function tell(said: Failure | Counts): void {
  Deno.stdout.writeSync(encoder.encode(`${JSON.stringify(said)}\n`));
}

/** One request, answered with somebody's name. */
async function ask({ address, port }: TrafficOptions): Promise<void> {
  using connection = await connectTo(address, port);
  await connection.write(encoder.encode("GET / HTTP/1.0\r\n\r\n"));
  let answer = "";
  for (let text; (text = await next(connection, LOST_MS));) answer += text;
  if (!/^HTTP\/1\.\d 200 [^]*\r\n\r\n\S+\n$/.test(answer)) {
    throw new Error(`answered with ${JSON.stringify(answer.slice(0, 40))}`);
  }
}

async function requests(options: TrafficOptions, ended: AbortSignal): Promise<void> {
  const counts: Counts = { sent: 0, answered: 0, slow: 0 };
  const open = new Set<Promise<void>>();
  const one = async () => {
    const began = Date.now();
    try {
      await ask(options);
      counts.answered++;
      if (Date.now() - began > SLOW_MS) counts.slow++;
    } catch (error) {
      tell({ what: "request", began, ended: Date.now(), why: String(error) });
    }
  };
  const start = performance.now();
  let toldAt = 0;
  while (!ended.aborted) {
    // Those that are due: a process that was kept waiting sends them late, not less.
    const due = Math.floor((performance.now() - start) / 1000 * options.perSecond);
    for (; counts.sent < due; counts.sent++) {
      const asked = one().finally(() => open.delete(asked));
      open.add(asked);
    }
    if (performance.now() - toldAt > TOLD_MS) {
      toldAt = performance.now();
      tell(counts);
    }
    await delay(1000 / options.perSecond);
  }
  await Promise.all(open);
  tell(counts);
}

/** Keeps a connection open and says something on it all the time; another when it ends. */
async function stream({ address, echo }: TrafficOptions, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    const began = Date.now();
    let to: string | undefined;
    try {
      using connection = await connectTo(address, echo!);
      to = (await next(connection, LOST_MS)).trim();
      if (!to) throw new Error("closed before it began");
      for (let i = 0; !ended.aborted; i++) {
        await connection.write(encoder.encode(`${i}\n`));
        const heard = await next(connection, LOST_MS);
        if (heard !== `${i}\n`) throw new Error(`said ${i}, heard ${JSON.stringify(heard)}`);
        await delay(ECHO_MS);
      }
    } catch (error) {
      tell({ what: "stream", began, ended: Date.now(), why: String(error), to });
      await delay(ECHO_MS);
    }
  }
}

if (import.meta.main) {
  const options = JSON.parse(Deno.args[0]) as TrafficOptions;
  const ended = new AbortController();
  const streams = options.echo
    ? Array.from({ length: STREAMS }, () => stream(options, ended.signal))
    : [];
  const asked = requests(options, ended.signal);
  for await (const _ of Deno.stdin.readable);
  ended.abort();
  await Promise.all([asked, ...streams]);
}
