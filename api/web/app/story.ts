/** The story of an object, as `/plesio/v1/story` tells it. */
import type { Hop, Story } from "../../client/plesio.ts";
import { useAsked } from "./asked.ts";
import { pause } from "./browser.ts";
import { kindOfObject } from "./discovery.ts";
import { askJson, pathOf } from "./kube.ts";
import type { PanelProps } from "./panels.ts";
import { objectHref } from "./router.ts";

/** Writes of an object come in heaps: its story is asked for when they have come. */
const REST_MS = 400;

/** The story of a panel's object, anew when it changes. */
export function useStory({ kind, object }: PanelProps): { story?: Story; failure?: string } {
  const { namespace, name, resourceVersion } = object.metadata;
  const { answer: story, failure } = useAsked<Story>(async (signal) => {
    if (story) await pause(REST_MS, signal);
    const path = pathOf({ resource: kind, namespace, name });
    return await askJson(`/plesio/v1/story${path}`, { signal });
  }, [kind, namespace, name, resourceVersion]);
  return { story, failure };
}

/** The page of an object as a hop left it; of what it deleted, as it was before. */
export function hopHref({ object, revision, verb }: Hop): string | undefined {
  const kind = kindOfObject(object);
  const at = String(verb.startsWith("delete") ? revision - 1 : revision);
  return kind && objectHref(kind, object, { at });
}
