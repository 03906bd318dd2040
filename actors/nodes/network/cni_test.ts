import { assertEquals } from "@std/assert";
import { hardwareAddress } from "./cni.ts";

Deno.test("a bridge's hardware address is that of its IP address", () => {
  assertEquals(hardwareAddress("10.244.0.1"), "0a:58:0a:f4:00:01");
  assertEquals(hardwareAddress("192.168.255.16"), "0a:58:c0:a8:ff:10");
});
