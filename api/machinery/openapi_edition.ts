/**
 * Names what the OpenAPI documents of the built-in kinds say: clients keep documents for a year by their hash,
 * and the hash is made without making them. `api/kinds/openapi_test.ts` fails when this is out of date;
 * run it with `-- --update` then.
 */
export const OPENAPI_EDITION = "6e261553046ad0d5";
