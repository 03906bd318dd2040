/** Errors that are answers: what is wrong lies outside, and where in the program it was noticed tells nobody anything. */

/** An error that does not say where it was made: finding that out costs more than most of what is refused so. */
export class StacklessError extends Error {
  constructor(message: string) {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message);
    Error.stackTraceLimit = stackTraceLimit;
  }
}
