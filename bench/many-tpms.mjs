// A process with several TPMs, each on a UNIX socket of its own: node bench/many-tpms.mjs FOLDER COUNT
//
// Commands and responses go as they are; a client has one under way. The sockets are FOLDER/0, FOLDER/1, …
import { createServer } from "node:net";
import path from "node:path";
import { Tpm } from "../dist/index.js";

const [folder, count] = process.argv.slice(2);

for (let i = 0; i < Number(count); i++) {
  const tpm = await Tpm.create();
  createServer((socket) => {
    socket.on("data", async (command) => socket.write(await tpm.execute(command)));
    socket.on("error", () => socket.destroy());
  }).listen(path.join(folder, String(i)));
}
process.stdout.write("ready\n");
