// Runs in a guest whose /dev/tpm0 is a TPM 1.2 with one command that takes until it is canceled.
import { existsSync, writeFileSync } from "node:fs";
import { openPassthrough } from "wtpm";

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const unhex = (text) => new Uint8Array(Buffer.from(text, "hex"));
const report = (name, value) => writeFileSync("/dev/ttyS1", `${JSON.stringify({ name, value })}\n`);

const PCR_READ = unhex("00c10000000e0000001500000000");
const SLOW = unhex("00c10000000a00000054");

async function main() {
  report("cancelFile", existsSync("/sys/class/tpm/tpm0/device/cancel"));
  const backend = await openPassthrough();
  report("family", backend.family);
  report("cancelable", backend.cancelable);
  report("bufferSize", await backend.bufferSize());
  await backend.powerOn();
  report("pcr", hex(await backend.execute(PCR_READ, 0)));

  let answered = false;
  const slow = backend
    .execute(SLOW, 0)
    .then(hex, ({ kind, message }) => `${kind}: ${message}`)
    .finally(() => {
      answered = true;
    });
  let turns = 0;
  while (!answered) {
    backend.cancel();
    turns++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  report("slow", await slow);
  report("turns", turns);
  report("after", hex(await backend.execute(PCR_READ, 0)));
  await backend.close();
}

main()
  .catch((error) => report("error", error.stack))
  .finally(() => report("end", Math.round(performance.now())));
