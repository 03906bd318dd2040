/** What narrows a list, kept in the page's address: a search, and whatever else stands beside it. */
import type { ComponentChildren } from "preact";
import { changed, go } from "../router.ts";

/** Sets a value of the address to what somebody types or chooses. */
export function setting(name: string): (event: Event) => void {
  return (event) =>
    go(changed({ [name]: (event.currentTarget as HTMLInputElement).value }), { replace: true });
}

/** A search (`search` of the address), and further fields. */
export function Filters(
  { label, search, children }: { label: string; search: string; children?: ComponentChildren },
) {
  return (
    <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
      <input
        type="search"
        aria-label={label}
        placeholder={label}
        value={search}
        onInput={setting("search")}
      />
      {children}
    </form>
  );
}
