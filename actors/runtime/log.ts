/**
 * Log lines: one per call, for people on a terminal or as JSON for programs. Each names its actor. What may be
 * secret never gets here: callers log names and counts, not objects.
 */
import type { Clock } from "../../kv/clock.ts";
import type { Level, Logger } from "./contract.ts";

const ORDER: Record<Level, number> = { debug: 0, info: 1, warn: 2, error: 3 };
const MARK: Record<Level, string> = { debug: "·", info: " ", warn: "!", error: "✗" };

export interface LogOptions {
  clock: Clock;
  /** Lines below this are not written (default `info`). */
  level?: Level;
  /** `text` for people, `json` for programs (default `text`). */
  format?: "text" | "json";
  write(line: string): void;
}

/** Makes a logger. The field `actor` is shown first. */
export function createLogger(
  { clock, level = "info", format = "text", write }: LogOptions,
): Logger {
  const least = ORDER[level];
  return (at, text, fields = {}) => {
    if (ORDER[at] < least) return;
    const time = new Date(clock.now()).toISOString();
    if (format === "json") {
      write(JSON.stringify({ time, level: at, ...fields, message: text }));
      return;
    }
    const { actor, ...rest } = fields;
    const details = Object.entries(rest).map(([name, value]) => ` ${name}=${plain(value)}`).join(
      "",
    );
    write(`${time.slice(11, 19)} ${MARK[at]} ${actor ? `${actor}: ` : ""}${text}${details}`);
  };
}

function plain(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "undefined";
  return /[\s"]/.test(text) ? JSON.stringify(text) : text;
}
