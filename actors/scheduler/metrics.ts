/**
 * The scheduler's metrics, under kube-scheduler's names (v1.36, `pkg/scheduler/metrics`). Counting costs a few lookups a
 * pod; how long plugins take is measured for one pod in `SAMPLED_EVERY`, on the node that it got.
 */
import {
  Counter,
  Duration,
  exponentialBounds,
  LabelTexts,
} from "../../api/machinery/metric_series.ts";
import type { Clock } from "../../kv/clock.ts";
import type { ClusterEvent } from "./framework.ts";

/** One pod in so many has its plugins measured. */
export const SAMPLED_EVERY = 64;

const PREFIX = "scheduler_";
const ATTEMPT_BUCKETS = exponentialBounds(0.001, 2, 15);

/** How upstream calls what moves a pod from one place of the queue to another. */
const EVENT_LABELS: Readonly<Record<ClusterEvent, string>> = {
  NodeAdd: "NodeAdd",
  NodeDelete: "NodeDelete",
  NodeAllocatable: "NodeUpdateNodeAllocatable",
  NodeLabels: "NodeUpdateNodeLabel",
  NodeTaints: "NodeUpdateNodeTaint",
  NodeFeatures: "NodeUpdateNodeDeclaredFeature",
  PodAdd: "AssignedPodAdd",
  PodLabels: "AssignedPodUpdatePodLabel",
  PodScaleDown: "AssignedPodUpdatePodScaleDown",
  PodDelete: "AssignedPodDelete",
  OwnLabels: "UnschedulablePodUpdatePodLabel",
  OwnScaleDown: "UnschedulablePodUpdatePodScaleDown",
  OwnTolerations: "UnschedulablePodUpdatePodToleration",
  OwnGates: "UnschedulablePodUpdatePodSchedulingGatesEliminated",
  OwnClaims: "UnschedulablePodUpdatePodGeneratedResourceClaim",
  VolumeClaim: "PersistentVolumeClaimUpdate",
  Volume: "PersistentVolumeUpdate",
  StorageClass: "StorageClassUpdate",
  CSINode: "CSINodeUpdate",
  CSICapacity: "CSIStorageCapacityUpdate",
  VolumeDetached: "VolumeAttachmentDelete",
  ResourceClaim: "ResourceClaimUpdate",
  DeviceClass: "DeviceClassUpdate",
  ResourceSlice: "ResourceSliceUpdate",
  Custom: "Custom",
};

/** Why a pod came to a place of the queue: something that happened, or what the queue itself does. */
export type Cause =
  | ClusterEvent
  | "UnschedulablePodAdd"
  | "UnschedulablePodUpdate"
  | "ScheduleAttemptFailure"
  | "BackoffComplete"
  | "UnschedulableTimeout";

/** How a try ended. */
export type Result = "scheduled" | "unschedulable" | "error";

/** Where plugins have their say, as upstream's metrics call it. */
export type Point =
  | "PreFilter"
  | "Filter"
  | "PostFilter"
  | "PreScore"
  | "Score"
  | "Reserve"
  | "Permit"
  | "PreBind"
  | "Bind"
  | "PostBind";

/** How all plugins of a point ended together. */
export type PointStatus = "Success" | "Unschedulable" | "UnschedulableAndUnresolvable" | "Error";

/** How long a profile's extension points take. */
export class PointTimes {
  readonly #times: Duration;
  readonly #labels: LabelTexts<Point, PointStatus>;
  readonly #clock: Pick<Clock, "monotonic">;

  constructor(times: Duration, profile: string, clock: Pick<Clock, "monotonic">) {
    this.#times = times;
    const named = JSON.stringify(profile);
    this.#labels = new LabelTexts((point, status) =>
      `extension_point="${point}",status="${status}",profile=${named}`
    );
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.monotonic();
  }

  /** Notes that a point was passed in `ms`. */
  passed(point: Point, ms: number, status: PointStatus = "Success"): void {
    this.#times.add(this.#labels.of(point, status), ms);
  }

  /** Notes how long it takes to pass a point, and whether that fails. */
  async during<T>(point: Point, pass: () => Promise<T>): Promise<T> {
    const began = this.now();
    try {
      const result = await pass();
      this.passed(point, this.now() - began);
      return result;
    } catch (error) {
      this.passed(point, this.now() - began, "Error");
      throw error;
    }
  }
}

