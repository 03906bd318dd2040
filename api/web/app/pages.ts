/**
 * The pages: each is a file and a row. The first segment of the address names it, the rest is its own affair. Rows with
 * a `section` are in the navigation, in this order.
 */
import type { ComponentType } from "preact";
import { ActorsPage } from "./pages/actors.tsx";
import { DeployPage } from "./pages/deploy.tsx";
import { DiffPage } from "./pages/diff.tsx";
import { ListPage } from "./pages/list.tsx";
import { ObjectPage } from "./pages/object.tsx";
import { OverviewPage } from "./pages/overview.tsx";
import type { TextKey } from "./words.ts";

/** What a page is given: the rest of its address. */
export interface PageProps {
  rest: readonly string[];
  query: URLSearchParams;
}

/** One row. */
export interface Page {
  id: string;
  title: TextKey;
  view: ComponentType<PageProps>;
  /** Not in the navigation: it is reached from elsewhere. */
  hidden?: boolean;
}

/** The first is where one begins. */
export const PAGES: readonly Page[] = [
  { id: "overview", title: "overview", view: OverviewPage },
  { id: "deploy", title: "deploy", view: DeployPage },
  { id: "actors", title: "actors", view: ActorsPage },
  { id: "diff", title: "diff", view: DiffPage },
  { id: "list", title: "list", view: ListPage, hidden: true },
  { id: "object", title: "object", view: ObjectPage, hidden: true },
];
