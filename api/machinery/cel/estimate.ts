/** How large values may become, by their schemas: what static cost estimates multiply by. */
import type { Schema } from "../types.ts";

/** The largest request, in bytes: nothing in it is larger. */
const REQUEST_BYTES_MAX = 3 * 1024 * 1024;

/** The least bytes of JSON a value takes. */
function bytesMin(schema: Schema, depth = 0): number {
  switch (schema.type) {
    case "boolean":
      return 4;
    case "integer":
    case "number":
    case "intOrString":
      return 1;
    case "object": {
      let bytes = 2;
      if (depth > 8) return bytes;
      for (const name of schema.required ?? []) {
        const field = schema.properties?.[name];
        if (field) bytes += name.length + 4 + bytesMin(field, depth + 1);
      }
      return bytes;
    }
  }
  return 2;
}

/** The most characters, items or entries a value of a schema may have. */
export function sizeEstimate(schema: Schema): number {
  const { validations } = schema;
  switch (schema.type) {
    case "string": {
      if (validations?.enum) {
        return Math.max(1, ...validations.enum.map((one) => String(one).length));
      }
      if (validations?.maxLength !== undefined) return validations.maxLength;
      return schema.format === "uuid" ? 36 : REQUEST_BYTES_MAX - 2;
    }
    case "array": {
      if (validations?.maxItems !== undefined) return validations.maxItems;
      return Math.floor(REQUEST_BYTES_MAX / ((schema.items ? bytesMin(schema.items) : 1) + 1));
    }
    case "map": {
      if (validations?.maxProperties !== undefined) return validations.maxProperties;
      return Math.floor(REQUEST_BYTES_MAX / ((schema.items ? bytesMin(schema.items) : 1) + 5));
    }
  }
  return 1;
}
