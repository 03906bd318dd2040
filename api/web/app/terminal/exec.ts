/** A program in a container, over a WebSocket: `v5.channel.k8s.io`, one byte of channel before each piece. */
import { socket } from "../browser.ts";
import { pathOf } from "../kube.ts";
import { token } from "../session.ts";

const PROTOCOL = "v5.channel.k8s.io";
const CHANNEL = { input: 0, output: 1, errors: 2, status: 3, size: 4 } as const;

/** What a program is started with, and who hears of it. */
export interface ExecOptions {
  pod: { namespace: string; name: string };
  container: string;
  command: readonly string[];
  write: (text: string) => void;
  /** It is over: empty where it ended well. */
  ended: (why: string) => void;
  opened: () => void;
}

/** A running program. */
export interface Execution {
  send(text: string): void;
  resize(columns: number, rows: number): void;
  close(): void;
}

/** A subprotocol that carries the token: browsers can set no headers on a WebSocket. */
function tokenProtocol(): string {
  const encoded = btoa(token.value).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  return `base64url.bearer.authorization.k8s.io.${encoded}`;
}

/** Starts it, with a terminal. */
export function exec({ pod, container, command, write, ended, opened }: ExecOptions): Execution {
  const query = new URLSearchParams({ container, stdin: "true", stdout: "true", tty: "true" });
  for (const part of command) query.append("command", part);
  const resource = { group: "", version: "v1", plural: "pods" };
  const path = `${pathOf({ resource, ...pod, subresource: "exec" })}?${query}`;
  const ws = socket(path, [PROTOCOL, tokenProtocol()]);
  const decoder = new TextDecoder();
  const encoder = new TextEncoder();
  let why: string | undefined;
  const send = (channel: number, text: string) => {
    if (ws.readyState !== WebSocket.OPEN) return;
    const bytes = encoder.encode(text);
    const framed = new Uint8Array(bytes.length + 1);
    framed[0] = channel;
    framed.set(bytes, 1);
    ws.send(framed);
  };
  ws.onopen = opened;
  ws.onmessage = ({ data }) => {
    const bytes = new Uint8Array(data as ArrayBuffer);
    const [channel] = bytes;
    const rest = bytes.subarray(1);
    if (channel === CHANNEL.status) {
      const status = JSON.parse(new TextDecoder().decode(rest));
      why = status.status === "Success" ? "" : status.message;
    } else if (channel === CHANNEL.output || channel === CHANNEL.errors) {
      write(decoder.decode(rest, { stream: true }));
    }
  };
  ws.onclose = ({ reason, wasClean }) => ended(why ?? (reason || (wasClean ? "" : "closed")));
  return {
    send: (text) => send(CHANNEL.input, text),
    resize: (columns, rows) => send(CHANNEL.size, JSON.stringify({ Width: columns, Height: rows })),
    close: () => ws.close(),
  };
}
