/**
 * Every key shape in the database. Nothing else builds a key.
 *
 * | key | holds |
 * | --- | --- |
 * | `["plesio"]` | format version, cluster id, creation, a probe of the sealing key |
 * | `[space, "blob", id, n]` | chunk `n` of an object that does not fit into its record |
 * | `[space, "change", revision]` | one log record |
 * | `[space, "head"]` | the head: the key that every commit checks |
 * | `[space, "oldest"]` | how far the log is compacted |
 * | `[space, "swept"]` | up to where everything superseded is deleted |
 * | `[space, "want"]` | a writer that keeps losing says so |
 * | `["lease", holder]` | a process is alive (plain, outside the log) |
 * | `["process", holder]` | what a process says of itself |
 * | `["due", instance]` | when a process that sleeps is to be woken |
 * | `["link", to, id, n]` | a message of a connection between processes, for `to` |
 * | `["linkbell", to]` | rung when one came |
 * | `["place", name]` | which process has something that all may ask for |
 * | `["mail", dueMs, id]` | a message of the mailbox transport |
 * | `["mailbell"]` | rung when mail came |
 * | `["undelivered", sentMs, id]` | a message whose delivery failed to the end |
 * | `["setting", name]` | a sealed setting |
 * | `["sealkey"]` | the sealing key where there is neither a file beside the database nor one given |
 *
 * `head` sorts right behind the last `change`, so that one read takes the end of the log and the head
 * as of the same moment.
 */

/** A store's part of the database: `o` for objects, `e` for events. */
export type Space = "o" | "e";

/** What the database is. */
export const FORMAT_KEY: Deno.KvKey = ["plesio"];
/** The sealing key of last resort. */
export const SEAL_KEY: Deno.KvKey = ["sealkey"];
/** Rung when mail came. */
export const MAIL_BELL_KEY: Deno.KvKey = ["mailbell"];

/** One chunk. */
export function chunkKey(space: Space, id: string, index: number): Deno.KvKey {
  return [space, "blob", id, index];
}
/** All chunks of a store, or of one object. */
export function chunkPrefix(space: Space, id?: string): Deno.KvKey {
  return id === undefined ? [space, "blob"] : [space, "blob", id];
}
/** One log record. */
export function changeKey(space: Space, revision: number): Deno.KvKey {
  return [space, "change", revision];
}
/** The head. */
export function headKey(space: Space): Deno.KvKey {
  return [space, "head"];
}
/** From the record of `revision` to the head, both included. */
export function tailRange(space: Space, revision: number): Deno.KvListSelector {
  return { start: changeKey(space, revision), end: [space, "head", ""] };
}
/** From the record of `first` to that of `last`, both included. */
export function changeRange(space: Space, first: number, last: number): Deno.KvListSelector {
  return { start: changeKey(space, first), end: changeKey(space, last + 1) };
}
/** How far the log is compacted. */
export function oldestKey(space: Space): Deno.KvKey {
  return [space, "oldest"];
}
/** Up to where everything superseded is deleted. */
export function sweptKey(space: Space): Deno.KvKey {
  return [space, "swept"];
}
/** Where a writer that keeps losing leaves its name. */
export function wantKey(space: Space): Deno.KvKey {
  return [space, "want"];
}
/** A process's lease. */
export function leaseKey(holder: string): Deno.KvKey {
  return ["lease", holder];
}
/** What a process says of itself. */
export function processKey(holder: string): Deno.KvKey {
  return ["process", holder];
}
/** All processes. */
export const PROCESS_PREFIX: Deno.KvKey = ["process"];
/** When a process that sleeps is to be woken. */
export function dueKey(instance: string): Deno.KvKey {
  return ["due", instance];
}
/** All of them. */
export const DUE_PREFIX: Deno.KvKey = ["due"];
/** A record of a connection between processes. */
export function linkKey(to: string, id: string, index: number): Deno.KvKey {
  return ["link", to, id, index];
}
/** All records for a process, or those of one connection. */
export function linkPrefix(to: string, id?: string): Deno.KvKey {
  return id === undefined ? ["link", to] : ["link", to, id];
}
/** Rung when a record came for a process. */
export function linkBellKey(to: string): Deno.KvKey {
  return ["linkbell", to];
}
/** All bells: of everybody who was written to. */
export const LINK_BELL_PREFIX: Deno.KvKey = ["linkbell"];
/** Which process has a place. */
export function placeKey(name: string): Deno.KvKey {
  return ["place", name];
}
/** All places. */
export const PLACE_PREFIX: Deno.KvKey = ["place"];
/** A message of the mailbox transport. */
export function mailKey(dueMs: number, id: string): Deno.KvKey {
  return ["mail", dueMs, id];
}
/** All mail of the mailbox transport. */
export const MAIL_PREFIX: Deno.KvKey = ["mail"];
/** A message that failed. */
export function undeliveredKey(sentMs: number, id: string): Deno.KvKey {
  return ["undelivered", sentMs, id];
}
/** All messages that failed. */
export const UNDELIVERED_PREFIX: Deno.KvKey = ["undelivered"];
/** A setting. */
export function settingKey(name: string): Deno.KvKey {
  return ["setting", name];
}
/** All settings. */
export const SETTING_PREFIX: Deno.KvKey = ["setting"];

// Internal state lives among a store's keys under `!`: before every key that begins with `/`.
/** A mark in a log: a setting was changed. Others read it before anything newer. */
export function markKey(name: string): string {
  return MARK_PREFIX + name;
}
/** What marks begin with. */
export const MARK_PREFIX = "!mark/";
/** The mark that says that the sealing keys are others. */
export const SEALS_MARK = markKey("seals");
/** The key of a term in the objects store. */
export function termKey(name: string): string {
  return "!term/" + name;
}
