/**
 * How large a pattern becomes when it is compiled, before it is: counted repetitions are written out, so that a few
 * thousand characters can ask for gigabytes.
 */

/** What a group has so far, and how much of that its last part is. */
interface Group {
  size: number;
  last: number;
}

/** About as many instructions as a pattern has; past `limit` it is not looked at to its end. */
export function patternSize(text: string, limit: number): number {
  const outer: Group[] = [];
  let group: Group = { size: 0, last: 0 };
  const add = (size: number) => {
    group.size += size;
    group.last = size;
  };
  for (let i = 0; i < text.length && group.size <= limit; i++) {
    switch (text[i]) {
      case "(":
        outer.push(group);
        group = { size: 0, last: 0 };
        break;
      case ")": {
        const { size } = group;
        group = outer.pop() ?? { size: 0, last: 0 };
        add(size + 2);
        break;
      }
      case "[":
        i = endOfClass(text, i);
        add(1);
        break;
      case "\\":
        i++;
        if (/[pPx]/.test(text[i] ?? "") && text[i + 1] === "{") i = closing(text, "}", i);
        add(1);
        break;
      case "{": {
        const [whole, least, most] = /^\{(\d+)(?:,(\d*))?\}/.exec(text.slice(i, i + 16)) ?? [];
        if (whole === undefined) add(1);
        else {
          // Those that may be missing are choices as well
          const optional = Math.max(0, Number(most || 0) - Number(least));
          const times = Math.max(1, Number(least) + 2 * optional);
          const { size, last } = group;
          group = { size: size + last * (times - 1), last: last * times };
          i += whole.length - 1;
        }
        break;
      }
      case "*":
      case "+":
      case "?":
        group = { size: group.size + 1, last: group.last + 1 };
        break;
      default:
        add(1);
    }
  }
  return outer.reduce((total, { size }) => total + size, group.size);
}

function closing(text: string, end: string, from: number): number {
  const at = text.indexOf(end, from);
  return at < 0 ? text.length : at;
}

/** Where a class of characters ends; its first character may be the bracket itself. */
function endOfClass(text: string, from: number): number {
  let at = from + (text[from + 1] === "^" ? 2 : 1);
  if (text[at] === "]") at++;
  for (; at < text.length && text[at] !== "]"; at++) {
    if (text[at] === "\\") at++;
    else if (text.startsWith("[:", at)) at = closing(text, ":]", at) + 1;
  }
  return at;
}