/** What the scheduler counts. */
export class SchedulerMetrics {
  readonly #attempts = new Counter(
    `${PREFIX}schedule_attempts_total`,
    "Attempts to schedule pods, by the result",
  );
  readonly #durations = new Duration(
    `${PREFIX}scheduling_attempt_duration_seconds`,
    "Latency of an attempt in seconds, binding included",
    ATTEMPT_BUCKETS,
  );
  readonly #algorithm = new Duration(
    `${PREFIX}scheduling_algorithm_duration_seconds`,
    "Latency of a decision in seconds",
    ATTEMPT_BUCKETS,
  );
  readonly #sli = new Duration(
    `${PREFIX}pod_scheduling_sli_duration_seconds`,
    "From a pod's entry into the queue until it is bound, in seconds",
    exponentialBounds(0.01, 2, 20),
  );
  readonly #tries = new Duration(
    `${PREFIX}pod_scheduling_attempts`,
    "Attempts to successfully schedule a pod",
    exponentialBounds(1, 2, 5),
  );
  readonly #preemptions = new Counter(
    `${PREFIX}preemption_attempts_total`,
    "Attempts at preemption",
  );
  readonly #victims = new Duration(
    `${PREFIX}preemption_victims`,
    "Selected victims of a preemption",
    exponentialBounds(1, 2, 7),
  );
  readonly #incoming = new Counter(
    `${PREFIX}queue_incoming_pods_total`,
    "Pods that came to places of the queue, by the event",
  );
  readonly #plugins = new Duration(
    `${PREFIX}plugin_execution_duration_seconds`,
    "How long a plugin takes at an extension point, sampled",
    exponentialBounds(0.00001, 1.5, 20),
  );
  readonly #points = new Duration(
    `${PREFIX}framework_extension_point_duration_seconds`,
    "How long all plugins of an extension point take together",
    exponentialBounds(0.0001, 2, 12),
  );
  #decided = 0;

  /** A try ended, `ms` after its pod was taken from the queue. */
  ended(result: Result, profile: string, ms: number): void {
    this.#attempts.add({ result, profile });
    this.#durations.add({ result, profile }, ms);
  }

  /** A decision was made. True: this pod's plugins are to be measured. */
  decidedIn(ms: number): boolean {
    this.#algorithm.add({}, ms);
    return ++this.#decided % SAMPLED_EVERY === 1;
  }

  /** A pod was bound, so many ms and attempts after it came. */
  bound(attempts: number, ms: number): void {
    this.#sli.add({ attempts: attempts > 15 ? "16+" : attempts }, ms);
    this.#tries.note({}, attempts);
  }

  /** Eviction was looked into; `victims` if somebody is to go. */
  preempted(victims: number): void {
    this.#preemptions.add({});
    if (victims > 0) this.#victims.note({}, victims);
  }

  incoming(queue: "active" | "backoff" | "unschedulable", cause: Cause): void {
    const event = EVENT_LABELS[cause as ClusterEvent] ?? cause;
    this.#incoming.add({ queue, event });
  }

  /** Times of a profile's extension points. */
  points(profile: string, clock: Pick<Clock, "monotonic">): PointTimes {
    return new PointTimes(this.#points, profile, clock);
  }

  plugin(plugin: string, point: string, ms: number): void {
    this.#plugins.add({ plugin, extension_point: point, status: "Success" }, ms);
  }

  /** All of them, and how things stand now. */
  *lines(
    { pending, refused, cache }: {
      pending: Readonly<Record<string, number>>;
      refused: Iterable<{ plugin: string; profile: string; pods: number }>;
      cache: Readonly<Record<string, number>>;
    },
  ): Generator<string> {
    for (const series of [this.#attempts, this.#preemptions, this.#incoming]) yield* series.lines();
    for (const series of [this.#durations, this.#algorithm, this.#sli, this.#tries]) {
      yield* series.lines();
    }
    for (const series of [this.#victims, this.#plugins, this.#points]) yield* series.lines();
    yield* gauge(
      "pending_pods",
      "Pending pods, by the place in the queue",
      () => Object.entries(pending).map(([queue, pods]) => [`queue="${queue}"`, pods]),
    );
    yield* gauge(
      "unschedulable_pods",
      "Pods that could not be scheduled, by plugin",
      () =>
        [...refused].map(({ plugin, profile, pods }) => [
          `plugin="${plugin}",profile="${profile}"`,
          pods,
        ]),
    );
    yield* gauge(
      "cache_size",
      "Nodes, pods and assumed pods in the scheduler's picture",
      () => Object.entries(cache).map(([type, count]) => [`type="${type}"`, count]),
    );
  }
}

function* gauge(name: string, help: string, entries: () => [string, number][]): Generator<string> {
  yield `# HELP ${PREFIX}${name} ${help}`;
  yield `# TYPE ${PREFIX}${name} gauge`;
  for (const [labels, value] of entries()) yield `${PREFIX}${name}{${labels}} ${value}`;
}
