/** The story of an object, as `/plesio/v1/story` tells it. */
import { useEffect, useState } from "preact/hooks";
import type { Hop, Story } from "../../client/plesio.ts";
import { later } from "./browser.ts";
import { kindOfObject } from "./discovery.ts";
import { askJson, pathOf, reasonOf } from "./kube.ts";
import type { PanelProps } from "./panels.ts";
import { objectHref } from "./router.ts";

/** Writes of an object come in heaps: its story is asked for when they have come. */
const REST_MS = 400;

/** The story of a panel's object, anew when it changes. */
export function useStory({ kind, object }: PanelProps): { story?: Story; failure?: string } {
  const { namespace, name, resourceVersion } = object.metadata;
  const [told, setTold] = useState<{ story?: Story; failure?: string }>({});
  useEffect(() => {
    let over = false;
    const leave = later(told.story ? REST_MS : 0, () => {
      askJson<Story>(`/plesio/v1/story${pathOf({ resource: kind, namespace, name })}`).then(
        (story) => !over && setTold({ story }),
        (error) => !over && setTold({ failure: reasonOf(error) }),
      );
    });
    return () => {
      over = true;
      leave();
    };
  }, [kind, namespace, name, resourceVersion]);
  return told;
}

/** The page of an object as a hop left it; of what it deleted, as it was before. */
export function hopHref({ object, revision, verb }: Hop): string | undefined {
  const kind = kindOfObject(object);
  const at = String(verb.startsWith("delete") ? revision - 1 : revision);
  return kind && objectHref(kind, object, { at });
}
