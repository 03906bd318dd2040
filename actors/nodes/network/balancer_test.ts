import { assertEquals } from "@std/assert";
import { AFFINITY_CLIENTS_MAX, Balancer } from "./balancer.ts";

const endpoints = [{ ip: "10.0.0.1", port: 80 }, { ip: "10.0.0.2", port: 80 }];

Deno.test("choose() goes round, and offers the others after the first", () => {
  const balancer = new Balancer();
  balancer.set(endpoints);
  assertEquals(balancer.choose("c", 0).map((e) => e.ip), ["10.0.0.1", "10.0.0.2"]);
  assertEquals(balancer.choose("c", 0).map((e) => e.ip), ["10.0.0.2", "10.0.0.1"]);
});

Deno.test("choose() keeps a client on its endpoint until the affinity ends or the endpoint goes", () => {
  const balancer = new Balancer();
  balancer.set(endpoints, 10);
  balancer.connected("c", endpoints[1], 0);
  for (let i = 0; i < 3; i++) assertEquals(balancer.choose("c", 10_000)[0].ip, "10.0.0.2");
  balancer.set(endpoints.slice(0, 1), 10);
  assertEquals(balancer.choose("c", 0).map((e) => e.ip), ["10.0.0.1"]);
  balancer.set(endpoints, 10);
  balancer.connected("d", endpoints[0], 0);
  const later = [1, 2, 3, 4].map(() => balancer.choose("d", 10_001)[0].ip);
  assertEquals(new Set(later).size, 2);
});

Deno.test("connected() forgets the client unseen for longest past its limit", () => {
  const balancer = new Balancer();
  balancer.set(endpoints, 1000);
  for (let i = 0; i <= AFFINITY_CLIENTS_MAX; i++) balancer.connected(`c${i}`, endpoints[1], 0);
  const firsts = [1, 2].map(() => balancer.choose("c0", 0)[0].ip);
  assertEquals(firsts.sort(), ["10.0.0.1", "10.0.0.2"]);
  assertEquals(balancer.choose("c1", 0)[0].ip, "10.0.0.2");
});
