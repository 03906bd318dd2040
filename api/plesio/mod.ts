/**
 * What Plesio answers beside Kubernetes' own API: a table of endpoints, most of them under `/plesio/v1/`, and the
 * dashboard's files (`dashboard.ts`), which are for everybody.
 *
 * - They are paths that name no resource: authenticated, audited and authorized as upstream's nonResourceURLs.
 *   Administrators have them; others need a ClusterRole that names them.
 * - Failures are Status objects, and whatever is a GET can be seen with `kubectl get --raw`.
 * - An endpoint gets what it needs of the process through `ports.ts`; what is not there here (`undefined`) answers
 *   404 with a text that says how a cluster is started that has it.
 *
 * Reading order: `ports.ts`, `endpoint.ts` (what an endpoint is), then one file per row of the table.
 */
import type { Beside } from "../server/app.ts";
import type { Call } from "../server/http.ts";
import { actors, isActorsWatch } from "./actors.ts";
import { at, requestedAt } from "./at.ts";
import { dashboard } from "./dashboard.ts";
import { clock } from "./clock.ts";
import { diff } from "./diff.ts";
import type { Endpoint } from "./endpoint.ts";
import { exported, exportOf } from "./export.ts";
import { login } from "./login.ts";
import { forkOf, forks } from "./forks.ts";
import { faults } from "./faults.ts";
import { ledger } from "./ledger.ts";
import { logs } from "./logs.ts";
import type { PlesioPorts } from "./ports.ts";
import { registry } from "./registry.ts";
import { snapshot } from "./snapshot.ts";
import { story } from "./story.ts";
import { ticketed, tickets, ticketsFor } from "./tickets.ts";
import { time } from "./time.ts";
import { reset } from "./reset.ts";
import { settle } from "./settle.ts";

export { loginLink } from "./dashboard.ts";
export { type ForkAsked, Forks } from "./forks.ts";
export { TestKit } from "./kit.ts";
export type { Diff, Story } from "../client/plesio.ts";
export { diffOf, type DiffOptions } from "./diff.ts";
export { exportOf };
export { type Moment, momentOf, timeNamed } from "./moment.ts";
export type { PlesioPorts } from "./ports.ts";
export { type StoryOf, storyOf } from "./story.ts";

/** What goes through history or nodes, or moves the very clock that deadlines go by, is not hurried, nor waited for. */
const always = () => true;

/** The endpoints. None lies under another's path. */
const ENDPOINTS: readonly Endpoint[] = [
  { path: "/debug/actors", answer: actors, longRunning: isActorsWatch },
  { path: "/debug/registry", answer: registry },
  { path: "/plesio/v1/actors", answer: actors, longRunning: isActorsWatch },
  { path: "/dashboard", answer: dashboard, open: true },
  { path: "/plesio/v1/at", answer: at, requested: requestedAt },
  { path: "/plesio/v1/diff", answer: diff, longRunning: always },
  { path: "/plesio/v1/export", answer: exported, longRunning: always },
  { path: "/plesio/v1/forks", answer: forks, inner: forkOf, longRunning: always },
  { path: "/plesio/v1/logs", answer: logs, longRunning: always },
  { path: "/plesio/v1/snapshot", answer: snapshot, longRunning: always },
  { path: "/plesio/v1/story", answer: story, longRunning: always },
  { path: "/plesio/v1/login", answer: login, longRunning: always },
  { path: "/plesio/v1/tickets", answer: tickets, requested: ticketsFor, inner: ticketed },
  { path: "/plesio/v1/time", answer: time, longRunning: always },
  { path: "/plesio/v1/clock", answer: clock, longRunning: always },
  { path: "/plesio/v1/faults", answer: faults, longRunning: always },
  { path: "/plesio/v1/ledger", answer: ledger, longRunning: always },
  { path: "/plesio/v1/reset", answer: reset, longRunning: always },
  { path: "/plesio/v1/settle", answer: settle, longRunning: always },
];

/** Makes the part of an app that answers them; undefined for paths that are not theirs. */
export function plesioApi(ports: PlesioPorts): (call: Call) => Beside | undefined {
  return (call) => {
    const found = ENDPOINTS.find(({ path }) =>
      call.path.startsWith(path) &&
      (call.path.length === path.length || call.path[path.length] === "/")
    );
    if (!found) return undefined;
    const rest = call.path.slice(found.path.length);
    const { requested, open } = found;
    return {
      open,
      inner: found.inner?.(call, rest, ports),
      longRunning: found.longRunning?.(call),
      answer: (user, authorize) => found.answer({ call, user, authorize, rest, ports }),
      ...(requested && { requested: () => requested(call, rest) }),
    };
  };
}
