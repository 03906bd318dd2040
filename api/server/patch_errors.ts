/**
 * What a patch's client is told when the patched object is none of its kind: 422 with the patch (or, after a
 * JSON or merge patch, the whole patched object) as the bad value, as upstream's patch handler answers.
 */
import { invalid } from "../machinery/errors.ts";
import { ApiError } from "../machinery/types.ts";

const HANDLED = " cannot be handled as a ";
const WRONG_TYPE = /^json: cannot unmarshal (\w+) into Go struct field \S+ of type (.+)$/;

/** Kinds of JSON values as Go's reflection names them. */
const GO_KINDS: Readonly<Record<string, string>> = {
  object: "map",
  array: "slice",
  number: "int64",
};
/** Types that Go holds JSON values in. */
const GO_TYPES: Readonly<Record<string, string>> = {
  object: "map[string]interface {}",
  array: "[]interface {}",
  number: "int64",
};
const GO_SCALAR = /^\*?(string|bool|u?int\d*|float\d+)$/;

/** The error of decoding what a patch of `type` made: `patched` is the whole object. */
export function patchError(
  error: unknown,
  type: string,
  patch: unknown,
  patched: unknown,
): unknown {
  if (!(error instanceof ApiError) || error.code !== 400) return error;
  const { message } = error;
  const at = message.indexOf(HANDLED);
  if (at < 0) return error;
  const why = message.slice(message.indexOf(": ", at) + 2);
  const strategic = type === "strategic";
  const value = strategic ? goText(patch) : JSON.stringify(patched);
  const text = strategic ? restoreText(why) : why;
  const bad = `Invalid value: ${JSON.stringify(value)}: ${text}`;
  return invalid("", "", "", [{ reason: "FieldValueInvalid", message: bad, field: "patch" }]);
}

/** What Go's converter from maps says where its JSON decoder says `why`. */
function restoreText(why: string): string {
  const match = WRONG_TYPE.exec(why);
  if (!match) return why;
  const [, given, wanted] = match;
  const kind = GO_KINDS[given] ?? given;
  if (wanted.startsWith("map[")) return `cannot restore map from ${kind}`;
  if (wanted.startsWith("[]")) return `cannot restore slice from ${kind}`;
  const scalar = GO_SCALAR.exec(wanted);
  if (scalar) return `cannot convert ${GO_TYPES[given] ?? given} to ${scalar[1]}`;
  return `cannot restore struct from: ${kind}`;
}

/** A value as Go prints it with `%+v`: maps by key, no quotes. */
function goText(value: unknown): string {
  if (value === null || value === undefined) return "<nil>";
  if (Array.isArray(value)) return `[${value.map(goText).join(" ")}]`;
  if (typeof value !== "object") return String(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `map[${entries.map(([key, item]) => `${key}:${goText(item)}`).join(" ")}]`;
}
