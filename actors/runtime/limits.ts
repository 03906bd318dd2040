/** Every maximum of the actor runtime, by name. Tests reach each of them. */

/** Keys that may wait in one mailbox before mail is dropped and the actor resyncs. */
export const MAILBOX_KEYS_MAX = 65_536;
/** First retry delay of a failing key, as client-go's. */
export const BACKOFF_MS_MIN = 5;
/** Longest retry delay of a failing key, as client-go's. */
export const BACKOFF_MS_MAX = 1_000_000;
/** Revisions of its own that an actor knows again. */
export const OWN_REVISIONS_MAX = 256;
/** A mailbox that has worked for this long without a pause lets the event loop turn. */
export const TURN_MS_MAX = 8;
/** … or has handled so many keys. */
export const KEYS_A_TURN_MAX = 10_000;
/** First and longest delay before an actor that fell is started again. */
export const RESTART_MS_MIN = 100;
export const RESTART_MS_MAX = 30_000;
/** A child that fails to start so many times in a row gives up; its parent decides. */
export const CHILD_RESTARTS_MAX = 10;
/** How often a process asks for the term of a singleton that another one holds. */
export const TERM_RETRY_MS = 2_000;

/** Events that wait to be written; beyond it new ones are dropped, as upstream's broadcaster does. */
export const EVENTS_WAITING_MAX = 32_768;
/** Event writes under way at once, for one process. */
export const EVENT_WRITERS = 16;
/** Sources, aggregates and written events that the recorder remembers. */
export const EVENT_MEMORY_MAX = 4_096;
/** Events of one source about one object: so many at once, then one each `EVENT_SPAM_REFILL_MS`. */
export const EVENT_SPAM_BURST = 25;
export const EVENT_SPAM_REFILL_MS = 300_000;
/** So many different messages of one kind within the interval are shown as one. */
export const EVENT_SIMILAR_MAX = 10;
export const EVENT_SIMILAR_MS = 600_000;
/** Attempts to write one Event, and the pause between them, as client-go's. */
export const EVENT_TRIES_MAX = 12;
export const EVENT_RETRY_MS = 10_000;
