/**
 * Deno KV's limits and ours, as named constants, with the relations between them asserted at load: a
 * change of one that breaks another fails before anything runs.
 */

/** Deno KV: bytes of one value. */
export const KV_VALUE_BYTES_MAX = 65_536;
/** Deno KV: bytes of all keys and values of one commit. */
export const KV_COMMIT_BYTES_MAX = 819_200;
/** Deno KV: mutations of one commit. */
export const KV_MUTATIONS_MAX = 1_000;
/** Deno KV: bytes of all keys of one commit. */
export const KV_COMMIT_KEY_BYTES_MAX = 81_920;
/** Deno KV: keys of one `getMany`. */
export const KV_GET_MANY_MAX = 10;
/** Deno KV: entries of one batch of a listing. */
export const KV_LIST_BATCH_MAX = 1_000;
/** Deno KV: the longest backoff between two deliveries of a queued message. */
export const KV_BACKOFF_MS_MAX = 3_600_000;
/** Deno KV: how many backoffs a queued message may name. */
export const KV_BACKOFF_STEPS_MAX = 5;

/** One object, encoded. */
export const OBJECT_BYTES_MAX = 3 * 1024 * 1024;
/** A key of the store, in UTF-16 units. */
export const KEY_LENGTH_MAX = 1_024;
/** Bytes of who wrote something, and of what was asked for, as far as they are kept. */
export const CAUSE_TEXT_BYTES_MAX = 100;
/** Bytes of a cause in a log record: trace, revision, two texts with their lengths. */
export const CAUSE_BYTES_MAX = 16 + 8 + 2 * (1 + CAUSE_TEXT_BYTES_MAX);
/** Bytes around a value in its log record: the longest header, the cause and the seal. */
export const RECORD_OVERHEAD_BYTES = 160 + CAUSE_BYTES_MAX;
/** One chunk of an object that does not fit into its log record. */
export const CHUNK_BYTES = KV_VALUE_BYTES_MAX;
/** Chunks of one commit. */
export const CHUNKS_PER_COMMIT = 12;
/** Bytes of keys and values that a group may carry. */
export const GROUP_BYTES_MAX = 780_000;
/** Where a group stops taking more writes. */
export const GROUP_BYTES_WANTED = 600_000;
/** Writes of one group, where more are waiting. */
export const GROUP_WRITES_MAX = 200;
/** How long writes may run before their group is committed: nothing else runs in the process then. */
export const GROUP_FORM_MS_MAX = 4;
/** Mutations of one group. */
export const GROUP_MUTATIONS_MAX = 990;
/** Bytes of keys that a group may carry. */
export const GROUP_KEY_BYTES_MAX = 80_000;
/** Writes waiting for a group before new ones are refused. */
export const PENDING_WRITES_MAX = 20_000;
/** How often chunks are written ahead; if the object changed each time, they go along in its commit. */
export const CHUNK_ATTEMPTS_AHEAD = 3;
/** How often chunks are written anew that no commit can take along. */
export const CHUNK_ATTEMPTS_MAX = 16;
/** How long a chunk that no record names is kept. */
export const CHUNK_SWEEP_MS = 10 * 60_000;

/** Hard bound of live plus superseded bytes of a store, unless told otherwise. */
export const STORE_BYTES_MAX = 2 * 1024 * 1024 * 1024;
/** The same for the store of events. */
export const EVENTS_BYTES_MAX = 256 * 1024 * 1024;
/** The least bound that may be asked for. */
export const STORE_BYTES_MIN = 64 * 1024;
/** Share of the bound at which history is shortened. */
export const PRESSURE_SHARE = 7 / 8;
/** Share of the bound that shortening aims at. */
export const PRESSURE_TARGET_SHARE = 3 / 4;
/** Share above the bound in which puts that do not enlarge their object still pass. */
export const RESERVE_SHARE = 1 / 16;

/** History that compaction keeps where there is room. */
export const KEEP_REVISIONS = 1_000;
/** As `KEEP_REVISIONS`, by age. */
export const KEEP_MS = 5 * 60_000;
/** Deletes of one compaction commit: more would hold up the writer. */
export const COMPACT_DELETES_PER_COMMIT = 32;
/** How often compaction looks for work. */
export const COMPACT_EVERY_MS = 5_000;
/** Bytes of history held in memory; older history is read from the log. */
export const HISTORY_BYTES_MAX = 32 * 1024 * 1024;
/** Older states, rebuilt from the log, that are kept for the next page of a list. */
export const REBUILT_VIEWS_MAX = 8;
/** Revisions read at once by whoever reads history from one to another. */
export const CHANGES_PER_READ = 500;
/** How long an event of the events store lives. */
export const EVENTS_TTL_MS = 3_600_000;
/** How often expired events are looked for. */
export const EVENTS_SWEEP_EVERY_MS = 10_000;
/** Keys deleted in one write by the sweep of events. */
export const EVENTS_SWEEP_DELETES = 100;

