/**
 * Selectors of devices (resource.k8s.io): CEL over one device. `loadCrdEngine` must have been awaited before one is asked.
 */
import { Memory } from "./memory.ts";
import type { DeviceSpec } from "./cel/mod.ts";
import { celEngine } from "./crd/engine.ts";
import type { DeepReadonly } from "./types.ts";

export type { DeviceSpec };

/** Compiled selectors that are kept; the oldest goes first. */
export const SELECTORS_MAX = 1_000;
/** What one evaluation may cost (upstream's CELSelectorExpressionMaxCost). */
export const SELECTOR_COST_MAX = 1_000_000;

/** A selector that cannot be compiled, or ran into an error. */
export class SelectorError extends Error {
  readonly compiling: boolean;
  constructor(cause: unknown, compiling: boolean) {
    super((cause as { message: string }).message, { cause });
    this.compiling = compiling;
  }
}

type Program = ReturnType<ReturnType<typeof celEngine>["compileExpression"]>;

/** Device selectors, compiled once each. */
export class DeviceSelectors {
  readonly #programs = new Memory<Program>(SELECTORS_MAX);

  /** Whether a device is what an expression asks for. Throws SelectorError. */
  matches(expression: string, driver: string, device: DeepReadonly<DeviceSpec>): boolean {
    const cel = celEngine();
    let program = this.#programs.get(expression);
    if (!program) {
      try {
        program = cel.compileExpression(expression, { device: {} });
      } catch (error) {
        throw new SelectorError(error, true);
      }
      this.#programs.set(expression, program);
    }
    try {
      const variables = { device: cel.deviceValue(driver, device) };
      const result = program.evaluate(variables, { limit: SELECTOR_COST_MAX });
      if (typeof result === "boolean") return result;
    } catch (error) {
      throw new SelectorError(error, false);
    }
    throw new SelectorError(new Error("must evaluate to bool"), false);
  }
}
