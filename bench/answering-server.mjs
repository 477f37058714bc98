// A server that answers whatever it gets with one response, by nothing but node:net: node bench/answering-server.mjs PATH
//
// It is the floor of every server in Node: what it takes, no TPM in Node can be below over a socket.
import { createServer } from "node:net";

const SUCCESS = Uint8Array.of(0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0);

createServer((socket) => {
  socket.on("data", () => socket.write(SUCCESS));
  socket.on("error", () => socket.destroy());
}).listen(process.argv[2]);
