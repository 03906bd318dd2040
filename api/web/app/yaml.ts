/** YAML in the browser: the same parser that the server reads bodies with. */
import { parseYaml as parsed, parseYamlDocuments, toYaml } from "../../machinery/yaml.ts";

/** The value of one document. Throws YamlError. */
export const parseYaml = (text: string): unknown => parsed(text).value;

/** The values of all documents that hold something. Throws YamlError. */
export const parseDocuments = (text: string): unknown[] =>
  parseYamlDocuments(text).filter((value) => value !== null && value !== undefined);

/** A value as YAML. */
export const printYaml = (value: unknown): string => toYaml(value);
