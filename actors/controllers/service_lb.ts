/** Being written by the lead: leave. */
