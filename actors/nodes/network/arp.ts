/**
 * Gratuitous ARP: tells the machines of a local network that an address is at this machine's now. There is no program for
 * it everywhere, so that the frame goes out by the C library's packet sockets (Linux, root).
 */
import { parseAddress } from "./ip_range.ts";

const BROADCAST = [255, 255, 255, 255, 255, 255];
const ARP = 0x0806;
const [AF_PACKET, SOCK_RAW] = [17, 3];

/** The frame: an announcement (RFC 5227), sender and target the same address. */
export function announcement(mac: readonly number[], address: string): Uint8Array<ArrayBuffer> {
  const value = Number(parseAddress(address)!.value);
  const ip = [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
  const request = [0, 1, 8, 0, 6, 4, 0, 1];
  return Uint8Array.from([
    ...BROADCAST,
    ...mac,
    ARP >> 8,
    ARP & 255,
    ...request,
    ...mac,
    ...ip,
    ...BROADCAST.map(() => 0),
    ...ip,
  ]);
}

/** Sends one through an interface. Throws where this process may not. */
export function announce(device: string, address: string): void {
  const about = (file: string) => Deno.readTextFileSync(`/sys/class/net/${device}/${file}`).trim();
  const mac = about("address").split(":").map((byte) => parseInt(byte, 16));
  const index = Number(about("ifindex"));
  const frame = announcement(mac, address);
  const libc = Deno.dlopen("libc.so.6", {
    socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
    sendto: {
      parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"],
      result: "isize",
    },
    close: { parameters: ["i32"], result: "i32" },
  });
  try {
    const fd = libc.symbols.socket(AF_PACKET, SOCK_RAW, 0);
    if (fd < 0) throw new Error(`Cannot announce ${address}: no packet socket may be opened`);
    // struct sockaddr_ll: family, protocol, index, kind of hardware, kind of packet, length and address.
    const to = new DataView(new ArrayBuffer(20));
    to.setUint16(0, AF_PACKET, true);
    to.setUint16(2, ARP);
    to.setInt32(4, index, true);
    to.setUint8(11, 6);
    BROADCAST.forEach((byte, i) => to.setUint8(12 + i, byte));
    const size = BigInt(frame.length);
    const sent = libc.symbols.sendto(fd, frame, size, 0, new Uint8Array(to.buffer), 20);
    libc.symbols.close(fd);
    if (sent < 0n) throw new Error(`Cannot announce ${address} through ${device}`);
  } finally {
    libc.close();
  }
}
