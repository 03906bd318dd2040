/** How long keys of an actor wait and are worked on, as histograms with the bounds of upstream's queues. */
import { exponentialBounds, Histogram } from "../../api/machinery/metric_series.ts";

/** Upper bounds, in seconds. */
const SECONDS = exponentialBounds(1e-8, 10, 10);

/** An actor's times, in seconds; a new mailbox goes on with them. */
export class QueueTimes {
  readonly queued = new Histogram(SECONDS);
  readonly worked = new Histogram(SECONDS);
}
