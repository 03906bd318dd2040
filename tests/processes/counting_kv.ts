/** A Deno KV that counts what is asked of it, as a platform would that charges for it. */

/** How often what was asked. */
export class KvCount {
  operations = 0;
  /** Watches that are open: each of them may be charged as long as it lasts. */
  watches = 0;

  /** The same database, counted. */
  of(kv: Deno.Kv): Deno.Kv {
    const counted = (name: string) => {
      if (["get", "getMany", "set", "delete", "list", "commit"].includes(name)) this.operations++;
    };
    return new Proxy(kv, {
      get: (target, name: string) => {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          counted(name);
          const result = value.apply(target, args);
          if (name === "atomic") return this.#atomic(result);
          if (name === "watch") return this.#watch(result);
          return result;
        };
      },
    });
  }

  #atomic(op: Deno.AtomicOperation): Deno.AtomicOperation {
    const counted: Deno.AtomicOperation = new Proxy(op, {
      get: (target, name: string) => {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          if (name === "commit") this.operations++;
          const result = value.apply(target, args);
          return result === target ? counted : result;
        };
      },
    });
    return counted;
  }

  #watch(stream: ReadableStream<unknown>): ReadableStream<unknown> {
    this.watches++;
    this.operations++;
    const reader = stream.getReader();
    return new ReadableStream({
      pull: async (controller) => {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        this.operations++;
        controller.enqueue(value);
      },
      cancel: async (reason) => {
        this.watches--;
        await reader.cancel(reason);
      },
    }, { highWaterMark: 0 });
  }
}
