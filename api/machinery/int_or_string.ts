/** IntOrString values: ports by number or name, amounts by number or percentage. */

/** A number or a string, as objects hold it. */
export type IntOrString = number | string;

/** What upstream says when a value is neither a number nor a percentage. */
export class IntOrStringError extends Error {
  override name = "IntOrStringError";
}

/** Whether it is a string of digits and a percent sign. */
export function isPercentString(value: IntOrString): boolean {
  return typeof value === "string" && /^[0-9]+%$/.test(value);
}

/** The number itself, or what the string spells (0 when it spells none). */
export function intValue(value: IntOrString): number {
  if (typeof value === "number") return value;
  return /^[+-]?[0-9]+$/.test(value) ? Number(value) : 0;
}

/**
 * The number, or the percentage of `total`. Throws IntOrStringError when a string is no percentage.
 * An absent value is an error too, as upstream's is.
 */
export function scaledValue(
  value: IntOrString | null | undefined,
  total: number,
  roundUp: boolean,
): number {
  if (value === null || value === undefined) {
    throw new IntOrStringError("nil value for IntOrString");
  }
  if (typeof value === "number") return value;
  const head = "invalid value for IntOrString: ";
  if (!value.endsWith("%")) {
    throw new IntOrStringError(`${head}invalid type: string is not a percentage`);
  }
  const digits = value.slice(0, -1);
  if (!/^[+-]?[0-9]+$/.test(digits)) {
    throw new IntOrStringError(
      `${head}invalid value "${value}": strconv.Atoi: parsing "${digits}": invalid syntax`,
    );
  }
  const exact = Number(digits) * total / 100;
  return roundUp ? Math.ceil(exact) : Math.floor(exact);
}

/** Whether two are the same value of the same type. */
export function sameIntOrString(a: IntOrString, b: IntOrString): boolean {
  return a === b;
}
