/** An object with some members of its own in the place of another's. */

/** What is not among `own` is the base's, whose methods work on the base itself. */
export function over<T extends object>(base: T, own: Partial<T>): T {
  return new Proxy(base, {
    get(target, name) {
      if (name in own) return own[name as keyof T];
      const value = target[name as keyof T];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