/** Watchers of one store. */
export const WATCHERS_MAX = 100_000;
/** Events held for one watcher that is behind. */
export const WATCH_EVENTS_MAX = 10_000;
/** Events handed to a watcher that catches up, per batch. */
export const WATCH_CATCH_UP_EVENTS = 1_000;
/** The shortest interval of progress batches. */
export const WATCH_PROGRESS_MS_MIN = 100;
/** How often a process that shares its database looks at the head, should the bell fail. */
export const HEAD_TICK_MS = 1_000;
/** For how long a writer that was seen counts as writing. */
export const WRITER_SEEN_MS = 5_000;
/** Lost commits in a row after which a writer says that it wants its turn. */
export const LOSSES_BEFORE_WANT = 2;
/** Commits that throw before a definite failure is told to the writers (where we own the file). */
export const COMMIT_TRIES_MAX = 3;
/** First and longest pause between tries of a commit whose outcome is unknown. */
export const COMMIT_RETRY_MS = 5;
/** See COMMIT_RETRY_MS. */
export const COMMIT_RETRY_MS_MAX = 1_000;
/** How long `reached` waits unless told. */
export const REACHED_TIMEOUT_MS = 3_000;

/** How long a process's lease lasts after its renewal was last seen. */
export const LEASE_MS = 15_000;
/** How often a lease is renewed. */
export const LEASE_RENEW_EVERY_MS = 5_000;
/** For how long a lease that was read, and lived, is not read again. */
export const LEASE_LOOK_EVERY_MS = 1_000;

/** Bytes of one record of a connection between processes. */
export const LINK_PIECE_BYTES = 60_000;
/** Records of one such connection that may be unread. */
export const LINK_UNREAD_MAX = 64;
/** How often who has too many unread looks whether they were read. */
export const LINK_LOOK_MS = 50;

/** Mail whose delivery failed to the end that is kept to be looked at. */
export const UNDELIVERED_MAX = 1_000;
/** Bytes of one message's address and key. */
export const MAIL_BYTES_MAX = 8_192;
/** Deliveries of mail that run at the same time. */
export const MAIL_HANDLERS_MAX = 64;
/** Deliveries recorded in one commit. */
export const MAIL_ACKS_PER_COMMIT = 200;
/** Backoff before the second and later deliveries of a message. */
export const MAIL_BACKOFF_MS: readonly number[] = [100, 1_000, 5_000, 30_000, 60_000];
/** The longest delay of a message. */
export const MAIL_DELAY_MS_MAX = 30 * 24 * 3_600_000;

/** Records that are sealed anew in one commit. */
export const RESEAL_BATCH = 32;

/** A setting's value, sealed. */
export const SETTING_BYTES_MAX = KV_VALUE_BYTES_MAX - RECORD_OVERHEAD_BYTES;

/** Revisions that a restore leaves out, so that none of a lost future is used twice. */
export const RESTORE_REVISION_JUMP = 1_000_000_000;
/** Characters of a passphrase that a snapshot is sealed by. */
export const SNAPSHOT_PASSPHRASE_LENGTH_MIN = 12;
/** Free pages of a database file below which a vacuum is not worth its time. */
export const VACUUM_FREE_BYTES_MIN = 4 * 1024 * 1024;

/** KV Connect: bytes of one request: a full commit and what is around it. */
export const CONNECT_BODY_BYTES_MAX = 1024 * 1024;
/** KV Connect: characters of an access token. */
export const CONNECT_TOKEN_LENGTH_MIN = 12;
/** KV Connect: watches of one server at the same time. */
export const CONNECT_WATCHES_MAX = 1_000;
/** KV Connect: how often a watch is kept alive. */
export const CONNECT_PING_MS = 5_000;
/** KV Connect: how long a client waits for an answer. */
export const CONNECT_CALL_MS = 10_000;
/** KV Connect: bytes of one frame of a watch. */
export const CONNECT_FRAME_BYTES_MAX = 16 * 1024 * 1024;
/** KV Connect: after how long a watch that says nothing, not even that it is alive, is begun anew. */
export const CONNECT_SILENCE_MS = 60_000;
/** KV Connect: for how long a client may go by what it learned of a server. */
export const CONNECT_METADATA_MS = 24 * 3_600_000;

