/** OpenAPI 3 in protobuf: the bytes that gnostic makes of the same document. */
import { assertEquals } from "@std/assert";
import type { OpenApi } from "./openapi_schema.ts";
import { openApiV3Protobuf } from "./openapi_v3_protobuf.ts";

const DOCUMENT: OpenApi = {
  "openapi": "3.0.0",
  "info": {
    "title": "t",
    "version": "v1",
  },
  "paths": {
    "/a/{b}": {
      "parameters": [
        {
          "name": "b",
          "in": "path",
          "description": "d",
          "required": true,
          "schema": {
            "type": "string",
            "uniqueItems": true,
          },
        },
        {
          "$ref": "#/components/parameters/p",
        },
      ],
      "get": {
        "tags": [
          "x",
        ],
        "description": "g",
        "operationId": "o",
        "parameters": [
          {
            "name": "q",
            "in": "query",
            "schema": {
              "type": "integer",
            },
          },
        ],
        "responses": {
          "200": {
            "description": "OK",
            "content": {
              "application/json": {
                "schema": {
                  "$ref": "#/components/schemas/s",
                },
              },
            },
          },
          "default": {
            "description": "else",
          },
        },
        "x-a": true,
      },
      "post": {
        "requestBody": {
          "required": true,
          "content": {
            "*/*": {
              "schema": {
                "type": "object",
              },
            },
          },
        },
        "responses": {
          "401": {
            "description": "no",
          },
        },
        "deprecated": true,
      },
    },
  },
  "components": {
    "schemas": {
      "s": {
        "type": "object",
        "description": "s",
        "format": "f",
        "required": [
          "a",
          "b",
        ],
        "nullable": true,
        "default": {},
        "properties": {
          "a": {
            "type": "array",
            "items": {
              "allOf": [
                {
                  "$ref": "#/components/schemas/s",
                },
              ],
              "default": "d",
            },
            "maxItems": 3,
          },
          "b": {
            "type": "number",
            "default": 1.5,
            "minimum": 0.5,
            "maximum": 2,
            "exclusiveMaximum": true,
            "enum": [
              1,
              2,
            ],
          },
          "c": {
            "additionalProperties": {
              "type": "boolean",
              "default": true,
            },
          },
          "d": {
            "additionalProperties": false,
            "not": {
              "type": "string",
              "maxLength": 5,
              "pattern": "^a",
            },
          },
        },
        "x-b": 7,
      },
    },
    "securitySchemes": {
      "BearerToken": {
        "type": "apiKey",
        "description": "b",
        "name": "authorization",
        "in": "header",
      },
    },
  },
  "security": [
    {
      "BearerToken": [],
    },
  ],
};

/** By gnostic-models 0.7.1, deterministically marshalled, in base64. */
const BYTES = [
  "CgUzLjAuMBIHCgF0MgJ2MSKJAgqGAgoGL2Eve2J9EvsBIoQBCgF4GgFnKgFvMhoKGAoBcRIFcXVlcnlSDAoKygEHaW50",
  "ZWdlckJNCggKBgoEZWxzZRJBCgMyMDASOgo4CgJPSxoyCjAKEGFwcGxpY2F0aW9uL2pzb24SHAoaEhgKFiMvY29tcG9u",
  "ZW50cy9zY2hlbWFzL3NqDgoDeC1hEgcSBXRydWUKMjE6HAoaEhYKFAoDKi8qEg0KCwoJygEGb2JqZWN0GAFCDxINCgM0",
  "MDESBgoECgJub1ABaiAKHgoBYhIEcGF0aBoBZCABUg4KDKABAcoBBnN0cmluZ2odEhsKGSMvY29tcG9uZW50cy9wYXJh",
  "bWV0ZXJzL3AqtAIK+gEK9wEKAXMS8QEK7gEIAboBAWG6AQFiygEGb2JqZWN0+gG+AQo8CgFhEjcKNZABA8oBBWFycmF5",
  "8gEnCiUKI9IBGhIYChYjL2NvbXBvbmVudHMvc2NoZW1hcy9zigIDGgFkCj4KAWISOQo3WQAAAAAAAABAYAFpAAAAAAAA",
  "4D/CAQQSAjEKwgEEEgIyCsoBBm51bWJlcooCCQkAAAAAAAD4PwodCgFjEhgKFoICEwoRCg/KAQdib29sZWFuigICEAEK",
  "HwoBZBIaChjqARB4BYoBAl5hygEGc3RyaW5nggICEACKAgCSAgFzmgIBZqICCwoDeC1iEgQSAjcKOjUKMwoLQmVhcmVy",
  "VG9rZW4SJAoiCgZhcGlLZXkSAWIaDWF1dGhvcml6YXRpb24iBmhlYWRlcjIRCg8KC0JlYXJlclRva2VuEgA=",
].join("");

Deno.test("openApiV3Protobuf() writes what gnostic writes", () => {
  const bytes = openApiV3Protobuf(DOCUMENT);
  assertEquals(btoa(String.fromCharCode(...bytes)), BYTES);
});
