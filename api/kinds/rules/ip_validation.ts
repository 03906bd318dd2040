/** Checks of addresses that clients of services and endpoints reach. */

import { checkIpLegacy } from "../../machinery/names.ts";
import { type Ip, parseIp, unmapped } from "../../machinery/ip.ts";
import { type Path, type Report } from "./report.ts";

/**
 * Where addresses of other networks cannot be made local, clusters' own pods and services live in blocks of
 * the loopback range, one pair for each cluster of a machine: 127.244.0.0/16 to 127.251.0.0/16 for pods,
 * 127.96.0.0/16 to 127.103.0.0/16 for services (`actors/nodes/network/network.ts`).
 */
function isClusterLoopback(ip: Ip): boolean {
  if (ip.family !== 4 || ip.bytes[0] !== 127) return false;
  const block = ip.bytes[1];
  return (block >= 244 && block <= 251) || (block >= 96 && block <= 103);
}

/** Checks that an address is one at all; returns whether it is. */
export function validateIp(value: string, path: Path, r: Report): boolean {
  const causes = checkIpLegacy("", value);
  if (causes.length === 0) return true;
  for (const cause of checkIpLegacy(`${path}`, value)) r.causes.push(cause);
  return false;
}

/** Checks that an address is not unspecified, loopback or link-local. */
export function validateNonSpecialIp(value: string, path: Path, r: Report): void {
  const parsed = parseIp(value, { sloppy: true });
  if (!parsed) return r.invalid(path, value, "must be a valid IP address");
  const ip = unmapped(parsed);
  const [a, b, c] = ip.bytes;
  const zeros = ip.bytes.slice(0, -1).every((byte) => byte === 0);
  const last = ip.bytes[ip.bytes.length - 1];
  if (zeros && last === 0) r.invalid(path, value, `may not be unspecified (${value})`);
  const loopback = ip.family === 4 ? a === 127 : zeros && last === 1;
  if (loopback && !isClusterLoopback(ip)) {
    r.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
  }
  if (ip.family === 4 ? a === 169 && b === 254 : a === 0xfe && (b & 0xc0) === 0x80) {
    r.invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  }
  if (ip.family === 4 ? a === 224 && b === 0 && c === 0 : a === 0xff && (b & 0x0f) === 2) {
    r.invalid(
      path,
      value,
      "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
    );
  }
}
