/** How much of something there is, as a bar and in words. */
import { useId } from "preact/hooks";

/** One bar. */
export function Bar(
  { name, value, max, text }: { name: string; value: number; max: number; text: string },
) {
  const id = useId();
  return (
    <div class="bar-row">
      <span id={id}>{name}</span>
      <progress aria-labelledby={id} max={max || 1} value={Math.min(value, max || 1)} />
      <span>{text}</span>
    </div>
  );
}