/** etcd: operations of one transaction, as its members count by default. */
export const ETCD_OPERATIONS_MAX = 128;
/** etcd: bytes of one request, likewise. */
export const ETCD_REQUEST_BYTES_MAX = 1.5 * 1024 * 1024;
/** etcd: bytes of one answer: a batch of a listing. */
export const ETCD_ANSWER_BYTES_MAX = 128 * 1024 * 1024;
/** etcd: hard bound of a store unless told otherwise: half of what its members take by default. */
export const ETCD_STORE_BYTES_MAX = 1024 * 1024 * 1024;
/** etcd: how long a call waits for an answer: an election among its members fits in. */
export const ETCD_CALL_MS = 5_000;
/** etcd: how often a member is asked whether it is there (its own least is 5 s), and for how long. */
export const ETCD_PING_MS = 10_000;
/** See ETCD_PING_MS. */
export const ETCD_PONG_MS = 5_000;
/** etcd: how often its history is compacted. */
export const ETCD_COMPACT_EVERY_MS = 5 * 60_000;
/** How long a database elsewhere that cannot be reached is tried again, where that is safe. */
export const REMOTE_PATIENCE_MS = 15_000;
/** First and longest pause between such tries. */
export const REMOTE_RETRY_MS = 10;
/** See REMOTE_RETRY_MS. */
export const REMOTE_RETRY_MS_MAX = 500;

function relate(holds: boolean, relation: string): void {
  if (!holds) throw new RangeError(`kv/limits.ts: ${relation} does not hold`);
}

relate(RECORD_OVERHEAD_BYTES * 4 < KV_VALUE_BYTES_MAX, "a record's overhead is small");
relate(CHUNK_BYTES <= KV_VALUE_BYTES_MAX, "a chunk fits into a value");
relate(
  CHUNKS_PER_COMMIT * (CHUNK_BYTES + RECORD_OVERHEAD_BYTES) <= KV_COMMIT_BYTES_MAX,
  "chunks of a commit fit",
);
relate(
  GROUP_BYTES_MAX + KV_VALUE_BYTES_MAX / 2 <= KV_COMMIT_BYTES_MAX,
  "a group leaves room for the head",
);
relate(
  GROUP_BYTES_WANTED + KV_VALUE_BYTES_MAX < GROUP_BYTES_MAX,
  "one more write fits after the wanted size",
);
relate(GROUP_MUTATIONS_MAX < KV_MUTATIONS_MAX, "a group leaves room for the head's mutation");
relate(GROUP_KEY_BYTES_MAX < KV_COMMIT_KEY_BYTES_MAX, "a group's keys leave room for the head's");
relate(GROUP_MUTATIONS_MAX < WATCH_CATCH_UP_EVENTS, "a group fits into one batch of catching up");
relate(COMPACT_DELETES_PER_COMMIT <= KV_MUTATIONS_MAX, "a compaction commit fits");
relate(LEASE_RENEW_EVERY_MS * 2 < LEASE_MS, "a lease survives one lost renewal");
relate(LINK_PIECE_BYTES < KV_VALUE_BYTES_MAX, "a record of a connection fits into a value");
relate(
  GROUP_BYTES_WANTED + LINK_PIECE_BYTES <= KV_COMMIT_BYTES_MAX,
  "records of a connection that go together fit into a commit",
);
relate(MAIL_ACKS_PER_COMMIT * 2 <= KV_MUTATIONS_MAX, "a commit of deliveries fits");
relate(MAIL_BACKOFF_MS.length <= KV_BACKOFF_STEPS_MAX, "the backoff schedule fits");
relate(MAIL_BACKOFF_MS.every((ms) => ms <= KV_BACKOFF_MS_MAX), "each backoff fits");
relate(PRESSURE_TARGET_SHARE < PRESSURE_SHARE && PRESSURE_SHARE < 1, "pressure comes first");
relate(KV_COMMIT_BYTES_MAX * 5 / 4 < CONNECT_BODY_BYTES_MAX, "a commit fits into a request");
relate((ETCD_OPERATIONS_MAX / 2) ** 2 >= KV_MUTATIONS_MAX, "a commit fits into etcd, nested");
relate(
  KV_COMMIT_BYTES_MAX * 5 / 4 < ETCD_REQUEST_BYTES_MAX,
  "a commit fits into a request to etcd",
);
relate(
  KV_LIST_BATCH_MAX * (KV_VALUE_BYTES_MAX + 4_096) < ETCD_ANSWER_BYTES_MAX,
  "a batch of a listing fits into an answer of etcd",
);
relate(ETCD_CALL_MS * 2 < REMOTE_PATIENCE_MS, "another member is tried");
relate(CONNECT_PING_MS * 3 < CONNECT_SILENCE_MS, "a watch that is kept alive is not silent");
